"""The node's own objects: it registers itself, renews its Lease, and reports how it is."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from agents.kit.times import to_micro_text
from agents.kubelet import machine
from agents.kubelet.machine import Identity
from agents.kubelet.runtime.base import Image, Runtime, RuntimeRefused
from apiserver.client.errors import Unreachable
from apiserver.client.rest import MERGE, STRATEGIC, Client
from apiserver.machinery.objects import Object, labels_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields

log = logging.getLogger("kubelet")

NODES, LEASES = resource("nodes"), resource("leases.coordination.k8s.io")
LEASE_NAMESPACE, LEASE_S, RENEW_S = "kube-node-lease", 40, 10.0
LOOK_S, REPORT_S = 10.0, 300.0
"""How often the node's state is looked at, and how often it is reported although nothing changed."""
RETRY_S = 1.0


class NodeKeeper:
    """`not_ready` tells why no pod can run here, or nothing."""

    def __init__(self, client: Client, runtime: Runtime, identity: Identity, folder: Path, not_ready: Callable[[], str]) -> None:
        self._client, self._runtime, self.identity, self._folder, self._not_ready = client, runtime, identity, folder, not_ready
        self.node: Object | None = None
        self.allocatable: dict[str, str] = {}
        self.memory_bytes = 0
        self._runtime_fault = ""
        self._reported_s = 0.0
        self._reported: Object = {}
        self.look = asyncio.Event()
        """Set by who knows that the state has changed."""

    async def register(self) -> Object:
        """Our Node, made or taken over; tries until it succeeds. Of one that was there `keep_status` reports, once its pods have been looked at or
        that takes too long: what is told of them is of another kubelet's time."""
        self._read()
        while True:
            try:
                self.node = await self._register()
                return self.node
            except (ApiError, Unreachable) as error:
                log.error("Unable to register node with API server", extra=fields(node=self.identity.name, error=str(error)))
                await asyncio.sleep(RETRY_S)

    def saw(self, node: Object) -> None:
        """Our Node as the server has it. Others write to it, too: of a node that was silent the controllers say that its state is unknown, and
        what we have said before counts no more."""
        self.node = node
        if not self._is_told():
            self.look.set()

    def _is_told(self) -> bool:
        """Whether the server has the conditions that we reported."""
        status = (self.node or {}).get("status") or {}
        there = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        return all(there.get(each["type"]) == each["status"] for each in self._reported.get("conditions") or ())

    async def _register(self) -> Object:
        wanted = machine.new_node(self.identity)
        wanted["status"] = self._status({})
        try:
            node = await self._client.create(NODES, wanted)
            log.info("Successfully registered node", extra=fields(node=self.identity.name))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            node = await self._client.get(NODES, self.identity.name)
            missing = {key: value for key, value in machine.labels(self.identity).items() if labels_of(node).get(key) != value}
            change: Object = {"metadata": {"labels": missing}} if missing else {}
            if self.identity.pod_range and not (node.get("spec") or {}).get("podCIDR"):
                change["spec"] = machine.pod_range(self.identity)
            if change:
                node = await self._client.patch(NODES, self.identity.name, change, kind=MERGE)
            return node
        return await self._report(node)

    def _read(self) -> machine.Machine:
        found = machine.read(self._folder, f"{self._runtime.name}://{self._runtime.version}")
        self.allocatable = machine.allocatable(self.identity, found)
        self.memory_bytes = found.memory_bytes
        return found

    def _status(self, old: Object) -> Object:
        conditions = {each["type"]: each for each in old.get("conditions") or ()}
        return machine.status(self.identity, self._read(), self._images, self._runtime_fault or self._not_ready(), conditions, time.time())

    _images: list[Image] = []  # noqa: RUF012 - replaced, never changed

    async def keep_status(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.look.wait()
            self.look.clear()
            try:
                self._images = list(await self._runtime.images())
                self._runtime_fault = ""
            except RuntimeRefused as error:
                self._runtime_fault = f"container runtime is down: {error}"
            try:
                known = self.node or await self._client.get(NODES, self.identity.name)
                status = self._status(known.get("status") or {})
                due = time.monotonic() - self._reported_s >= REPORT_S
                if due or not self._is_told() or _shape(status) != _shape(self._reported):
                    self.node = await self._report(known)
            except ApiError as error:
                log.error("Error updating node status, will retry", extra=fields(error=str(error)))
                self._reported = {}
                if error.reason == "NotFound":
                    await self.register()
            except Unreachable as error:
                log.error("Error updating node status, will retry", extra=fields(error=str(error)))

    async def _report(self, known: Object) -> Object:
        status = self._status(known.get("status") or {})
        node = await self._client.patch(NODES, self.identity.name, {"status": status}, kind=STRATEGIC, subresource="status")
        self._reported, self._reported_s = status, time.monotonic()
        return node

    async def keep_lease(self) -> None:
        lease: Object | None = None
        while True:
            started_s = time.monotonic()
            try:
                lease = await self._renew(lease)
            except ApiError as error:
                log.error("Failed to update lease", extra=fields(error=str(error)))
                lease = None
            except Unreachable as error:
                log.error("Failed to update lease", extra=fields(error=str(error)))
            pause_s = RENEW_S if lease is not None else RETRY_S
            await asyncio.sleep(max(pause_s - (time.monotonic() - started_s), 0.1))

    async def _renew(self, lease: Object | None) -> Object:
        name = self.identity.name
        now = to_micro_text(time.time())
        if lease is None:
            try:
                lease = await self._client.get(LEASES, name, LEASE_NAMESPACE)
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
                metadata: Object = {"name": name, "namespace": LEASE_NAMESPACE}
                if self.node is not None:
                    metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid_of(self.node)}]
                spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_S, "renewTime": now}
                made = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}
                return await self._client.create(LEASES, made, LEASE_NAMESPACE)
        spec = {**lease.get("spec", {}), "holderIdentity": name, "leaseDurationSeconds": LEASE_S, "renewTime": now}
        return await self._client.update(LEASES, {**lease, "spec": spec})


def _shape(status: Object) -> Object:
    """What of a status is worth a report at once: not times, not how much disk is left."""
    conditions = [(each["type"], each["status"], each["reason"], each["message"]) for each in status.get("conditions") or ()]
    return {**status, "conditions": conditions}
