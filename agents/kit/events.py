"""The recorder of events about objects (client-go's tools/record): what happened once is written once, what happens again is counted.

Three steps, as upstream: a filter against spam (25 events about one object, then one in five minutes), aggregation (the eleventh event within ten
minutes that differs from others in its message alone becomes "(combined from similar events): ..."), and counting (the same event again raises
`count` and `lastTimestamp` of the one that stands). Events are a courtesy: they never hold up who records them, and are dropped when they cannot be
written.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from agents.kit.times import to_text
from apiserver.client.errors import Unreachable
from apiserver.client.rest import MERGE, Client
from apiserver.machinery.objects import Object, name_of, namespace_of, resource_version_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

EVENTS = resource("events", "v1")
REMEMBERED = 4096
SPAM_BURST = 25
SPAM_REFILL_S = 300.0
SIMILAR_MAX = 10
SIMILAR_WINDOW_S = 600.0
WAITING_MAX = 1000
TRIES = 12
RETRY_S = 10.0
COMBINED = "(combined from similar events): "
MESSAGE_BYTES_MAX = 1024


class Wanted(Struct, frozen=True):
    """What is to be written: a new event, or a further count of one that stands."""

    event: Object
    counted: bool


class Correlator:
    """Pure: from an event to what shall be written, or None. Times are seconds."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()
        self._similar: OrderedDict[tuple[str, ...], tuple[float, set[str]]] = OrderedDict()
        self._written: OrderedDict[tuple[str, ...], Object] = OrderedDict()

    def correlate(self, event: Object, now_s: float) -> Wanted | None:
        if not self._let_through(event, now_s):
            return None
        event = self._aggregated(event, now_s)
        key = _exact_key(event)
        before = _recent(self._written, key)
        if before is None:
            self._written[key] = event
            return Wanted(event, counted=False)
        again = {**before, "count": before["count"] + 1, "lastTimestamp": event["lastTimestamp"], "message": event["message"]}
        self._written[key] = again
        return Wanted(again, counted=True)

    def stands_as(self, event: Object) -> None:
        """The server's answer: later counts are patched into that object."""
        key = _exact_key(event)
        if key in self._written:
            self._written[key] = event

    def forget(self, event: Object) -> None:
        self._written.pop(_exact_key(event), None)

    def _let_through(self, event: Object, now_s: float) -> bool:
        key = _source(event) + _about(event)
        tokens, last_s = _recent(self._tokens, key) or (float(SPAM_BURST), now_s)
        tokens = min(SPAM_BURST, tokens + (now_s - last_s) / SPAM_REFILL_S)
        allowed = tokens >= 1
        self._tokens[key] = (tokens - 1 if allowed else tokens, now_s)
        return allowed

    def _aggregated(self, event: Object, now_s: float) -> Object:
        key = (*_source(event), *_about(event), event["type"], event["reason"])
        since_s, messages = _recent(self._similar, key) or (now_s, set())
        if now_s - since_s > SIMILAR_WINDOW_S:
            since_s, messages = now_s, set()
        messages.add(event["message"])
        self._similar[key] = (now_s, messages)
        if len(messages) < SIMILAR_MAX:
            return event
        while len(messages) > SIMILAR_MAX:
            messages.discard(next(iter(messages)))
        return {**event, "message": COMBINED + event["message"]}


def _source(event: Object) -> tuple[str, ...]:
    return (event["source"].get("component", ""), event["source"].get("host", ""))


def _about(event: Object) -> tuple[str, ...]:
    about = event["involvedObject"]
    return tuple(str(about.get(field, "")) for field in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath"))


def _exact_key(event: Object) -> tuple[str, ...]:
    """Combined events are the same event whatever their text."""
    message = COMBINED if event["message"].startswith(COMBINED) else event["message"]
    return (*_source(event), *_about(event), event["type"], event["reason"], message)


def _recent(table: "OrderedDict[tuple[str, ...], Any]", key: tuple[str, ...]) -> Any:
    """The entry, moved to the young end; the oldest goes when there are too many."""
    if key in table:
        table.move_to_end(key)
        return table[key]
    while len(table) >= REMEMBERED:
        table.popitem(last=False)
    return None


def reference_to(about: Object, field_path: str = "") -> Object:
    """The ObjectReference of an object (client-go's tools/reference)."""
    found = {
        "kind": about.get("kind", ""),
        "namespace": namespace_of(about),
        "name": name_of(about),
        "uid": uid_of(about),
        "apiVersion": about.get("apiVersion", ""),
        "resourceVersion": resource_version_of(about),
        "fieldPath": field_path,
    }
    return {key: value for key, value in found.items() if value}


class Broadcaster:
    """Writes the events of one process. `run` is its loop; recorders of its components feed it."""

    def __init__(self, client: Client, host: str = "", now_s: Callable[[], float] = time.time) -> None:
        self._client, self._host, self._now_s = client, host, now_s
        self._correlator = Correlator()
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(WAITING_MAX)
        self._last_name = 0
        self.dropped = 0

    def recorder(self, component: str) -> "Recorder":
        return Recorder(self, component)

    def accept(self, component: str, about: Object, type_: str, reason: str, message: str, field_path: str = "") -> None:
        now = to_text(self._now_s())
        # The name must be new and tells nothing: the time in nanoseconds, as upstream, never twice the same.
        self._last_name = max(self._last_name + 1, int(self._now_s() * 1e9))
        source = {"component": component, **({"host": self._host} if self._host else {})}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name_of(about)}.{self._last_name:x}", "namespace": namespace_of(about) or "default"},
            "involvedObject": reference_to(about, field_path),
            "reason": reason,
            "message": message.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore"),
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": type_,
            "reportingComponent": component,
            "reportingInstance": self._host,
            "eventTime": None,
        }
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        while True:
            event = await self._waiting.get()
            wanted = self._correlator.correlate(event, self._now_s())
            if wanted is not None:
                await self._write(wanted)

    async def drain(self) -> None:
        """Write what waits now: before a clean stop."""
        while not self._waiting.empty():
            wanted = self._correlator.correlate(self._waiting.get_nowait(), self._now_s())
            if wanted is not None and not await self._written(wanted):
                return

    async def _write(self, wanted: Wanted) -> None:
        for _ in range(TRIES):
            if await self._written(wanted):
                return
            await asyncio.sleep(RETRY_S)
        self.dropped += 1

    async def _written(self, wanted: Wanted) -> bool:
        """False if it is worth another try."""
        event = wanted.event
        try:
            if wanted.counted and uid_of(event):
                patch = {key: event[key] for key in ("count", "lastTimestamp", "message")}
                try:
                    answer = await self._client.patch(EVENTS, name_of(event), patch, namespace_of(event), kind=MERGE)
                except ApiError as error:
                    if error.reason != "NotFound":
                        raise
                    answer = await self._client.create(EVENTS, _anew(event), namespace_of(event))
            else:
                answer = await self._client.create(EVENTS, event, namespace_of(event))
            self._correlator.stands_as(answer)
        except Unreachable:
            return False
        except ApiError as error:
            # Refused: the namespace is going, the event stands already, or it is not to the server's liking. None of these gets better by trying.
            log.debug("event refused", extra=fields(error=str(error), reason=error.reason))
            self._correlator.forget(event)
        return True


def _anew(event: Object) -> Object:
    """The event as it is first written: its time on the server is over (events live for an hour), what it tells goes on."""
    return {**event, "metadata": {"name": name_of(event), "namespace": namespace_of(event)}}


class Recorder:
    """Events of one component."""

    def __init__(self, broadcaster: Broadcaster, component: str) -> None:
        self._broadcaster, self._component = broadcaster, component

    def event(self, about: Object, type_: str, reason: str, message: str) -> None:
        self._broadcaster.accept(self._component, about, type_, reason, message)

    def event_in(self, about: Object, field_path: str, type_: str, reason: str, message: str) -> None:
        """About a part of the object: `spec.containers{web}`."""
        self._broadcaster.accept(self._component, about, type_, reason, message, field_path)
