"""One active instance among many, through a Lease (client-go's tools/leaderelection).

The holder renews its lease every `retry_s`; others wait until a lease has not changed for its whole duration *by their own clock*: they compare
what they saw
when, never the times written in it, so that clocks may differ. A holder that could not renew for `deadline_s` stops at once: `deadline_s` is shorter
than `lease_s`, so it has stopped before another one starts. A clean stop gives the lease back; who waits watches the lease besides looking at it, and
takes it at that moment.
"""

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Callable

from msgspec import Struct

from agents.kit.performer import Recorder
from agents.kit.times import to_micro_text
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.client.watch import ADDED, DELETED, MODIFIED, WatchEvent
from apiserver.machinery.objects import Object
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)

LEASES = resource("leases.coordination.k8s.io", "v1")
JITTER = 1.2
"""Of the pause between looks: instances that started together do not all ask together."""


class LostLeadership(Exception):
    """The lease could not be renewed, or somebody else has it: the process ends, whatever it is doing."""


class Terms(Struct, frozen=True):
    """The `--leader-elect-*` flags."""

    enabled: bool = True
    namespace: str = "kube-system"
    name: str = ""
    lease_s: float = 15.0
    deadline_s: float = 10.0
    retry_s: float = 2.0

    def faults(self) -> list[str]:
        found = []
        if self.lease_s <= self.deadline_s:
            found.append("--leader-elect-lease-duration must be greater than --leader-elect-renew-deadline")
        if self.deadline_s <= JITTER * self.retry_s:
            found.append(f"--leader-elect-renew-deadline must be greater than {JITTER} times --leader-elect-retry-period")
        if min(self.lease_s, self.deadline_s, self.retry_s) <= 0:
            found.append("the durations of --leader-elect-* must be greater than zero")
        return found


class Seen(Struct, frozen=True):
    """A lease's spec, and when (monotonic) it was first seen like that."""

    spec: Object
    at_s: float


def may_take(seen: Seen, identity: str, now_s: float) -> bool:
    """Whether the lease is free for us: ours, nobody's, or unchanged for longer than it is good for."""
    holder = seen.spec.get("holderIdentity") or ""
    return holder in ("", identity) or seen.at_s + float(seen.spec.get("leaseDurationSeconds") or 0) <= now_s


def is_free(event: WatchEvent) -> bool:
    """Whether the lease that this tells of has no holder now."""
    return event.type == DELETED or (event.type in (ADDED, MODIFIED) and not (event.object.get("spec") or {}).get("holderIdentity"))


def taken(spec: Object, identity: str, lease_s: float, now: str) -> Object:
    """The spec after we took or renewed it."""
    ours = spec.get("holderIdentity") == identity
    transitions = int(spec.get("leaseTransitions") or 0)
    return {
        **spec,
        "holderIdentity": identity,
        "leaseDurationSeconds": math.ceil(lease_s),
        "acquireTime": spec.get("acquireTime") if ours and spec.get("acquireTime") else now,
        "renewTime": now,
        "leaseTransitions": transitions if ours or not spec else transitions + 1,
    }


def released(spec: Object, now: str) -> Object:
    return {
        **spec,
        "holderIdentity": "",
        "leaseDurationSeconds": 1,
        "acquireTime": now,
        "renewTime": now,
    }


class Elector:
    def __init__(
        self,
        client: Client,
        terms: Terms,
        identity: str,
        *,
        recorder: Recorder | None = None,
        now_s: Callable[[], float],
        monotonic_s: Callable[[], float],
        chance: random.Random | None = None,
    ) -> None:
        self._client, self._terms, self._identity, self._recorder = client, terms, identity, recorder
        self._now_s, self._monotonic_s = now_s, monotonic_s
        self._chance = chance or random.Random()
        self._seen: Seen | None = None
        self._renewed_s = 0.0
        """When we asked for what the server has written last: it may have done so long before we read its answer."""
        self.leading = False

    async def acquire(self) -> None:
        """Return when the lease is ours."""
        log.info("attempting to acquire leader lease", extra=fields(lease=self._called))
        given_back = asyncio.Event()
        async with Tasks("lease") as tasks:
            tasks.start("watch", self._watch(given_back))
            while True:
                given_back.clear()
                self._renewed_s = self._monotonic_s()
                if await self._try():
                    if self._monotonic_s() - self._renewed_s < self._terms.deadline_s:
                        break
                    continue  # told so late that another one may have begun since
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._terms.retry_s * (1 + JITTER * self._chance.random())):
                        await given_back.wait()
            tasks.cancel()
        self.leading = True
        log.info("successfully acquired lease", extra=fields(lease=self._called, identity=self._identity))

    async def hold(self) -> None:
        """Renew until cancelled. Raises LostLeadership."""
        pause_s = self._renewed_s + self._terms.retry_s - self._monotonic_s()
        while True:
            await asyncio.sleep(max(pause_s, 0))
            pause_s = self._terms.retry_s
            left_s = self._renewed_s + self._terms.deadline_s - self._monotonic_s()
            ours = False
            try:
                async with asyncio.timeout(max(left_s, 0)):
                    asked_s = self._monotonic_s()
                    ours = await self._try()
            except TimeoutError:
                pass
            if ours:
                self._renewed_s = asked_s
            elif self._is_anothers() or self._monotonic_s() - self._renewed_s >= self._terms.deadline_s:
                self.leading = False
                self._tell("stopped leading")
                raise LostLeadership(f"failed to renew lease {self._called}")

    async def release(self) -> None:
        """Give it back, if it is ours and the server can be reached."""
        if not self.leading:
            return
        self.leading = False
        try:
            lease = await self._client.get(LEASES, self._terms.name, self._terms.namespace)
            if (lease.get("spec") or {}).get("holderIdentity") != self._identity:
                return
            await self._client.update(LEASES, {**lease, "spec": released(lease["spec"], to_micro_text(self._now_s()))})
            self._tell("stopped leading")
        except (ApiError, Unreachable) as error:
            log.warning("the lease was not released", extra=fields(lease=self._called, error=str(error)))

    async def _watch(self, given_back: asyncio.Event) -> None:
        """Tell when nobody has the lease any more. Whoever may not watch it only looks, as often as the terms say."""
        while True:
            watching = self._client.watch(LEASES, self._terms.namespace, field_selector=f"metadata.name={self._terms.name}")
            try:
                async with contextlib.aclosing(watching) as events:
                    async for event in events:
                        if is_free(event):
                            given_back.set()
            except ApiError as error:
                if error.code in (401, 403):
                    return
            except Unreachable:
                pass
            await asyncio.sleep(self._terms.retry_s)

    @property
    def _called(self) -> str:
        return f"{self._terms.namespace}/{self._terms.name}"

    def _is_anothers(self) -> bool:
        return self._seen is not None and self._seen.spec.get("holderIdentity") not in ("", self._identity)

    async def _try(self) -> bool:
        """Whether the lease is ours now."""
        try:
            return await self._take()
        except (ApiError, Unreachable) as error:
            if not (isinstance(error, ApiError) and error.reason in ("Conflict", "AlreadyExists")):
                log.warning("error retrieving or updating the lease", extra=fields(lease=self._called, error=str(error)))
            return False

    async def _take(self) -> bool:
        now = to_micro_text(self._now_s())
        try:
            lease = await self._client.get(LEASES, self._terms.name, self._terms.namespace)
        except ApiError as error:
            if error.reason != "NotFound":
                raise
            new = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self._terms.name, "namespace": self._terms.namespace},
                "spec": taken({}, self._identity, self._terms.lease_s, now),
            }
            made = await self._client.create(LEASES, new, self._terms.namespace)
            self._became(made)
            return True
        spec = lease.get("spec") or {}
        if self._seen is None or self._seen.spec != spec:
            self._seen = Seen(spec, self._monotonic_s())
        if not may_take(self._seen, self._identity, self._monotonic_s()):
            return False
        before = spec.get("holderIdentity")
        written = await self._client.update(LEASES, {**lease, "spec": taken(spec, self._identity, self._terms.lease_s, now)})
        self._seen = Seen(written["spec"], self._monotonic_s())
        if before != self._identity:
            self._became(written)
        return True

    def _became(self, lease: Object) -> None:
        self._seen = Seen(lease["spec"], self._monotonic_s())
        self._lease = lease
        self._tell("became leader")

    def _tell(self, what: str) -> None:
        if self._recorder is not None:
            about = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
            about |= {"metadata": {"name": self._terms.name, "namespace": self._terms.namespace}}  # type: ignore[dict-item]
            self._recorder.event(about, "Normal", "LeaderElection", f"{self._identity} {what}")
