"""The frame of a controller: informers put keys into a queue, workers reconcile them, failures come back later.

    class Greeter(Controller):
        name = "greeter"

        def watch(self) -> None:
            self.greetings = self.watched(GREETINGS, self.enqueue)
            self.maps = self.watched(CONFIGMAPS, self.enqueue_owner(GREETINGS))

        def reconcile(self, key: str) -> list[Action]:
            ...what is there (self.greetings.get(key)) to what shall be done

`reconcile` reads caches and returns actions; it never asks which event woke it, and never changes a cached object. A controller whose work needs
answers
of the server in between overrides `sync` instead. docs/custom-controller.md has a whole one.
"""

import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from agents.kit.actions import Action
from agents.kit.expectations import Expectations
from agents.kit.informer import Informer, Informers
from agents.kit.performer import Performer, Recorder
from agents.kit.workqueue import ShutDown, WorkQueue
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, controller_of, key_of, namespace_of, resource_version_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields
from keelson.cogs.tasks import Tasks

log = logging.getLogger(__name__)


def group_of(reference: Object) -> str:
    """The API group of an owner reference: versions of one kind are the same kind."""
    group, slash, _ = str(reference["apiVersion"]).rpartition("/")
    return group if slash else ""


class Context:
    """What the controllers of one process share. `now_s` is the time of day (tests set it), `chance` the only source of chance."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        recorder: Callable[[str], Recorder],
        now_s: Callable[[], float] = time.time,
        chance: random.Random | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client, self.informers, self.now_s, self.monotonic_s = client, informers, now_s, monotonic_s
        self.chance = chance or random.Random()
        self.recorder = recorder
        """Gives the recorder of a component, by its name as events show it."""


class Controller:
    name = ""
    """As it is called in --controllers."""
    component = ""
    """As events name their source: replicaset-controller."""
    workers = 1

    def __init__(self, context: Context) -> None:
        assert self.name, f"{type(self).__name__} has no name"
        self.context = context
        self.client = context.client
        self.queue: WorkQueue[str] = WorkQueue()
        self.expectations = Expectations(context.monotonic_s)
        self.recorder = context.recorder(self.component or f"{self.name}-controller")
        self.performer = Performer(self.client, self.recorder, self.expectations)
        self._informers: list[Informer] = []
        self.watch()

    # --- to be written by a controller --------------------------------------------------------------------------------

    def watch(self) -> None:
        """Say what is watched, and which keys it wakes."""

    def reconcile(self, key: str) -> Sequence[Action]:
        """From what the caches hold to what shall be done. Pure but for reading caches and clock."""
        raise NotImplementedError(f"{type(self).__name__} has neither reconcile nor sync")

    async def sync(self, key: str) -> float | None:
        """Make one key right. Returns after how many seconds to look again, or None."""
        return await self.performer.perform(self.reconcile(key))

    # --- watches ------------------------------------------------------------------------------------------------------

    def watched(self, resource: Resource, wake: Callable[[Object], None] | None = None, namespace: str = "", field_selector: str = "") -> Informer:
        """The shared informer of a resource; every change of an object wakes what `wake` adds to the queue."""
        informer = self.context.informers.of(resource, namespace, field_selector=field_selector)
        if informer not in self._informers:
            self._informers.append(informer)
        if wake is not None:
            informer.handle(add=wake, update=lambda _, new: wake(new), delete=wake)
        return informer

    def enqueue(self, obj: Object) -> None:
        self.queue.add(key_of(obj))

    def enqueue_owner(self, resource: Resource) -> Callable[[Object], None]:
        """Wakes the controller of an object, if it is one of `resource`."""

        def wake(obj: Object) -> None:
            owner = controller_of(obj)
            if owner is None or owner["kind"] != resource.kind or group_of(owner) != resource.group:
                return
            self.queue.add(f"{namespace_of(obj)}/{owner['name']}" if resource.namespaced else str(owner["name"]))

        return wake

    def dependents(self, resource: Resource, owner: Resource, also: Callable[[Object], None] | None = None) -> Informer:
        """Watch what `owner` objects control, counting it against expectations. A changed controller wakes both; `also` is told of every change
        (to wake by selector those that might adopt an object without a controller)."""
        wake = self.enqueue_owner(owner)

        def key(obj: Object) -> str:
            reference = controller_of(obj)
            return f"{namespace_of(obj)}/{reference['name']}" if reference is not None and reference["kind"] == owner.kind else ""

        def added(obj: Object) -> None:
            if obj["metadata"].get("deletionTimestamp"):
                gone(obj)  # after a restart: it is not there, only not gone yet
                return
            self.expectations.creation_observed(key(obj))
            wake(obj)
            if also is not None:
                also(obj)

        def updated(old: Object, new: Object) -> None:
            if resource_version_of(old) == resource_version_of(new):
                return
            if new["metadata"].get("deletionTimestamp"):
                gone(new)
                return
            before, after = controller_of(old), controller_of(new)
            if before != after:
                wake(old)
            wake(new)
            if also is not None:
                also(new)

        def gone(obj: Object) -> None:
            self.expectations.deletion_observed(key(obj), obj["metadata"].get("uid", ""))
            wake(obj)
            if also is not None and controller_of(obj) is None:
                also(obj)

        informer = self.watched(resource)
        informer.handle(add=added, update=updated, delete=gone)
        return informer

    # --- the loop -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled: wait for the caches, then work."""
        for informer in self._informers:
            await informer.synced.wait()
        log.info("caches are synced", extra=fields(controller=self.name))
        try:
            async with Tasks(self.name) as tasks:
                for number in range(self.workers):
                    tasks.serve(f"worker {number}", self._work())
                for name, work in self.background():
                    tasks.serve(name, work)
        finally:
            self.queue.shut_down()

    def background(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        """Further loops of this controller, by name."""
        return ()

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                await self.process(key)
            finally:
                self.queue.done(key)

    async def process(self, key: str) -> None:
        """One key: whatever fails is tried again, later each time."""
        try:
            again_s = await self.sync(key)
        except ApiError as error:
            # Somebody was faster, or it is gone: the caches will show it in a moment, and nobody needs to read about it.
            level = logging.DEBUG if error.reason in ("Conflict", "NotFound", "AlreadyExists") else logging.WARNING
            log.log(level, "reconcile failed", extra=fields(controller=self.name, key=key, error=str(error), reason=error.reason))
            self.queue.add_rate_limited(key)
        except Unreachable as error:
            log.warning("reconcile failed", extra=fields(controller=self.name, key=key, error=str(error)))
            self.queue.add_rate_limited(key)
        except Exception:
            log.exception("reconcile failed", extra=fields(controller=self.name, key=key))
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
            if again_s is not None:
                self.queue.add_after(key, again_s)
