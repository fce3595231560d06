"""Two servers, the oracle and the subject; every request goes to both, and their answers must be one.

A mismatch tells the request, both answers' differences, and the requests before it. After one the two may hold different states: the duel is
then `spent`, and its owner starts fresh servers.
"""

import time
from collections.abc import Callable
from pathlib import Path

from google.protobuf.message import Message

from kvstore.wire import messages as pb
from tests.oracle.differences import SAME_HASH, changed_twice, expected
from tests.oracle.generate import Knowledge
from tests.oracle.normal import Plain
from tests.oracle.outcomes import brief, grpc_outcome, json_outcome, revision_told
from tests.oracle.sides import Side
from tests.oracle.watches import Happened, WatchLog, synced
from tests.support.calls import METHOD_OF, OK, Reply
from tests.support.compare import differences
from tests.support.kinds import Kind
from tests.support.watching import WatchStream

WATCH_PATIENCE_S = 10.0
"""How long an event may take before it counts as lost. etcd's catching-up watchers are served every 100 ms."""
CATCH_UP_S = 0.3
"""etcd looks after watchers that are behind ten times a second; this is for those that can tell nothing."""
HISTORY = 25


class Mismatch(AssertionError):
    pass


class Duel:
    def __init__(self, oracle: Kind, subject: Kind, folder: Path) -> None:
        self.oracle = Side(oracle, folder / "oracle")
        try:
            self.subject = Side(subject, folder / "subject")
        except BaseException:
            self.oracle.close()
            raise
        self.known = Knowledge()
        self.spent = False
        self.steps = 0
        self.log: list[str] = []
        self.watch_logs: dict[int, tuple[WatchLog, WatchLog]] = {}
        self.history: list[Happened] = []
        self._all = WatchStream(self.oracle.wire.channel)
        self._all.create(key=b"\0", range_end=b"\0")
        assert self._all.wait_for(bool), "the oracle does not watch"
        self._all_taken = 0
        self._hashes: dict[tuple[str, int, int], int] = {}

    def close(self) -> None:
        self._all.close()
        self.oracle.close()
        self.subject.close()

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.oracle, self.subject

    # --- one request to both

    def ask(self, request: Message, over_json: bool = False, suffix: bytes = b"") -> Reply | None:
        """Send `request` to both and compare; the oracle's reply (None when it went as JSON).

        `suffix` is put after the encoded message: fields that no server knows yet.
        """
        method = METHOD_OF[type(request)]
        self._note(f"{'JSON' if over_json else 'gRPC'} {method} {brief(request)}{' +' + suffix.hex() if suffix else ''}")
        if over_json:
            one, other = (json_outcome(side, method, request) for side in self.sides)
            reply = None
        else:
            raw = request.SerializeToString() + suffix
            reply, second = (side.wire.call(method, raw) for side in self.sides)
            one, other = grpc_outcome(self.oracle, request, reply), grpc_outcome(self.subject, request, second)
        for side, outcome in zip(self.sides, (one, other), strict=True):
            self._check_hash(side, request, outcome)
        one = expected(self.oracle.version, self.subject.version, request, one, self.known)
        self._compare(one, other)
        self._learn(request, one)
        return reply

    def ask_raw(self, method: str, raw: bytes) -> None:
        """Bytes that need not be a message. What the decoder says of them is its own affair, but the code is not."""
        self._note(f"raw {method} {raw.hex()}")
        one, other = (side.wire.call(method, raw) for side in self.sides)
        self._compare({"code": one.code}, {"code": other.code})
        if one.code == OK:
            header = getattr(one.message, "header", None)
            self.known.revision = max(self.known.revision, header.revision if header is not None else 0)

    def keep_alive(self, lease: int) -> None:
        self._note(f"keep-alive {lease}")
        one, other = (side.wire.keep_alive(lease) for side in self.sides)
        request = pb.LeaseKeepAliveRequest(ID=lease)
        self._compare(grpc_outcome(self.oracle, request, one), grpc_outcome(self.subject, request, other))

    def brief_lease(self, ttl_s: int, lease: int = 0) -> None:
        """Grant with a TTL so short, or an id so free, that the lease may not outlive this step: look at it and revoke it."""
        self._note(f"brief lease {lease} of {ttl_s} s")
        outcomes = []
        for side in self.sides:
            reply = side.wire.call("Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=ttl_s, ID=lease))
            outcome = grpc_outcome(side, pb.LeaseGrantRequest(), reply)
            if reply.message is not None:
                granted = reply.message.ID
                revoked = side.wire.call("Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=granted))
                outcome["revoked"] = grpc_outcome(side, pb.LeaseRevokeRequest(), revoked)
                if lease == 0:
                    outcome["body"]["ID"] = "chosen" if granted > 0 else granted
            outcomes.append(outcome)
        self._compare(*outcomes)

    # --- watches

    def watch(self, number: int, spec: Message) -> None:
        """Create a watcher on stream `number` of both, and compare what they say of it."""
        self._note(f"watch stream {number}: {brief(spec)}")
        self.settle()
        logs = self._logs(number)
        before = len(logs[0].created), len(logs[1].created)
        for side, log in zip(self.sides, logs, strict=True):
            log.asked.append(spec)
            side.stream(number).send(pb.WatchRequest(create_request=spec))
        self._wait(lambda: all(len(log.read().created) > had for log, had in zip(logs, before, strict=True)), "the answer to a watch request")
        if 0 < spec.start_revision < self.known.compacted:
            self._wait(lambda: all(log.read().created[-1]["watch_id"] not in log.running for log in logs), "the end of a compacted watch")
        self._compare_watch(number)

    def cancel_watch(self, number: int, watch_id: int) -> None:
        self._note(f"watch stream {number}: cancel {watch_id}")
        self.settle()
        first = self._logs(number)[0]
        known = watch_id in first.running or watch_id in first.compacted
        for side in self.sides:
            side.stream(number).cancel(watch_id)
        if known:
            gone = lambda log: watch_id not in log.running and watch_id not in log.compacted  # noqa: E731
            self._wait(lambda: all(gone(log.read()) for log in self._logs(number)), "the answer to a cancel request")
        self._compare_watch(number)

    def progress(self, number: int) -> None:
        """Ask for progress. 3.5.1 answers always; since 3.5.8 only a stream whose watchers are all synced does."""
        self._note(f"watch stream {number}: progress")
        self.settle()
        logs = self._logs(number)
        due = logs[0].all_started(self.known.revision)
        before = [len(log.progress) for log in logs]

        def answered() -> bool:
            for side, log, had in zip(self.sides, logs, before, strict=True):
                if len(log.read().progress) <= had:
                    side.stream(number).request_progress()
                    log.wait(0.1)
            return all(len(log.progress) > had for log, had in zip(logs, before, strict=True))

        if due:
            self._wait(answered, "an answer to a progress request")
            for side, log in zip(self.sides, logs, strict=True):
                told = log.progress[-1]
                if told != self.known.revision:
                    self._fail(f"{side.kind.name} tells progress {told} at revision {self.known.revision}")
        else:
            for side in self.sides:
                side.stream(number).request_progress()

    def close_stream(self, number: int) -> None:
        self._note(f"watch stream {number}: close")
        self.settle()
        for side in self.sides:
            if number in side.streams:
                side.streams.pop(number).close()
        self.watch_logs.pop(number, None)

    def settle(self) -> None:
        """Until both sides have delivered to every watcher all that has happened."""
        self._wait(self._history_complete, "the oracle's own events")
        for number in self.watch_logs:
            self._wait(lambda at=number: synced(*(log.read() for log in self.watch_logs[at]), self.history), f"all events on stream {number}")
            self._compare_watch(number)

    def catch_up(self) -> None:
        """Until no watcher is still reading history, so that what a compaction does to watchers is not a matter of chance.

        A watcher that has told something new has caught up; one that was due nothing is made to tell something.
        """
        self.settle()
        for number in sorted(self.watch_logs):
            for watching in self.watch_logs[number][0].unheard(self.known.revision):
                self.ask(pb.PutRequest(key=watching.key))
                self.ask(pb.DeleteRangeRequest(key=watching.key))
                if watching.filters == {0, 1}:
                    time.sleep(CATCH_UP_S)
        self.settle()

    def _history_complete(self) -> bool:
        while self._all_taken < len(self._all.responses):
            for event in self._all.responses[self._all_taken].events:
                self.history.append(Happened(event.kv.mod_revision, event.kv.key, event.type))
            self._all_taken += 1
        return bool(self._all.responses) and self._last_revision() >= self.known.revision

    def _last_revision(self) -> int:
        return self.history[-1].revision if self.history else self.known.base

    def _logs(self, number: int) -> tuple[WatchLog, WatchLog]:
        if number not in self.watch_logs:
            one, other = (WatchLog(side.stream(number), side.identity, side.version) for side in self.sides)
            self.watch_logs[number] = one, other
        return self.watch_logs[number]

    def _compare_watch(self, number: int) -> None:
        if not self._history_complete():
            return  # what is excused depends on it; the next look will tell
        one, other = (log.read() for log in self.watch_logs[number])
        lines = [*one.faults, *other.faults, *one.clashes(other, changed_twice(self.history))]
        if lines:
            self._fail("\n".join(lines))

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WATCH_PATIENCE_S
        while not done():
            for number in self.watch_logs:
                self._compare_watch(number)
            if time.monotonic() > deadline:
                state = "\n".join(f"stream {at}: {one.describe()}\n   against {two.describe()}" for at, (one, two) in self.watch_logs.items())
                self._fail(f"waited {WATCH_PATIENCE_S} s for {what}\n{state}")
            time.sleep(0.002)

    # --- epochs

    def reset(self) -> None:
        """Forget everything on both sides, so that what follows does not depend on what was before (but for revision numbers)."""
        self.finish()
        for number in list(self.watch_logs):
            self.close_stream(number)
        for lease in sorted(self.known.leases):
            self.ask(pb.LeaseRevokeRequest(ID=lease))
        self.ask(pb.DeleteRangeRequest(key=b"\0", range_end=b"\0"))
        self.ask(pb.PutRequest(key=b"\0"))
        self.ask(pb.DeleteRangeRequest(key=b"\0"))
        self.ask(pb.CompactionRequest(revision=self.known.revision, physical=True))
        self.known.base = self.known.revision
        self.settle()
        self.history.clear()
        self.log.clear()

    def finish(self) -> None:
        """The last look: nothing more may come than what was compared."""
        self.settle()
        time.sleep(0.1 if self.watch_logs else 0)
        self.settle()
        self.ask(pb.RangeRequest(key=b"\0", range_end=b"\0"))

    # --- comparing

    def _note(self, line: str) -> None:
        self.steps += 1
        self.log.append(f"{self.steps}. {line}")
        del self.log[:-HISTORY]

    def _compare(self, one: Plain, other: Plain) -> None:
        lines = list(differences(one, other))
        if lines:
            self._fail("\n".join(lines))

    def _fail(self, text: str) -> None:
        self.spent = True
        history = "\n".join(self.log)
        for side in self.sides:
            if not side.member.alive():
                text += f"\n{side.kind.name} is dead; its log ends:\n{side.member.log_tail(40)}"
        raise Mismatch(f"first {self.oracle.kind.name}, second {self.subject.kind.name}:\n{text}\nafter\n{history}\nknown {self.known}")

    def _check_hash(self, side: Side, request: Message, outcome: Plain) -> None:
        """The number itself need not be etcd's, but must be the same whenever the same history is hashed."""
        if isinstance(request, pb.HashKVRequest) and outcome["code"] == OK:
            body = outcome["body"]
            key = (side.kind.name, request.revision or body["header"]["revision"], body["compact_revision"])
            if self._hashes.setdefault(key, body["hash"]) != body["hash"]:
                self._fail(f"{side.kind.name} hashes {key} to {body['hash']}, before to {self._hashes[key]}")
            body["hash"] = SAME_HASH

    def _learn(self, request: Message, one: Plain) -> None:
        if one["code"] != OK:
            return
        known = self.known
        known.revision = max(known.revision, revision_told(one))
        if isinstance(request, pb.CompactionRequest):
            known.compacted = request.revision
        elif isinstance(request, pb.LeaseGrantRequest):
            known.leases.add(request.ID)
        elif isinstance(request, pb.LeaseRevokeRequest):
            known.leases.discard(request.ID)
