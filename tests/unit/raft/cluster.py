"""A cluster of bare cores with instant disks and a network that a test can bend: for tests of the core alone."""

import random
from collections import deque
from collections.abc import Callable

from kvstore.ids import Index, MemberId
from kvstore.raft.config import Config
from kvstore.raft.core import Raft
from kvstore.raft.membership import decode_change
from kvstore.raft.messages import AnyMessage, ConfState, Entry, EntryKind, HardState
from kvstore.raft.ready import PersistMark, ReadReady, Role
from kvstore.raft.storage import MemoryStorage


class Node:
    def __init__(self, number: int, conf: ConfState, seed: int) -> None:
        self.id = MemberId(number)
        self.storage = MemoryStorage(conf)
        self._random = random.Random(seed * 1000 + number)
        self.applied: list[Entry] = []
        self.reads: list[ReadReady] = []
        self.failed_reads: list[int] = []
        self.disk_stopped = False
        self.waiting: list[tuple[PersistMark, list[AnyMessage]]] = []
        self.unwritten: list[tuple[list[Entry], HardState | None]] = []
        self.chunks: list[bytes] = []
        self.start(conf, Index(0))

    def start(self, conf: ConfState, applied: Index) -> None:
        self.raft = Raft(Config(self.id), self.storage, applied, conf, self._random.randint)

    def crash(self) -> None:
        """Lose what is not on disk, and the state machine's memory; what was applied is applied again."""
        conf = self.storage.snapshot().conf
        self.waiting.clear()
        self.unwritten.clear()
        self.applied = [entry for entry in self.applied if entry.index <= self.storage.snapshot().index]
        self.start(conf, self.storage.snapshot().index)

    def work(self) -> list[AnyMessage]:
        """Everything that the core has to say; what waits for the disk only if the disk works."""
        out: list[AnyMessage] = []
        while (ready := self.raft.ready()) is not None:
            out += ready.messages
            if ready.mark is not None:
                if self.disk_stopped:
                    self.waiting.append((ready.mark, ready.messages_after_persist))
                    self.unwritten.append((ready.entries, ready.hard_state))
                else:
                    self.storage.append(ready.entries, ready.hard_state)
                    self.raft.persisted(ready.mark)
                    out += ready.messages_after_persist
            for entry in ready.committed:
                self.applied.append(entry)
                if entry.kind == EntryKind.MEMBERSHIP:
                    self.raft.apply_change(decode_change(entry.data))
                self.raft.applied(entry.index)
            self.reads += ready.reads_ready
            self.failed_reads += ready.reads_failed
            self.chunks += [chunk.data for chunk in ready.snapshot_chunks]
            self.wanted = ready.snapshot_wanted
            for chunk in ready.snapshot_chunks:
                if chunk.done:
                    self.storage.reset(chunk.meta)
                    self.applied = [Entry(chunk.meta.term, chunk.meta.index, b"snapshot")]
                    self.raft.snapshot_installed(chunk.meta)
        return out


class Cluster:
    def __init__(self, size: int, seed: int = 1) -> None:
        conf = ConfState(tuple(MemberId(number) for number in range(1, size + 1)))
        self.nodes = {MemberId(number): Node(number, conf, seed) for number in range(1, size + 1)}
        self.network: deque[AnyMessage] = deque()
        self.delivers: Callable[[AnyMessage], bool] = lambda message: True

    def __getitem__(self, number: int) -> Node:
        return self.nodes[MemberId(number)]

    def settle(self) -> None:
        """Deliver until nobody has anything to say."""
        while True:
            for node in self.nodes.values():
                self.network += node.work()
            if not self.network:
                return
            message = self.network.popleft()
            if message.receiver in self.nodes and self.delivers(message):
                self.nodes[message.receiver].raft.step(message)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            for node in self.nodes.values():
                node.raft.tick()
            self.settle()

    def elect(self, number: int) -> Node:
        """Let time pass for this node alone until it leads."""
        node = self[number]
        for other in self.nodes.values():
            other.raft.election_elapsed = 100
        for _ in range(100):
            if node.raft.role is Role.LEADER:
                break
            node.raft.tick()
            self.settle()
        assert node.raft.role is Role.LEADER
        return node

    def cut_off(self, *numbers: int) -> None:
        self.delivers = lambda message: (message.sender in numbers) == (message.receiver in numbers)

    def heal(self) -> None:
        self.delivers = lambda message: True
