"""Strategic merge patch: a merge patch that knows from the schema which lists are merged, and by which key (apimachinery/pkg/util/strategicpatch).

The directives: `$patch: replace | delete | merge` in a map or as a list's element, `$retainKeys`, `$deleteFromPrimitiveList/LIST`,
`$setElementOrder/LIST`. Where a place's schema says nothing, lists are replaced and maps are merged.
"""

from typing import Any

import msgspec

from apiserver.machinery.objects import Object
from apiserver.machinery.schema import Node
from apiserver.machinery.status import ApiError, bad_request

DIRECTIVE, RETAIN = "$patch", "$retainKeys"
DELETE_FROM, ORDER = "$deleteFromPrimitiveList", "$setElementOrder"

BAD_PRIMITIVE_LIST = "invalid patch format of primitive list"
BAD_RETAIN_KEYS = "invalid patch format of retainKeys"
BAD_ORDER = "invalid patch format of setElementOrder list"
LIST_OF_LISTS = "lists of lists are not supported"


def strategic_patch(document: Object, patch: Object, node: Node | None) -> Object:
    """`document` with `patch` merged into it by the rules of `node`; neither is changed. Raises ApiError (400; 422 where it does not fit)."""
    return _map(msgspec.json.decode(msgspec.json.encode(document)), msgspec.json.decode(msgspec.json.encode(patch)), node)


def _unfit(why: str) -> ApiError:
    return ApiError("Invalid", f"the server rejected our request due to an error in our request: {why}")


def _map(original: Object, patch: Object, node: Node | None) -> Object:
    """Merges into `original`, which is ours to change; so is `patch`."""
    if DIRECTIVE in patch:
        return _directed(patch)
    _retain(original, patch)
    _ordered_lists(original, patch, node)
    for key, value in patch.items():
        if key.startswith(DELETE_FROM):
            _delete_from(original, key, value)
        elif value is None:
            original.pop(key, None)
        elif key not in original:
            original[key] = _without_directives(value)
        else:
            original[key] = _value(original[key], value, node.field(key) if node is not None else None)
    return original


def _value(original: Any, patch: Any, node: Node | None) -> Any:
    strategies = node.patch_strategies if node is not None else ()
    if isinstance(original, dict) and isinstance(patch, dict):
        return _without_directives(patch) if "replace" in strategies else _map(original, patch, node)
    if isinstance(original, list) and isinstance(patch, list) and "merge" in strategies:
        assert node is not None
        return _list(original, patch, node)
    return _without_directives(patch)


def _directed(patch: Object) -> Object:
    if patch[DIRECTIVE] == "replace":
        del patch[DIRECTIVE]
        plain: Object = _without_directives(patch)
        return plain
    if patch[DIRECTIVE] == "delete":
        return {}
    raise _unfit(f"unknown patch type: {patch[DIRECTIVE]} in map: {_shown(patch)}")


def _retain(original: Object, patch: Object) -> None:
    """$retainKeys: what it does not name goes; and the patch may set only what it names."""
    if RETAIN not in patch:
        return
    kept = patch.pop(RETAIN)
    if not isinstance(kept, list):
        raise bad_request(BAD_RETAIN_KEYS)
    for key, value in patch.items():
        if value is not None and not key.startswith((DELETE_FROM, ORDER)) and key not in kept:
            raise bad_request(BAD_RETAIN_KEYS)
    for key in [key for key in original if key not in kept]:
        del original[key]


def _delete_from(original: Object, directive: str, values: Any) -> None:
    name = _named(directive, DELETE_FROM, BAD_PRIMITIVE_LIST)
    if not isinstance(values, list):
        raise bad_request(BAD_PRIMITIVE_LIST)
    if isinstance(original.get(name), list):
        original[name] = [each for each in original[name] if not _among(each, values)]


def _named(directive: str, prefix: str, fault: str) -> str:
    found, slash, name = directive.partition("/")
    if found != prefix or not slash:
        raise bad_request(fault)
    return name


def _ordered_lists(original: Object, patch: Object, node: Node | None) -> None:
    """$setElementOrder/LIST: the list is merged as it would be, then what the directive names stands in its order."""
    for directive in [key for key in patch if key.startswith(ORDER)]:
        order = patch.pop(directive)
        name = _named(directive, ORDER, BAD_ORDER)
        if not isinstance(order, list):
            raise bad_request(BAD_ORDER)
        live, given = original.get(name), patch.get(name)
        if not isinstance(live, (list, type(None))) or not isinstance(given, (list, type(None))):
            raise bad_request(BAD_ORDER)
        place = node.field(name) if node is not None else None
        key = place.patch_merge_key if place is not None else ""
        _check_order(given or [], order, key)
        if live is None and given is None:
            continue
        deleted = patch.pop(f"{DELETE_FROM}/{name}", None)
        patch.pop(name, None)
        merged: list[Any] = _value(live, given, place) if live is not None and given is not None else _without_directives(given or live or [])
        if isinstance(deleted, list):
            merged = [each for each in merged if not _among(each, deleted)]
        original[name] = _in_order(merged, order, live or [], key)


def _check_order(given: list[Any], order: list[Any], key: str) -> None:
    """What the patch sets must stand in the order that it asks for."""
    if not order or not given:
        return
    wanted = [each for each in given if not (isinstance(each, dict) and DIRECTIVE in each)]
    at = 0
    for each in wanted:
        while at < len(order) and not _equal(_identity(each, key), _identity(order[at], key)):
            at += 1
        if at == len(order):
            raise _unfit(f"The order in patch list:\n{_shown(given)}\n doesn't match {ORDER} list:\n{_shown(order)}\n")
        at += 1


def _list(original: list[Any], patch: list[Any], node: Node) -> list[Any]:
    if not original and not patch:
        return original
    kind = _element_kind(original, patch)
    if kind is list:
        raise _unfit(LIST_OF_LISTS)
    key = node.patch_merge_key
    if kind is not dict:
        merged = _distinct(original + patch)
        return _in_order(merged, patch, original, "")
    if not key:
        raise _unfit("cannot merge lists without merge key for type map")
    live, given = _special_elements(original, patch, key)
    merged = list(live)
    for each in given:
        at = _find(merged, key, _identity(each, key))
        if at is None:
            merged.append(_without_directives(each))
        else:
            merged[at] = _map(merged[at], each, node.element)
    return _in_order(merged, given, live, key)


def _special_elements(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """What `$patch` elements leave of the list, and the patch without them."""
    plain: list[Any] = []
    replace = False
    for each in patch:
        directive = each.get(DIRECTIVE)
        if directive is None:
            plain.append(each)
        elif directive == "delete":
            gone = _identity(each, key)
            original = [one for one in original if not _equal(one.get(key), gone)]
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise _unfit("merging lists cannot yet be specified in the patch")
        else:
            raise _unfit(f"unknown patch type: {directive} in map: {_shown(each)}")
    return (plain, []) if replace else (original, plain)


def _identity(element: Any, key: str) -> Any:
    """What tells an element from others: its merge key's value, or itself."""
    if not key:
        return element
    if not isinstance(element, dict):
        raise _unfit(f"expected a map with the key {key}, but received: {_shown(element)}")
    if key not in element:
        raise _unfit(f"map: {_shown(element)} does not contain declared merge key: {key}")
    return element[key]


def _find(elements: list[Any], key: str, value: Any) -> int | None:
    return next((at for at, each in enumerate(elements) if _equal(each.get(key), value)), None)


def _in_order(merged: list[Any], order: list[Any], live: list[Any], key: str) -> list[Any]:
    """What `order` names, in its order; between them what only the server has, as near as can be to where it stood (upstream's mergeSortedSlice)."""
    rank = {_text(_identity(each, key)): at for at, each in reversed(list(enumerate(order)))}
    stood = {_text(_identity(each, key)): at for at, each in reversed(list(enumerate(live)))}
    named = sorted((each for each in merged if _text(_identity(each, key)) in rank), key=lambda each: rank[_text(_identity(each, key))])
    others = [each for each in merged if _text(_identity(each, key)) not in rank]
    others.sort(key=lambda each: stood.get(_text(_identity(each, key)), len(stood)))
    found: list[Any] = []
    at = 0
    for each in named:
        place = stood.get(_text(_identity(each, key)))
        while place is not None and at < len(others) and stood.get(_text(_identity(others[at], key)), place) < place:
            found.append(others[at])
            at += 1
        found.append(each)
    return found + others[at:]


def _element_kind(*lists: list[Any]) -> type:
    kinds = {_kind(each) for elements in lists for each in elements}
    if len(kinds) > 1:
        raise _unfit(f"list element types are not identical: {_shown(lists)}")
    return kinds.pop()


def _kind(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _without_directives(value: Any) -> Any:
    """A value that is new to the object: what its directives and nulls would have done to nothing."""
    if isinstance(value, dict):
        if value.get(DIRECTIVE) == "delete":
            return {}
        return {key: _without_directives(each) for key, each in value.items() if each is not None and not _is_directive(key)}
    if isinstance(value, list):
        # An element that says delete, or only `$patch: replace`, is no element.
        return [_without_directives(each) for each in value if not (isinstance(each, dict) and DIRECTIVE in each)]
    return value


def _is_directive(key: str) -> bool:
    return key in (DIRECTIVE, RETAIN) or key.startswith((f"{DELETE_FROM}/", f"{ORDER}/"))


def _distinct(values: list[Any]) -> list[Any]:
    return list({_text(each): each for each in values}.values())


def _equal(left: Any, right: Any) -> bool:
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _among(value: Any, values: list[Any]) -> bool:
    return any(_equal(value, each) for each in values)


def _text(value: Any) -> bytes:
    """Hashable, and equal where the JSON is: for looking elements up."""
    return msgspec.json.encode(value)


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()
