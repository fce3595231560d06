"""Which ConfigMaps and Secrets a pod names (pure), and a short memory of what they held.

The kubelet asks for each by its name, which is all that the Node authorizer lets it do. An answer is good for `TTL_S`: that bounds how old a file in
a volume may be, and how often the API server is asked.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

from agents.kubelet import pods
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, namespace_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError

CONFIG_MAPS, SECRETS = resource("configmaps"), resource("secrets")
TTL_S = 20.0
REMEMBERED_MAX = 10_000

Key = tuple[str, str, str]
"""Plural, namespace, name."""


def named_by(pod: Object) -> set[Key]:
    namespace = namespace_of(pod)
    return {(plural, namespace, name) for plural, name in _named(pod) if name}


def _named(pod: Object) -> Iterator[tuple[str, str]]:
    for container in pods.every_container(pod):
        for entry in container.get("envFrom") or ():
            yield "configmaps", (entry.get("configMapRef") or {}).get("name", "")
            yield "secrets", (entry.get("secretRef") or {}).get("name", "")
        for entry in container.get("env") or ():
            source = entry.get("valueFrom") or {}
            yield "configmaps", (source.get("configMapKeyRef") or {}).get("name", "")
            yield "secrets", (source.get("secretKeyRef") or {}).get("name", "")
    for volume in pod["spec"].get("volumes") or ():
        yield "configmaps", (volume.get("configMap") or {}).get("name", "")
        yield "secrets", (volume.get("secret") or {}).get("secretName", "")
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield "configmaps", (source.get("configMap") or {}).get("name", "")
            yield "secrets", (source.get("secret") or {}).get("name", "")


class Remembered:
    """`config_map` and `secret` answer from memory; `refresh` fills it."""

    def __init__(self, client: Client, now_s: Callable[[], float] = time.monotonic) -> None:
        self._client, self._now_s = client, now_s
        self._found: dict[Key, tuple[float, Object | None]] = {}

    async def refresh(self, pod: Object) -> None:
        """Raises ApiError and Unreachable; that something is not there is no error."""
        now_s = self._now_s()
        missing = [key for key in named_by(pod) if key not in self._found or self._found[key][0] < now_s]
        for key, answer in zip(missing, await asyncio.gather(*(self._get(key) for key in missing)), strict=True):
            # What is missing may come at any moment, and a pod waits for it.
            self._found[key] = (now_s + (TTL_S if answer is not None else 1.0), answer)
        if len(self._found) > REMEMBERED_MAX:
            self._found = {key: value for key, value in self._found.items() if value[0] >= now_s}

    async def _get(self, key: Key) -> Object | None:
        plural, namespace, name = key
        try:
            return await self._client.get(CONFIG_MAPS if plural == "configmaps" else SECRETS, name, namespace)
        except ApiError as error:
            if error.reason in ("NotFound", "Forbidden"):  # the Node authorizer does not tell one from the other
                return None
            raise

    def config_map(self, namespace: str, name: str) -> Object | None:
        return self._found.get(("configmaps", namespace, name), (0.0, None))[1]

    def secret(self, namespace: str, name: str) -> Object | None:
        return self._found.get(("secrets", namespace, name), (0.0, None))[1]
