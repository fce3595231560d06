"""Every pod runs as a service account that exists, and finds its token, the cluster's authority and its namespace mounted
(plugin/pkg/admission/serviceaccount)."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from apiserver.admission.plugin import MIRROR_POD, is_about, projections, refusal, secrets_of, spec_of
from apiserver.machinery import names
from apiserver.machinery.objects import Object, annotations_of
from apiserver.request import Passive, Reader, Write

DEFAULT = "default"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME = "kube-api-access-"
TOKEN_LIFETIME_S = 3607
"""An hour and upstream's seven seconds, by which others know that nobody asked for this lifetime in particular."""
TRIES, TRY_AGAIN_S = 10, 0.15
"""A namespace's default account comes from a controller, a moment after the namespace: whoever creates both at once is made to wait for it."""


class ServiceAccount(Passive):
    name = "ServiceAccount"

    def __init__(self, reader: Reader, wait: Callable[[float], Awaitable[Any]] = asyncio.sleep, suffix: Callable[[], str] | None = None) -> None:
        self._reader = reader
        self._wait = wait
        self._suffix = suffix or (lambda: names.suffix(random.choice))

    async def admit(self, write: Write) -> None:
        if not is_about(write, "pods", "CREATE"):
            return
        pod = write.object or {}
        spec = pod.setdefault("spec", {})
        if MIRROR_POD in annotations_of(pod):
            self._mirror(write, spec)
            return
        name = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        account = await self._account(write, name)
        if _mounts(account, spec):
            self._mount(spec)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [{"name": each.get("name", "")} for each in account["imagePullSecrets"]]

    async def validate(self, write: Write) -> None:
        """Again after webhooks: they may have named another account."""
        if not is_about(write, "pods", "CREATE"):
            return
        pod = write.object or {}
        spec = spec_of(pod)
        if MIRROR_POD in annotations_of(pod):
            self._mirror(write, spec)
        else:
            await self._account(write, spec.get("serviceAccountName") or "")

    def _mirror(self, write: Write, spec: Object) -> None:
        """The node keeps these; the API server must not change them, and they must not get at secrets by this way."""
        if spec.get("serviceAccountName"):
            raise refusal(write, "a mirror pod may not reference service accounts")
        if any(secrets_of(spec)):
            raise refusal(write, "a mirror pod may not reference secrets")
        if any(True for _ in projections(spec, "serviceAccountToken")):
            raise refusal(write, "a mirror pod may not use ServiceAccountToken volume projections")

    async def _account(self, write: Write, name: str) -> Object:
        for number in range(TRIES if name == DEFAULT else 1):
            if number:
                await self._wait(TRY_AGAIN_S)
            found = self._reader.get("serviceaccounts", write.namespace, name) or await self._reader.fresh("serviceaccounts", write.namespace, name)
            if found is not None:
                return found
        raise refusal(write, f'error looking up service account {write.namespace}/{name}: serviceaccount "{name}" not found')

    def _mount(self, spec: Object) -> None:
        volumes = spec.get("volumes") or []
        name = next((each["name"] for each in volumes if str(each.get("name", "")).startswith(VOLUME) and each.get("projected")), "")
        has_volume, needs_volume = bool(name), False
        if not name:
            taken = {each.get("name") for each in volumes}
            name = VOLUME + self._suffix()
            while name in taken:
                name = VOLUME + self._suffix()
        for field in ("initContainers", "containers"):
            for container in spec.get(field) or ():
                mounts = container.get("volumeMounts") or []
                if any(each.get("mountPath") == MOUNT_PATH for each in mounts):
                    continue  # somebody put something else there on purpose
                container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
                needs_volume = True
        if needs_volume and not has_volume:
            spec["volumes"] = [*volumes, _volume(name)]


def _mounts(account: Object, spec: Object) -> bool:
    """The pod's word goes before the account's; without either the token is mounted."""
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _volume(name: str) -> Object:
    reference = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFETIME_S, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": reference}]}},
            ],
            "defaultMode": 420,
        },
    }
