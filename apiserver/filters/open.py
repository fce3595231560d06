"""No door at all: everybody is the administrator and may do everything (--authorization-mode=AlwaysAllow, and tests of other things)."""

from aiohttp import web

from apiserver.request import Attributes, User

ADMINISTRATOR = User("system:admin", ("system:masters", "system:authenticated"))


async def everybody(_: web.BaseRequest) -> User:
    return ADMINISTRATOR


async def everything(_: Attributes) -> str:
    return "AlwaysAllow"
