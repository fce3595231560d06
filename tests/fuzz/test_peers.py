"""Invariant: a stranger on the peer port is told no, or hung up on, and changes nothing; so is a known peer that speaks nonsense."""

import contextlib
import socket
import struct
import zlib
from pathlib import Path

import msgpack
import pytest

from tests.fuzz.target import Target, answer_of
from tests.support import kinds
from tests.support.members import Cluster, Member

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture(autouse=True)
def only_our_protocol(target: Target) -> None:
    if target.member.kind.name != kinds.KEELSON:
        pytest.skip("the protocol between members is each server's own")


def frame(payload: bytes, size: int | None = None, checksum: int | None = None) -> bytes:
    claimed = len(payload) if size is None else size
    return struct.pack(">II", claimed, zlib.crc32(payload) if checksum is None else checksum) + payload


def greeting(**changes: object) -> bytes:
    known: dict[str, object] = {"magic": "keelson-peer", "version": 1, "cluster_id": 1, "sender": 2, "receiver": 3}
    return frame(msgpack.packb(known | changes))


def say(target: Target, data: bytes) -> bytes:
    connection = target.connect(target.member.peer_port)
    with contextlib.suppress(OSError):
        connection.sendall(data)
    return answer_of(connection, 2)


def test_a_foreign_cluster_is_refused_with_the_reason(target: Target) -> None:
    assert b"cluster ID mismatch" in say(target, greeting())


def test_another_version_is_refused_with_the_reason(target: Target) -> None:
    assert b"version 99" in say(target, greeting(version=99))


@pytest.mark.parametrize(
    "data",
    [
        frame(b"", size=0xFFFFFFFF),
        frame(b"x" * 100, size=0x7FFFFFFF),
        frame(b"x" * 5000),
        frame(msgpack.packb({"magic": "keelson-peer"}), checksum=1),
        frame(b"\xdd\xff\xff\xff\xff"),
        frame(b"\xdf\xff\xff\xff\xff"),
        frame(b"\xc6\xff\xff\xff\xff"),
        frame(b"\x91" * 4000),
        frame(b"\x81\xa1k" * 1300),
        frame(msgpack.packb({"magic": "other", "version": 1, "cluster_id": 1, "sender": 2, "receiver": 3})),
        frame(msgpack.packb([1, 2, 3])),
        frame(msgpack.packb({"magic": 5, "version": [], "cluster_id": -1, "sender": None, "receiver": "x"})),
        frame(b""),
        b"",
        b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=range(15),
)
def test_what_is_no_greeting_is_hung_up_on(target: Target, data: bytes) -> None:
    assert len(say(target, data)) < 1000


def test_a_thousand_half_greetings(target: Target) -> None:
    whole = greeting()
    crowd = []
    for number in range(300):
        connection = target.connect(target.member.peer_port)
        connection.sendall(whole[: number % len(whole)])
        crowd.append(connection)
    target.check()
    for connection in crowd:
        connection.close()


def ids_of(member: Member) -> tuple[int, int]:
    header = member.status()["header"]
    assert isinstance(header, dict)
    return int(header["cluster_id"]), int(header["member_id"])


def test_a_peer_with_the_right_greeting_and_nonsense_after_it(tmp_path: Path) -> None:
    """An attacker who knows all the ids, on a cluster without TLS: its messages do not parse, and the three go on."""
    with Cluster(kinds.subject(), tmp_path, 3) as cluster:
        (cluster_id, first), (_, second) = ids_of(cluster[0]), ids_of(cluster[1])
        hello = greeting(cluster_id=cluster_id, sender=second, receiver=first)
        for nonsense in (
            frame(b"\xdd\xff\xff\xff\xff"),
            frame(b"\x91" * 100_000),
            frame(msgpack.packb(["x"] * 10_000)),
            frame(b"\xff" * 1000),
            frame(b"", size=1 << 30),
            b"\x00" * 64,
        ):
            with socket.create_connection(("127.0.0.1", cluster[0].peer_port), 5) as connection:
                connection.sendall(hello)
                assert b"refused" in connection.recv(4096)  # the field of the answer; it is empty
                connection.sendall(nonsense)
                connection.settimeout(5)
                assert connection.recv(4096) == b"", "it goes on listening to nonsense"
        for member in cluster:
            assert member.healthy()
        assert cluster.leader().http.post("/v3/kv/put", {"key": "YQ=="}).status == 200


def test_many_connections_in_the_name_of_one_member(tmp_path: Path) -> None:
    """Each with the beginning of the largest frame: the newest replaces the older ones, so that they cannot fill memory together."""
    with Cluster(kinds.subject(), tmp_path, 3) as cluster, contextlib.ExitStack() as stack:
        (cluster_id, first), (_, second) = ids_of(cluster[0]), ids_of(cluster[1])
        hello = greeting(cluster_id=cluster_id, sender=second, receiver=first)
        before = memory_bytes(cluster[0])
        for _ in range(25):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", cluster[0].peer_port), 5))
            connection.sendall(hello)
            connection.recv(4096)
            with contextlib.suppress(OSError):  # the member whose name it is has called meanwhile
                connection.sendall(struct.pack(">II", 16 << 20, 0) + bytes(15 << 20))
        assert memory_bytes(cluster[0]) - before < 200 << 20
        assert cluster.leader().http.post("/v3/kv/put", {"key": "YQ=="}).status == 200
        for member in cluster:
            assert member.healthy()


def memory_bytes(member: Member) -> int:
    assert member.process is not None
    for line in Path(f"/proc/{member.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the process is gone")
