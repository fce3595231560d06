"""The patches that need no schema: JSON patch (RFC 6902) and JSON merge patch (RFC 7386); the third, strategic merge patch, has a file of its own.

No argument is ever changed, so a patch may be applied to a cached object; what comes out shares nothing with what went in. Errors are those of
upstream's patch handler (apiserver/pkg/endpoints/handlers/patch.go) and of evanphx/json-patch below it.
"""

from typing import Any

import msgspec

from apiserver.machinery import strategic
from apiserver.machinery.objects import Object, copied
from apiserver.machinery.status import ApiError, bad_request

OPERATIONS_MAX = 10_000
"""Of one JSON patch (upstream's limit)."""
COPIED_MAX_BYTES = 3 * 1024 * 1024
"""What all copies of one JSON patch may add: a few that copy into themselves would double the object each time."""
POINTER_MAX_PARTS = 1000

REJECTED = "the server rejected our request due to an error in our request"
strategic_patch = strategic.strategic_patch


def rejected(why: str) -> ApiError:
    """A patch that does not fit the object: 422. Upstream tells its first half alone."""
    return ApiError("Invalid", f"{REJECTED}: {why}")


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: objects are merged, null removes, anything else replaces."""
    if not isinstance(patch, dict):
        return copied(patch)
    return _merged(copied(document) if isinstance(document, dict) else {}, copied(patch))


def _merged(document: Object, patch: Object) -> Object:
    for key, value in patch.items():
        if value is None:
            document.pop(key, None)
        elif isinstance(value, dict):
            below = document.get(key)
            document[key] = _merged(below if isinstance(below, dict) else {}, value)
        else:
            document[key] = value
    return document


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902. Raises ApiError: 400 if it is not a patch, 413 if it is too long, 422 if it does not fit the document."""
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise bad_request("a JSON patch is a list of operations")
    if len(operations) > OPERATIONS_MAX:
        told = f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}"
        raise ApiError("RequestEntityTooLarge", told)
    return _Patching(copied(document)).run(operations)


class _Patching:
    """One run over a document of its own."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.copied_bytes = 0

    def run(self, operations: list[Object]) -> Any:
        for each in operations:
            name = each.get("op")
            act = _OPERATIONS.get(name) if isinstance(name, str) else None
            if act is None:
                raise rejected(f"Unexpected kind: {name}")
            act(self, each)
        return self.document

    def add(self, operation: Object) -> None:
        self._put(_pointer(operation, "path"), copied(_value(operation)), "add")

    def remove(self, operation: Object) -> None:
        self._take(_pointer(operation, "path"), "remove")

    def replace(self, operation: Object) -> None:
        parts = _pointer(operation, "path")
        value = copied(_value(operation))
        if not parts:
            self.document = value
            return
        holder = self._holder(parts, "replace")
        if isinstance(holder, dict):
            if parts[-1] not in holder:
                raise rejected(f"replace operation does not apply: doc is missing key: {_shown(parts)}: missing value")
            holder[parts[-1]] = value
        else:
            holder[_index(parts, len(holder) - 1, "replace")] = value

    def move(self, operation: Object) -> None:
        source, target = _pointer(operation, "from"), _pointer(operation, "path")
        if target[: len(source)] == source and target != source:
            raise rejected(f"move operation does not apply: {_shown(target)} lies inside of {_shown(source)}")
        value = self._at(source, "move")
        if source != target:
            self._take(source, "move")
            self._put(target, value, "move")

    def copy(self, operation: Object) -> None:
        value = self._at(_pointer(operation, "from"), "copy")
        text = msgspec.json.encode(value)
        self.copied_bytes += len(text)
        if self.copied_bytes > COPIED_MAX_BYTES:
            why = f"Unable to complete the copy, the accumulated size increase of copy is {self.copied_bytes}, exceeding the limit {COPIED_MAX_BYTES}"
            raise rejected(why)
        self._put(_pointer(operation, "path"), msgspec.json.decode(text), "copy")

    def test(self, operation: Object) -> None:
        parts = _pointer(operation, "path")
        try:
            found = self._at(parts, "test")
        except ApiError:
            # evanphx/json-patch: a test for null holds where nothing is.
            if operation.get("value") is None:
                return
            raise
        if not same(found, operation.get("value")):
            raise rejected(f"testing value {_shown(parts)} failed: test failed")

    def _at(self, parts: list[str], name: str) -> Any:
        if not parts:
            return self.document
        holder = self._holder(parts, name)
        if isinstance(holder, dict):
            if parts[-1] not in holder:
                raise rejected(f"{name} operation does not apply: doc is missing key: {_shown(parts)}: missing value")
            return holder[parts[-1]]
        return holder[_index(parts, len(holder) - 1, name)]

    def _holder(self, parts: list[str], name: str) -> Any:
        """The object or list that holds what `parts` leads to."""
        found = self.document
        for at, part in enumerate(parts[:-1]):
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif isinstance(found, list):
                found = found[_index(parts[: at + 1], len(found) - 1, name)]
            else:
                found = None
        if not isinstance(found, (dict, list)):
            raise rejected(f"{name} operation does not apply: doc is missing path: {_shown(parts)}: missing value")
        return found

    def _put(self, parts: list[str], value: Any, name: str) -> None:
        if not parts:
            self.document = value
            return
        holder = self._holder(parts, name)
        if isinstance(holder, dict):
            holder[parts[-1]] = value
        elif parts[-1] == "-":
            holder.append(value)
        else:
            holder.insert(_index(parts, len(holder), name), value)

    def _take(self, parts: list[str], name: str) -> None:
        if not parts:
            raise rejected(f"{name} operation does not apply: the whole document cannot be removed")
        holder = self._holder(parts, name)
        if isinstance(holder, dict):
            if parts[-1] not in holder:
                raise rejected(f"{name} operation does not apply: doc is missing key: {_shown(parts)}: missing value")
            del holder[parts[-1]]
        else:
            del holder[_index(parts, len(holder) - 1, name)]


_OPERATIONS = {
    "add": _Patching.add,
    "remove": _Patching.remove,
    "replace": _Patching.replace,
    "move": _Patching.move,
    "copy": _Patching.copy,
    "test": _Patching.test,
}


def _pointer(operation: Object, key: str) -> list[str]:
    text = operation.get(key)
    if not isinstance(text, str):
        raise rejected(f"{operation.get('op')} operation has no {key}: it must be a JSON pointer")
    if not text:
        return []
    if not text.startswith("/"):
        raise rejected(f"{operation.get('op')} operation does not apply: {key} must begin with '/': {text}")
    parts = text.split("/")[1:]
    if len(parts) > POINTER_MAX_PARTS:
        raise rejected(f"a JSON pointer has at most {POINTER_MAX_PARTS} parts, this one has {len(parts)}")
    return [each.replace("~1", "/").replace("~0", "~") for each in parts]


def _value(operation: Object) -> Any:
    if "value" not in operation:
        raise rejected(f"{operation.get('op')} operation has no value")
    return operation["value"]


def _shown(parts: list[str]) -> str:
    return '"' + "".join("/" + each.replace("~", "~0").replace("/", "~1") for each in parts) + '"'


def _index(parts: list[str], last: int, name: str) -> int:
    text = parts[-1]
    if not (text.isascii() and text.isdigit()) or (len(text) > 1 and text[0] == "0") or len(text) > 9:
        raise rejected(f"{name} operation does not apply: {_shown(parts)}: invalid array index")
    if int(text) > last:
        raise rejected(f"{name} operation does not apply: {_shown(parts)}: Unable to access invalid index: {text}")
    return int(text)


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: Python takes True for 1, JSON does not."""
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(same(one, other) for one, other in zip(left, right, strict=True))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
