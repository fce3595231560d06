"""Who owns which field: managedFields and server-side apply (apimachinery/pkg/util/managedfields, structured-merge-diff/merge).

`update` is asked after every write that is no apply; `apply` makes the new object of an apply. An entry belongs to (manager, operation,
subresource), and for updates to the apiVersion as well. Entries of other API versions are taken to mean the same paths.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from apiserver.machinery import fieldset, fieldwalk
from apiserver.machinery.fieldset import FieldSet, MissingKey
from apiserver.machinery.objects import Object
from apiserver.machinery.schema import Node
from apiserver.machinery.status import ApiError, Cause, bad_request, invalid_value

APPLY, UPDATE = "Apply", "Update"
UPDATES_MAX = 10
"""More managers of updates are merged, the oldest first, into ANCIENT."""
ANCIENT = "ancient-changes"
BEFORE_FIRST_APPLY = "before-first-apply"
NAME_MAX = 128
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
LAST_APPLIED_MAX_BYTES = 256 * 1024

NEVER_OWNED: FieldSet = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        **{
            f"f:{name}": {}
            for name in ("name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion")
        },
    },
}
_SERVER_SET = ("creationTimestamp", "selfLink", "uid", "generation", "managedFields", "resourceVersion")


class Entry(Struct):
    """One manager's entry."""

    manager: str
    operation: str
    api_version: str
    time: str
    subresource: str
    fields: FieldSet

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return (self.manager, self.operation, self.subresource, "" if self.operation == APPLY else self.api_version)

    def shown(self) -> str:
        """As conflicts name it: "kubectl" using apps/v1"""
        text = msgspec.json.encode(self.manager).decode()
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        if self.operation == UPDATE:
            text += f" using {self.api_version}"
        return text


def default_manager(user_agent: str) -> str:
    """Who writes, if the request does not say: the User-Agent up to the first slash."""
    prefix = user_agent.split("/", 1)[0]
    return "".join(each for each in prefix if each.isprintable()).encode()[:NAME_MAX].decode(errors="ignore")


def check_manager(name: str) -> list[Cause]:
    """Faults of a `fieldManager` parameter."""
    if len(name.encode()) > NAME_MAX:
        return [Cause("FieldValueTooLong", f"Too long: may not be more than {NAME_MAX} bytes", "fieldManager")]
    return [
        invalid_value("fieldManager", name, f"invalid character U+{ord(each):04X} (at position {len(name[:at].encode())})")
        for at, each in enumerate(name)
        if not each.isprintable()
    ]


def update(
    live: Object | None,
    new: Object,
    *,
    manager: str,
    now: str,
    api_version: str,
    node: Node | None,
    subresource: str = "",
    ignored: Iterable[str] = (),
) -> None:
    """Notes in `new` (which is ours to change) who owns what a create or an update changed. `live` None: it is new. `ignored`: top-level fields that
    this endpoint does not write: whatever the server puts there, nobody owns it for that.

    managedFields given by the client count, so that it can clear or rewrite them; for a subresource they do not.
    """
    given = (new.get("metadata") or {}).pop("managedFields", None)
    stored = ((live or {}).get("metadata") or {}).get("managedFields")
    if stored and given in (None, stored) and live is not None and _bare(live) == _bare(new):
        new["metadata"]["managedFields"] = stored
        return
    if given is not None and not subresource and _is_reset(given):
        entries: list[Entry] | None = []
    elif given and not subresource and given != stored:
        entries = _decoded(given) or _decoded(stored, is_ours=True)
    else:
        entries = _decoded(stored, is_ours=True)
    if not entries and live is not None:
        # Nobody is tracked: tracking begins with the first apply.
        return
    try:
        compared = fieldwalk.compare(_bare(live or {}), _bare(new), node)
    except MissingKey:
        # Whoever validates refuses the object; ownership is not the place to.
        _put(new, stored if stored else None)
        return
    if compared.is_same and given == stored and stored is not None:
        new["metadata"]["managedFields"] = stored
        return
    skipped = {f"f:{name}" for name in ignored}
    mine = fieldset.difference(fieldset.union(compared.modified, compared.added), NEVER_OWNED)
    mine = {step: below for step, below in mine.items() if step not in skipped}
    taken = fieldset.union(fieldset.union(compared.modified, compared.added), compared.removed)
    entry = Entry(manager, UPDATE, api_version, now, subresource, mine)
    others = []
    for each in entries or []:
        each.fields = fieldset.difference(each.fields, taken)
        if each.identity == entry.identity and mine:
            entry.fields = fieldset.union(entry.fields, each.fields)
        elif each.fields:
            others.append(each)
    _put(new, _encoded(_capped([*others, entry] if entry.fields else others)))


def apply(
    live: Object | None,
    config: Object,
    *,
    manager: str,
    now: str,
    node: Node | None,
    force: bool = False,
    subresource: str = "",
    ignored: Iterable[str] = (),
    nulls: bool = False,
) -> Object:
    """The object after an apply, with managedFields; not defaulted, and `live` itself (the same object) if nothing changes.

    `ignored` are top-level fields that this endpoint does not write (status on the main resource): they are neither set nor owned. `nulls` may be
    values, as in custom resources.
    Raises ApiError: 409 with every conflict, 400 for a configuration that cannot be merged.
    """
    config = _configured(config, ignored)
    entries = _decoded(((live or {}).get("metadata") or {}).get("managedFields"), is_ours=True) or []
    try:
        if live is not None and not entries:
            entries = _before_first_apply(live, node)
        return _applied(live, config, entries, manager, now, node, force, subresource, nulls)
    except MissingKey as wrong:
        meta = config.get("metadata") or {}
        where = f"{meta.get('namespace') or ''}/{meta.get('name') or ''}; {config.get('apiVersion')}, Kind={config.get('kind')}"
        raise bad_request(f"failed to create typed patch object ({where}): {wrong}") from None


def _applied(
    live: Object | None,
    config: Object,
    entries: list[Entry],
    manager: str,
    now: str,
    node: Node | None,
    force: bool,
    subresource: str,
    nulls: bool,
) -> Object:
    wanted = fieldset.difference(fieldwalk.fields_of(config, node), NEVER_OWNED)
    entry = Entry(manager, APPLY, str(config.get("apiVersion", "")), now, subresource, wanted)
    last = next((each for each in entries if each.identity == entry.identity), None)
    others = [each for each in entries if each is not last]
    base = _bare(live or {})
    merged = fieldwalk.merge(base, config, node, nulls=nulls)
    if last is not None:
        owned = wanted
        for each in others:
            owned = fieldset.union(owned, each.fields)
        merged = fieldwalk.prune(merged, last.fields, owned, node)
    compared = fieldwalk.compare(base, merged, node)
    # A set in another order is the same set to its owners, and another value to its readers.
    if (
        compared.is_same
        and merged == base
        and last is not None
        and last.fields == wanted
        and last.api_version == entry.api_version
        and live is not None
    ):
        return live
    changed = fieldset.union(compared.modified, compared.added)
    conflicts = [(each, found) for each in others if (found := fieldset.intersection(each.fields, changed))]
    if conflicts and not force:
        conflicts = _without_client_side(live or {}, manager, conflicts, node)
        if conflicts:
            raise _conflict(conflicts)
    taken = fieldset.union(changed, compared.removed)
    for each in others:
        each.fields = fieldset.difference(each.fields, taken)
    new: Object = msgspec.json.decode(msgspec.json.encode(merged))
    if live is None:
        new["metadata"] = {key: value for key, value in (new.get("metadata") or {}).items() if key not in _SERVER_SET}
    _sync_last_applied(new, config, manager)
    _put(new, _encoded(_capped([each for each in [*others, entry] if each.fields])))
    return new


def settle(new: Object, old: Object) -> None:
    """If a write changed nothing but the times of managedFields, it changed nothing: the times stay what they were, and the store sees no write."""
    meta, before = new.get("metadata") or {}, old.get("metadata") or {}
    managed, stored = meta.get("managedFields"), before.get("managedFields")
    if managed == stored or not managed or not stored or len(managed) != len(stored):
        return
    if _timeless(managed) == _timeless(stored) and _bare(new) == _bare(old):
        meta["managedFields"] = stored


def _timeless(entries: list[Object]) -> list[Object]:
    bare = [{key: value for key, value in each.items() if key != "time"} for each in entries]
    return sorted(
        bare, key=lambda each: (each.get("manager", ""), each.get("operation", ""), each.get("subresource", ""), each.get("apiVersion", ""))
    )


def _configured(config: Object, ignored: Iterable[str]) -> Object:
    """The configuration without what a client cannot set by applying."""
    found = {key: value for key, value in config.items() if key not in ignored}
    meta = found.get("metadata")
    if isinstance(meta, dict):
        found["metadata"] = {key: value for key, value in meta.items() if key not in _SERVER_SET}
    return found


def _before_first_apply(live: Object, node: Node | None) -> list[Entry]:
    """What stood before anybody was tracked belongs to a manager of that name."""
    compared = fieldwalk.compare({}, _bare(live), node)
    fields = fieldset.difference(compared.added, NEVER_OWNED)
    return [Entry(BEFORE_FIRST_APPLY, UPDATE, str(live.get("apiVersion", "")), "", "", fields)] if fields else []


def _without_client_side(live: Object, manager: str, conflicts: list[tuple[Entry, FieldSet]], node: Node | None) -> list[tuple[Entry, FieldSet]]:
    """kubectl may take over what client-side apply set and nobody changed since: its annotation tells (upstream's lastAppliedManager)."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    if manager != "kubectl" or not text:
        return conflicts
    try:
        applied = msgspec.json.decode(text)
        if not isinstance(applied, dict) or applied.get("apiVersion") != live.get("apiVersion"):
            return conflicts
        fields = fieldwalk.fields_of(applied, node)
        compared = fieldwalk.compare(applied, _bare(live), node)
    except (msgspec.DecodeError, MissingKey):
        return conflicts
    for changed in (compared.modified, compared.added, compared.removed):
        fields = fieldset.difference(fields, changed)
    rest = [(entry, fieldset.difference(found, fields)) for entry, found in conflicts]
    return [(entry, found) for entry, found in rest if found]


def _conflict(conflicts: list[tuple[Entry, FieldSet]]) -> ApiError:
    told = [(entry, path) for entry, found in conflicts for path in sorted(fieldset.members(found), key=_rank)]
    causes = [Cause("FieldManagerConflict", f"conflict with {entry.shown()}", fieldset.shown(path)) for entry, path in told]
    if len(told) == 1:
        entry, path = told[0]
        return ApiError("Conflict", f"Apply failed with 1 conflict: conflict with {entry.shown()}: {fieldset.shown(path)}", causes=causes)
    lines: list[str] = []
    for entry, found in sorted(conflicts, key=lambda each: each[0].shown()):
        lines.append(f"conflicts with {entry.shown()}:")
        lines += [f"- {fieldset.shown(path)}" for path in sorted(fieldset.members(found), key=_rank)]
    return ApiError("Conflict", f"Apply failed with {len(told)} conflicts: " + "\n".join(lines), causes=causes)


def _rank(path: tuple[str, ...]) -> tuple[tuple[bool, str], ...]:
    """Upstream's order of a set: at each level what is a member itself, then what lies deeper."""
    return tuple((number < len(path) - 1, step) for number, step in enumerate(path))


def _sync_last_applied(new: Object, config: Object, manager: str) -> None:
    """Where client-side apply left its annotation, kubectl's server-side apply keeps it true."""
    annotations = (new.get("metadata") or {}).get("annotations") or {}
    if manager != "kubectl" or LAST_APPLIED not in annotations:
        return
    kept: Object = msgspec.json.decode(msgspec.json.encode(config))
    meta = kept.get("metadata") or {}
    meta.pop("managedFields", None)
    if isinstance(meta.get("annotations"), dict):
        meta["annotations"].pop(LAST_APPLIED, None)
    text = msgspec.json.encode(kept, order="sorted").decode() + "\n"
    annotations[LAST_APPLIED] = text if len(text) <= LAST_APPLIED_MAX_BYTES else ""


def _is_reset(given: Any) -> bool:
    return given in ([], [{}])


def _bare(obj: Object) -> Object:
    """The object without managedFields; shared otherwise."""
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: value for key, value in meta.items() if key != "managedFields"}}


def _decoded(given: Any, *, is_ours: bool = False) -> list[Entry] | None:
    """Entries of an object; None if there are none or they cannot be read. `is_ours`: they come from the store, and were looked at before."""
    if not isinstance(given, list) or not given:
        return None
    found = []
    for each in given:
        fields = each.get("fieldsV1") if isinstance(each, dict) else None
        if fields is None or each.get("operation") not in (APPLY, UPDATE) or not (is_ours or fieldset.check(fields)):
            return None
        manager, operation, version, time, subresource = (
            str(each.get(key) or "") for key in ("manager", "operation", "apiVersion", "time", "subresource")
        )
        found.append(Entry(manager, operation, version, time, subresource, fields))
    return found


def _encoded(entries: list[Entry]) -> list[Object]:
    entries.sort(key=lambda each: (each.operation, each.time, each.manager, each.api_version, each.subresource))
    found = []
    for each in entries:
        said: Object = {"manager": each.manager, "operation": each.operation, "apiVersion": each.api_version}
        if each.time:
            said["time"] = each.time
        said |= {"fieldsType": "FieldsV1", "fieldsV1": each.fields}
        if each.subresource:
            said["subresource"] = each.subresource
        found.append(said)
    return found


def _capped(entries: list[Entry]) -> list[Entry]:
    """At most UPDATES_MAX entries of updates: the oldest are one, by apiVersion."""
    rest = sorted((each for each in entries if each.operation == UPDATE), key=lambda each: (each.time, each.manager))
    merged: dict[str, Entry] = {}
    while len(rest) + len(merged) > UPDATES_MAX and rest:
        each = rest.pop(0)
        kept = merged.setdefault(each.api_version, Entry(ANCIENT, UPDATE, each.api_version, each.time, "", {}))
        kept.fields = fieldset.union(kept.fields, each.fields)
        kept.time = max(kept.time, each.time)
    return [each for each in entries if each.operation == APPLY] + rest + list(merged.values())


def _put(obj: Object, managed: list[Object] | None) -> None:
    meta = obj.setdefault("metadata", {})
    if managed:
        meta["managedFields"] = managed
    else:
        meta.pop("managedFields", None)
