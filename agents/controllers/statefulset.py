"""Stateful sets: pods with names and volumes of their own, made in order and replaced from the last to the first (pkg/controller/statefulset).

Pods are called SET-ORDINAL and nothing else, so there can be only one of each, whatever caches say. OrderedReady: one step at a time, and none
before the pods
below are ready; Parallel: all at once. A claim outlives its pod, and finds it again by name.
"""

import copy
import re
from collections.abc import Sequence

from msgspec import Struct, field

from agents.controllers import history
from agents.controllers.history import HASH_LABEL, REVISIONS
from agents.controllers.pods import PODS, from_template, is_available, is_finished, is_ready, phase
from agents.controllers.rollout import scaled
from agents.kit.actions import NORMAL, WARNING, Action, Create, Delete, Event, Patch, Requeue, UpdateStatus
from agents.kit.controller import Controller
from agents.kit.indexer import CONTROLLER
from agents.kit.owners import claim, owner_reference, settle
from agents.kit.selection import matcher, matches
from apiserver.machinery.objects import Object, controller_of, is_terminating, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

STATEFUL_SETS = resource("statefulsets.apps")
CLAIMS = resource("persistentvolumeclaims")
POD_NAME, POD_INDEX = "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"^(.*)-(\d+)$")


def ordinal_of(pod: Object, owner: Object) -> int:
    """-1 for a pod that is not called as one of the set."""
    found = _ORDINAL.match(name_of(pod))
    return int(found.group(2)) if found and found.group(1) == name_of(owner) else -1


def is_running_and_ready(pod: Object) -> bool:
    return phase(pod) == "Running" and is_ready(pod)


class Round(Struct):
    """`current` and `update` are the revisions of the pods as they were and as they shall be."""

    owner: Object
    pods: dict[int, Object]
    claims: set[str]
    current: Object
    update: Object
    now_s: float
    actions: list[Action] = field(default_factory=list)

    @property
    def spec(self) -> Object:
        spec: Object = self.owner["spec"]
        return spec

    @property
    def start(self) -> int:
        return int((self.spec.get("ordinals") or {}).get("start") or 0)

    @property
    def replicas(self) -> int:
        return 1 if self.spec.get("replicas") is None else int(self.spec["replicas"])

    @property
    def ordinals(self) -> range:
        return range(self.start, self.start + self.replicas)

    @property
    def in_order(self) -> bool:
        return self.spec.get("podManagementPolicy") != "Parallel"

    @property
    def strategy(self) -> str:
        return str((self.spec.get("updateStrategy") or {}).get("type") or "RollingUpdate")

    @property
    def rolling(self) -> Object:
        return (self.spec.get("updateStrategy") or {}).get("rollingUpdate") or {}

    @property
    def partition(self) -> int:
        return int(self.rolling.get("partition") or 0)

    def is_well(self, pod: Object | None) -> bool:
        """Running, ready for long enough, and not on its way out."""
        ready = pod is not None and is_running_and_ready(pod) and not is_terminating(pod)
        return ready and is_available(pod or {}, int(self.spec.get("minReadySeconds") or 0), self.now_s)

    def revision_for(self, ordinal: int) -> Object:
        """New pods below the partition are of the old revision (newVersionedStatefulSetPod)."""
        if self.strategy == "RollingUpdate" and ordinal < self.start + self.partition:
            return self.current
        return self.update


def reconcile(owner: Object, pods: Sequence[Object], claims: set[str], revisions: Sequence[Object], now_s: float) -> list[Action]:
    """`pods` and `revisions` are what the set owns; `claims` the names of claims in its namespace."""
    if is_terminating(owner):
        return []
    update, made = history.newest(owner, STATEFUL_SETS, revisions)
    status = owner.get("status") or {}
    current = next((each for each in revisions if name_of(each) == status.get("currentRevision")), update)
    found = {ordinal_of(pod, owner): pod for pod in pods if ordinal_of(pod, owner) >= 0}
    at = Round(owner, found, claims, current, update, now_s)
    actions: list[Action] = list(made)
    settled = _status(at)
    if settled != status:
        actions.append(UpdateStatus(STATEFUL_SETS, {**owner, "status": settled}))
    _pods(at)
    actions += at.actions
    actions += _truncated(owner, pods, revisions, settled)
    if at.spec.get("minReadySeconds") and settled.get("availableReplicas", 0) != settled.get("readyReplicas", 0):
        actions.append(Requeue(float(at.spec["minReadySeconds"])))
    return actions


# --- revisions and status ---------------------------------------------------------------------------------------------


def _status(at: Round) -> Object:
    before = at.owner.get("status") or {}
    mine = list(at.pods.values())
    made = [pod for pod in mine if phase(pod) in ("Pending", "Running", "Failed", "Succeeded")]
    ready = [pod for pod in made if is_running_and_ready(pod)]
    min_ready_s = int(at.spec.get("minReadySeconds") or 0)

    def of(revision: Object) -> int:
        return sum(labels_of(pod).get(HASH_LABEL) == name_of(revision) and not is_terminating(pod) for pod in made)

    current, updated = name_of(at.current), name_of(at.update)
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": of(at.current),
        "updatedReplicas": of(at.update),
    }
    # All pods are of the new revision and ready: from now on it is the current one (completeRollingUpdate).
    if at.strategy == "RollingUpdate" and counts["updatedReplicas"] == len(made) == len(ready) == at.replicas and current != updated:
        counts["currentReplicas"], current = counts["updatedReplicas"], updated
    status: Object = {
        "observedGeneration": at.owner["metadata"].get("generation", 0),
        "replicas": len(made),
        "availableReplicas": sum(is_available(pod, min_ready_s, at.now_s) for pod in ready),
        "currentRevision": current,
        "updateRevision": updated,
        "collisionCount": before.get("collisionCount") or 0,
        **{name: count for name, count in counts.items() if count},
    }
    if before.get("conditions"):
        status["conditions"] = before["conditions"]
    return status


def _truncated(owner: Object, pods: Sequence[Object], revisions: Sequence[Object], status: Object) -> list[Action]:
    limit = owner["spec"].get("revisionHistoryLimit")
    live = {labels_of(pod).get(HASH_LABEL, "") for pod in pods} | {status["currentRevision"], status["updateRevision"]}
    gone = history.surplus(revisions, live, 10 if limit is None else int(limit))
    return [Delete(REVISIONS, namespace_of(each), name_of(each), uid_of(each)) for each in gone]


# --- pods -------------------------------------------------------------------------------------------------------------


def _pods(at: Round) -> None:
    """updateStatefulSet: fill the gaps from below, take away from above, then replace what is old."""
    for ordinal in at.ordinals:
        if _fill(at, ordinal) and at.in_order:
            return
    condemned = sorted((ordinal for ordinal in at.pods if ordinal not in at.ordinals), reverse=True)
    unwell = min((ordinal for ordinal in at.pods if not at.is_well(at.pods[ordinal])), default=None)
    for ordinal in condemned:
        pod = at.pods[ordinal]
        if is_terminating(pod):
            if at.in_order:
                return
            continue
        if at.in_order and unwell is not None and unwell != ordinal:
            return  # somebody below is not well: scaling down waits
        _condemn(at, ordinal)
        if at.in_order:
            return
    if at.strategy != "OnDelete":
        _replace(at)


def _fill(at: Round, ordinal: int) -> bool:
    """Whether the pods above have to wait for this one."""
    pod = at.pods.get(ordinal)
    if pod is None:
        _create(at, ordinal)
        return True
    if is_finished(pod) and not is_terminating(pod):
        text = f"StatefulSet {namespace_of(at.owner)}/{name_of(at.owner)} is recreating {'failed' if phase(pod) == 'Failed' else 'terminated'} Pod "
        at.actions.append(Event(at.owner, WARNING if phase(pod) == "Failed" else NORMAL, "RecreatingFailedPod", text + name_of(pod)))
        _delete(at, pod)
        return True
    if not is_terminating(pod):
        _claim(at, ordinal)
    return not at.is_well(pod)


def _create(at: Round, ordinal: int) -> None:
    _claim(at, ordinal)
    pod = _pod(at, ordinal)
    at.actions.append(Create(PODS, pod))
    text = f"create Pod {name_of(pod)} in StatefulSet {name_of(at.owner)} successful"
    at.actions.append(Event(at.owner, NORMAL, "SuccessfulCreate", text))


def _delete(at: Round, pod: Object) -> None:
    at.actions.append(Delete(PODS, namespace_of(pod), name_of(pod), uid_of(pod)))
    text = f"delete Pod {name_of(pod)} in StatefulSet {name_of(at.owner)} successful"
    at.actions.append(Event(at.owner, NORMAL, "SuccessfulDelete", text))


def _condemn(at: Round, ordinal: int) -> None:
    pod = at.pods[ordinal]
    if (at.spec.get("persistentVolumeClaimRetentionPolicy") or {}).get("whenScaled") == "Delete":
        # The claims go with the pod: it owns them from now on.
        owner = {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)}
        for template in at.spec.get("volumeClaimTemplates") or ():
            name = claim_name(template, at.owner, ordinal)
            if name in at.claims:
                at.actions.append(Patch(CLAIMS, namespace_of(pod), name, {"metadata": {"ownerReferences": [owner]}}))
    _delete(at, pod)


def _replace(at: Round) -> None:
    """From the last to the partition: one at a time, or as many as maxUnavailable lets be missing."""
    most = max(scaled(at.rolling.get("maxUnavailable", 1), at.replicas, round_up=True), 1)
    missing = sum(not at.is_well(at.pods.get(ordinal)) for ordinal in at.ordinals)
    for ordinal in reversed(at.ordinals):
        if ordinal < at.start + at.partition:
            return
        pod = at.pods.get(ordinal)
        if pod is None:
            continue
        old = labels_of(pod).get(HASH_LABEL) != name_of(at.update)
        if old and not is_terminating(pod):
            well = at.is_well(pod)
            if well and missing >= most:
                return
            _delete(at, pod)
            missing += well
            if missing >= most:
                return
        elif not at.is_well(pod) and missing >= most:
            return


# --- what is made -----------------------------------------------------------------------------------------------------


def claim_name(template: Object, owner: Object, ordinal: int) -> str:
    return f"{name_of(template)}-{name_of(owner)}-{ordinal}"


def _claim(at: Round, ordinal: int) -> None:
    """The claims of a pod, if they are not there yet."""
    policy = at.spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for template in at.spec.get("volumeClaimTemplates") or ():
        name = claim_name(template, at.owner, ordinal)
        if name in at.claims:
            continue
        made = copy.deepcopy(template)
        metadata = {key: value for key, value in made["metadata"].items() if key in ("annotations",)}
        labels = {**(made["metadata"].get("labels") or {}), **(at.spec["selector"].get("matchLabels") or {})}
        made |= {
            "apiVersion": "v1",
            "kind": CLAIMS.kind,
            "metadata": {**metadata, "name": name, "namespace": namespace_of(at.owner), "labels": labels},
        }
        made.pop("status", None)
        if policy.get("whenDeleted") == "Delete":
            reference = owner_reference(at.owner, STATEFUL_SETS)
            made["metadata"]["ownerReferences"] = [{key: reference[key] for key in ("apiVersion", "kind", "name", "uid")}]
        at.actions.append(Create(CLAIMS, made))
        text = f"create Claim {name} Pod {name_of(at.owner)}-{ordinal} in StatefulSet {name_of(at.owner)} success"
        at.actions.append(Event(at.owner, NORMAL, "SuccessfulCreate", text))


def _pod(at: Round, ordinal: int) -> Object:
    revision = at.revision_for(ordinal)
    name = f"{name_of(at.owner)}-{ordinal}"
    pod = from_template(history.template_of(revision), at.owner, STATEFUL_SETS, name=name)
    labels = pod["metadata"].get("labels") or {}
    pod["metadata"]["labels"] = {**labels, POD_NAME: name, POD_INDEX: str(ordinal), HASH_LABEL: name_of(revision)}
    pod["spec"]["hostname"] = name
    if service := at.spec.get("serviceName"):
        pod["spec"]["subdomain"] = service
    templates = at.spec.get("volumeClaimTemplates") or ()
    if templates:
        ours = {name_of(each) for each in templates}
        kept = [each for each in pod["spec"].get("volumes") or () if each["name"] not in ours]
        claimed = [{"name": name_of(each), "persistentVolumeClaim": {"claimName": claim_name(each, at.owner, ordinal)}} for each in templates]
        pod["spec"]["volumes"] = [*kept, *claimed]
    return pod


class StatefulSets(Controller):
    name = "statefulset-controller"
    component = "statefulset-controller"
    workers = 5

    def watch(self) -> None:
        self.sets = self.watched(STATEFUL_SETS, self.enqueue)
        self.pods = self.dependents(PODS, STATEFUL_SETS, also=self._wake_adopters)
        self.claims = self.watched(CLAIMS)
        self.revisions = self.watched(REVISIONS, self.enqueue_owner(STATEFUL_SETS))

    async def sync(self, key: str) -> float | None:
        owner = self.sets.get(key)
        if owner is None:
            return None
        selector = owner["spec"].get("selector")
        namespace = namespace_of(owner)

        def is_ours(pod: Object) -> bool:
            return matches(selector, labels_of(pod)) and ordinal_of(pod, owner) >= 0

        free = [pod for pod in self.pods.by(CONTROLLER, "") if namespace_of(pod) == namespace]
        pods = await settle(self.client, STATEFUL_SETS, owner, PODS, claim(owner, [*self.pods.by(CONTROLLER, uid_of(owner)), *free], is_ours))
        orphans = [each for each in self.revisions.by(CONTROLLER, "") if namespace_of(each) == namespace]
        claimed = claim(owner, [*self.revisions.by(CONTROLLER, uid_of(owner)), *orphans], matcher(selector))
        revisions = await settle(self.client, STATEFUL_SETS, owner, REVISIONS, claimed)
        claims = {name_of(each) for each in self.claims.all(namespace)}
        return await self.performer.perform(reconcile(owner, pods, claims, revisions, self.context.now_s()))

    def _wake_adopters(self, pod: Object) -> None:
        if controller_of(pod) is None and not is_terminating(pod):
            for owner in self.sets.all(namespace_of(pod)):
                if matches(owner["spec"].get("selector"), labels_of(pod)):
                    self.enqueue(owner)
