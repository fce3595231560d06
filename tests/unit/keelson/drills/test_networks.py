"""What lies between the members of a drill: one direction of one pair is cut, and nothing else; mended, all is as before."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from keelson.drills.cluster import Cluster, Member
from keelson.drills.network import namespaces
from keelson.drills.network.namespaces import Namespaces
from keelson.drills.network.network import Network
from keelson.drills.network.proxies import Proxies
from keelson.drills.program import Program

SPEAKER = Program("speaker", (sys.executable, "-I", "-S", str(Path(__file__).with_name("speaker.py"))), "")
TIMES = 5
"""Heard so often, a direction is open; heard so often from others, it is not."""


@pytest.fixture(params=[Proxies, Namespaces])
def network(request: pytest.FixtureRequest) -> Network:
    if request.param is Namespaces and (missing := namespaces.why_not()):
        pytest.skip(missing)
    made: Network = request.param()
    return made


def heard(listener: Member, speaker: Member) -> int:
    return listener.log().count(f"heard {speaker.name}\n")


async def hears(listener: Member, speaker: Member) -> None:
    before = heard(listener, speaker)
    async with asyncio.timeout(20):
        while heard(listener, speaker) < before + TIMES:  # noqa: ASYNC110 - another process's log
            await asyncio.sleep(0.01)


async def is_deaf_to(listener: Member, speaker: Member, control: Member) -> None:
    """What was under way may still arrive; then there is silence while another one is heard."""
    await hears(listener, control)
    before = heard(listener, speaker)
    await hears(listener, control)
    assert heard(listener, speaker) == before


async def drill(network: Network, folder: Path) -> None:
    async with Cluster(SPEAKER, folder, 3) as cluster:
        first, second, third = cluster.members
        await network.prepare(cluster)
        try:
            cluster.found()
            for member in cluster:
                member.start()
            pairs = [(one, other) for one in cluster for other in cluster if one is not other]
            for listener, speaker in pairs:
                await hears(listener, speaker)
            await network.cut(first, second)
            await is_deaf_to(second, first, third)
            for listener, speaker in pairs:
                # The other direction of the pair has no acknowledgements where packets are lost, and may fall silent as well.
                if {listener, speaker} != {first, second}:
                    await hears(listener, speaker)
            await network.mend()
            for listener, speaker in pairs:
                await hears(listener, speaker)
        finally:
            await cluster.stop()
            await network.close()


def test_one_direction_is_cut_and_mended(network: Network, tmp_path: Path) -> None:
    asyncio.run(drill(network, tmp_path))
    if isinstance(network, Namespaces):
        assert not [name for name in namespaces._links() if namespaces._owner(name) == os.getpid()]


def test_what_a_drill_made_is_known_by_its_name() -> None:
    assert namespaces._owner("kd4711m2") == 4711
    assert namespaces._owner("kd4711") == 4711
    assert namespaces._owner("kdump0") is None
    assert namespaces._owner("eth0") is None
