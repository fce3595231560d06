"""Deployments: a ReplicaSet for each template, and the way from one to the next (pkg/controller/deployment).

One round of `reconcile` does one thing as far as it can: size after a change of spec.replicas, or make the new ReplicaSet, or grow it, or shrink
the old ones;
every round ends with the status. What it did wakes the next round, through the ReplicaSets it changed.
"""

import copy
from collections.abc import Sequence

from msgspec import Struct, field

from agents.controllers import progress, rollout
from agents.controllers.pods import PODS, is_finished
from agents.controllers.replicaset import REPLICA_SETS
from agents.kit.actions import NORMAL, WARNING, Action, Create, Delete, Event, Patch, Requeue, Update, UpdateStatus
from agents.kit.controller import Controller
from agents.kit.indexer import CONTROLLER
from agents.kit.owners import claim, owner_reference, settle
from agents.kit.selection import is_empty, matcher, matches
from agents.kit.times import to_text
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import Object, annotations_of, controller_of, is_terminating, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError

DEPLOYMENTS = resource("deployments.apps")


class Round(Struct):
    """One round: the deployment, its ReplicaSets as they will be after `actions`, and the conditions so far. Objects from caches are replaced, never
    changed. `pods_left` says whether an old ReplicaSet has pods that have not ended."""

    deployment: Object
    sets: list[Object]
    pods_left: bool
    now_s: float
    actions: list[Action] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    revised: dict[str, str] = field(default_factory=dict)
    """Annotations that the deployment gets after its status."""

    @property
    def new(self) -> Object | None:
        """The set of the deployment's template; the oldest if there are several (FindNewReplicaSet)."""
        template = self.deployment["spec"]["template"]
        return next((rs for rs in rollout.oldest_first(self.sets) if rollout.same_template(rs["spec"]["template"], template)), None)

    @property
    def old(self) -> list[Object]:
        new = self.new
        return [rs for rs in self.sets if rs is not new]

    def replace(self, rs: Object) -> None:
        self.sets = [rs if name_of(each) == name_of(rs) else each for each in self.sets]

    def resize(self, rs: Object, size: int) -> bool:
        """Whether anything was to do."""
        annotations = {**annotations_of(rs), **rollout.size_annotations(self.deployment)}
        before = rollout.replicas_of(rs)
        if before == size and annotations == annotations_of(rs):
            return False
        changed = {**rs, "metadata": {**rs["metadata"], "annotations": annotations}, "spec": {**rs["spec"], "replicas": size}}
        self.actions.append(Update(REPLICA_SETS, changed))
        if before != size:
            way = "up" if size > before else "down"
            self._told("ScalingReplicaSet", f"Scaled {way} replica set {name_of(rs)} from {before} to {size}")
        self.replace(changed)
        return True

    def _told(self, reason: str, message: str) -> None:
        self.actions.append(Event(self.deployment, NORMAL, reason, message))

    def progressed(self, reason: str, message: str, truth: str = "True") -> None:
        progress.put(self.status, progress.progressing(reason, message, truth), to_text(self.now_s))


def reconcile(deployment: Object, sets: Sequence[Object], pods_left: bool, now_s: float) -> list[Action]:
    """`sets` are the ReplicaSets that the deployment owns."""
    conditions = copy.deepcopy((deployment.get("status") or {}).get("conditions") or [])
    at = Round(deployment, list(sets), pods_left, now_s, status={"conditions": conditions} if conditions else {})
    if is_terminating(deployment):
        return _ended(at, rolling=False)
    _pause_condition(at)
    if deployment["spec"].get("paused") or rollout.needs_scale_event(deployment, at.sets):
        _adopt_revision(at, create=False)
        _size(at)
        if deployment["spec"].get("paused"):
            _clean_up(at)
        return _ended(at, rolling=False)
    if rollout.is_rolling(deployment):
        _roll(at)
    else:
        _recreate(at)
    if progress.is_complete(deployment, progress.counts(deployment, at.sets, at.new)):
        _clean_up(at)
    return _ended(at, rolling=True)


def _ended(at: Round, *, rolling: bool) -> list[Action]:
    deployment = at.deployment
    status = progress.settled(deployment, at.sets, at.new, at.status.get("conditions") or (), at.now_s, rolling=rolling)
    if status != (deployment.get("status") or {}):
        at.actions.append(UpdateStatus(DEPLOYMENTS, {**deployment, "status": status}))
    if at.revised:
        at.actions.append(Patch(DEPLOYMENTS, namespace_of(deployment), name_of(deployment), {"metadata": {"annotations": at.revised}}))
    if rolling and (again_s := progress.look_again_s(deployment, status, at.now_s)) is not None:
        at.actions.append(Requeue(again_s))
    return at.actions


def _pause_condition(at: Round) -> None:
    """While it is paused no deadline counts (checkPausedConditions)."""
    if progress.deadline_s(at.deployment) is None:
        return
    found = condition(at.status, "Progressing")
    if found is not None and found["reason"] == "ProgressDeadlineExceeded":
        return  # a failure is not overwritten
    was = found is not None and found["reason"] == "DeploymentPaused"
    if at.deployment["spec"].get("paused") and not was:
        at.progressed("DeploymentPaused", "Deployment is paused", "Unknown")
    elif not at.deployment["spec"].get("paused") and was:
        at.progressed("DeploymentResumed", "Deployment is resumed", "Unknown")


def _adopt_revision(at: Round, *, create: bool) -> None:
    """Make sure that the set of the template exists (if `create`) and carries the newest revision (getNewReplicaSet)."""
    deployment, new = at.deployment, at.new
    number = max((rollout.revision(rs) for rs in at.old), default=0) + 1
    if new is None:
        if create:
            _create(at, number)
        return
    annotations = rollout.new_set_annotations(deployment, new, number)
    min_ready_s = deployment["spec"].get("minReadySeconds") or 0
    if annotations != annotations_of(new) or min_ready_s != (new["spec"].get("minReadySeconds") or 0):
        changed = {
            **new,
            "metadata": {**new["metadata"], "annotations": annotations},
            "spec": {**new["spec"], "minReadySeconds": min_ready_s},
        }
        at.actions.append(Update(REPLICA_SETS, changed))
        # The next write of it in this round would be stale: sizes wait for the next one, which this write wakes.
        at.replace(changed)
    _revise(at, annotations.get(rollout.REVISION, ""))
    if condition(at.status, "Progressing") is None and progress.deadline_s(deployment) is not None:
        at.progressed("FoundNewReplicaSet", f'Found new replica set "{name_of(new)}"')


def _revise(at: Round, number: str) -> None:
    if number and annotations_of(at.deployment).get(rollout.REVISION) != number:
        at.revised = {rollout.REVISION: number}


def _create(at: Round, number: int) -> None:
    deployment = at.deployment
    made = rollout.new_replica_set(deployment, owner_reference(deployment, DEPLOYMENTS), number)
    size = rollout.new_replicas(deployment, at.sets, None)
    made["spec"]["replicas"] = size
    at.actions.append(Create(REPLICA_SETS, made))
    if size:
        at._told("ScalingReplicaSet", f"Scaled up replica set {name_of(made)} from 0 to {size}")
    at.sets.append(made)
    _revise(at, str(number))
    if progress.deadline_s(deployment) is not None:
        at.progressed("NewReplicaSetCreated", f'Created new replica set "{name_of(made)}"')


def _roll(at: Round) -> None:
    _adopt_revision(at, create=True)
    if at.actions:
        return
    new = at.new
    assert new is not None, "it was there, or has just been made"
    wanted = rollout.replicas_of(at.deployment)
    target = wanted if rollout.replicas_of(new) > wanted else rollout.new_replicas(at.deployment, at.sets, new)
    if at.resize(new, target):
        return
    for name, size in rollout.scale_down_old(at.deployment, new, rollout.active(at.old)).items():
        at.resize(next(rs for rs in at.sets if name_of(rs) == name), size)


def _recreate(at: Round) -> None:
    """All old pods go, and only when the last has ended the new ones come."""
    _adopt_revision(at, create=False)
    if at.actions:
        return
    shrunk = [at.resize(rs, 0) for rs in rollout.active(at.old)]
    if any(shrunk) or at.pods_left:
        return
    _adopt_revision(at, create=True)
    if not at.actions:
        new = at.new
        assert new is not None, "it was there, or has just been made"
        at.resize(new, rollout.replicas_of(at.deployment))


def _size(at: Round) -> None:
    """After a change of spec.replicas: one set gets all of it, several their shares (deployment.scale)."""
    if at.actions:
        return
    wanted = rollout.replicas_of(at.deployment)
    running, new = rollout.active(at.sets), at.new
    if len(running) <= 1:
        only = running[0] if running else new
        if only is not None:
            at.resize(only, wanted)
        return
    if new is not None and rollout.replicas_of(new) == rollout.ready(new, "availableReplicas") == wanted:
        for rs in rollout.active(at.old):
            at.resize(rs, 0)
        return
    if rollout.is_rolling(at.deployment):
        sizes = rollout.scale_proportionally(at.deployment, running)
        for rs in running:
            at.resize(rs, sizes.get(name_of(rs), rollout.replicas_of(rs)))


def _clean_up(at: Round) -> None:
    for rs in rollout.surplus(at.deployment, at.old):
        at.actions.append(Delete(REPLICA_SETS, namespace_of(rs), name_of(rs), uid_of(rs)))


class Deployments(Controller):
    name = "deployment-controller"
    component = "deployment-controller"
    workers = 5

    def watch(self) -> None:
        self.deployments = self.watched(DEPLOYMENTS, self.enqueue)
        self.sets = self.dependents(REPLICA_SETS, DEPLOYMENTS, also=self._wake_adopters)
        self.pods = self.watched(PODS)
        self.pods.handle(delete=self._pod_gone)

    async def sync(self, key: str) -> float | None:
        deployment = self.deployments.get(key)
        if deployment is None:
            return None
        selector = deployment["spec"].get("selector")
        if is_empty(selector):
            text = "This deployment is selecting all pods. A non-empty selector is required."
            await self.performer.perform([Event(deployment, WARNING, "SelectingAll", text)])
            return None
        free = [rs for rs in self.sets.by(CONTROLLER, "") if namespace_of(rs) == namespace_of(deployment)]
        claimed = claim(deployment, [*self.sets.by(CONTROLLER, uid_of(deployment)), *free], matcher(selector))
        owned = await settle(self.client, DEPLOYMENTS, deployment, REPLICA_SETS, claimed)
        actions = reconcile(deployment, owned, self._pods_left(deployment, owned), self.context.now_s())
        try:
            return await self.performer.perform(actions)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                await self._collided(deployment, actions)
            raise

    def _pods_left(self, deployment: Object, owned: Sequence[Object]) -> bool:
        new = Round(deployment, list(owned), False, 0.0).new
        return any(not is_finished(pod) for rs in owned if rs is not new for pod in self.pods.by(CONTROLLER, uid_of(rs)))

    async def _collided(self, deployment: Object, actions: Sequence[Action]) -> None:
        """The name of the new set is taken. If it is ours and of our template the cache will show it; else the hash gets another seed."""
        made = next(action.object for action in actions if isinstance(action, Create))
        there = await self.client.get(REPLICA_SETS, name_of(made), namespace_of(made))
        owner = controller_of(there)
        ours = owner is not None and owner["uid"] == uid_of(deployment)
        if ours and rollout.same_template(there["spec"]["template"], deployment["spec"]["template"]):
            return
        status = deployment.get("status") or {}
        changed = {**status, "collisionCount": (status.get("collisionCount") or 0) + 1}
        await self.performer.perform([UpdateStatus(DEPLOYMENTS, {**deployment, "status": changed})])

    def _wake_adopters(self, rs: Object) -> None:
        if controller_of(rs) is None and not is_terminating(rs):
            for deployment in self.deployments.all(namespace_of(rs)):
                if matches(deployment["spec"].get("selector"), labels_of(rs)):
                    self.enqueue(deployment)

    def _pod_gone(self, pod: Object) -> None:
        """For Recreate: the last old pod has gone."""
        owner = controller_of(pod)
        rs = self.sets.get(f"{namespace_of(pod)}/{owner['name']}") if owner is not None and owner["kind"] == "ReplicaSet" else None
        if rs is None:
            return
        parent = controller_of(rs)
        deployment = self.deployments.get(f"{namespace_of(rs)}/{parent['name']}") if parent is not None else None
        if deployment is not None and not rollout.is_rolling(deployment):
            self.enqueue(deployment)
