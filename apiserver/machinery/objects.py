"""API objects are JSON as it came: dicts, lists, strings, numbers. Whoever is handed one from a cache must not change it (`copy.deepcopy` first)."""

from typing import Any, TypeVar

import msgspec

Object = dict[str, Any]
Json = TypeVar("Json")


def copied(value: Json) -> Json:
    """A deep copy of JSON, several times as fast as copy.deepcopy."""
    made: Json = msgspec.json.decode(msgspec.json.encode(value))
    return made


def metadata(obj: Object) -> Object:
    """The object's metadata, made if it is missing."""
    found: Object = obj.setdefault("metadata", {})
    return found


def name_of(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")


def namespace_of(obj: Object) -> str:
    """Empty for objects of the whole cluster."""
    return str((obj.get("metadata") or {}).get("namespace") or "")


def uid_of(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("uid") or "")


def labels_of(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}


def annotations_of(obj: Object) -> dict[str, str]:
    return (obj.get("metadata") or {}).get("annotations") or {}


def resource_version_of(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")


def key_of(obj: Object) -> str:
    """`namespace/name`, or `name` for objects of the whole cluster: how queues and caches call it."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def is_terminating(obj: Object) -> bool:
    return bool((obj.get("metadata") or {}).get("deletionTimestamp"))


def controller_of(obj: Object) -> Object | None:
    """The owner reference that says `controller: true`, if there is one."""
    for reference in (obj.get("metadata") or {}).get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None
