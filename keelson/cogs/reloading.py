"""Files that change under a running server: certificates, authorities, and what else a server reads (apiserver/pkg/server/dynamiccertificates). They
are looked at every second; what cannot be used is logged, and what was read before stays.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence

from msgspec import Struct

from keelson.cogs.files import Signature, signature
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

LOOK_S = 1.0


class Watched(Struct):
    """Files and what is to be done when one of them has changed."""

    what: str
    paths: tuple[str, ...]
    take: Callable[[], None]
    seen: Signature = ()


class Reloading:
    """`refusals`: what `take` may raise, beside OSError (SSLError is one), for files that cannot be used."""

    def __init__(self, *refusals: type[Exception]) -> None:
        self._refusals: tuple[type[Exception], ...] = (OSError, *refusals)
        self._watched: list[Watched] = []

    def add(self, what: str, paths: Sequence[str], take: Callable[[], None]) -> None:
        """`take` is called after every change; the files have been read once before."""
        given = tuple(filter(None, paths))
        if given:
            self._watched.append(Watched(what, given, take, signature(given)))

    def refresh(self) -> list[str]:
        """Look once; what has been taken anew."""
        taken = []
        for each in self._watched:
            now = signature(each.paths)
            if now == each.seen:
                continue
            each.seen = now
            try:
                each.take()
            except self._refusals as error:
                # A pair of files is written one after the other: the next look may find both.
                log.error("changed files cannot be used, staying with what they held before", extra=fields(what=each.what, error=str(error)))
                each.seen = ()
            else:
                log.info("took changed files", extra=fields(what=each.what))
                taken.append(each.what)
        return taken

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.refresh()


class ServingTls:
    """`listen` is the one context that listeners keep; each handshake goes on with the newest one."""

    def __init__(self, cert: str, key: str, client_ca: str) -> None:
        """Raises OSError, SSLError."""
        self._files = cert, key, client_ca
        self._newest = self._made()
        self.listen = self._made()
        self.listen.sni_callback = self._hand_over

    @property
    def paths(self) -> tuple[str, ...]:
        return self._files

    def refresh(self) -> None:
        """Raises OSError, SSLError."""
        self._newest = self._made()

    def _hand_over(self, connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        # OpenSSL asks here in every handshake, also of clients that name no server; certificate and authorities are the new context's from then on.
        connection.context = self._newest

    def _made(self) -> ssl.SSLContext:
        cert, key, client_ca = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # A resumed session would bring a certificate past an authority that is trusted no more.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.load_cert_chain(cert, key or None)
        if client_ca:
            # Optional: who shows none may have a token, or be anonymous.
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(client_ca)
        return context


class CallingTls:
    """What a program shows to those it calls, and whom it believes. `newest` is for the next connection."""

    def __init__(self, authority: str, cert: str, key: str) -> None:
        """Raises OSError, SSLError."""
        self._files = authority, cert, key
        self.newest = self._made()

    @property
    def paths(self) -> tuple[str, ...]:
        return self._files

    def refresh(self) -> None:
        """Raises OSError, SSLError."""
        self.newest = self._made()

    def _made(self) -> ssl.SSLContext:
        authority, cert, key = self._files
        context = ssl.create_default_context(cafile=authority or None)
        if cert:
            context.load_cert_chain(cert, key or None)
        return context
