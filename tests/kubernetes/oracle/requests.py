"""A request as data: the same for both servers, but for what each of them chose itself.

Texts may hold `{uid}`, `{rv}`, `{continue}` and `{from}`: the uid and resourceVersion that this server last told of the request's object, where its
last page ended, and the resourceVersion at which the run began.
"""

import json
from typing import Any

from msgspec import Struct

JSON = "application/json"
MERGE = "application/merge-patch+json"
PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"

Object = dict[str, Any]


class Request(Struct, frozen=True):
    """`subject`: the path of the object that it is about, whose uid and resourceVersion its text may name."""

    method: str
    path: str
    body: str | None = None
    kind: str = JSON
    accept: str = JSON
    query: tuple[tuple[str, str], ...] = ()
    subject: str = ""
    agent: str = "oracle/1"

    def brief(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.query)
        told = f"{self.method} {self.path}{'?' + query if query else ''}"
        if self.accept != JSON:
            told += f" as {self.accept.split(';')[1] if ';' in self.accept else self.accept}"
        return told if self.body is None else f"{told} {self.kind} {self.body}"


def ask(method: str, path: str, body: Any = None, **more: Any) -> Request:
    """`body`: text as it is, or a value to be sent as JSON."""
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    return Request(method, path, text, subject=more.pop("subject", path), query=tuple(more.pop("query", ())), **more)
