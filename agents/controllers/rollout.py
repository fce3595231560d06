"""The arithmetic of a deployment's rollout (pkg/controller/deployment/util): how many pods of which ReplicaSet. Pure."""

import copy
import hashlib
import math
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from agents.kit.times import created_s
from apiserver.machinery.names import SUFFIX_ALPHABET
from apiserver.machinery.objects import Object, annotations_of, name_of

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
NOT_COPIED = (LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MAX, "deprecated.deployment.rollback.to")
HISTORY_BYTES_MAX = 2000


def safe_hash(*parts: bytes) -> str:
    """A short text of name characters that is the same for the same parts."""
    digest = hashlib.sha256(b"\0".join(parts)).digest()
    return "".join(SUFFIX_ALPHABET[byte % len(SUFFIX_ALPHABET)] for byte in digest[:10])


def template_hash(template: Object, collisions: int | None) -> str:
    """Of the template as it stands; `collisions` counts how often that hash was another's already."""
    return safe_hash(msgspec.json.encode(template, order="deterministic"), b"" if collisions is None else str(collisions).encode())


def same_template(one: Object, other: Object) -> bool:
    """Equal but for the hash label, which is ours."""
    return _without_hash(one) == _without_hash(other)


def _without_hash(template: Object) -> Object:
    metadata = dict(template.get("metadata") or {})
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    metadata.pop("labels", None)
    metadata.pop("creationTimestamp", None)
    return {**template, "metadata": {**metadata, **({"labels": labels} if labels else {})}}


class Bounds(Struct, frozen=True):
    surge: int
    unavailable: int


def scaled(value: object, total: int, round_up: bool) -> int:
    """An int-or-percent of `total` (intstr.GetScaledValueFromIntOrPercent)."""
    if isinstance(value, str) and value.endswith("%"):
        share = int(value[:-1]) * total / 100
        return math.ceil(share) if round_up else math.floor(share)
    return int(value or 0)  # type: ignore[call-overload,no-any-return]


def is_rolling(deployment: Object) -> bool:
    return ((deployment["spec"].get("strategy") or {}).get("type") or "RollingUpdate") == "RollingUpdate"


def replicas_of(obj: Object) -> int:
    found = obj["spec"].get("replicas")
    return 1 if found is None else int(found)


def bounds(deployment: Object) -> Bounds:
    """maxSurge and maxUnavailable in pods; both 0 would never move, then one pod may be missing."""
    if not is_rolling(deployment):
        return Bounds(0, 0)
    given = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    replicas = replicas_of(deployment)
    surge = scaled(given.get("maxSurge", "25%"), replicas, round_up=True)
    unavailable = scaled(given.get("maxUnavailable", "25%"), replicas, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Bounds(surge, min(unavailable, replicas) if replicas else 0)


def ready(rs: Object, field: str) -> int:
    return int((rs.get("status") or {}).get(field) or 0)


def total(sets: Sequence[Object]) -> int:
    return sum(map(replicas_of, sets))


def available(sets: Sequence[Object]) -> int:
    return sum(ready(rs, "availableReplicas") for rs in sets)


def active(sets: Sequence[Object]) -> list[Object]:
    return [rs for rs in sets if replicas_of(rs) > 0]


def oldest_first(sets: Sequence[Object]) -> list[Object]:
    return sorted(sets, key=lambda rs: (created_s(rs), name_of(rs)))


def revision(obj: Object) -> int:
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def new_replicas(deployment: Object, sets: Sequence[Object], new: Object | None) -> int:
    """How many the new ReplicaSet should have now (NewRSNewReplicas): as many as surge leaves room for."""
    wanted, has = replicas_of(deployment), 0 if new is None else replicas_of(new)
    if not is_rolling(deployment):
        return wanted
    room = wanted + bounds(deployment).surge - total(sets)
    if room <= 0:
        return has
    return has + min(room, max(wanted - has, 0))


def scale_down_old(deployment: Object, new: Object, old: Sequence[Object]) -> dict[str, int]:
    """New sizes of old ReplicaSets, by name: first pods that are not healthy, then healthy ones as far as enough stay available
    (reconcileOldReplicaSets)."""
    wanted = replicas_of(deployment)
    sizes = {name_of(rs): replicas_of(rs) for rs in old}
    minimum = wanted - bounds(deployment).unavailable
    new_unavailable = replicas_of(new) - ready(new, "availableReplicas")
    budget = total([*old, new]) - minimum - new_unavailable
    if budget <= 0:
        return {}
    before = dict(sizes)
    for rs in oldest_first(old):
        unhealthy = sizes[name_of(rs)] - ready(rs, "availableReplicas")
        fewer = min(budget, max(unhealthy, 0))
        sizes[name_of(rs)] -= fewer
        budget -= fewer
    spare = available([*old, new]) - minimum
    for rs in oldest_first(old):
        fewer = min(sizes[name_of(rs)], max(spare, 0))
        sizes[name_of(rs)] -= fewer
        spare -= fewer
    return {name: size for name, size in sizes.items() if size != before[name]}


def scale_proportionally(deployment: Object, sets: Sequence[Object]) -> dict[str, int]:
    """New sizes when a deployment is scaled in the middle of a rollout: every active set gets its share (deployment.scale)."""
    wanted = replicas_of(deployment)
    allowed = wanted + bounds(deployment).surge if wanted > 0 else 0
    change = allowed - total(sets)
    if change == 0:
        return {}
    # Larger ones first, so that rounding hurts least; of equal ones the newer first when growing, the older first when shrinking.
    newest = sorted(sets, key=lambda rs: (created_s(rs), name_of(rs)), reverse=change > 0)
    ordered = sorted(newest, key=replicas_of, reverse=True)
    sizes, left = {}, change
    for rs in ordered:
        part = _share(deployment, rs, allowed, change, left) if replicas_of(rs) else 0
        sizes[name_of(rs)] = replicas_of(rs) + part
        left -= part
    if ordered and left:
        first = name_of(ordered[0])
        sizes[first] = max(sizes[first] + left, 0)
    return {name_of(rs): sizes[name_of(rs)] for rs in ordered if sizes[name_of(rs)] != replicas_of(rs)}


def _share(deployment: Object, rs: Object, allowed: int, change: int, left: int) -> int:
    """GetReplicaSetProportion: what this set gains or loses, never more than what is left."""
    text = annotations_of(rs).get(MAX, "")
    before = int(text) if text.isdigit() else int((deployment.get("status") or {}).get("replicas") or 0)
    size = replicas_of(rs)
    part = -size if allowed == 0 else (round(size * allowed / before) - size if before else 0)
    return min(part, left) if change > 0 else max(part, left)


def needs_scale_event(deployment: Object, sets: Sequence[Object]) -> bool:
    """Whether spec.replicas changed since the active sets were last sized: then sizes are corrected before the rollout goes on."""
    return any(annotations_of(rs).get(DESIRED, "").isdigit() and int(annotations_of(rs)[DESIRED]) != replicas_of(deployment) for rs in active(sets))


def size_annotations(deployment: Object) -> dict[str, str]:
    return {DESIRED: str(replicas_of(deployment)), MAX: str(replicas_of(deployment) + bounds(deployment).surge)}


def new_set_annotations(deployment: Object, new: Object | None, number: int) -> dict[str, str]:
    """Annotations of the new ReplicaSet at revision `number`: the deployment's, its revision, and which revisions it was before."""
    before = dict(annotations_of(new)) if new is not None else {}
    found = {**before, **{key: value for key, value in annotations_of(deployment).items() if key not in NOT_COPIED}}
    old = before.get(REVISION, "")
    if not old.isdigit() or int(old) < number:
        found[REVISION] = str(number)
        if old.isdigit() and int(old) > 0:
            history = [each for each in before.get(REVISION_HISTORY, "").split(",") if each]
            history = [*history, old]
            while history and len(",".join(history)) > HISTORY_BYTES_MAX:
                history.pop(0)
            found[REVISION_HISTORY] = ",".join(history)
    return found


def new_replica_set(deployment: Object, reference: Object, number: int) -> Object:
    """The ReplicaSet of the deployment's template, without replicas yet."""
    template = copy.deepcopy(deployment["spec"]["template"])
    hashed = template_hash(template, (deployment.get("status") or {}).get("collisionCount"))
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), HASH_LABEL: hashed}
    selector = copy.deepcopy(deployment["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: hashed}
    spec: Object = {"replicas": 0, "selector": selector, "template": template}
    if deployment["spec"].get("minReadySeconds"):
        spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name_of(deployment)}-{hashed}",
            "namespace": deployment["metadata"]["namespace"],
            "labels": dict(metadata["labels"]),
            "annotations": {**new_set_annotations(deployment, None, number), **size_annotations(deployment)},
            "ownerReferences": [reference],
        },
        "spec": spec,
    }


def surplus(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old ReplicaSets beyond the history's limit, oldest revisions first; only those that are empty and nothing is under way with."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    if limit is None:
        return []
    alive = sorted((rs for rs in old if not rs["metadata"].get("deletionTimestamp")), key=lambda rs: (revision(rs), created_s(rs)))
    return [
        rs
        for rs in alive[: max(len(alive) - limit, 0)]
        if not replicas_of(rs) and not ready(rs, "replicas") and rs["metadata"].get("generation", 0) <= ready(rs, "observedGeneration")
    ]
