"""Daemon sets: a pod on every node that suits (pkg/controller/daemon).

A pod is bound to its node by an affinity to the node's name, which the scheduler honours; the daemon set decides by name, affinity and taints alone,
never by what is free. It tolerates what befalls a node, so that it stays where it is needed most.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from agents.controllers import history
from agents.controllers.history import HASH_LABEL, REVISIONS, hash_of
from agents.controllers.pods import PODS, from_template, is_available, is_finished, is_ready, phase
from agents.controllers.rollout import scaled
from agents.kit.actions import NORMAL, WARNING, Action, Create, Delete, Event, Requeue, SlowStart, Together, UpdateStatus
from agents.kit.backoff import ItemBackoff
from agents.kit.controller import Context, Controller
from agents.kit.indexer import CONTROLLER
from agents.kit.node_terms import node_term, tolerations_of, untolerated
from agents.kit.owners import claim, settle
from agents.kit.selection import is_empty, matcher, matches
from agents.kit.times import created_s
from apiserver.machinery.objects import Object, controller_of, is_terminating, key_of, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource

DAEMON_SETS = resource("daemonsets.apps")
NODES = resource("nodes")
BURST = 250
GENERATION_LABEL = "pod-template-generation"
GENERATION = "deprecated.daemonset.template.generation"
TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
TOLERATED_ON_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")


class Fit(Struct, frozen=True):
    """Whether a pod should be made on a node, and whether one that is there may stay."""

    run: bool
    stay: bool


def tolerations(template: Object) -> list[Object]:
    """The template's, and those that every daemon has."""
    spec = template.get("spec") or {}
    found = list(spec.get("tolerations") or ())
    added = (*TOLERATED, *((TOLERATED_ON_HOST_NETWORK,) if spec.get("hostNetwork") else ()))
    for key, effect in added:
        new = {"key": key, "operator": "Exists", "effect": effect}
        if new not in found:
            found.append(new)
    return found


def fit(template: Object, node: Object) -> Fit:
    """nodeShouldRunDaemonPod. A taint NoSchedule keeps new pods away, NoExecute old ones as well."""
    spec = template.get("spec") or {}
    if spec.get("nodeName") not in (None, "", name_of(node)):
        return Fit(False, False)
    if not all(labels_of(node).get(key) == value for key, value in (spec.get("nodeSelector") or {}).items()):
        return Fit(False, False)
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is not None and not any(node_term(each).matches(labels_of(node), name_of(node)) for each in required.get("nodeSelectorTerms") or ()):
        return Fit(False, False)
    taints = [(each["key"], each.get("value") or "", each["effect"]) for each in (node.get("spec") or {}).get("taints") or ()]
    tolerated = tolerations_of(tolerations(template))
    if untolerated(taints, tolerated, ("NoExecute",)) is not None:
        return Fit(False, False)
    return Fit(untolerated(taints, tolerated, ("NoSchedule",)) is None, True)


def node_of(pod: Object) -> str:
    """The node that a pod is on, or is made for."""
    if name := pod["spec"].get("nodeName"):
        return str(name)
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        for each in term.get("matchFields") or ():
            if each.get("key") == "metadata.name" and each.get("operator") == "In" and len(each.get("values") or ()) == 1:
                return str(each["values"][0])
    return ""


def pod_for(owner: Object, revision: Object, node: str) -> Object:
    pod = from_template(owner["spec"]["template"], owner, DAEMON_SETS)
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), HASH_LABEL: hash_of(revision)}
    if generation := (owner["metadata"].get("annotations") or {}).get(GENERATION):
        pod["metadata"]["labels"][GENERATION_LABEL] = generation
    spec = pod["spec"]
    spec["tolerations"] = tolerations(owner["spec"]["template"])
    term = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    before = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    terms = (before or {}).get("nodeSelectorTerms") or [{}]
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
        "nodeSelectorTerms": [{**copy.deepcopy(each), "matchFields": term} for each in terms]
    }
    return pod


class Round(Struct, frozen=True):
    owner: Object
    revision: Object
    nodes: Mapping[str, Object]
    by_node: Mapping[str, list[Object]]
    now_s: float

    @property
    def wanted(self) -> list[str]:
        """Nodes that should run a pod."""
        return [name for name, node in sorted(self.nodes.items()) if fit(self.owner["spec"]["template"], node).run]

    @property
    def min_ready_s(self) -> int:
        return int(self.owner["spec"].get("minReadySeconds") or 0)

    @property
    def rolling(self) -> Object:
        return (self.owner["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}

    @property
    def surge(self) -> int:
        return scaled(self.rolling.get("maxSurge", 0), len(self.wanted), round_up=True)

    @property
    def unavailable(self) -> int:
        found = scaled(self.rolling.get("maxUnavailable", 1), len(self.wanted), round_up=True)
        return 1 if found == 0 and self.surge == 0 else found

    def is_new(self, pod: Object) -> bool:
        return labels_of(pod).get(HASH_LABEL) == hash_of(self.revision)

    def is_available(self, pod: Object) -> bool:
        return is_available(pod, self.min_ready_s, self.now_s)


def manage(at: Round) -> tuple[list[str], list[Object], list[Object]]:
    """Nodes that need a pod, pods to delete, and those among them that failed."""
    create: list[str] = []
    delete: list[Object] = []
    failed: list[Object] = []
    template = at.owner["spec"]["template"]
    for name, node in sorted(at.nodes.items()):
        there, suits = at.by_node.get(name, []), fit(template, node)
        if suits.run and not there:
            create.append(name)
        elif suits.stay:
            alive = [pod for pod in there if not is_terminating(pod)]
            broken = [pod for pod in alive if is_finished(pod)]
            failed += broken
            delete += broken
            alive = [pod for pod in alive if pod not in broken]
            delete += _doubled(at, alive)
            if not alive and not broken and suits.run and all(is_terminating(pod) for pod in there) and at.surge and _may_follow(at, there):
                create.append(name)
        else:
            delete += [pod for pod in there if not is_terminating(pod)]
    for name in at.by_node.keys() - at.nodes.keys():
        # Its node is gone. Pods that are bound belong to the pod garbage collector, pods that wait for that node to us.
        delete += [pod for pod in at.by_node[name] if not pod["spec"].get("nodeName") and not is_terminating(pod)]
    return create, delete, failed


def _may_follow(at: Round, leaving: Sequence[Object]) -> bool:
    """With surge the next pod need not wait until the old one has ended."""
    return any(not at.is_new(pod) for pod in leaving)


def _doubled(at: Round, pods: Sequence[Object]) -> list[Object]:
    """All but the one that stays: bound before waiting, then the oldest. With surge an old and a new one may be there until the new is available."""
    ordered = sorted(pods, key=lambda pod: (not pod["spec"].get("nodeName"), created_s(pod), name_of(pod)))
    if not at.surge:
        return ordered[1:]
    new, old = [pod for pod in ordered if at.is_new(pod)], [pod for pod in ordered if not at.is_new(pod)]
    if new and old and any(at.is_available(pod) for pod in new):
        return new[1:] + old
    return new[1:] + old[1:]


def roll(at: Round) -> tuple[list[str], list[Object]]:
    """Nodes that get a second, new pod, and old pods to delete (rollingUpdate)."""
    if at.surge:
        return _roll_with_surge(at)
    spare, sick, well = at.unavailable, [], []
    for name in at.wanted:
        alive = [pod for pod in at.by_node.get(name, []) if not is_terminating(pod)]
        if not alive:
            spare -= 1
            continue
        pod = alive[0]
        if at.is_new(pod):
            spare -= not at.is_available(pod)
        elif at.is_available(pod):
            well.append(pod)
        else:
            # Nothing is lost when it goes, but it counts as missing all the same.
            sick.append(pod)
            spare -= 1
    return [], sick + well[: max(spare, 0)]


def _roll_with_surge(at: Round) -> tuple[list[str], list[Object]]:
    room, create, delete = at.surge, [], []
    ready_to_surge: list[str] = []
    for name in at.wanted:
        alive = [pod for pod in at.by_node.get(name, []) if not is_terminating(pod)]
        new, old = [pod for pod in alive if at.is_new(pod)], [pod for pod in alive if not at.is_new(pod)]
        if old and not new:
            if not at.is_available(old[0]):
                create.append(name)  # it serves nobody: its successor need not wait
            else:
                ready_to_surge.append(name)
        elif old and new:
            if at.is_available(new[0]):
                delete += old
            else:
                room -= 1
    return create + ready_to_surge[: max(room, 0)], delete


def status_of(at: Round) -> Object:
    counts = dict.fromkeys(
        ("desiredNumberScheduled", "currentNumberScheduled", "numberMisscheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"), 0
    )
    for name, node in at.nodes.items():
        pods = sorted(at.by_node.get(name, []), key=lambda pod: (not is_ready(pod), created_s(pod)))
        if not fit(at.owner["spec"]["template"], node).run:
            counts["numberMisscheduled"] += bool(pods)
            continue
        counts["desiredNumberScheduled"] += 1
        if pods:
            counts["currentNumberScheduled"] += 1
            if is_ready(pods[0]):
                counts["numberReady"] += 1
                counts["numberAvailable"] += at.is_available(pods[0])
            counts["updatedNumberScheduled"] += at.is_new(pods[0])
    required = ("desiredNumberScheduled", "currentNumberScheduled", "numberMisscheduled", "numberReady")
    missing = counts["desiredNumberScheduled"] - counts["numberAvailable"]
    status: Object = {name: number for name, number in counts.items() if number or name in required}
    if missing:
        status["numberUnavailable"] = missing
    status["observedGeneration"] = at.owner["metadata"].get("generation", 0)
    before = at.owner.get("status") or {}
    for name in ("collisionCount", "conditions"):
        if before.get(name) is not None:
            status[name] = before[name]
    return status


class DaemonSets(Controller):
    name = "daemonset-controller"
    component = "daemonset-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._failed = ItemBackoff(base_s=1.0, max_s=900.0)
        self._pauses: dict[str, float] = {}
        """When the next pod that failed may be deleted, by owner and node: a daemon that fails at once must not be made anew without a pause."""
        super().__init__(context)

    def watch(self) -> None:
        self.sets = self.watched(DAEMON_SETS, self.enqueue)
        self.pods = self.dependents(PODS, DAEMON_SETS, also=self._wake_adopters)
        self.revisions = self.watched(REVISIONS, self.enqueue_owner(DAEMON_SETS))
        self.nodes = self.watched(NODES)
        self.nodes.handle(
            add=lambda node: self._node_changed(None, node), update=self._node_changed, delete=lambda node: self._node_changed(node, None)
        )

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        """Heartbeats change no daemon set; labels, taints and the node itself do."""
        if old is not None and new is not None and _suiting(old) == _suiting(new):
            return
        for owner in self.sets.all():
            template = owner["spec"]["template"]
            before = fit(template, old) if old is not None else Fit(False, False)
            after = fit(template, new) if new is not None else Fit(False, False)
            if before != after:
                self.enqueue(owner)

    async def sync(self, key: str) -> float | None:
        owner = self.sets.get(key)
        if owner is None:
            self.expectations.forget(key)
            return None
        selector = owner["spec"].get("selector")
        if is_empty(selector):
            text = "This daemon set is selecting all pods. A non-empty selector is required."
            await self.performer.perform([Event(owner, WARNING, "SelectingAll", text)])
            return None
        if is_terminating(owner):
            return None
        satisfied = self.expectations.satisfied(key)
        namespace = namespace_of(owner)
        free = [pod for pod in self.pods.by(CONTROLLER, "") if namespace_of(pod) == namespace]
        pods = await settle(self.client, DAEMON_SETS, owner, PODS, claim(owner, [*self.pods.by(CONTROLLER, uid_of(owner)), *free], matcher(selector)))
        orphans = [each for each in self.revisions.by(CONTROLLER, "") if namespace_of(each) == namespace]
        claimed = claim(owner, [*self.revisions.by(CONTROLLER, uid_of(owner)), *orphans], matcher(selector))
        revisions = await settle(self.client, DAEMON_SETS, owner, REVISIONS, claimed)
        revision, actions = history.newest(owner, DAEMON_SETS, revisions)
        at = Round(owner, revision, {name_of(node): node for node in self.nodes.all()}, _by_node(pods), self.context.now_s())
        pause_s: float | None = None
        if satisfied:
            work, pause_s = self._pods_of(at, key)
            actions += work
        status = status_of(at)
        if status != (owner.get("status") or {}):
            actions.append(UpdateStatus(DAEMON_SETS, {**owner, "status": status}))
        limit = owner["spec"].get("revisionHistoryLimit")
        live = {labels_of(pod).get(HASH_LABEL, "") for pod in pods} | {name_of(revision)}
        gone = history.surplus(revisions, live, 10 if limit is None else int(limit))
        actions += [Delete(REVISIONS, namespace_of(each), name_of(each), uid_of(each)) for each in gone]
        if at.min_ready_s and status.get("numberReady", 0) != status.get("numberAvailable", 0):
            actions.append(Requeue(float(at.min_ready_s)))
        again_s = await self.performer.perform(actions)
        return pause_s if again_s is None else min(again_s, pause_s if pause_s is not None else again_s)

    def _pods_of(self, at: Round, key: str) -> tuple[list[Action], float | None]:
        """What to do to pods, and how long those that keep failing wait for their next try."""
        create, delete, failed = manage(at)
        pause_s: float | None = None
        actions: list[Action] = []
        for pod in failed:
            item = f"{uid_of(at.owner)}/{node_of(pod)}"
            due_s = self._pauses.get(item, 0.0)
            if due_s > at.now_s:
                delete = [each for each in delete if each is not pod]
                pause_s = min(pause_s or due_s - at.now_s, due_s - at.now_s)
                continue
            self._pauses[item] = at.now_s + self._failed.next_s(item)
            ended = "failed" if phase(pod) == "Failed" else "succeeded"
            reason, type_ = ("FailedDaemonPod", WARNING) if ended == "failed" else ("SucceededDaemonPod", NORMAL)
            what = "kill" if ended == "failed" else "delete"
            text = f"Found {ended} daemon pod {namespace_of(pod)}/{name_of(pod)} on node {node_of(pod)}, will try to {what} it"
            actions.append(Event(at.owner, type_, reason, text))
        if not create and not delete and (at.owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate":
            create, delete = roll(at)
        if create:
            made = tuple(Create(PODS, pod_for(at.owner, at.revision, node), key, at.owner) for node in create[:BURST])
            actions.append(SlowStart(made))
        if delete:
            going = delete[:BURST]
            actions.append(Together(tuple(Delete(PODS, namespace_of(pod), name_of(pod), uid_of(pod), "", key, at.owner) for pod in going)))
        return actions, pause_s

    def _wake_adopters(self, pod: Object) -> None:
        if controller_of(pod) is None and not is_terminating(pod):
            for owner in self.sets.all(namespace_of(pod)):
                if matches(owner["spec"].get("selector"), labels_of(pod)):
                    self.queue.add(key_of(owner))


def _suiting(node: Object) -> tuple[Any, ...]:
    return labels_of(node), (node.get("spec") or {}).get("taints")


def _by_node(pods: Sequence[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in pods:
        if node := node_of(pod):
            found.setdefault(node, []).append(pod)
    return found
