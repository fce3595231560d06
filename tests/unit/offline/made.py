"""States to take backups of, made without a member."""

from hashlib import sha256
from pathlib import Path

import msgspec

from kvstore.ids import Index, MemberId, Term
from kvstore.member.member import encode_conf
from kvstore.model import AlarmAction, AlarmChange, AlarmType, Compact, DeleteRange, LeaseGrant, Member, Put
from kvstore.raft.messages import ConfState
from kvstore.server.bootstrap import Identity
from kvstore.statemachine.commands import Command
from kvstore.statemachine.machine import Machine
from kvstore.storage.lmdb_engine import LmdbDisk
from kvstore.storage.raftlog import RaftLog

OLD_MEMBER = MemberId(0xABC)
COMMANDS: tuple[Command, ...] = (
    *(Put(b"key/%d" % number, b"value %d" % number * 20) for number in range(200)),
    LeaseGrant(7, 600),
    Put(b"leased", b"x", 7),
    Put(b"key/1", b"again"),
    DeleteRange(b"key/2"),
    Compact(100),
    Put(b"long/" + b"k" * 600, b"y"),
    AlarmChange(AlarmAction.ACTIVATE, OLD_MEMBER, AlarmType.NOSPACE),
)


def make_member(directory: Path, commands: tuple[Command, ...] = COMMANDS) -> Machine:
    """A stopped member's directory in which `commands` were applied; the machine is only to be looked at."""
    disk = LmdbDisk(directory)
    state, log_engine = disk.open_state(), disk.open_log()
    conf = ConfState((OLD_MEMBER,))
    RaftLog(log_engine).bootstrap(conf, msgspec.msgpack.encode(Identity(1, OLD_MEMBER)))
    machine = Machine(state)
    machine.begin(state.begin_write())
    machine.put_member(Member(OLD_MEMBER, "old", ("http://127.0.0.1:1",), ()))
    machine.conf = encode_conf(conf)
    for index, command in enumerate(commands, 1):
        machine.apply(Index(index), Term(5), command)
    machine.seal()
    machine.transaction.commit()
    state.close()
    log_engine.close()
    disk.close()
    return machine


def data_of(snapshot: Path) -> Path:
    """The data directory that `make_snapshot` made its snapshot of."""
    return snapshot.with_name(snapshot.name + ".data")


def make_snapshot(path: Path, commands: tuple[Command, ...] = COMMANDS) -> Machine:
    """What the server's Snapshot stream would have written."""
    machine = make_member(data_of(path) / "member", commands)
    disk = LmdbDisk(data_of(path) / "member")
    engine = disk.open_state()
    export = engine.export()
    content = export.read(0, export.total_bytes)
    export.close()
    engine.close()
    disk.close()
    path.write_bytes(content + sha256(content).digest())
    return machine
