"""Changes of the membership beside etcd: random requests, right and wrong ones, to three members of each, at any of them.

Whoever is added never starts: that is what most of the rules are about. Founders stay, so that both clusters keep their quorum; and learners are
not updated, because etcd 3.5.1 forgets with an update that they are learners. Nor is anybody updated to what is no URL: all members of etcd
3.5.1 die of it.
"""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.kinds import Kind
from tests.support.members import Cluster, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = 80
FOUNDERS = ["founder 0", "founder 1", "founder 2"]
UNKNOWN = "unknown"
BAD_URLS = ["", "127.0.0.1:2380", "http://", "http://127.0.0.1", "http://127.0.0.1:2380/path", "ftp://127.0.0.1:2380", "http://127.0.0.1:port"]
NOT_IN_COMMON = 12_345
HEALTHY_TIMEOUT_S = 20
ENTRIES = 200
"""Who has nine tenths of the leader's log is in sync with it. In a log of ten entries whoever lacks the last one is not."""


class Side:
    """One cluster. Members are known to the test by labels, because each side makes up ids of its own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        leader = cluster.leader()
        self.wires = [Wire(member.endpoint) for member in (leader, *cluster.followers())]
        self.ids = {label: int(member.member_id()) for label, member in zip(FOUNDERS, cluster, strict=True)} | {UNKNOWN: NOT_IN_COMMON}
        self.founder_urls = {member.peer_url: label for label, member in zip(FOUNDERS, cluster, strict=True)}

    def label(self, member_id: int) -> str:
        return next((label for label, known in self.ids.items() if known == member_id), f"nobody knows {member_id:x}")

    def described(self, members: list[Message]) -> list[tuple[Any, ...]]:
        """Order is by id, which the sides do not share."""
        return sorted(
            (self.label(member.ID), bool(member.name), [self.founder_urls.get(url, url) for url in member.peerURLs], member.isLearner)
            for member in members
        )


class Pair:
    def __init__(self, oracle: Side, subject: Side) -> None:
        self.sides = (oracle, subject)
        self.log: list[str] = []
        self._added = 0

    def ask(self, at: int, method: str, label: str, urls: list[str], *, learner: bool = False) -> tuple[Any, ...]:
        """The same request to the same kind of member of both; what they answer, which must be equal."""
        new = f"added {self._added}"
        told = []
        for side in self.sides:
            own_urls = [next((url for url, founder in side.founder_urls.items() if founder == known), known) for known in urls]
            if method == "MemberAdd":
                request: Message = pb.MemberAddRequest(peerURLs=own_urls, isLearner=learner)
            elif method == "MemberUpdate":
                request = pb.MemberUpdateRequest(ID=side.ids[label], peerURLs=own_urls)
            elif method == "MemberList":
                request = pb.MemberListRequest(linearizable=True)
            else:
                request = getattr(pb, f"{method}Request")(ID=side.ids[label])
            reply = side.wires[at].call(f"Cluster/{method}", request)
            members: list[tuple[Any, ...]] = []
            if reply.message is not None:
                if method == "MemberAdd":
                    side.ids[new] = reply.message.member.ID
                members = side.described(list(reply.message.members))
            told.append((reply.code, reply.text.replace(f"{NOT_IN_COMMON:x}", "ID"), members))
        if method == "MemberAdd" and told[0][0] == 0:
            self._added += 1
        self.log.append(f"{method} {label} {urls} learner={learner} at {at}: {told[0]}")
        assert told[0] == told[1], "\n".join([*self.log[-12:], f"ours: {told[1]}"])
        return told[0]


def clusters(kind: Kind, folder: Any) -> Cluster:
    return Cluster(kind, folder / kind.name, 3)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("membership")
    with clusters(kinds.find(kinds.ETCD), folder) as oracle, clusters(kinds.subject(), folder) as subject:
        sides = Side(oracle), Side(subject)
        for side in sides:
            # A cluster counts as healthy when all have been connected for five seconds.
            add = pb.MemberAddRequest(peerURLs=["http://127.7.0.1:9"], isLearner=True)
            added = wait_until(
                lambda side=side, add=add: side.wires[0].call("Cluster/MemberAdd", add).message, HEALTHY_TIMEOUT_S, "a healthy cluster"
            )
            side.wires[0].ask(pb.MemberRemoveRequest(ID=added.member.ID))
            for _ in range(ENTRIES):
                side.wires[0].ask(pb.PutRequest(key=b"k"))
        yield Pair(*sides)
        for side in sides:
            for wire in side.wires:
                wire.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_requests_right_and_wrong(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    # Nobody listens there. Each is given to one member only: an id is made of URLs and the time in seconds, and a removed one never comes back.
    unused = (f"http://127.7.{seed}.{number}:9" for number in range(1, 250))
    present: dict[str, tuple[bool, list[str]]] = {}
    gone: list[str] = []
    for _ in range(STEPS):
        at = chance.randrange(3)
        label = chance.choice([*present, *gone[-2:], *FOUNDERS, UNKNOWN])
        used = [url for _, urls in present.values() for url in urls]
        step = chance.randrange(10)
        taken_or_bad = [*used, *FOUNDERS, *(BAD_URLS if step < 3 else [])]
        urls = [chance.choice(taken_or_bad) if chance.random() < 0.3 else next(unused)]
        urls += [next(unused)] if chance.random() < 0.2 else []
        if step < 3:
            code, _, members = pair.ask(at, "MemberAdd", "", urls, learner=chance.random() < 0.5)
            if code == 0:
                present |= {known: (learner, own) for known, _, own, learner in members if known not in FOUNDERS}
        elif step < 5:
            # A follower of 3.5.1 gets no answer from its leader about a member that is gone.
            pair.ask(0 if label in gone else at, "MemberPromote", label, [])
        elif step < 7 and label not in FOUNDERS and not present.get(label, (False,))[0]:
            if pair.ask(at, "MemberUpdate", label, urls)[0] == 0:
                present[label] = (False, urls)
        elif step < 9 and label not in FOUNDERS:
            if pair.ask(at, "MemberRemove", label, [])[0] == 0:
                del present[label]
                gone.append(label)
        else:
            pair.ask(at, "MemberList", "", [])
    for label in present:
        assert pair.ask(0, "MemberRemove", label, [])[0] == 0
