"""One member by gRPC, for threads without an event loop: in the words of the JSON gateway, where the gateway itself does not serve.

With authentication on, a gateway refuses whoever shows a certificate with a common name, token or not; over gRPC the same name is the user (AU-7 in
etcd's semantics), and the cluster's operator is root.
"""

import asyncio
import base64
from typing import Any

from google.protobuf.json_format import MessageToDict

from kvstore.client.client import Client, StoreError, TlsFiles


class Line:
    """Used by one thread at a time. `timeout_s` bounds each call."""

    def __init__(self, url: str, tls: TlsFiles | None, timeout_s: float) -> None:
        self._url, self._tls, self._timeout_s = url, tls, timeout_s
        self._runner = asyncio.Runner()
        self._client: Client | None = None

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """As `POST path` of the gateway answers; of its paths those that the launcher asks. Raises StoreError."""
        return self._runner.run(self._call(path, body))

    def close(self) -> None:
        if self._client is not None:
            self._runner.run(self._client.close())
            self._client = None
        self._runner.close()

    async def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self._client is None:
            self._client = Client([self._url], tls=self._tls, timeout_s=self._timeout_s)
        client = self._client
        key, end = base64.b64decode(body.get("key", "")), base64.b64decode(body.get("range_end", ""))
        match path:
            case "/v3/maintenance/status":
                answer = await client.status()
            case "/v3/maintenance/hashkv":
                answer = await client.hash_kv(int(body["revision"]))
            case "/v3/kv/put":
                answer = await client.put(key, base64.b64decode(body["value"]))
            case "/v3/kv/deleterange":
                answer = await client.delete(key, end)
            case "/v3/kv/range":
                answer = await client.get(key, end, **{name: value for name, value in body.items() if name not in ("key", "range_end")})
            case _:
                raise AssertionError(f"the launcher does not ask {path}")
        return MessageToDict(answer, preserving_proto_field_name=True)


__all__ = ["Line", "StoreError", "TlsFiles"]
