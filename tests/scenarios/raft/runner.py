"""Whole scenarios of consensus as text: commands, `----`, and what came of them, recorded (in the manner of etcd-io/raft's testdata).

    python -m tests.scenarios.raft.runner --rewrite     # record anew; then read the diff

One command a line (`COMMANDS` below has them all); `#` begins a comment. What is printed: changes of role, what became of proposals and reads,
and what each member applies, in the order in which it happens. Disks are instant unless stopped, chance has a fixed seed.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from kvstore.ids import Index, MemberId
from kvstore.raft.config import Config
from kvstore.raft.core import Raft
from kvstore.raft.membership import Change, ChangeKind, decode_change
from kvstore.raft.messages import AnyMessage, AppendRequest, ConfState, Entry, EntryKind
from kvstore.raft.ready import Role
from tests.unit.raft.cluster import Cluster, Node

HERE = Path(__file__).parent
CHANGES = {
    "add": ChangeKind.ADD_VOTER,
    "remove": ChangeKind.REMOVE,
    "add-learner": ChangeKind.ADD_LEARNER,
    "promote": ChangeKind.PROMOTE,
}


class _Told(Node):
    """A node that says what it does."""

    def __init__(self, config: Config, conf: ConfState, say: Callable[[str], None]) -> None:
        self.config = config
        self.say = say
        super().__init__(config.id, conf, 1)

    def start(self, conf: ConfState, applied: Index) -> None:
        self.raft = Raft(self.config, self.storage, applied, conf, self._random.randint)
        self.raft.trace = lambda text: self.say(f"{self.id} {text}")

    def work(self) -> list[AnyMessage]:
        applied, reads, failed = len(self.applied), len(self.reads), len(self.failed_reads)
        out = super().work()
        for entry in self.applied[applied:]:
            self.say(f"{self.id} applies {_entry(entry)}")
        for read in self.reads[reads:]:
            self.say(f"{self.id} may answer read {read.context} from entry {read.index} on")
        for context in self.failed_reads[failed:]:
            self.say(f"{self.id} cannot answer read {context}")
        return out

    def release_disk(self) -> list[AnyMessage]:
        """The disk goes on: what was waiting is written, in its order, and what waited for it may be said."""
        self.disk_stopped = False
        out: list[AnyMessage] = []
        waiting, self.waiting = self.waiting, []
        for (mark, messages), (entries, hard_state) in zip(waiting, self.unwritten, strict=True):
            self.storage.append(entries, hard_state)
            self.raft.persisted(mark)
            out += messages
        self.unwritten.clear()
        return out


class Scenario(Cluster):
    def __init__(self) -> None:
        super().__init__(0)
        self.out: list[str] = []
        self.groups: list[set[int]] = []
        self.held: dict[tuple[int, int], list[AnyMessage]] = {}
        self.released: dict[tuple[int, int], list[AnyMessage]] = {}
        self.carries: dict[tuple[int, int], int] = {}
        self.options: tuple[str, ...] = ()
        self.reads = 0
        self.delivers = self._delivers

    def run(self, commands: list[str]) -> str:
        self.out = []
        for line in commands:
            words = line.partition("#")[0].split()
            if words:
                COMMANDS[words[0]](self, *words[1:])
        return "\n".join(self.out) or "ok"

    def say(self, text: str) -> None:
        self.out.append(text)

    def _delivers(self, message: AnyMessage) -> bool:
        link = (int(message.sender), int(message.receiver))
        if link in self.held:
            # Heartbeats are lost, not held: they are not what such a scenario is about.
            if isinstance(message, AppendRequest):
                self.held[link].append(message)
            return False
        if link in self.carries and isinstance(message, AppendRequest):
            self.carries[link] -= 1
            if self.carries[link] < 0:
                return False
        return not self.groups or any(link[0] in group and link[1] in group for group in self.groups)

    # --- commands -----------------------------------------------------------------------------------------------------

    def cluster(self, size: str, *options: str) -> None:
        """cluster SIZE [no-pre-vote] [one-entry-appends]: members 1 to SIZE, all voters, nobody leads."""
        self.options = options
        self.conf = ConfState(tuple(MemberId(number) for number in range(1, int(size) + 1)))
        for number in self.conf.voters:
            self.start_member(str(number))

    def start_member(self, number: str) -> None:
        """start N: a new, empty member that knows the first configuration."""
        member = MemberId(int(number))
        append_bytes_max = 1 if "one-entry-appends" in self.options else 1 << 20
        config = Config(member, pre_vote="no-pre-vote" not in self.options, append_bytes_max=append_bytes_max)
        self.nodes[member] = _Told(config, self.conf, self.say)

    def campaign(self, number: str) -> None:
        """campaign N: nobody has heard a leader for long, and N is the first to notice."""
        for node in self.nodes.values():
            if node.raft.role is not Role.LEADER:
                node.raft.election_elapsed = node.raft.config.election_ticks
        self.timeout(number)

    def timeout(self, number: str) -> None:
        """timeout N: N alone has not heard its leader for long."""
        raft = self[int(number)].raft
        raft.election_elapsed = raft.election_timeout
        raft.tick()
        self.settle()

    def propose(self, number: str, data: str) -> None:
        """propose N DATA: a client asks N to write DATA. Nothing is delivered before `settle`."""
        self.say(f"{number} propose {data}: {self[int(number)].raft.propose([data.encode()]).value}")

    def change(self, number: str, what: str, subject: str) -> None:
        """change N add|remove|add-learner|promote M."""
        proposed = self[int(number)].raft.propose_change(Change(CHANGES[what], MemberId(int(subject))))
        self.say(f"{number} {what} {subject}: {proposed.value}")

    def transfer(self, number: str, to: str) -> None:
        """transfer N M: N is to hand leadership to M."""
        if not self[int(number)].raft.transfer_leadership(MemberId(int(to))):
            self.say(f"{number} does not transfer to {to}")

    def read(self, number: str) -> None:
        """read N: a client asks N for a linearizable read; reads are numbered."""
        self.reads += 1
        self.say(f"{number} is asked for read {self.reads}")
        self[int(number)].raft.read_index(self.reads)

    def partition(self, *words: str) -> None:
        """partition 1 2 | 3 4 5: messages pass within a group only."""
        self.groups = [{int(number) for number in group.split()} for group in " ".join(words).split("|")]

    def mend(self) -> None:
        """heal: the network is whole again."""
        self.groups = []
        self.carries = {}

    def hold(self, sender: str, receiver: str) -> None:
        """hold N M: appends from N to M are on their way for long; everything else from N to M is lost."""
        self.held[int(sender), int(receiver)] = []

    def release(self, sender: str, receiver: str, *how: str) -> None:
        """release N M [reversed] [twice]: what was held arrives, and the link works."""
        messages = self.held.pop((int(sender), int(receiver)))
        if "reversed" in how:
            messages.reverse()
        self.released[int(sender), int(receiver)] = messages
        self._arrive(messages * (2 if "twice" in how else 1))

    def again(self, sender: str, receiver: str) -> None:
        """again N M: what was released arrives once more, late."""
        self._arrive(self.released[int(sender), int(receiver)])

    def _arrive(self, messages: list[AnyMessage]) -> None:
        for message in messages:
            node = self.nodes[message.receiver]
            node.raft.step(message)
            self.network += node.work()
        self.settle()

    def carry(self, sender: str, receiver: str, count: str) -> None:
        """carry N M COUNT: so many more appends from N reach M, the others are lost."""
        self.carries[int(sender), int(receiver)] = int(count)

    def disk(self, number: str, what: str) -> None:
        """disk N stops|goes: writes of N do not finish."""
        node = self[int(number)]
        node.disk_stopped = what == "stops"
        if what == "goes":
            assert isinstance(node, _Told)
            self.network += node.release_disk()
            self.settle()

    def crash(self, number: str) -> None:
        """crash N: N loses what was not on disk, and starts again."""
        self.say(f"{number} crashes")
        node = self[int(number)]
        node.disk_stopped = False
        node.crash()

    def ticks(self, count: str, *numbers: str) -> None:
        """ticks COUNT [N ...]: time passes (for these alone), and messages arrive."""
        for _ in range(int(count)):
            for node in self.nodes.values():
                if not numbers or str(node.id) in numbers:
                    node.raft.tick()
            self.settle()

    def status(self) -> None:
        """status: role, term, log and commit index of everybody. A log is drawn as term:data; what is committed, before the bar."""
        for node in self.nodes.values():
            raft = node.raft
            stored = [*raft.log.entries(1, 1 << 30, raft.log.offset - 1), *raft.log.entries(raft.log.offset, 1 << 30)]
            drawn = [f"{entry.term}:{_data(entry)}" for entry in stored]
            drawn.insert(raft.commit_index, "|")
            self.say(f"{node.id} {raft.role.value}@{raft.term}  {' '.join(drawn)}")


def _data(entry: Entry) -> str:
    if entry.kind == EntryKind.MEMBERSHIP:
        change = decode_change(entry.data)
        return f"{ChangeKind(change.kind).name.lower().replace('_', '-')}-{change.member_id}"
    return entry.data.decode() or "-"


def _entry(entry: Entry) -> str:
    return f"{entry.index} ({entry.term}:{_data(entry)})"


COMMANDS: dict[str, Callable[..., None]] = {
    "cluster": Scenario.cluster,
    "start": Scenario.start_member,
    "campaign": Scenario.campaign,
    "timeout": Scenario.timeout,
    "propose": Scenario.propose,
    "change": Scenario.change,
    "transfer": Scenario.transfer,
    "read": Scenario.read,
    "partition": Scenario.partition,
    "heal": Scenario.mend,
    "hold": Scenario.hold,
    "release": Scenario.release,
    "again": Scenario.again,
    "carry": Scenario.carry,
    "disk": Scenario.disk,
    "crash": Scenario.crash,
    "ticks": Scenario.ticks,
    "settle": lambda scenario: scenario.settle(),
    "status": Scenario.status,
}


def play(script: str) -> str:
    """The script with the outcome of every block as it is now."""
    scenario = Scenario()
    blocks = []
    for block in script.strip().split("\n\n"):
        commands = block.partition("\n----")[0]
        blocks.append(f"{commands}\n----\n{scenario.run(commands.splitlines())}")
    return "\n\n".join(blocks) + "\n"


def scripts() -> list[Path]:
    return sorted(HERE.glob("*.txt"))


if __name__ == "__main__":
    if sys.argv[1:] != ["--rewrite"]:
        sys.exit(__doc__)
    for path in scripts():
        path.write_text(play(path.read_text()))
