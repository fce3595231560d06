"""Scheduling as text: a cluster, pods, `----`, and what was decided, recorded.

    python -m tests.scenarios.scheduler.runner --rewrite     # record anew; then read the diff

One command a line (`COMMANDS` below); `#` begins a comment. Snapshot, queue and cycle are the real ones; time passes only by `time`, chance has a
fixed seed, and a pod that is placed is bound at once.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from agents.scheduler.cycle import Cycle, Placed
from agents.scheduler.framework import ClusterEvent
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import profiles
from agents.scheduler.queue import SchedulingQueue
from agents.scheduler.snapshot import Snapshot

HERE = Path(__file__).parent
NAMESPACE = "default"
ZONE = "topology.kubernetes.io/zone"


def options(words: tuple[str, ...]) -> tuple[dict[str, str], dict[str, Any]]:
    """`key=value` words and a JSON object at the end of the line."""
    line = " ".join(words)
    plain, brace, rest = line.partition("{")
    return dict(word.split("=", 1) if "=" in word else (word, "true") for word in plain.split()), json.loads(brace + rest) if brace else {}


def node_object(name: str, given: dict[str, str]) -> dict[str, Any]:
    allocatable = {"cpu": given.get("cpu", "4"), "memory": given.get("memory", "8Gi"), "pods": given.get("pods", "110")}
    allocatable |= {key.removeprefix("has."): value for key, value in given.items() if key.startswith("has.")}
    labels = {"kubernetes.io/hostname": name} | ({ZONE: given["zone"]} if "zone" in given else {})
    labels |= {key.removeprefix("label."): value for key, value in given.items() if key.startswith("label.")}
    spec: dict[str, Any] = {"unschedulable": True} if "cordoned" in given else {}
    if "taint" in given:
        key, _, effect = given["taint"].partition(":")
        spec["taints"] = [{"key": key, "effect": effect}]
    images = [{"names": [given["image"]], "sizeBytes": 500 << 20}] if "image" in given else []
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable, "images": images}}


def pod_object(name: str, given: dict[str, str], spec: dict[str, Any]) -> dict[str, Any]:
    requests = {key: given[key] for key in ("cpu", "memory") if key in given}
    requests |= {key.removeprefix("needs."): value for key, value in given.items() if key.startswith("needs.")}
    container: dict[str, Any] = {"name": "c", "image": given.get("image", "app:1"), "resources": {"requests": requests}}
    if "port" in given:
        container["ports"] = [{"hostPort": int(given["port"]), "containerPort": 80, "protocol": "TCP"}]
    made: dict[str, Any] = {"containers": [container], "priority": int(given.get("priority", "0")), **spec}
    if "node" in given:
        made["nodeName"] = given["node"]
    if "scheduler" in given:
        made["schedulerName"] = given["scheduler"]
    if "tolerates" in given:
        made["tolerations"] = [{"key": given["tolerates"], "operator": "Exists"}]
    if "gate" in given:
        made["schedulingGates"] = [{"name": given["gate"]}]
    if "claim" in given:
        made["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": given["claim"]}}]
    if "never-preempts" in given:
        made["preemptionPolicy"] = "Never"
    labels = {"app": given["app"]} if "app" in given else {}
    metadata = {"name": name, "namespace": NAMESPACE, "uid": name, "labels": labels}
    return {"metadata": metadata, "spec": made, "status": {"startTime": given.get("started", "")}}


class Scenario:
    def __init__(self) -> None:
        self.out: list[str] = []
        self.now = 0.0
        self.snapshot = Snapshot()
        self.cycle = Cycle(Random(1).randrange)
        self.objects: dict[str, dict[str, Any]] = {}
        self.config("{}")

    def run(self, commands: list[str]) -> str:
        self.out = []
        for line in commands:
            words = line.partition("#")[0].split()
            if words:
                COMMANDS[words[0]](self, *words[1:])
        return "\n".join(self.out) or "ok"

    def config(self, *words: str) -> None:
        """config JSON: the KubeSchedulerConfiguration, without apiVersion and kind. Before all pods."""
        raw = json.loads(" ".join(words))
        self.profiles = profiles({"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration", **raw} if raw else {})
        self.queue = SchedulingQueue(self.profiles)

    def happened(self, resource: str, action: str, old: Any, new: Any) -> None:
        self.queue.happened(ClusterEvent(resource, action), old, new, self.now)

    def node(self, name: str, *words: str) -> None:
        """node NAME [cpu=4] [memory=8Gi] [pods=110] [zone=Z] [taint=KEY:EFFECT] [cordoned] [label.KEY=VALUE] [has.RESOURCE=N] [image=NAME]: made or
        changed."""
        made = node_object(name, options(words)[0])
        old = self.objects.get(f"node {name}")
        self.objects[f"node {name}"] = made
        self.snapshot.set_node(made)
        self.happened("nodes", "add" if old is None else "update", old, made)

    def pod(self, name: str, *words: str) -> None:
        """pod NAME [cpu=1] [memory=1Gi] [priority=N] [app=LABEL] [node=N] [port=P] [claim=C] [tolerates=KEY] [gate=G] [scheduler=S]
        [never-preempts] [SPEC as JSON]."""
        given, spec = options(words)
        made = pod_object(name, given, spec)
        info = PodInfo(made)
        self.objects[f"pod {name}"] = made
        if info.node_name:
            self.snapshot.set_pod(info)
            self.happened("pods", "add", None, made)
        else:
            self.queue.update(info, self.now)

    def delete(self, kind: str, name: str) -> None:
        """delete pod|node NAME."""
        old = self.objects.pop(f"{kind} {name}")
        if kind == "node":
            self.snapshot.remove_node(name)
        else:
            self.queue.delete(name)
            self.snapshot.remove_pod(name)
            self.snapshot.unnominate(name)
        self.happened(f"{kind}s", "delete", old, None)

    def object(self, resource: str, *words: str) -> None:
        """object RESOURCE JSON: made or changed."""
        made = json.loads(" ".join(words))
        self.snapshot.set_object(resource, made)
        self.happened(resource, "add", None, made)

    def time(self, seconds: str) -> None:
        """time SECONDS pass."""
        self.now += float(seconds)
        self.queue.flush_forgotten(self.now)

    def schedule(self, *words: str) -> None:
        """schedule [scores]: try every pod that is due, one after the other."""
        while (queued := self.queue.pop(self.now)) is not None:
            pod = queued.pod
            decision = self.cycle.decide(self.profiles[pod.scheduler_name], pod, self.snapshot)
            if isinstance(decision, Placed):
                shown = "".join(f" {name}:{score}" for name, score in sorted(decision.scores.items())) if "scores" in words else ""
                self.out.append(f"{pod.name} -> {decision.node}{'  (' + shown.strip() + ')' if shown else ''}")
                self._bind(pod, decision)
            else:
                self.out.append(f"{pod.name}: {decision.message}")
                if decision.victims is not None:
                    victims = decision.victims
                    self.out.append(f"{pod.name} preempts {' '.join(each.name for each in victims.pods)} on {victims.node}")
                    self.snapshot.nominate(pod, victims.node)
                elif decision.clear_nomination:
                    self.snapshot.unnominate(pod.uid)
                self.queue.reject(queued, decision.plugins, self.now, error=decision.error)

    def _bind(self, pod: PodInfo, decision: Placed) -> None:
        for plugin in self.profiles[pod.scheduler_name].reserve:
            plugin.reserve(decision.state, pod, decision.node, self.snapshot)
        self.snapshot.unnominate(pod.uid)
        self.queue.done(pod.uid)
        bound = {**pod.pod, "spec": {**pod.pod["spec"], "nodeName": decision.node}}
        self.objects[f"pod {pod.name}"] = bound
        self.snapshot.set_pod(bound)
        self.happened("pods", "add", None, bound)

    def waiting(self) -> None:
        """waiting: where each pod of the queue is."""
        self.queue.flush(self.now)
        for queued in sorted(self.queue.pods.values(), key=lambda each: each.pod.name):
            why = f" ({' '.join(sorted(queued.refused_by))})" if queued.refused_by else ""
            self.out.append(f"{queued.pod.name} {queued.place.value}{why}")


COMMANDS: dict[str, Callable[..., None]] = {
    "config": Scenario.config,
    "node": Scenario.node,
    "pod": Scenario.pod,
    "delete": Scenario.delete,
    "object": Scenario.object,
    "time": Scenario.time,
    "schedule": Scenario.schedule,
    "waiting": Scenario.waiting,
}


def play(script: str) -> str:
    """The script with the outcome of every block as it is now."""
    scenario = Scenario()
    blocks = []
    for block in script.strip().split("\n\n"):
        commands = block.partition("\n----")[0]
        blocks.append(f"{commands}\n----\n{scenario.run(commands.splitlines())}")
    return "\n\n".join(blocks) + "\n"


def scripts() -> list[Path]:
    return sorted(HERE.glob("*.txt"))


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    for path in scripts():
        path.write_text(play(path.read_text()))
