"""Random programs are killed under a workload that churns; once that ends, the cluster must come to rest with every invariant holding.

`python -m tests.kubernetes.chaos --minutes 15 [--seed 7]`, or `make chaos`: round after round, each with a seed of its own that is printed. What is
done to the cluster: kill -9 and SIGTERM of any program, of several at once, of the supervisor (`up` takes over), and a node cut off for some seconds.

Jobs tell of each start of theirs in a file outside of the cluster: every index has to start, and more than once only where a server never answered
whether it had made the pod.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apiserver.client import kubeconfig
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, controller_of, key_of, name_of, uid_of
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.launcher import cluster as clusters
from keelson.launcher import network, processes, supervisor
from keelson.launcher.cluster import Cluster
from tests.kubernetes.invariants import World, broken, look
from tests.support.whole import Whole, whole

NAMESPACE = "chaos"
TOOLBOX = "keelson/toolbox:1"
APPS, SETS = 5, 2
CUT_OFF_S_MAX = 15.0
"""Shorter than the 50 s after which a node counts as lost: then its pods are given up, and jobs run again."""

Tell = Callable[[str], None]


class Churn:
    """A workload that never agrees with itself."""

    def __init__(self, client: Client, seed: int, record: Path) -> None:
        self.client, self.random, self.record = client, random.Random(seed), record
        self.jobs: list[str] = []

    async def run(self) -> None:
        steps = (self.make, self.make, self.scale, self.scale, self.roll, self.delete, self.lose_pod, self.make_set, self.scale_set, self.make_job)
        while True:
            with contextlib.suppress(ApiError, Unreachable):
                await self.random.choice(steps)()
            await asyncio.sleep(self.random.uniform(0, 0.4))

    def name(self) -> str:
        return f"app-{self.random.randrange(APPS)}"

    def set_name(self) -> str:
        return f"set-{self.random.randrange(SETS)}"

    async def make(self) -> None:
        name = self.name()
        spec = {"replicas": self.random.randrange(1, 4), "selector": {"matchLabels": {"app": name}}, "template": sleeping(name)}
        await self._create("services", "v1", "Service", name, {"selector": {"app": name}, "ports": [{"port": 80}]})
        await self._create("deployments.apps", "apps/v1", "Deployment", name, spec)

    async def make_set(self) -> None:
        name = self.set_name()
        spec = {"replicas": 2, "serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": sleeping(name)}
        await self._create("statefulsets.apps", "apps/v1", "StatefulSet", name, spec)

    async def make_job(self) -> None:
        name = f"job-{self.random.randrange(1 << 32)}"
        words = f"echo $JOB_COMPLETION_INDEX >> /record/{name}"
        volume = {"name": "record", "hostPath": {"path": str(self.record)}}
        container = {"name": "c", "image": TOOLBOX, "command": ["sh", "-c", words], "volumeMounts": [{"name": "record", "mountPath": "/record"}]}
        template = {"spec": {"containers": [container], "volumes": [volume], "restartPolicy": "Never"}}
        spec = {"completionMode": "Indexed", "completions": 3, "parallelism": 2, "template": template}
        self.jobs.append(name)
        await self._create("jobs.batch", "batch/v1", "Job", name, spec)

    async def scale(self) -> None:
        await self._scale("deployments.apps", self.name(), self.random.randrange(5))

    async def scale_set(self) -> None:
        await self._scale("statefulsets.apps", self.set_name(), self.random.randrange(4))

    async def roll(self) -> None:
        stamp = {"spec": {"template": {"metadata": {"annotations": {"rolled": str(self.random.random())}}}}}
        await self.client.patch(resource("deployments.apps"), self.name(), stamp, NAMESPACE)

    async def delete(self) -> None:
        await self.client.delete(resource("deployments.apps"), self.name(), NAMESPACE, propagation=self.random.choice(("Background", "Foreground")))

    async def lose_pod(self) -> None:
        """Not of a job: it would run again, as it should."""
        pods = [pod for pod in (await self.client.list(resource("pods"), NAMESPACE)).get("items") or () if _owner_kind(pod) != "Job"]
        if pods:
            await self.client.delete(resource("pods"), name_of(self.random.choice(pods)), NAMESPACE, grace_s=self.random.choice((0, None)))

    async def _scale(self, kind: str, name: str, replicas: int) -> None:
        await self.client.patch(resource(kind), name, {"spec": {"replicas": replicas}}, NAMESPACE, subresource="scale")

    async def _create(self, kind: str, version: str, what: str, name: str, spec: Object) -> None:
        with contextlib.suppress(ApiError):
            await self.client.create(resource(kind), {"apiVersion": version, "kind": what, "metadata": {"name": name}, "spec": spec}, NAMESPACE)


def sleeping(app: str) -> Object:
    container = {"name": "c", "image": TOOLBOX, "command": ["sleep", "3600"]}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}


def _owner_kind(obj: Object) -> str:
    return str((controller_of(obj) or {}).get("kind", ""))


class Havoc:
    """What is done to the cluster's programs, and what has been done."""

    def __init__(self, cluster: Whole, made: Cluster, seed: int) -> None:
        self.cluster, self.made, self.random = cluster, made, random.Random(seed)
        self.done: list[str] = []
        self._programs = [program.name for program in made.programs()]

    async def run(self, churn_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + churn_s
        while loop.time() < deadline_s:
            await asyncio.sleep(self.random.uniform(0.3, 1.5))
            chance = self.random.random()
            if chance < 0.03:
                await self._cut_off()
            elif chance < 0.06:
                await self._lose_supervisor()
            else:
                for _ in range(1 if chance < 0.8 else 3):
                    self._end(self.random.choice(self._programs), signal.SIGKILL if chance < 0.9 else signal.SIGTERM)

    def _end(self, name: str, number: signal.Signals) -> None:
        identity = processes.running(self.made.folder, name)
        if identity is not None and processes.send(identity, number):  # else it is down from the time before
            self.done.append(f"{name} {number.name}")

    async def _cut_off(self) -> None:
        plan = self.made.control_plane
        assert plan is not None
        node, for_s = self.random.randint(1, plan.nodes), self.random.uniform(1, CUT_OFF_S_MAX)
        self.done.append(f"node{node} cut off for {for_s:.1f} s")
        await asyncio.to_thread(network.unplug, plan.network, node)
        try:
            await asyncio.sleep(for_s)
        finally:
            await asyncio.to_thread(network.plug, plan.network, node)

    async def _lose_supervisor(self) -> None:
        self._end(supervisor.NAME, signal.SIGKILL)
        await asyncio.to_thread(self.cluster.keelson, "up", "--wait", "240s", timeout_s=300)


class Chaos:
    """Rounds of it on one cluster."""

    def __init__(self, cluster: Whole, record: Path, churn_s: float, rest_s: float) -> None:
        self.cluster, self.record, self.churn_s, self.rest_s = cluster, record, churn_s, rest_s

    async def round(self, seed: int) -> list[str]:
        """What is wrong after it; empty if nothing is."""
        made = clusters.load(self.cluster.data)
        assert made is not None
        havoc = Havoc(self.cluster, made, seed)
        async with Client(kubeconfig.load(self.cluster.kubeconfig), user_agent="chaos") as client:
            await _patiently(client.create, resource("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            churns = [Churn(client, seed + number, self.record) for number in range(3)]
            async with asyncio.TaskGroup() as group:
                churning = [group.create_task(each.run()) for each in churns]
                await havoc.run(self.churn_s)
                for task in churning:
                    task.cancel()
            wrong = await self._rest(client)
            if wrong:
                return [f"seed {seed}: {'; '.join(havoc.done)}", *wrong]
            await _patiently(client.delete, resource("namespaces"), NAMESPACE)
            return await self._until(lambda: _still_there(client), self.rest_s)

    async def _rest(self, client: Client) -> list[str]:
        async def wrong() -> list[str]:
            world = await look(client, NAMESPACE)
            return [*broken(world), *runs(world, self.record)]

        return await self._until(wrong, self.rest_s)

    async def _until(self, wrong: Callable[[], Any], limit_s: float) -> list[str]:
        """Until `wrong` says nothing, at most so long; what it says then."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + limit_s
        while True:
            try:
                told: list[str] = await wrong()
            except (ApiError, Unreachable) as error:
                told = [str(error)]
            if not told or loop.time() > deadline_s:
                return told
            await asyncio.sleep(0.5)


def runs(world: World, record: Path) -> list[str]:
    """Each index of each job has started, and no other, by what the containers themselves have written. More than once is allowed, as Kubernetes
    documents it for indexed jobs; none of 19 rounds had it when this was last asked for."""
    wrong = []
    for job in world["jobs"]:
        path = record / name_of(job)
        count = Counter(path.read_text().split()) if path.exists() else Counter()
        if set(count) != {str(each) for each in range(job["spec"]["completions"])}:
            wrong.append(f"{key_of(job)} ({uid_of(job)}) has started, by index: {dict(count)}")
    return wrong


async def _still_there(client: Client) -> list[str]:
    try:
        found = await client.get(resource("namespaces"), NAMESPACE)
    except ApiError as error:
        return [] if error.reason == "NotFound" else [str(error)]
    left = [f"{kind} {key_of(obj)}" for kind, objects in (await look(client, NAMESPACE)).items() for obj in objects]
    return [f"the namespace is there: {found.get('status')}, with {', '.join(left)}"]


async def _patiently(ask: Callable[..., Any], *words: Any) -> None:
    """Once more if the server that was asked has just been killed."""
    for _ in range(50):
        try:
            await ask(*words)
            return
        except Unreachable:
            await asyncio.sleep(0.2)
        except ApiError as error:
            if error.reason in ("AlreadyExists", "NotFound"):
                return
            if error.code < 500:
                raise
            await asyncio.sleep(0.2)
    raise AssertionError("no API server answers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description="Kill random programs of a cluster under a workload, and look at what is left.")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=None, help="one round with this seed; without it seeds from the clock, until the time is over")
    parser.add_argument("--churn", dest="churn_s", type=float, default=30.0, help="seconds of each round in which things are broken")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)  # so that it cleans up, also in the background
    with tempfile.TemporaryDirectory(prefix="keelson-chaos-") as folder, whole(Path(folder)) as cluster:
        record = Path(folder) / "record"
        record.mkdir()
        chaos = Chaos(cluster, record, arguments.churn_s, 180.0)
        end_s = time.monotonic() + arguments.minutes * 60
        rounds = 0
        while rounds == 0 or (arguments.seed is None and time.monotonic() < end_s):
            seed = arguments.seed if arguments.seed is not None else time.time_ns() & 0xFFFFFFFF
            print(f"round {rounds + 1}: seed {seed}", flush=True)
            began_s = time.monotonic()
            wrong = asyncio.run(chaos.round(seed))
            if wrong:
                print("\n".join([*wrong, cluster.logs(30)]), flush=True)
                return 1
            rounds += 1
            print(f"  in order again, {time.monotonic() - began_s:.0f} s", flush=True)
    print(f"{rounds} rounds, nothing wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
