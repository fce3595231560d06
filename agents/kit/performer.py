"""Carries actions out, in order; the first failure is raised and the rest is left: the next reconcile sees what became of it."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from agents.kit.actions import NORMAL, WARNING, Action, Create, Delete, Event, Patch, Requeue, SlowStart, Together, Update, UpdateStatus
from agents.kit.expectations import Expectations
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, name_of, namespace_of
from apiserver.machinery.status import ApiError

SLOW_START_INITIAL = 1
REQUESTS_AT_ONCE = 32
"""Of one reconcile: each request under way has a connection of its own."""


class Recorder(Protocol):
    """Where events go: agents.kit.events.Recorder, or a list in a test."""

    def event(self, about: Object, type_: str, reason: str, message: str) -> None: ...


class Performer:
    def __init__(self, client: Client, recorder: Recorder, expectations: Expectations | None = None) -> None:
        self._client, self._recorder, self._expectations = client, recorder, expectations

    async def perform(self, actions: Sequence[Action]) -> float | None:
        """The soonest `Requeue` among them, in seconds. Raises ApiError and Unreachable."""
        soonest_s: float | None = None
        for action in actions:
            if isinstance(action, Requeue):
                soonest_s = action.after_s if soonest_s is None else min(soonest_s, action.after_s)
            elif isinstance(action, SlowStart):
                await self._slow_start(action.actions)
            elif isinstance(action, Together):
                await self._together(action.actions)
            else:
                self._expect((action,))
                await self._one(action)
        return soonest_s

    # --- many ---------------------------------------------------------------------------------------------------------

    async def _slow_start(self, actions: Sequence[Action]) -> None:
        self._expect(actions)
        done, batch = 0, SLOW_START_INITIAL
        while done < len(actions):
            now = actions[done : done + batch]
            done += len(now)
            if failure := await self._all(now):
                for skipped in actions[done:]:
                    self._unexpect(skipped)
                raise failure
            batch *= 2

    async def _together(self, actions: Sequence[Action]) -> None:
        self._expect(actions)
        if failure := await self._all(actions):
            raise failure

    async def _all(self, actions: Sequence[Action]) -> BaseException | None:
        """Carry out all of them, whatever becomes of the others; the first failure."""
        slots = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def one(action: Action) -> None:
            async with slots:
                await self._one(action)

        results = await asyncio.gather(*(one(action) for action in actions), return_exceptions=True)
        return next((result for result in results if isinstance(result, BaseException)), None)

    # --- one ----------------------------------------------------------------------------------------------------------

    async def _one(self, action: Action) -> None:
        client = self._client
        if isinstance(action, Create):
            await self._create(action)
        elif isinstance(action, Delete):
            await self._delete(action)
        elif isinstance(action, UpdateStatus):
            await client.update(action.resource, action.object, subresource="status")
        elif isinstance(action, Update):
            await client.update(action.resource, action.object, subresource=action.subresource)
        elif isinstance(action, Patch):
            await client.patch(action.resource, action.name, action.patch, action.namespace, kind=action.kind, subresource=action.subresource)
        elif isinstance(action, Event):
            self._recorder.event(action.about, action.type, action.reason, action.message)
        else:
            raise TypeError(f"{type(action).__name__} stands in a list of its own, not inside another action")

    async def _create(self, action: Create) -> None:
        kind = action.resource.kind.lower()
        try:
            obj = {"apiVersion": action.resource.api_version, "kind": action.resource.kind, **action.object}
            made = await self._client.create(action.resource, obj, namespace_of(obj))
        except (ApiError, Unreachable) as error:
            self._unexpect(action)
            if is_namespace_terminating(error):
                return  # every creation here fails from now on, and the owner goes with its namespace: nothing to tell, nothing to try again
            if action.told_to is not None:
                self._recorder.event(action.told_to, WARNING, "FailedCreate", f"Error creating: {error}")
            raise
        if action.told_to is not None:
            self._recorder.event(action.told_to, NORMAL, "SuccessfulCreate", f"Created {kind}: {name_of(made)}")

    async def _delete(self, action: Delete) -> None:
        kind = action.resource.kind.lower()
        try:
            await self._client.delete(
                action.resource, action.name, action.namespace, grace_s=action.grace_s, uid=action.uid, propagation=action.propagation
            )
        except (ApiError, Unreachable) as error:
            self._unexpect(action)
            gone = isinstance(error, ApiError) and (error.reason == "NotFound" or (error.reason == "Conflict" and bool(action.uid)))
            if gone:
                return  # not there, or another one of its name: what was meant is gone
            if action.told_to is not None:
                self._recorder.event(action.told_to, WARNING, "FailedDelete", f"Error deleting: {error}")
            raise
        if action.told_to is not None:
            self._recorder.event(action.told_to, NORMAL, "SuccessfulDelete", f"Deleted {kind}: {action.name}")

    # --- expectations -------------------------------------------------------------------------------------------------

    def _expect(self, actions: Sequence[Action]) -> None:
        """Before the requests: the informer may show what they did before they are answered."""
        if self._expectations is None:
            return
        for action in actions:
            if isinstance(action, Create) and action.expected_by:
                self._expectations.expect_creations(action.expected_by, 1)
            elif isinstance(action, Delete) and action.expected_by:
                self._expectations.expect_deletions(action.expected_by, [action.uid])

    def _unexpect(self, action: Action) -> None:
        if self._expectations is None:
            return
        if isinstance(action, Create) and action.expected_by:
            self._expectations.creation_observed(action.expected_by)
        elif isinstance(action, Delete) and action.expected_by:
            self._expectations.deletion_observed(action.expected_by, action.uid)


def is_namespace_terminating(error: BaseException) -> bool:
    """A creation refused because its namespace is being deleted (cause NamespaceTerminating)."""
    return isinstance(error, ApiError) and any(cause.reason == "NamespaceTerminating" for cause in error.causes)
