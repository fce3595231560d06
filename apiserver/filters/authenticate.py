"""Who sends this request: what the connection and the headers show, taken to the authenticator."""

from aiohttp import web

from apiserver.authn.chain import Authenticator, Shown
from apiserver.request import User


async def authenticate(request: web.BaseRequest, authenticator: Authenticator) -> User:
    """Raises ApiError Unauthorized (401, and nothing about why)."""
    return await authenticator.authenticate(shown(request))


def shown(request: web.BaseRequest) -> Shown:
    transport = request.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    headers = request.headers
    # Two Authorization headers are a trick: proxies and servers differ in which one they believe.
    values = headers.getall("Authorization", [])
    return Shown(
        authorization=values[0] if len(values) == 1 else "Bearer ." if values else "",
        protocols=",".join(headers.getall("Sec-WebSocket-Protocol", [])),
        certificate=transport.get_extra_info("peercert") if transport is not None else None,
        der=tls.getpeercert(binary_form=True) if tls is not None else None,
    )
