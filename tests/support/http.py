"""A small HTTP/1.1 client for the client port: one kept connection, JSON bodies, no retries behind the test's back."""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tests.support.tls import TlsFiles


class Answer(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def text(self) -> str:
        return self.body.decode(errors="replace")


def client_context(tls: TlsFiles, with_certificate: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls.ca))
    if with_certificate:
        context.load_cert_chain(str(tls.client_cert), str(tls.client_key))
    return context


class Http:
    def __init__(self, port: int, tls: TlsFiles | None = None) -> None:
        self._port = port
        self._context = None if tls is None else client_context(tls)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, timeout_s: float = 10) -> Answer:
        return self.request("GET", path, timeout_s=timeout_s)

    def post(self, path: str, body: Any, timeout_s: float = 10) -> Answer:
        """POST `body` as JSON (bytes go as they are)."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, raw, timeout_s=timeout_s)

    def request(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, timeout_s: float = 10) -> Answer:
        """One request and its whole answer; raises OSError if the connection breaks, then the next request opens another."""
        connection = self._connection or self._connect(timeout_s)
        self._connection = connection
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        try:
            connection.request(method, path, body, {} if headers is None else headers)
            response = connection.getresponse()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException) as broken:
            self.close()
            if isinstance(broken, OSError):
                raise
            raise ConnectionError(f"{method} {path}: {broken!r}") from broken

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=timeout_s, context=self._context)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
