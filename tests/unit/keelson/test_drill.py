"""What a drill measures and what it must notice; the drill itself with real processes is in test_up_and_down."""

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelson.launcher import cluster as clusters
from keelson.launcher import drill
from keelson.launcher.calls import NoAnswer
from keelson.launcher.cluster import Cluster, MemberSpec, Refused
from keelson.launcher.drill import Drill, longest_pause_s


def cluster(members: int = 3) -> Cluster:
    return Cluster(Path("/nowhere"), clusters.plan(members, "2379", "2380", insecure=True))


@pytest.mark.parametrize(
    ("acknowledged_s", "pause_s"),
    [
        ([], 10),
        ([5.0], 5),
        ([1.0, 2.0, 6.0, 9.0], 4),
        ([6.0, 2.0, 9.0, 1.0], 4),  # several writers: not in order
        ([-5.0, 4.0, 11.0], 6),  # what lies outside does not shorten a pause that reaches over an end
    ],
)
def test_pauses(acknowledged_s: list[float], pause_s: float) -> None:
    assert longest_pause_s(acknowledged_s, 0, 10) == pause_s


@given(st.lists(st.floats(0, 10), max_size=30))
def test_more_writes_never_make_a_pause_longer(acknowledged_s: list[float]) -> None:
    pauses = [longest_pause_s(acknowledged_s[:count], 0, 10) for count in range(len(acknowledged_s) + 1)]
    assert pauses == sorted(pauses, reverse=True)


@given(st.text(st.characters(codec="ascii"), min_size=1), st.text(st.characters(codec="ascii")))
def test_the_range_of_a_prefix(prefix: str, rest: str) -> None:
    assert prefix <= prefix + rest < drill.after(prefix)
    assert not drill.after(prefix).startswith(prefix)


def test_one_or_two_members_are_not_drilled() -> None:
    with pytest.raises(Refused, match="at least three members"):
        Drill(cluster(1), 1, print)


class Store:
    """In the place of `Caller`: keys in a list, pages of two, and the first member does not answer."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = sorted(keys)
        self.revisions: list[int] = []

    def request(self, member: MemberSpec, method: str, path: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if member.name == "m1":
            raise NoAnswer("connection refused")
        assert path == "/v3/kv/range"
        self.revisions.append(body["revision"])
        start, end = (base64.b64decode(body[name]).decode() for name in ("key", "range_end"))
        found = [key for key in self.keys if start <= key < end]
        return {"header": {"revision": "7"}, "kvs": [{"key": drill.encoded(key)} for key in found[:2]], "more": len(found) > 2}


def test_a_lost_write_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "PAGE", 2)
    exercise = Drill(cluster(), 2, print)
    names = [f"{exercise.prefix}{number:02}/{count:08}" for number in range(2) for count in range(3)]
    for number, writer in enumerate(exercise.writers):
        writer.acknowledged = [(0.0, name) for name in names[3 * number : 3 * number + 3]]
    store = Store([*names, "keelson-drill/other", "zzz"])
    exercise.caller = store  # type: ignore[assignment]
    assert exercise.lost() == []
    assert store.revisions == [0, 7, 7]  # one state, however many pages
    store.keys.remove(names[4])
    assert exercise.lost() == [names[4]]
    assert exercise.acknowledged() == 6


def test_nobody_to_ask_is_told() -> None:
    exercise = Drill(Cluster(Path("/nowhere"), clusters.plan(3, "1,2,3", "4,5,6", insecure=True)), 1, print)
    with pytest.raises(Refused, match="no member answers /v3/kv/range: connection refused"):
        exercise.lost()
