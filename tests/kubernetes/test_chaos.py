"""Random programs are killed under a workload that churns; once that ends, the cluster must come to rest with every invariant holding."""

import asyncio
import contextlib
import random

import pytest

from apiserver.client import kubeconfig
from apiserver.client.errors import Unreachable
from apiserver.client.rest import Client
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.launcher import cluster as clusters
from tests.kubernetes.invariants import World, broken
from tests.support.whole import Whole

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.xdist_group("kubernetes")]

NAMESPACE = "chaos"
CHURN_S, REST_S = 20.0, 90.0
KINDS = {
    "pods": "pods",
    "replicasets": "replicasets.apps",
    "deployments": "deployments.apps",
    "services": "services",
    "endpointslices": "endpointslices.discovery.k8s.io",
}


class Churn:
    """A workload that never agrees with itself."""

    def __init__(self, client: Client, seed: int) -> None:
        self.client, self.random = client, random.Random(seed)

    async def run(self) -> None:
        while True:
            with contextlib.suppress(ApiError, Unreachable):
                await self.random.choice((self.make, self.make, self.scale, self.scale, self.roll, self.delete, self.lose_pod))()
            await asyncio.sleep(self.random.uniform(0, 0.4))

    def name(self) -> str:
        return f"app-{self.random.randrange(5)}"

    async def make(self) -> None:
        name = self.name()
        container = {"name": "c", "image": "keelson/toolbox:1", "command": ["sleep", "3600"]}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        template = {"metadata": {"labels": {"app": name}}, "spec": spec}
        deployment = {"replicas": self.random.randrange(1, 4), "selector": {"matchLabels": {"app": name}}, "template": template}
        for kind, version, what, its in (
            ("services", "v1", "Service", {"selector": {"app": name}, "ports": [{"port": 80}]}),
            ("deployments.apps", "apps/v1", "Deployment", deployment),
        ):
            with contextlib.suppress(ApiError):
                await self.client.create(resource(kind), {"apiVersion": version, "kind": what, "metadata": {"name": name}, "spec": its}, NAMESPACE)

    async def scale(self) -> None:
        change = {"spec": {"replicas": self.random.randrange(5)}}
        await self.client.patch(resource("deployments.apps"), self.name(), change, NAMESPACE, subresource="scale")

    async def roll(self) -> None:
        stamp = {"spec": {"template": {"metadata": {"annotations": {"rolled": str(self.random.random())}}}}}
        await self.client.patch(resource("deployments.apps"), self.name(), stamp, NAMESPACE)

    async def delete(self) -> None:
        await self.client.delete(resource("deployments.apps"), self.name(), NAMESPACE, propagation=self.random.choice(("Background", "Foreground")))

    async def lose_pod(self) -> None:
        pods = (await self.client.list(resource("pods"), NAMESPACE)).get("items") or []
        if pods:
            await self.client.delete(resource("pods"), self.random.choice(pods)["metadata"]["name"], NAMESPACE, grace_s=0)


async def look(client: Client) -> World:
    return {name: await client.list_all(resource(kind), NAMESPACE) for name, kind in KINDS.items()}


async def chaos(cluster: Whole, seed: int) -> list[str]:
    chance = random.Random(seed)
    made = clusters.load(cluster.data)
    assert made is not None
    programs = [program.name for program in made.programs()]
    killed = []
    async with Client(kubeconfig.load(cluster.kubeconfig), user_agent="chaos") as client:
        await client.create(resource("namespaces"), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        async with asyncio.TaskGroup() as group:
            churning = [group.create_task(Churn(client, seed + number).run()) for number in range(3)]
            deadline_s = asyncio.get_running_loop().time() + CHURN_S
            while asyncio.get_running_loop().time() < deadline_s:
                await asyncio.sleep(chance.uniform(0.3, 1.5))
                victim = chance.choice(programs)
                with contextlib.suppress(AssertionError):  # it is down from the time before
                    cluster.kill(victim)
                    killed.append(victim)
            for task in churning:
                task.cancel()
        deadline_s = asyncio.get_running_loop().time() + REST_S
        while True:
            try:
                wrong = broken(await look(client))
            except (ApiError, Unreachable) as error:
                wrong = [str(error)]
            if not wrong:
                await client.delete(resource("namespaces"), NAMESPACE)
                return []
            if asyncio.get_running_loop().time() > deadline_s:
                return [f"seed {seed}, killed {', '.join(killed)}", *wrong]
            await asyncio.sleep(0.5)


def test_the_cluster_comes_to_rest_with_everything_in_order(cluster: Whole) -> None:
    wrong = asyncio.run(chaos(cluster, seed=7))
    assert not wrong, "\n".join([*wrong, cluster.logs(5)])
