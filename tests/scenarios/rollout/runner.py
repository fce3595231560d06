"""Rollouts as scripts: a deployment and its ReplicaSets, played against an API server in memory, in virtual time; the outcome stands below.

    python -m tests.scenarios.rollout.runner --rewrite     # record anew; then read the diff

A script is a sequence of blocks: commands, a line `----`, what came of them, an empty line. Commands:

    deployment NAME replicas=4 image=web:1 [surge=1] [unavailable=0] [strategy=Recreate] [deadline=60] [history=2] [min-ready=5]
    set NAME image=web:2 | replicas=6 | paused=true | ...      change the spec
    ready IMAGE[,IMAGE]       from now on pods of these images become ready, one second after they were made; `ready all`, `ready none`
    fail VERB RESOURCE N      the next N such requests are refused by a quota
    wait SECONDS              let time go by
    stabilize                 until nothing changes any more (600 s at most)
    restart                   the controllers are killed and started again, with empty caches

What is printed: each change of a ReplicaSet's wanted size as it happens (`t` is virtual seconds since the block began), and at the end of a
block for each ReplicaSet its pods wanted/made/ready, and the deployment's conditions.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from agents.controllers import rollout
from agents.controllers.deployment import DEPLOYMENTS, Deployments
from agents.controllers.replicaset import REPLICA_SETS, ReplicaSets
from agents.kit.times import to_seconds, to_text
from apiserver.machinery import status
from apiserver.machinery.objects import annotations_of, name_of
from tests.support.controllers import now_s, running
from tests.support.fake_api import FakeApi
from tests.support.virtual_loop import run, settle
from tests.support.workloads import PODS, deployment, template

FOLDER = Path(__file__).parent
STEP_S = 0.5
SETTLED_S = 30.0
STABLE_S_MAX = 900.0
READY_AFTER_S = 1.0


def scripts() -> list[Path]:
    return sorted(FOLDER.glob("*.txt"))


class Play:
    def __init__(self) -> None:
        self.api = FakeApi(lambda: to_text(now_s()))
        self.images: set[str] | None = None
        self.lines: list[str] = []
        self.told: dict[str, int] = {}
        self.began_s = 0.0

    async def block(self, commands: list[str]) -> list[str]:
        self.lines, self.began_s = [], asyncio.get_running_loop().time()
        for command in commands:
            if not command.startswith("#"):
                await self.command(*command.split())
        await self.look()
        return [*self.lines, *self.state()]

    async def command(self, verb: str, *words: str) -> None:
        given = dict(word.split("=", 1) for word in words if "=" in word)
        if verb == "deployment":
            self.api.put(DEPLOYMENTS, made(words[0], given))
        elif verb == "set":
            self.api.touch(DEPLOYMENTS, "default", words[0], lambda obj: change(obj["spec"], given))
        elif verb == "ready":
            self.images = None if words[0] == "all" else set() if words[0] == "none" else set(words[0].split(","))
        elif verb == "fail":
            refused = status.forbidden("", words[1], "web-x", "exceeded quota: few")
            self.api.fail(words[0], words[1], *[refused] * int(words[2]))
        elif verb == "wait":
            await self.wait(float(words[0]))
        elif verb == "stabilize":
            await self.stabilize()
        else:
            raise ValueError(f"no such command: {verb}")

    async def wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + seconds
        while loop.time() < until_s:
            await asyncio.sleep(STEP_S)
            self.kubelet()
            await self.look()

    async def stabilize(self) -> None:
        loop = asyncio.get_running_loop()
        quiet_s, began_s, seen = loop.time(), loop.time(), None
        while loop.time() - quiet_s < SETTLED_S and loop.time() - began_s < STABLE_S_MAX:
            await self.wait(STEP_S)
            now = [each["metadata"]["resourceVersion"] for kind in (DEPLOYMENTS, REPLICA_SETS, PODS) for each in self.api.all(kind)]
            if now != seen:
                seen, quiet_s = now, loop.time()

    def kubelet(self) -> None:
        """Pods of the images that work become ready a second after they were made."""
        for pod in self.api.all(PODS):
            image = pod["spec"]["containers"][0]["image"]
            good = self.images is None or image in self.images
            old = to_seconds(pod["metadata"]["creationTimestamp"]) + READY_AFTER_S <= now_s()
            ready = [{"type": "Ready", "status": "True", "lastTransitionTime": to_text(now_s())}]
            if good and old and not (pod.get("status") or {}).get("conditions"):
                self.api.touch(PODS, "default", name_of(pod), lambda obj, ready=ready: obj.update(status={"phase": "Running", "conditions": ready}))

    async def look(self) -> None:
        """Write down what changed: sizes of ReplicaSets."""
        await settle(20)
        at = asyncio.get_running_loop().time() - self.began_s
        for rs in sorted(self.api.all(REPLICA_SETS), key=revision):
            called, size = self.called(rs), rs["spec"]["replicas"]
            if self.told.get(called) != size:
                self.lines.append(f"t={at:g}  {called}: {self.told.get(called, 0)} -> {size}")
                self.told[called] = size

    def called(self, rs: Any) -> str:
        return f"{rs['metadata']['ownerReferences'][0]['name']}/{rs['spec']['template']['spec']['containers'][0]['image']}"

    def state(self) -> list[str]:
        lines = []
        for rs in sorted(self.api.all(REPLICA_SETS), key=revision):
            found = rs.get("status") or {}
            number = annotations_of(rs).get(rollout.REVISION)
            counts = f"wanted {rs['spec']['replicas']}, made {found.get('replicas', 0)}, ready {found.get('readyReplicas', 0)}"
            lines.append(f"  revision {number} {self.called(rs)}: {counts}")
        for each in self.api.all(DEPLOYMENTS):
            conditions = sorted((each.get("status") or {}).get("conditions") or (), key=lambda told: told["type"])
            lines.append(f"  {name_of(each)}: " + ", ".join(f"{told['type']}={told['status']} {told['reason']}" for told in conditions))
        return lines


def revision(rs: Any) -> int:
    return int(annotations_of(rs).get(rollout.REVISION, "0"))


def made(name: str, given: dict[str, str]) -> Any:
    found = deployment(name)
    change(found["spec"], given)
    return found


def change(spec: Any, given: dict[str, str]) -> None:
    rolling = dict((spec.get("strategy") or {}).get("rollingUpdate") or {})
    for key, value in given.items():
        if key == "image":
            spec["template"] = template(value)
        elif key == "replicas":
            spec["replicas"] = int(value)
        elif key in ("surge", "unavailable"):
            rolling[f"max{key.capitalize()}"] = value if value.endswith("%") else int(value)
            spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
        elif key == "strategy":
            spec["strategy"] = {"type": value}
        elif key == "paused":
            spec["paused"] = value == "true"
        else:
            field = {"deadline": "progressDeadlineSeconds", "history": "revisionHistoryLimit", "min-ready": "minReadySeconds"}[key]
            spec[field] = int(value)


def play(text: str) -> str:
    """The script with the outcome as it is now."""
    blocks = [block.split("----\n")[0].strip().splitlines() for block in text.strip().split("\n\n")]
    return run(_played(blocks))


async def _played(blocks: list[list[str]]) -> str:
    game = Play()
    parts: list[str] = []
    left = list(blocks)
    while left:
        # A restart ends the controllers; the next ones begin with what the API has.
        async with running(game.api, Deployments, ReplicaSets):
            while left:
                block = left.pop(0)
                again = block[-1] == "restart"
                commands = [each for each in block if each != "restart"]
                if all(each.startswith("#") for each in commands) and not again:
                    parts.append("\n".join(block))
                    continue
                outcome = await game.block(commands)
                parts.append("\n".join([*block, "----", *outcome]))
                if again:
                    break
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    for path in scripts():
        path.write_text(play(path.read_text()))
