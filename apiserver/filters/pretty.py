"""JSON for people: indented where `?pretty=true` asks for it, and for curl, wget and browsers unless it says false (handlers/responsewriters).

What is sent in pieces stays as it is: it was made once for all clients.
"""

import msgspec
from aiohttp import web

from apiserver.filters.request_info import Query
from apiserver.sending import Large

READ_BY_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
TRUE = ("1", "t", "T", "TRUE", "true", "True")
INDENT = 2


def wanted(user_agent: str, query: Query) -> bool:
    asked = query.get("pretty")
    return asked in TRUE if asked else user_agent.startswith(READ_BY_PEOPLE)


def indent(response: web.StreamResponse) -> None:
    """In place, if it is JSON that has not been sent yet."""
    if response.prepared or isinstance(response, Large) or not isinstance(response, web.Response):
        return
    body = response.body
    if isinstance(body, bytes) and body and response.headers.get("Content-Type", "").startswith("application/json"):
        response.body = msgspec.json.format(body, indent=INDENT)
