"""How a data directory begins, and what it is made to say when the rest of the cluster is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore.ids import Index, MemberId, RequestId, Term
from kvstore.member.changes import new_member_id
from kvstore.member.member import decode_conf
from kvstore.model import Member
from kvstore.raft.membership import Change, ChangeKind, decode_change, encode_change
from kvstore.raft.messages import Entry, EntryKind, HardState
from kvstore.server.bootstrap import (
    ConfigurationError,
    Data,
    Removed,
    begin_cluster,
    begin_joining,
    continue_as_member,
    force_new_cluster,
    open_data,
)
from kvstore.statemachine.members import ChangeDetails, encode_details
from kvstore.storage.lmdb_engine import LmdbDisk

THREE = {f"m{number}": [f"http://m{number}:2380"] for number in (1, 2, 3)}
OWN, SECOND, THIRD = (new_member_id(urls, "token") for urls in THREE.values())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LmdbDisk]:
    opened = LmdbDisk(tmp_path / "member", sync=False)
    yield opened
    opened.close()


def closed(data: Data) -> None:
    data.log._engine.close()  # type: ignore[attr-defined]
    data.state.close()


def again(disk: LmdbDisk, data: Data) -> Data:
    closed(data)
    return open_data(disk)


def test_a_founder_begins_once(disk: LmdbDisk) -> None:
    data = open_data(disk)
    assert data.identity is None
    begun = begin_cluster(data, "m1", THREE, "token")
    data = again(disk, data)
    found = continue_as_member(data)
    assert found.identity == begun.identity
    assert (begun.is_new, found.is_new) == (True, False)
    assert set(found.machine.members) == {OWN, SECOND, THIRD}
    assert decode_conf(found.machine.conf).voters == tuple(sorted((OWN, SECOND, THIRD)))
    closed(data)


def test_who_joins_knows_whom_to_talk_to_and_no_configuration(disk: LmdbDisk) -> None:
    data = open_data(disk)
    begin_joining(data, 77, [Member(MemberId(5), "", ("http://m5:2380",), ()), Member(MemberId(6), "", ("http://m6:2380",), (), True)], MemberId(6))
    data = again(disk, data)
    found = continue_as_member(data)
    assert (found.identity.cluster_id, found.identity.member_id) == (77, 6)
    assert set(found.machine.members) == {5, 6}
    assert decode_conf(found.machine.conf).voters == ()
    with pytest.raises(ConfigurationError, match="not received the state"):
        force_new_cluster(data)
    closed(data)


def test_a_directory_of_somebody_removed_or_unknown_is_refused(disk: LmdbDisk) -> None:
    data = open_data(disk)
    begin_cluster(data, "m1", THREE, "token")
    data = again(disk, data)
    data.machine.members.pop(OWN)
    with pytest.raises(ConfigurationError, match=f"member {OWN:x}, whose directory it is, does not exist"):
        continue_as_member(data)
    data.machine.removed_members.add(OWN)
    with pytest.raises(Removed):
        continue_as_member(data)
    closed(data)


def test_a_new_cluster_of_one_keeps_the_whole_log_and_removes_whoever_it_would_have(disk: LmdbDisk) -> None:
    data = open_data(disk)
    begin_cluster(data, "m1", THREE, "token")
    details = encode_details(ChangeDetails(RequestId(1), ("http://m4:2380",)))
    adding = encode_change(Change(ChangeKind.ADD_LEARNER, MemberId(4), details))
    written = [Entry(Term(3), Index(1), b"command"), Entry(Term(3), Index(2), adding, EntryKind.MEMBERSHIP)]
    data.log.append(written, HardState(Term(3), MemberId(9), Index(1)))
    data = again(disk, data)
    assert sorted(force_new_cluster(data)) == sorted((SECOND, THIRD, 4))
    data = again(disk, data)
    entries = list(data.log.entries(Index(1), data.log.last_index(), 1 << 20))
    assert entries[:2] == written
    changes = [decode_change(entry.data) for entry in entries[2:]]
    assert [(change.kind, change.member_id) for change in changes] == [(ChangeKind.REMOVE, member) for member in [*sorted((SECOND, THIRD)), 4]]
    assert {entry.term for entry in entries[2:]} == {3}
    assert data.log.hard_state() == HardState(Term(3), MemberId(9), Index(5)), "as if all of it had been committed"
    closed(data)
