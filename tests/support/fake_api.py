"""An API server in memory with the interface of `apiserver.client.rest.Client`: simple and deterministic, for the unit tests of agents.

It keeps resourceVersions, uids (`uid-1`, ...), generations, finalizers, graceful ends by hand, label and field selectors, watches with initial events
and 410 after `compact`. It does not default, validate or authorize. `fail` makes the next calls of a verb fail; `calls` is what was asked.
"""

import asyncio
import copy
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any

from apiserver.client.watch import ADDED, BOOKMARK, DELETED, INITIAL_EVENTS_END, MODIFIED, WatchEvent
from apiserver.machinery import status
from apiserver.machinery.objects import Object, labels_of, name_of, namespace_of
from apiserver.machinery.resources import Resource
from apiserver.machinery.status import ApiError

FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
HOLDS_PODS = ("pods",)


class FakeApi:
    def __init__(self, now: Callable[[], str] = lambda: "2026-01-01T00:00:00Z") -> None:
        self.objects: dict[str, dict[tuple[str, str], Object]] = {}
        self.calls: list[tuple[str, str, str]] = []
        """verb, qualified resource (with its subresource), namespace/name."""
        self.watch_list = True
        self.graceful_pods = False
        """Whether deleted pods of a node stay, terminating, until somebody deletes them with a grace of 0."""
        self._now = now
        self._version = 100
        self._uids = 0
        self._names = 0
        self._history: dict[str, list[tuple[int, WatchEvent]]] = {}
        self._compacted: dict[str, int] = {}
        self._watches: dict[str, list[asyncio.Queue[Any]]] = {}
        self._failures: dict[tuple[str, str], list[Exception]] = {}

    # --- for tests ----------------------------------------------------------------------------------------------------

    def fail(self, verb: str, resource: str, *errors: Exception) -> None:
        self._failures.setdefault((verb, resource), []).extend(errors)

    def compact(self) -> None:
        """Forget what happened, and end every watch: who resumes is told 410."""
        for resource, queues in self._watches.items():
            self._history[resource] = []
            self._compacted[resource] = self._version
            for queue in queues:
                queue.put_nowait(None)
        for resource in self.objects:
            self._compacted[resource] = self._version
            self._history[resource] = []

    def end_watches(self) -> None:
        for queues in self._watches.values():
            for queue in queues:
                queue.put_nowait(None)

    def break_watches(self, error: Exception) -> None:
        for queues in self._watches.values():
            for queue in queues:
                queue.put_nowait(error)

    def all(self, resource: Resource | str, namespace: str = "") -> list[Object]:
        found = self.objects.get(resource if isinstance(resource, str) else resource.qualified, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def counted(self) -> Counter[tuple[str, str]]:
        return Counter((verb, resource) for verb, resource, _ in self.calls)

    def put(self, resource: Resource, obj: Object, namespace: str = "") -> Object:
        """Create, or overwrite with everything as given, status included; a call that is not counted."""
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        if namespace:
            metadata["namespace"] = namespace
        key = (namespace_of(obj), name_of(obj))
        before = self._table(resource).get(key)
        if before is not None:
            metadata.setdefault("uid", before["metadata"]["uid"])
        self._prepare(resource, obj)
        return self._store(resource, key, obj, MODIFIED if before else ADDED)

    def touch(self, resource: Resource, namespace: str, name: str, change: Callable[[Object], None]) -> Object:
        obj = copy.deepcopy(self._table(resource)[namespace, name])
        change(obj)
        return self._finish(resource, (namespace, name), obj)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """Gone at once, as when the last finalizer and the grace are over."""
        gone = self._table(resource).pop((namespace, name))
        self._tell(resource, DELETED, gone)

    # --- the client's verbs -------------------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Object:
        self._called("get", resource, namespace, name, subresource)
        return copy.deepcopy(self._existing(resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Object:
        self._called("list", resource, namespace, "")
        items = [copy.deepcopy(obj) for obj in self.all(resource, namespace) if _selected(obj, label_selector, field_selector)]
        start = int(continue_token or 0)
        page = items[start : start + limit] if limit else items[start:]
        token = str(start + limit) if limit and start + limit < len(items) else ""
        for item in page:
            item.pop("kind", None)
            item.pop("apiVersion", None)
        return {
            "apiVersion": resource.api_version,
            "kind": f"{resource.kind}List",
            "metadata": {"resourceVersion": str(self._version), **({"continue": token} if token else {})},
            "items": page,
        }

    async def list_all(self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = "") -> "list[Object]":
        self._called("list", resource, namespace, "")
        return [copy.deepcopy(obj) for obj in self.all(resource, namespace) if _selected(obj, label_selector, field_selector)]

    async def create(
        self, resource: Resource, obj: Object, namespace: str = "", *, subresource: str = "", name: str = "", dry_run: bool = False
    ) -> Object:
        obj = json.loads(json.dumps(obj))
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            self._names += 1
            metadata["name"] = f"{metadata['generateName']}{self._names:05}"
        if namespace and resource.namespaced:
            metadata.setdefault("namespace", namespace)
        self._called("create", resource, namespace, name or name_of(obj), subresource)
        key = (namespace_of(obj), name_of(obj))
        if key in self._table(resource):
            raise status.already_exists(resource.group, resource.plural, name_of(obj))
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        obj.pop("status", None) if resource.plural not in ("events", "leases") else None
        metadata.pop("uid", None)
        metadata.pop("creationTimestamp", None)
        self._prepare(resource, obj)
        return copy.deepcopy(self._store(resource, key, obj, ADDED))

    async def update(self, resource: Resource, obj: Object, *, subresource: str = "") -> Object:
        self._called("update", resource, namespace_of(obj), name_of(obj), subresource)
        before = self._existing(resource, namespace_of(obj), name_of(obj))
        asked = (obj.get("metadata") or {}).get("resourceVersion")
        if asked and asked != before["metadata"]["resourceVersion"]:
            raise status.conflict(resource.group, resource.plural, name_of(obj))
        new = json.loads(json.dumps(obj))
        if subresource == "status":
            new = {**copy.deepcopy(before), **({"status": new["status"]} if "status" in new else {})}
        elif subresource == "finalize":
            new = {**copy.deepcopy(before), "spec": new["spec"]}
        elif "status" in before:
            new["status"] = copy.deepcopy(before["status"])
        return copy.deepcopy(self._finish(resource, (namespace_of(obj), name_of(obj)), new))

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Any,
        namespace: str = "",
        *,
        kind: str = "",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
    ) -> Object:
        self._called("patch", resource, namespace, name, subresource)
        before = self._existing(resource, namespace, name)
        uid = ((patch.get("metadata") or {}).get("uid")) if isinstance(patch, dict) else None
        if uid and uid != before["metadata"]["uid"]:
            raise status.conflict(resource.group, resource.plural, name, "uid mismatch")
        version = ((patch.get("metadata") or {}).get("resourceVersion")) if isinstance(patch, dict) else None
        if version and version != before["metadata"]["resourceVersion"]:
            raise status.conflict(resource.group, resource.plural, name)
        new = _merged(copy.deepcopy(before), json.loads(json.dumps(patch)), strategic="strategic" in kind)
        return copy.deepcopy(self._finish(resource, (namespace, name), new))

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str = "",
        *,
        grace_s: int | None = None,
        propagation: str = "",
        uid: str = "",
        resource_version: str = "",
    ) -> Object:
        self._called("delete", resource, namespace, name)
        before = self._existing(resource, namespace, name)
        for wanted, field in ((uid, "uid"), (resource_version, "resourceVersion")):
            if wanted and before["metadata"][field] != wanted:
                raise status.conflict(resource.group, resource.plural, name, f"the {field} in the precondition does not match")
        new = copy.deepcopy(before)
        metadata = new["metadata"]
        finalizers = list(metadata.get("finalizers") or ())
        if (finalizer := FINALIZERS.get(propagation)) and finalizer not in finalizers:
            finalizers.append(finalizer)
        if resource.plural == "namespaces" and (new.get("spec") or {}).get("finalizers"):
            new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}
        waits = resource.plural in HOLDS_PODS and self.graceful_pods and grace_s != 0 and (new.get("spec") or {}).get("nodeName")
        if finalizers or waits or (resource.plural == "namespaces" and (new.get("spec") or {}).get("finalizers")):
            if finalizers:
                metadata["finalizers"] = finalizers
            metadata.setdefault("deletionTimestamp", self._now())
            metadata.setdefault("deletionGracePeriodSeconds", 30 if waits else 0)
            return copy.deepcopy(self._store(resource, (namespace, name), new, MODIFIED))
        self.remove(resource, namespace, name)
        return status.success()

    async def delete_collection(self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = "") -> Object:
        self._called("deletecollection", resource, namespace, "")
        for obj in self.all(resource, namespace):
            if _selected(obj, label_selector, field_selector):
                await self.delete(resource, name_of(obj), namespace_of(obj))
        return status.success()

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        initial_events: bool = False,
        timeout_s: float = 300.0,
    ) -> AsyncGenerator[WatchEvent, None]:
        self._called("watch", resource, namespace, "watch-list" if initial_events else resource_version)
        if initial_events and not self.watch_list:
            raise status.invalid("", "ListOptions", "", [status.forbidden_value("sendInitialEvents", "sendInitialEvents is forbidden for watch")])
        name = resource.qualified
        queue: asyncio.Queue[Any] = asyncio.Queue()

        def wanted(obj: Object) -> bool:
            return (not namespace or namespace_of(obj) == namespace) and _selected(obj, label_selector, field_selector)

        if not initial_events and int(resource_version or 0) < self._compacted.get(name, 0):
            raise status.expired(f"too old resource version: {resource_version} ({self._compacted[name]})")
        self._watches.setdefault(name, []).append(queue)
        try:
            if initial_events:
                for obj in self.all(resource):
                    if wanted(obj):
                        yield WatchEvent(ADDED, copy.deepcopy(obj))
                end = {"resourceVersion": str(self._version), "annotations": {INITIAL_EVENTS_END: "true"}}
                yield WatchEvent(BOOKMARK, {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": end})
            else:
                for version, event in list(self._history.get(name, ())):
                    if version > int(resource_version or 0) and wanted(event.object):
                        yield WatchEvent(event.type, copy.deepcopy(event.object))
            while True:
                event = await queue.get()
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                if wanted(event.object):
                    yield WatchEvent(event.type, copy.deepcopy(event.object))
        finally:
            self._watches[name].remove(queue)

    async def request(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
        self.calls.append((method, path, ""))
        answer = self.pages[path] if path in getattr(self, "pages", {}) else None
        return (404, {}, b"{}") if answer is None else (200, {}, json.dumps(answer).encode())

    # --- inside -------------------------------------------------------------------------------------------------------

    def _table(self, resource: Resource) -> dict[tuple[str, str], Object]:
        return self.objects.setdefault(resource.qualified, {})

    def _called(self, verb: str, resource: Resource, namespace: str, name: str, subresource: str = "") -> None:
        called = f"{resource.qualified}/{subresource}" if subresource else resource.qualified
        self.calls.append((verb, called, f"{namespace}/{name}" if namespace else name))
        waiting = self._failures.get((verb, called))
        if waiting:
            raise waiting.pop(0)

    def _existing(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self._table(resource).get((namespace, name))
        if found is None:
            raise status.not_found(resource.group, resource.plural, name)
        return found

    def _prepare(self, resource: Resource, obj: Object) -> None:
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
        metadata = obj["metadata"]
        if not metadata.get("uid"):
            self._uids += 1
            metadata["uid"] = f"uid-{self._uids}"
        metadata.setdefault("creationTimestamp", self._now())
        metadata.setdefault("generation", 1)

    def _finish(self, resource: Resource, key: tuple[str, str], new: Object) -> Object:
        before = self._table(resource)[key]
        for field in ("uid", "creationTimestamp", "generation", "deletionTimestamp"):
            if field in before["metadata"]:
                new["metadata"][field] = before["metadata"][field]
        if new.get("spec") != before.get("spec"):
            new["metadata"]["generation"] = before["metadata"].get("generation", 1) + 1
        done = not new["metadata"].get("finalizers") and not (new.get("spec") or {}).get("finalizers")
        if new["metadata"].get("deletionTimestamp") and done and not new["metadata"].get("deletionGracePeriodSeconds"):
            self.remove(resource, *key)
            return new
        same = {**new, "metadata": {**new["metadata"], "resourceVersion": ""}} == {
            **before,
            "metadata": {**before["metadata"], "resourceVersion": ""},
        }
        return before if same else self._store(resource, key, new, MODIFIED)

    def _store(self, resource: Resource, key: tuple[str, str], obj: Object, type_: str) -> Object:
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self._table(resource)[key] = obj
        self._tell(resource, type_, obj, bump=False)
        return obj

    def _tell(self, resource: Resource, type_: str, obj: Object, bump: bool = True) -> None:
        if bump:
            self._version += 1
            obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        event = WatchEvent(type_, obj)
        self._history.setdefault(resource.qualified, []).append((self._version, event))
        for queue in self._watches.get(resource.qualified, ()):
            queue.put_nowait(event)


def _selected(obj: Object, labels: str, fields: str) -> bool:
    return all(_label_matches(obj, term) for term in re.split(r",(?![^(]*\))", labels) if term) and all(
        _field_matches(obj, term) for term in fields.split(",") if term
    )


def _label_matches(obj: Object, term: str) -> bool:
    there = labels_of(obj)
    if found := re.fullmatch(r"\s*(\S+)\s+(in|notin)\s+\(([^)]*)\)\s*", term):
        key, operator, values = found.groups()
        return (there.get(key) in [value.strip() for value in values.split(",")]) == (operator == "in")
    if "!=" in term:
        key, value = term.split("!=")
        return there.get(key) != value
    if "=" in term:
        key, _, value = term.partition("=")
        return there.get(key.strip()) == value.lstrip("=").strip()
    return (term[1:] not in there) if term.startswith("!") else term in there


def _field_matches(obj: Object, term: str) -> bool:
    path, _, value = term.replace("!=", "=!").replace("==", "=").partition("=")
    found: Any = obj
    for part in path.split("."):
        found = (found or {}).get(part)
    return (str(found or "") != value[1:]) if value.startswith("!") else str(found or "") == value


MERGE_KEYS = {"ownerReferences": "uid", "conditions": "type", "containers": "name", "podIPs": "ip", "hostIPs": "ip"}


def _merged(before: Any, patch: Any, strategic: bool) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = before if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif strategic and key in MERGE_KEYS and isinstance(value, list):
            result[key] = _merged_list(list(result.get(key) or ()), value, MERGE_KEYS[key])
        elif strategic and key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            result[field] = [each for each in result.get(field) or () if each not in value]
        elif strategic and key == "finalizers" and isinstance(value, list):
            result[key] = list(dict.fromkeys([*(result.get(key) or ()), *value]))
        else:
            result[key] = _merged(result.get(key), value, strategic)
    return result


def _merged_list(before: list[Any], patch: list[Any], key: str) -> list[Any]:
    for each in patch:
        at = next((at for at, old in enumerate(before) if old.get(key) == each.get(key)), None)
        if each.get("$patch") == "delete":
            if at is not None:
                before.pop(at)
        elif at is None:
            before.append(each)
        else:
            before[at] = _merged(before[at], each, strategic=True)
    return before


def conflict(resource: Resource, name: str) -> ApiError:
    return status.conflict(resource.group, resource.plural, name)
