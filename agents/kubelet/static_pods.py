"""Pods from files of a folder: they run without an API server, which sees mirrors of them (kubelet's file source and mirror client)."""

import hashlib
import json
import logging
from pathlib import Path

import yaml

from agents.kubelet import pods
from apiserver.machinery.objects import Object
from keelson.cogs.logs import fields

log = logging.getLogger("kubelet")

FILE_BYTES_MAX = 1 << 20
FILES_MAX = 1000
CHECK_S = 5.0


def read(folder: Path, node_name: str) -> list[Object]:
    """The pods of all files that hold one; what holds none is logged and left out."""
    found = []
    for path in sorted(folder.iterdir())[:FILES_MAX] if folder.is_dir() else ():
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                raise ValueError(f"more than {FILE_BYTES_MAX} bytes")
            found.append(static_pod(yaml.safe_load(path.read_text()), str(path), node_name))
        except (ValueError, OSError, yaml.YAMLError, RecursionError) as error:
            log.error("Could not process manifest file", extra=fields(path=str(path), error=str(error)))
    return found


def static_pod(manifest: object, source: str, node_name: str) -> Object:
    """The pod as this node runs it: named after the node, its uid made of what it is. Raises ValueError."""
    if not isinstance(manifest, dict) or manifest.get("kind") != "Pod":
        raise ValueError("no Pod")
    pod: Object = json.loads(json.dumps(manifest))
    metadata = pod.setdefault("metadata", {})
    if not metadata.get("name") or not (pod.get("spec") or {}).get("containers"):
        raise ValueError("a Pod without a name, or without containers")
    digest = hashlib.md5(json.dumps([manifest, source, node_name], sort_keys=True, default=str).encode(), usedforsecurity=False).hexdigest()
    metadata["name"] = f"{metadata['name']}-{node_name}"
    metadata.setdefault("namespace", "default")
    metadata["uid"] = digest
    metadata["annotations"] = {**(metadata.get("annotations") or {}), pods.CONFIG_SOURCE: "file", pods.CONFIG_HASH: digest}
    spec = pod["spec"]
    spec["nodeName"] = node_name
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", pods.DEFAULT_GRACE_S)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec["tolerations"] = [*(spec.get("tolerations") or ()), {"operator": "Exists", "effect": "NoExecute"}]
    pod.pop("status", None)
    return pod


def mirror_of(pod: Object, node: Object | None) -> Object:
    """What the API server is to show."""
    metadata = {key: value for key, value in pod["metadata"].items() if key in ("name", "namespace", "labels")}
    metadata["annotations"] = {**pod["metadata"]["annotations"], pods.CONFIG_MIRROR: pod["metadata"]["annotations"][pods.CONFIG_HASH]}
    if node is not None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"], "controller": True}
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
