"""Volumes that are directories of a node: the provisioner `keelson.io/local-path` and its storage class, the default of a new cluster.

A claim that waits for its first consumer gets a volume on the node that the scheduler chose. The directory is ROOT/NODE/pvc-UID_NAMESPACE_NAME: all
nodes of a cluster on one machine share its file system, so each has a folder of its own. The node agent makes the directory when the first pod uses
it (hostPath, DirectoryOrCreate); this controller, which runs on the same machine, removes it when the volume is released and its class says Delete.
"""

import argparse
import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from agents.controllers.volume_rules import phase_of
from agents.kit.actions import NORMAL, WARNING, Action, Create, Delete, Event, Patch
from agents.kit.controller import Context, Controller
from agents.kit.flags import Flags
from agents.kit.volumes import CLAIMS, CLASSES, PROVISIONED_BY, SELECTED_NODE, STORAGE_PROVISIONER, VOLUMES, class_of, is_bound
from apiserver.client.errors import Unreachable
from apiserver.machinery.objects import Object, annotations_of, is_terminating, labels_of, name_of, namespace_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

NODES = resource("nodes")
PROVISIONER = "keelson.io/local-path"
CLASS = "local-path"
ROOT = "/var/lib/keelson/local-path"
HOSTNAME = "kubernetes.io/hostname"
ACCESS_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
CLASS_RETRY_S = 5.0
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def flags(given: Flags) -> None:
    given.text("--local-path-root", ROOT, "where volumes of the storage class local-path lie, a folder for each node")


def storage_class() -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {DEFAULT_CLASS: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def refusal(claim: Object) -> str:
    """Why no directory can serve a claim, or empty."""
    spec = claim.get("spec") or {}
    modes = set(spec.get("accessModes") or ())
    if not modes <= ACCESS_MODES:
        return "NodePath only supports ReadWriteOnce and ReadWriteOncePod access modes"
    if spec.get("selector"):
        return "claim.Spec.Selector is not supported"
    if spec.get("volumeMode") == "Block":
        return "only the volume mode Filesystem is supported"
    return ""


def directory(root: str, node: str, claim: Object) -> str:
    return str(PurePosixPath(root) / node / f"pvc-{uid_of(claim)}_{namespace_of(claim)}_{name_of(claim)}")


def volume(claim: Object, node: Object, class_: Object, root: str) -> Object:
    """The volume for a claim on a node, meant for that claim from its beginning."""
    hostname = labels_of(node).get(HOSTNAME, name_of(node))
    spec = claim.get("spec") or {}
    terms = [{"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [hostname]}]}]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"pvc-{uid_of(claim)}", "annotations": {PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "capacity": {"storage": ((spec.get("resources") or {}).get("requests") or {}).get("storage")},
            "accessModes": list(spec.get("accessModes") or ()),
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": class_.get("reclaimPolicy") or "Delete",
            "storageClassName": class_of(claim),
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "namespace": namespace_of(claim),
                "name": name_of(claim),
                "uid": uid_of(claim),
            },
            "hostPath": {"path": directory(root, name_of(node), claim), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    }


def removable(path: str, root: str) -> bool:
    """Only what `directory` could have made is ever removed: two steps below the root, and no way out of it."""
    inside = PurePosixPath(path)
    return ".." not in inside.parts and inside.parent.parent == PurePosixPath(root) and inside.name.startswith("pvc-")


async def remove_tree(path: str) -> None:
    """Takes a directory away, with everything in it; what was never made is gone already. Raises OSError."""

    def work() -> None:
        if Path(path).is_dir():
            shutil.rmtree(path)

    await asyncio.to_thread(work)


class LocalPath(Controller):
    """Keys: `claim NAMESPACE/NAME` and `volume NAME`."""

    name = "local-path-provisioner"
    component = "keelson.io/local-path"

    def __init__(self, context: Context, root: str = ROOT, remove: Callable[[str], Awaitable[None]] = remove_tree) -> None:
        self.root, self.remove = root, remove
        super().__init__(context)

    @classmethod
    def made(cls, context: Context, arguments: argparse.Namespace) -> "LocalPath":
        return cls(context, arguments.local_path_root)

    def watch(self) -> None:
        self.claims = self.watched(CLAIMS, lambda claim: self.queue.add(f"claim {namespace_of(claim)}/{name_of(claim)}"))
        self.volumes = self.watched(VOLUMES, lambda found: self.queue.add(f"volume {name_of(found)}"))
        self.classes = self.watched(CLASSES)
        self.nodes = self.watched(NODES)

    def background(self) -> Sequence[tuple[str, Coroutine[Any, Any, None]]]:
        return (("storage class", self._first_class()),)

    async def _first_class(self) -> None:
        """A cluster without any class gets ours; who deletes it later does not get it again before the next start."""
        while True:
            if await self._class_is_there():
                break
            await asyncio.sleep(CLASS_RETRY_S)
        await asyncio.Event().wait()

    async def _class_is_there(self) -> bool:
        if self.classes.all():
            return True
        try:
            await self.performer.perform([Create(CLASSES, storage_class())])
        except (ApiError, Unreachable) as error:
            if isinstance(error, ApiError) and error.reason == "AlreadyExists":
                return True
            log.warning("cannot create the storage class", extra=fields(storage_class=CLASS, error=str(error)))
            return False
        return True

    async def sync(self, key: str) -> float | None:
        kind, _, name = key.partition(" ")
        if kind == "claim":
            return await self.performer.perform(self.provision(name))
        found = self.volumes.get(name)
        if found is not None and self.is_ours_to_delete(found):
            await self._delete(found)
        return None

    def provision(self, key: str) -> Sequence[Action]:
        claim = self.claims.get(key)
        if claim is None or is_terminating(claim) or is_bound(claim) or annotations_of(claim).get(STORAGE_PROVISIONER) != PROVISIONER:
            return []
        class_ = self.classes.get(class_of(claim))
        selected = annotations_of(claim).get(SELECTED_NODE)
        if class_ is None or selected is None or self.volumes.get(f"pvc-{uid_of(claim)}") is not None:
            return []
        why_not = refusal(claim)
        node = self.nodes.get(selected)
        if not why_not and node is None:
            why_not = f'node "{selected}" not found'
        if why_not or node is None:
            told = f'failed to provision volume with StorageClass "{class_of(claim)}": {why_not}'
            # Without the node the scheduler chooses anew.
            patch = {"metadata": {"annotations": {SELECTED_NODE: None}}}
            return [Event(claim, WARNING, "ProvisioningFailed", told), Patch(CLAIMS, namespace_of(claim), name_of(claim), patch)]
        made = volume(claim, node, class_, self.root)
        return [
            Event(claim, NORMAL, "Provisioning", f'External provisioner is provisioning volume for claim "{key}"'),
            Create(VOLUMES, made),
            Event(claim, NORMAL, "ProvisioningSucceeded", f"Successfully provisioned volume {name_of(made)}"),
        ]

    def is_ours_to_delete(self, found: Object) -> bool:
        spec = found.get("spec") or {}
        return (
            annotations_of(found).get(PROVISIONED_BY) == PROVISIONER
            and phase_of(found) == "Released"
            and spec.get("persistentVolumeReclaimPolicy") == "Delete"
            and not is_terminating(found)
        )

    async def _delete(self, found: Object) -> None:
        path = ((found.get("spec") or {}).get("hostPath") or {}).get("path") or ""
        try:
            if not removable(path, self.root):
                raise OSError(f"{path!r} is not a directory of this provisioner")
            await self.remove(path)
        except OSError as error:
            self.recorder.event(found, WARNING, "VolumeFailedDelete", str(error))
            raise
        await self.performer.perform([Delete(VOLUMES, "", name_of(found), uid_of(found))])
