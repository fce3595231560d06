"""The members of a new cluster by way of another one (--discovery-endpoints, --discovery-token): etcd 3.6's v3 discovery.

Whoever plans the cluster writes its size under `/_etcd/registry/TOKEN/_config/size`. Every member writes "name=peer URL,..." under
`/_etcd/registry/TOKEN/members/ID`, and waits until there are as many; the first by creation are the cluster, who comes later is too many
(server/etcdserver/api/v3discovery/discovery.go).
"""

import logging
from collections.abc import Sequence
from typing import Any

from keelson.cogs.logs import fields
from kvstore.client.authentication import NOBODY, Identity
from kvstore.client.client import Client
from kvstore.client.endpoints import TlsFiles
from kvstore.errors import StoreError
from kvstore.ids import MemberId
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.config import DiscoverySettings

log = logging.getLogger("kvstore.server")

REGISTRY = b"/_etcd/registry/"


class DiscoveryFailed(ConfigurationError):
    """With etcd's words where it has them."""


async def cluster_from_service(settings: DiscoverySettings, own_id: MemberId, name: str, peer_urls: Sequence[str]) -> str:
    """What --initial-cluster would have said, once all members have come; waits for them as long as it takes. Raises DiscoveryFailed."""
    tls = None
    if any(endpoint.startswith("https://") for endpoint in settings.endpoints) or not settings.insecure_transport:
        tls = TlsFiles(settings.cacert, settings.cert, settings.key)
    identity = Identity(settings.user, settings.password) if settings.user else NOBODY
    client = Client(
        settings.endpoints,
        tls=tls,
        timeout_s=settings.request_timeout_s,
        keepalive_time_s=settings.keepalive_time_s,
        keepalive_timeout_s=settings.keepalive_timeout_s,
        identity=identity,
    )
    try:
        async with client:
            return await _Registry(client, settings.token, own_id).join(",".join(f"{name}={url}" for url in peer_urls))
    except StoreError as error:
        raise DiscoveryFailed(f"discovery failed: {error}") from error
    except OSError as error:
        raise DiscoveryFailed(f"discovery failed: cannot read certificates: {error}") from error


class _Registry:
    def __init__(self, client: Client, token: str, own_id: MemberId) -> None:
        self._client = client
        self._folder = REGISTRY + token.encode()
        self._members = self._folder + b"/members/"
        self._own_key = self._members + f"{own_id:x}".encode()

    async def join(self, told: str) -> str:
        size = await self._size()
        members, _ = await self._registered(size)
        if self._own_key not in (known.key for known in members):
            await self._client.put(self._own_key, told.encode())
            log.info("register member successfully", extra=fields(registry_key=self._own_key.decode(), member_info=told))
        members, revision = await self._registered(size)
        async for known in self._arrivals(size - len(members), revision):
            members.append(known)
        for known in members:
            log.info("found peer from discovery server", extra=fields(registry_key=known.key.decode(), member_info=known.value.decode()))
        return ",".join(known.value.decode() for known in members)

    async def _size(self) -> int:
        found = (await self._client.get(self._folder + b"/_config/size")).kvs
        if not found:
            raise DiscoveryFailed("discovery: size key not found")
        text = found[0].value.decode(errors="replace")
        if not text.isdecimal() or int(text) == 0:
            raise DiscoveryFailed(f"discovery: size key is bad: {text!r}")
        return int(text)

    async def _registered(self, size: int) -> tuple[list[Any], int]:
        """The first `size` members to come and the revision as of which; refuses if we are not, and cannot become, one of them."""
        answer = await self._client.get_prefix(self._members)
        members = sorted(answer.kvs, key=lambda known: (known.create_revision, known.key))
        if len(members) >= size and self._own_key not in (known.key for known in members[:size]):
            raise DiscoveryFailed("discovery: cluster is full")
        return members[:size], answer.header.revision

    async def _arrivals(self, count: int, revision: int) -> Any:
        if count <= 0:
            return
        log.info("waiting for peers from discovery service", extra=fields(registry_key=self._members.decode(), missing=count))
        watcher = self._client.watch(self._members, self._members[:-1] + b"0", start_revision=revision + 1)
        seen: set[bytes] = set()
        async for response in watcher:
            for event in response.events:
                if event.type == 0 and event.kv.create_revision == event.kv.mod_revision and event.kv.key not in seen:
                    seen.add(event.kv.key)
                    yield event.kv
                    if len(seen) == count:
                        return
