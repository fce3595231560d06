"""Which number a cluster gets: its own as long as nobody else has it; another one only while nothing is stored with the old."""

from pathlib import Path

import pytest

from keelson.launcher import cluster as clusters
from keelson.launcher import network, up
from keelson.launcher.cluster import Cluster, Refused
from keelson.launcher.network import Network, Taken
from keelson.launcher.up import Wanted


class Machine:
    """Numbers and who has them."""

    def __init__(self, **has: int) -> None:
        self.marks = {number: mark for mark, number in has.items()}

    def take(self, wanted: Network, mark: str) -> None:
        if self.marks.setdefault(wanted.number, mark) != mark:
            raise Taken(f"the cluster in {self.marks[wanted.number]}")

    def claim(self, mark: str) -> int | None:
        number = next(each for each in range(50) if self.marks.get(each, mark) == mark)
        self.marks[number] = mark
        return number


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(network, "take", made.take)
    monkeypatch.setattr(network, "claim", made.claim)
    monkeypatch.setattr(network, "may_be_made", lambda: True)
    return made


def numbered(folder: Path) -> int:
    plan = up.with_number(up.choose(folder, Wanted(nodes=2))).control_plane
    assert plan is not None
    saved = clusters.load(folder)
    assert saved is not None and saved.control_plane == plan
    return plan.number


def test_a_cluster_keeps_its_number(machine: Machine, tmp_path: Path) -> None:
    machine.marks[0] = "/other"
    assert numbered(tmp_path) == 1
    machine.marks.clear()  # both are down: the lowest is free again
    assert numbered(tmp_path) == 1


def test_a_number_that_was_taken_is_replaced_while_nothing_was_stored(machine: Machine, tmp_path: Path) -> None:
    assert numbered(tmp_path) == 0
    machine.marks[0] = "/other"
    assert numbered(tmp_path) == 1


def test_a_number_that_was_taken_is_refused_once_something_was_stored(machine: Machine, tmp_path: Path) -> None:
    assert numbered(tmp_path) == 0
    (tmp_path / "m1").mkdir()
    machine.marks[0] = "/other"
    with pytest.raises(Refused, match=r"10\.96\.0\.0/16 .* is now of the cluster in /other.* stop the other one first"):
        numbered(tmp_path)
    assert isinstance(clusters.load(tmp_path), Cluster)


def test_the_store_alone_has_none(machine: Machine, tmp_path: Path) -> None:
    up.with_number(up.choose(tmp_path, Wanted(store_only=True)))
    assert machine.marks == {}
