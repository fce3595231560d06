"""Answers as plain values: what each server chooses itself is named, everything else is left as it came."""

import json
import re
from typing import Any

import yaml

from apiserver.handlers.decoding import _Loader as Loader
from tests.support.http import Answer

Plain = dict[str, Any]
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
AGE = re.compile(r"\d+(ms|s|m\d+s|m)$")
TIMES = frozenset({"creationTimestamp", "deletionTimestamp", "time", "lastTransitionTime"})
TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$")
TOLD_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?( ?[-+]\d{4})?( ?[A-Z]+)?")
TOLD_VERSION = re.compile(r"((?:ResourceVersion in [a-z ]+|current|resource version): )(\d+)")
HEADERS = ("warning", "content-type", "retry-after", "allow")


class Names:
    """Numbers in the order in which one server tells them: equal on both sides exactly if the same things changed at the same time."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, kind: str, value: str) -> str:
        return self._known.setdefault(f"{kind}:{value}", f"<{kind} {sum(each.startswith(kind) for each in self._known)}>")

    def known(self, kind: str, value: str) -> str | None:
        return self._known.get(f"{kind}:{value}")


def normal(answer: Answer, names: Names) -> Plain:
    headers = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
    text = answer.body.decode(errors="replace")
    body: Any
    try:
        body = yaml.load(text, Loader=Loader) if "yaml" in headers.get("content-type", "") else json.loads(text) if text else ""
    except ValueError:
        body = _text(text, names)
    made: Plain = {"code": answer.status, "headers": headers, "body": _walk(body, names, ())}
    return made


def _walk(value: Any, names: Names, at: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        made = {key: _walk(each, names, (*at, key)) for key, each in value.items()}
        if _has_causes(made):
            return _causes(made)
        return _collection(made) if _is_collection(value) else made
    if isinstance(value, list):
        found = [_walk(each, names, (*at, "[]")) for each in value]
        # Entries of the same second are ordered by time first, so their order tells when a second began.
        return sorted(found, key=lambda each: json.dumps(each, sort_keys=True)) if at and at[-1] == "managedFields" else found
    if isinstance(value, str):
        return _string(value, names, at)
    return value


def _has_causes(value: Any) -> bool:
    return value.get("kind") == "Status" and isinstance(value.get("details"), dict) and len(value["details"].get("causes") or ()) > 1


def _causes(made: Any) -> Any:
    """The genuine server finds the faults of an object in the random order of Go's maps, and those of metadata several times."""
    causes = {json.dumps(each, sort_keys=True): each for each in made["details"]["causes"]}
    head, bracket, rest = made["message"].partition("[")
    parts = [part for part in rest.removesuffix("]").split(", ") if part]
    return {
        **made,
        "message": head + bracket + ", ".join(sorted(parts)),
        "details": {**made["details"], "causes": [causes[each] for each in sorted(causes)]},
    }


def _is_collection(value: Any) -> bool:
    metadata = value.get("metadata")
    return (("items" in value or "rows" in value) and isinstance(metadata, dict) and "name" not in metadata) or value.get("kind") == "WatchEvent"


def _collection(made: Any) -> Any:
    """The store's revision moves on for other reasons, too."""
    metadata = dict(made["metadata"])
    if metadata.get("resourceVersion"):
        metadata["resourceVersion"] = "<revision>"
    if metadata.get("continue"):
        metadata["continue"] = "<continue>"
    return {**made, "metadata": metadata}


def _string(value: str, names: Names, at: tuple[str, ...]) -> str:
    key = at[-1] if at else ""
    if key == "uid" and UUID.fullmatch(value):
        return names.of("uid", value)
    if key == "resourceVersion" and value.isdigit() and int(value) > 1:
        return names.of("rv", value)
    if key in TIMES and TIME.match(value):
        return "<time>"
    if at[-2:] == ("cells", "[]") and AGE.fullmatch(value):
        return "<age>"
    if key == "continue":
        return "<continue>"
    if key == "message":
        return _text(value, names)
    return value


def _text(value: str, names: Names) -> str:
    value = UUID.sub(lambda found: names.known("uid", found[0]) or "<uid>", value)
    value = TOLD_TIME.sub("<time>", value)
    return TOLD_VERSION.sub(lambda found: f"{found[1]}{names.known('rv', found[2]) or '<rv>' if int(found[2]) > 1 else found[2]}", value)
