"""The controllers of volumes and claims: binder, protection of what is in use, and claims of ephemeral volumes. The rules are in `volume_rules`."""

from collections.abc import Sequence
from typing import Any

from agents.controllers import volume_rules as rules
from agents.controllers.pods import PODS, is_finished
from agents.kit.actions import WARNING, Action, Create, Event, Patch
from agents.kit.controller import Controller
from agents.kit.owners import owner_reference
from agents.kit.volumes import CLAIMS, CLASSES, VOLUMES, class_of
from apiserver.machinery.objects import (
    Object,
    annotations_of,
    is_terminating,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    resource_version_of,
    uid_of,
)
from apiserver.machinery.status import ApiError

CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
BY_CLAIM = "claims"


def claims_of(pod: Object) -> list[tuple[str, Object | None]]:
    """Names of the claims that a pod's volumes use; for an ephemeral volume with what it is made of."""
    found: list[tuple[str, Object | None]] = []
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            found.append((volume["persistentVolumeClaim"]["claimName"], None))
        elif volume.get("ephemeral"):
            found.append((f"{name_of(pod)}-{volume['name']}", volume["ephemeral"].get("volumeClaimTemplate") or {}))
    return found


def by_claim(pod: Object) -> list[str]:
    return [f"{namespace_of(pod)}/{name}" for name, _ in claims_of(pod)]


class Binder(Controller):
    """Keys: `claim NAMESPACE/NAME` and `volume NAME`."""

    name = "persistentvolume-binder-controller"
    component = "persistentvolume-controller"
    workers = 4

    def watch(self) -> None:
        self.claims = self.watched(CLAIMS, self._claim)
        self.volumes = self.watched(VOLUMES, self._volume)
        self.classes = self.watched(CLASSES)
        self.classes.handle(add=lambda _: self._pending())

    def _claim(self, claim: Object) -> None:
        self.queue.add(f"claim {key_of(claim)}")
        if name := (claim.get("spec") or {}).get("volumeName"):
            self.queue.add(f"volume {name}")
        for volume in self.volumes.all():
            ref = (volume.get("spec") or {}).get("claimRef") or {}
            if (ref.get("namespace"), ref.get("name")) == (namespace_of(claim), name_of(claim)):
                self.queue.add(f"volume {name_of(volume)}")

    def _volume(self, volume: Object) -> None:
        self.queue.add(f"volume {name_of(volume)}")
        ref = (volume.get("spec") or {}).get("claimRef")
        if ref:
            self.queue.add(f"claim {ref.get('namespace', '')}/{ref.get('name', '')}")
        else:
            self._pending()

    def _pending(self) -> None:
        for claim in self.claims.all():
            if not (claim.get("spec") or {}).get("volumeName"):
                self.queue.add(f"claim {key_of(claim)}")

    async def sync(self, key: str) -> float | None:
        kind, _, name = key.partition(" ")
        if kind == "claim":
            return await self.performer.perform(self.reconcile_claim(name))
        return await self.performer.perform(await self._reconcile_volume(name))

    def reconcile_claim(self, key: str) -> Sequence[Action]:
        claim = self.claims.get(key)
        if claim is None or is_terminating(claim):
            return []
        volume = self.volumes.get((claim.get("spec") or {}).get("volumeName") or "")
        return rules.sync_claim(claim, self.volumes.all(), volume, self.classes.get(class_of(claim)))

    async def _reconcile_volume(self, name: str) -> Sequence[Action]:
        volume = self.volumes.get(name)
        if volume is None:
            return []
        ref = (volume.get("spec") or {}).get("claimRef") or {}
        claim = self.claims.get(f"{ref.get('namespace')}/{ref.get('name')}") if ref else None
        in_api = False
        if ref.get("uid") and (claim is None or uid_of(claim) != ref["uid"]):
            # Our cache may be behind: a volume is released, and perhaps deleted, only if the server says that its claim is gone.
            try:
                claim = await self.client.get(CLAIMS, ref["name"], ref["namespace"])
                in_api = uid_of(claim) == ref["uid"]
            except ApiError as error:
                if error.reason != "NotFound":
                    raise
                claim = None
        return rules.sync_volume(volume, claim, in_api)


def _finalizers(obj: Object, wanted: Sequence[str]) -> Any:
    return {"metadata": {"resourceVersion": resource_version_of(obj), "finalizers": list(wanted)}}


def protect(obj: Object, finalizer: str, in_use: bool) -> Sequence[str] | None:
    """The finalizers as they have to be, or None: held from the beginning, let go when it is to be deleted and nobody uses it."""
    has = list((obj.get("metadata") or {}).get("finalizers") or ())
    if is_terminating(obj):
        return [each for each in has if each != finalizer] if finalizer in has and not in_use else None
    return None if finalizer in has else [*has, finalizer]


class ClaimProtection(Controller):
    """A claim goes when no pod uses it any more."""

    name = "persistentvolumeclaim-protection-controller"
    component = "pvc-protection-controller"

    def watch(self) -> None:
        self.claims = self.watched(CLAIMS, self.enqueue)
        self.pods = self.watched(PODS, self._wake)
        self.pods.add_index(BY_CLAIM, by_claim)

    def _wake(self, pod: Object) -> None:
        for key in by_claim(pod):
            self.queue.add(key)

    async def sync(self, key: str) -> float | None:
        claim = self.claims.get(key)
        if claim is None:
            return None
        wanted = protect(claim, CLAIM_PROTECTION, any(map(uses, self.pods.by(BY_CLAIM, key))))
        if wanted is None:
            return None
        if is_terminating(claim) and await self._used_after_all(claim):
            return None
        return await self.performer.perform([Patch(CLAIMS, namespace_of(claim), name_of(claim), _finalizers(claim, wanted))])

    async def _used_after_all(self, claim: Object) -> bool:
        """As the server sees it: our cache of pods may be behind."""
        listed = await self.client.list_all(PODS, namespace_of(claim))
        return any(uses(pod) and key_of(claim) in by_claim(pod) for pod in listed)


def uses(pod: Object) -> bool:
    """A pod that has no node yet, or is finished, holds no volume."""
    return bool((pod.get("spec") or {}).get("nodeName")) and not is_finished(pod)


class VolumeProtection(Controller):
    """A volume goes when it is not bound any more."""

    name = "persistentvolume-protection-controller"
    component = "pv-protection-controller"

    def watch(self) -> None:
        self.volumes = self.watched(VOLUMES, self.enqueue)

    def reconcile(self, key: str) -> Sequence[Action]:
        volume = self.volumes.get(key)
        if volume is None:
            return []
        wanted = protect(volume, VOLUME_PROTECTION, rules.phase_of(volume) == "Bound")
        return [] if wanted is None else [Patch(VOLUMES, "", key, _finalizers(volume, wanted))]


class EphemeralVolumes(Controller):
    """Claims that live and die with a pod (pkg/controller/volume/ephemeral). Keys are pods."""

    name = "ephemeral-volume-controller"
    component = "ephemeral_volume"

    def watch(self) -> None:
        self.pods = self.watched(PODS, self._pod)
        self.claims = self.watched(CLAIMS)
        self.claims.handle(delete=self._claim_gone)
        self.pods.add_index(BY_CLAIM, by_claim)

    def _pod(self, pod: Object) -> None:
        if any(template is not None for _, template in claims_of(pod)):
            self.enqueue(pod)

    def _claim_gone(self, claim: Object) -> None:
        for pod in self.pods.by(BY_CLAIM, key_of(claim)):
            self._pod(pod)

    def reconcile(self, key: str) -> Sequence[Action]:
        pod = self.pods.get(key)
        if pod is None or is_terminating(pod):
            return []
        actions: list[Action] = []
        for name, template in claims_of(pod):
            if template is None:
                continue
            there = self.claims.get(f"{namespace_of(pod)}/{name}")
            if there is None:
                actions.append(Create(CLAIMS, ephemeral_claim(pod, name, template)))
            elif not any(owner.get("uid") == uid_of(pod) for owner in there["metadata"].get("ownerReferences") or ()):
                told = f'PVC "{namespace_of(pod)}/{name}" was not created for pod "{key}" (pod is not owner)'
                actions.append(Event(pod, WARNING, "FailedBinding", f"ephemeral volume: {told}"))
        return actions


def ephemeral_claim(pod: Object, name: str, template: Object) -> Object:
    metadata: Object = {
        "name": name,
        "namespace": namespace_of(pod),
        "ownerReferences": [owner_reference(pod, PODS)],
    }
    if labels_of(template):
        metadata["labels"] = dict(labels_of(template))
    if annotations_of(template):
        metadata["annotations"] = dict(annotations_of(template))
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template.get("spec") or {}}
