"""A cluster that goes down and comes back with all that was in it: `python -m tests.kubernetes.revival --rounds 10`, or `make revival`.

Each round ends the cluster in one of several ways, looks whether anything of it is left on the machine, brings it back and compares: every object is
there by its uid, no pod was replaced, no container started more often than once a round, jobs that were done did not run again, what was written to
volumes is there, and the invariants hold.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apiserver.client import kubeconfig
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.conditions import is_true
from apiserver.machinery.objects import Object, key_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.launcher import cluster as clusters
from keelson.launcher import nodes, processes, supervisor
from tests.kubernetes.invariants import World, broken, look
from tests.support.whole import Whole, whole

NAMESPACE = "revival"
REST_S = 300.0
KEPT = (
    "namespaces",
    "nodes",
    "pods",
    "configmaps",
    "secrets",
    "services",
    "serviceaccounts",
    "persistentvolumes",
    "persistentvolumeclaims",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "clusterroles.rbac.authorization.k8s.io",
)
COUNTER = "echo x >> /data/starts; cat /data/starts | wc -l; exec sleep 1000000"


def workload() -> list[tuple[str, Object]]:
    def of(kind: str, version: str, name: str, **more: Any) -> Object:
        return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}

    def template(app: str, *words: str, **more: Any) -> Object:
        container = {"name": "c", "image": "keelson/toolbox:1", "command": ["sh", "-c", *words], "volumeMounts": more.pop("mounts", [])}
        return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, **more}}

    def selector(app: str) -> Object:
        return {"matchLabels": {"app": app}}

    web = {"name": "web", "image": "keelson/web:1", "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}
    claim = of("PersistentVolumeClaim", "v1", "data", spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}})
    counting = template("set", COUNTER, mounts=[{"name": "data", "mountPath": "/data"}])
    stateful = {"replicas": 2, "serviceName": "set", "selector": selector("set"), "template": counting, "volumeClaimTemplates": [claim]}
    deployed = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [web]}}
    return [
        ("configmaps", of("ConfigMap", "v1", "settings", data={"a": "b"})),
        ("secrets", of("Secret", "v1", "word", stringData={"password": "xyzzy"})),
        ("services", of("Service", "v1", "web", spec={"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]})),
        ("deployments.apps", of("Deployment", "apps/v1", "web", spec={"replicas": 3, "selector": selector("web"), "template": deployed})),
        ("statefulsets.apps", of("StatefulSet", "apps/v1", "set", spec=stateful)),
        ("daemonsets.apps", of("DaemonSet", "apps/v1", "all", spec={"selector": selector("all"), "template": template("all", "sleep 1000000")})),
        ("jobs.batch", of("Job", "batch/v1", "once", spec={"completions": 2, "template": template("once", "true", restartPolicy="Never")})),
    ]


class Revival:
    def __init__(self, cluster: Whole, client: Client) -> None:
        self.cluster, self.client = cluster, client
        self.starts = 1

    async def begin(self) -> None:
        await self.client.create(resource("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for kind, obj in workload():
            await self.client.create(resource(kind), obj, NAMESPACE)

    async def rest(self) -> None:
        """Until everything is as it is wanted. Raises AssertionError with what is not."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + REST_S
        while wrong := await self._wrong():
            assert loop.time() < deadline_s, "\n".join(wrong)
            await asyncio.sleep(0.2)

    async def _wrong(self) -> list[str]:
        try:
            world = await look(self.client, NAMESPACE)
            wrong = broken(world)
            wrong += [f"{key_of(each)}: {each.get('status')}" for each in world["daemonsets"] if (each.get("status") or {}).get("numberReady") != 3]
            return [*wrong, *self._stale(world)]
        except (ApiError, Unreachable) as error:
            return [str(error)]

    async def stale(self) -> list[str]:
        """Pods that are said to be ready with containers of the time before: `up` comes back when the nodes have looked."""
        return self._stale(await look(self.client, NAMESPACE))

    def _stale(self, world: World) -> list[str]:
        return [
            f"{key_of(pod)} is ready and has started {count} times, not {self.starts}"
            for pod in world["pods"]
            for count in _starts(pod)
            if count != self.starts
        ]

    async def objects(self) -> dict[str, str]:
        found = {}
        for kind in KEPT:
            for obj in await self.client.list_all(resource(kind)):
                found[uid_of(obj)] = f"{kind} {key_of(obj)}"
        return found

    async def counted(self) -> list[int]:
        """How often each pod of the stateful set says it has started, by its volume."""
        kubectl = self.cluster.kubectl()
        return [int((await asyncio.to_thread(kubectl, "logs", "-n", NAMESPACE, f"set-{number}")).split()[-1]) for number in range(2)]

    async def answers(self) -> None:
        address = (await self.client.get(resource("services"), "web", NAMESPACE))["spec"]["clusterIP"]
        async with asyncio.timeout(REST_S):
            while not await asyncio.to_thread(_fetched, f"http://{address}/healthz"):  # noqa: ASYNC110 - it is asked from outside
                await asyncio.sleep(0.2)


def _starts(pod: Object) -> list[int]:
    """How often each container of a pod that runs has been started."""
    if not is_true(pod, "Ready"):
        return []
    return [each["restartCount"] + 1 for each in pod["status"]["containerStatuses"]]


def _fetched(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _kill(cluster: Whole, name: str) -> None:
    identity = processes.running(cluster.data, name)
    assert identity is not None and processes.send(identity, signal.SIGKILL)
    assert not processes.wait_gone([identity], 30.0)


def in_order(cluster: Whole) -> None:
    """Down and up."""
    cluster.down()


def without_supervisor(cluster: Whole) -> None:
    """The supervisor is killed; then down and up."""
    _kill(cluster, supervisor.NAME)
    cluster.down()


def adopted(cluster: Whole) -> None:
    """The supervisor is killed; the next `up` takes over all that runs."""
    _kill(cluster, supervisor.NAME)


def power_cut(cluster: Whole) -> None:
    """Every process at once; `up` finds the networks and mounts still there."""
    made = clusters.load(cluster.data)
    assert made is not None and made.control_plane is not None
    _kill(cluster, supervisor.NAME)
    for program in made.programs():
        if (identity := processes.find(made.folder, program.name, program.mark)) is not None:
            processes.send(identity, signal.SIGKILL)
    for number in range(1, made.control_plane.nodes + 1):
        nodes.kill_all(made.folder, made.control_plane, number)


ENDS: tuple[Callable[[Whole], None], ...] = (in_order, without_supervisor, adopted, power_cut)


async def rounds(cluster: Whole, count: int, seed: int, tell: Callable[[str], None]) -> None:
    """Raises AssertionError with what is wrong."""
    chance = random.Random(seed)
    async with Client(kubeconfig.load(cluster.kubeconfig), user_agent="revival") as client:
        revival = Revival(cluster, client)
        await revival.begin()
        await revival.rest()
        for number in range(count):
            end = ENDS[number % len(ENDS)] if count >= len(ENDS) else chance.choice(ENDS)
            before = await revival.objects()
            await asyncio.to_thread(_timed(end, tell, f"round {number + 1}: {end.__name__}"), cluster)
            began_s = time.monotonic()
            await asyncio.to_thread(cluster.keelson, "up", "--wait", "240s", timeout_s=300)
            up_s = time.monotonic() - began_s
            revival.starts += end is not adopted
            assert not (stale := await revival.stale()), "\n".join(stale)
            await revival.rest()
            after = await revival.objects()
            gone = sorted(name for uid, name in before.items() if uid not in after)
            new = sorted(name for uid, name in after.items() if uid not in before)
            assert (gone, new) == ([], []), f"gone: {gone}, new: {new}"
            assert await revival.counted() == [revival.starts, revival.starts]
            await revival.answers()
            tell(f"  up in {up_s:.1f} s, everything as before after {time.monotonic() - began_s:.1f} s")


def _timed(end: Callable[[Whole], None], tell: Callable[[str], None], text: str) -> Callable[[Whole], None]:
    def run(cluster: Whole) -> None:
        began_s = time.monotonic()
        end(cluster)
        tell(f"{text} ({time.monotonic() - began_s:.1f} s)")

    return run


def main() -> int:
    parser = argparse.ArgumentParser(prog="revival", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)  # so that it cleans up, also in the background
    with tempfile.TemporaryDirectory(prefix="keelson-revival-") as folder, whole(Path(folder)) as cluster:
        asyncio.run(rounds(cluster, arguments.rounds, arguments.seed, lambda text: print(text, flush=True)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
