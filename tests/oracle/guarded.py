"""A duel with authentication on: random users, roles, permissions and logins, and requests as anybody, with tokens that are right, missing, stale or
made up.

The oracle is a 3.5.1. What it lets people do that 3.6 does not (holes that were closed since, see `semantics` AU-9, AU-10, L-14, M-7) is not asked of
it by those people: their refusal has tests of its own (tests/fuzz/test_credentials.py, tests/unit/auth/test_guard.py). Everything else must agree,
errors and auth revision included.
"""

from pathlib import Path

import grpc
from google.protobuf.message import Message
from msgspec.structs import replace

from kvstore.wire import messages as pb
from tests.oracle import generate
from tests.oracle.choosing import Chooser
from tests.oracle.duel import HISTORY, Mismatch
from tests.oracle.generate import Knowledge
from tests.oracle.normal import Plain
from tests.oracle.outcomes import brief, grpc_outcome
from tests.oracle.sides import Side
from tests.support.calls import ALL, METHOD_OF, OK, Reply, path
from tests.support.compare import differences
from tests.support.kinds import Kind

ROOT = "root"
USERS = ("ann", "bob", "eve")
ROLES = ("r1", "r2", "r3")
RANGES = ((b"a", b"b"), (b"b", b"d"), (b"c", b""), (b"ca", b"\x00"), (b"\x00", b"\x00"), (b"d", b"\xff"), (b"b\x00", b"c"))
"""No two begin with the same key: 3.5.1 loses count of those (it looks for an older permission only at the first of its key)."""
GARBAGE = ("nonsense", "", "abcdefghijklmnop.2", "a.b.c", "eyJhbGciOiJub25lIn0.e30.")
UNKNOWN_USER, DENIED = "etcdserver: user name not found", "etcdserver: permission denied"

INVALID_ARGUMENT = 3
OLD_IN_3_5, OLD = "auth: revision in header is old", "etcdserver: revision of auth store is old"

Tokens = tuple[str, str]
"""The same login at the oracle and at the subject."""


class GuardedDuel:
    def __init__(self, oracle: Kind, subject: Kind, folder: Path, *flags: str) -> None:
        flags = ("--bcrypt-cost=4", *flags)
        self.oracle = Side(replace(oracle, flags=(*oracle.flags, *flags)), folder / "oracle")
        try:
            self.subject = Side(replace(subject, flags=(*subject.flags, *flags)), folder / "subject")
        except BaseException:
            self.oracle.close()
            raise
        self.known = Knowledge()
        self.log: list[str] = []
        self.steps = 0
        self.enabled = False
        self.passwords: dict[str, str] = {}
        self.logins: list[tuple[str, Tokens]] = []
        """Every login so far: most are stale."""

    def close(self) -> None:
        self.oracle.close()
        self.subject.close()

    # --- one request to both

    def ask(self, request: Message, tokens: Tokens | None = None) -> Reply:
        """Send `request` to both with these tokens and compare. The oracle's reply."""
        self.steps += 1
        method = METHOD_OF[type(request)]
        self.log.append(f"{method} {brief(request)} by {self._whose(tokens)}")
        replies = [
            call(side, method, request, None if tokens is None else token)
            for side, token in zip((self.oracle, self.subject), tokens or ("", ""), strict=True)
        ]
        one, other = (self._outcome(side, request, reply) for side, reply in zip((self.oracle, self.subject), replies, strict=True))
        if one["text"] == DENIED and other["text"] == UNKNOWN_USER:
            one = other  # since 3.6 a name that is no user's (any more) is told so where root is wanted
        if one["text"] == OLD_IN_3_5:
            one = {**one, "code": INVALID_ARGUMENT, "text": OLD}
        found = list(differences(one, other))
        if found:
            text = "\n".join([*self.log[-HISTORY:], "", *found, f"{one}\nagainst\n{other}"])
            raise Mismatch(f"step {self.steps}: {self.log[-1]}\n{text}")
        return replies[0]

    def _outcome(self, side: Side, request: Message, reply: Reply) -> Plain:
        outcome = grpc_outcome(side, request, reply)
        body = outcome["body"]
        if body is not None and "token" in body:
            body["token"] = "a token" if body["token"] else ""
        return outcome

    def _whose(self, tokens: Tokens | None) -> str:
        if tokens is None:
            return "nobody"
        return next((f"{name} (login {at})" for at, (name, held) in enumerate(self.logins) if held == tokens), repr(tokens[0]))

    def log_in(self, name: str, password: str) -> Tokens | None:
        request = pb.AuthenticateRequest(name=name, password=password)
        self.ask(request)
        replies = [call(side, "Auth/Authenticate", request, None) for side in (self.oracle, self.subject)]
        if any(reply.message is None for reply in replies):
            return None
        tokens = (replies[0].message.token, replies[1].message.token)
        self.logins.append((name, tokens))
        return tokens

    def root(self) -> Tokens | None:
        return self.log_in(ROOT, self.passwords[ROOT]) if self.enabled else None

    def watch(self, spec: Message, tokens: Tokens | None) -> None:
        """Whether both let somebody watch. 3.5.1 gives one reason for all refusals, so reasons are not compared."""
        self.log.append(f"watch {brief(spec)} by {self._whose(tokens)}")
        let_in = [
            watch(side, spec, None if tokens is None else token) for side, token in zip((self.oracle, self.subject), tokens or ("", ""), strict=True)
        ]
        if let_in[0] != let_in[1]:
            raise Mismatch("\n".join([*self.log[-HISTORY:], f"let in: {let_in}"]))


def call(side: Side, method: str, request: Message, token: str | None) -> Reply:
    stub = side.wire.channel.unary_unary(path(method), response_deserializer=ALL[method][1].FromString)
    try:
        return Reply(OK, message=stub(request.SerializeToString(), timeout=10, metadata=[] if token is None else [("token", token)]))
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return Reply(error.code().value[0], error.details() or "")


def watch(side: Side, spec: Message, token: str | None) -> bool:
    stub = side.wire.channel.stream_stream(path("Watch/Watch"), pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString)
    stream = stub(iter([pb.WatchRequest(create_request=spec)]), timeout=10, metadata=[] if token is None else [("token", token)])
    answer = next(stream)
    stream.cancel()
    return not answer.canceled


# --- steps ------------------------------------------------------------------------------------------------------------------


def begin(duel: GuardedDuel) -> None:
    duel.ask(pb.PutRequest(key=b"a"))
    duel.ask(pb.CompactionRequest(revision=2))  # what a negative revision means to a store that never was compacted interests nobody
    for name in (ROOT, *USERS):
        duel.passwords[name] = f"{name}-pw"
        duel.ask(pb.AuthUserAddRequest(name=name, password=duel.passwords[name]))
    for role in ROLES:
        duel.ask(pb.AuthRoleAddRequest(name=role))
    duel.ask(pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT))
    duel.ask(pb.AuthEnableRequest())
    duel.enabled = True


def step(duel: GuardedDuel, c: Chooser) -> None:
    roll = c.number(0, 99)
    if roll < 22:
        change(duel, c)
    elif roll < 32:
        log_in(duel, c)
    elif roll < 40:
        look(duel, c)
    elif roll < 78:
        keys(duel, c)
    elif roll < 92:
        leases(duel, c)
    else:
        watches(duel, c)


def somebody(duel: GuardedDuel, c: Chooser) -> Tokens | None:
    """Who asks: mostly somebody who has logged in at some time, often lately. (While authentication is off 3.5.1 still looks at tokens.)"""
    if not duel.enabled:
        return None
    kind = c.number(0, 9)
    if kind == 0:
        return None
    if kind == 1:
        text = c.pick(GARBAGE)
        return text, text
    if kind == 2 or not duel.logins:
        return duel.root()
    recent = duel.logins[-8:] if c.chance(80) else duel.logins
    return c.pick(recent)[1]


def user_with_token(duel: GuardedDuel, c: Chooser) -> Tokens | None:
    """Somebody who is a user now, whatever he may; root if need be."""
    name = c.pick(USERS)
    return (duel.log_in(name, duel.passwords[name]) if duel.enabled and name in duel.passwords else None) or duel.root()


def log_in(duel: GuardedDuel, c: Chooser) -> None:
    name = c.pick([*USERS, *USERS, ROOT, "nobody", ""])
    right = duel.passwords.get(name, "none")
    duel.log_in(name, right if c.chance(80) else c.pick(["", "wrong", right + " ", "x" * 72]))


def change(duel: GuardedDuel, c: Chooser) -> None:
    """Mostly by root; others are refused."""
    user, role = c.pick([*USERS, *USERS, ROOT, "nobody"]), c.pick([*ROLES, *ROLES, ROLES[0], "none"])
    first, end = c.pick(RANGES)
    kind = c.number(0, 17)
    request: Message
    if kind < 4:
        request = pb.AuthUserGrantRoleRequest(user=user, role=role if c.chance(92) else ROOT)
    elif kind < 6:
        request = pb.AuthUserRevokeRoleRequest(name=user, role=role if c.chance(85) else ROOT)
    elif kind < 10:
        request = pb.AuthRoleGrantPermissionRequest(name=role, perm=pb.Permission(permType=c.number(0, 2), key=first, range_end=end))
    elif kind < 12:
        request = pb.AuthRoleRevokePermissionRequest(role=role, key=first, range_end=end if c.chance(90) else b"x")
    elif kind == 12:
        request = pb.AuthUserAddRequest(name=c.pick([user, ""]), password=f"{user}-pw", options={"no_password": c.chance(15)})
    elif kind == 13:
        request = pb.AuthUserDeleteRequest(name=user)
    elif kind == 14:
        request = pb.AuthUserChangePasswordRequest(name=user, password=c.pick([f"{user}-pw", f"{user}-other"]))
    elif kind == 15:
        request = pb.AuthRoleAddRequest(name=c.pick([role, ""]))
    elif kind == 16:
        request = pb.AuthRoleDeleteRequest(role=role) if c.chance(50) else pb.AuthRoleGrantPermissionRequest(name=role)
    else:
        request = pb.AuthDisableRequest() if duel.enabled and c.chance(30) else pb.AuthEnableRequest()
    done = duel.ask(request, duel.root() if c.chance(80) else somebody(duel, c)).code == OK
    if done:
        learn(duel, request)


def learn(duel: GuardedDuel, request: Message) -> None:
    if isinstance(request, pb.AuthUserAddRequest | pb.AuthUserChangePasswordRequest):
        duel.passwords[request.name] = request.password
    elif isinstance(request, pb.AuthUserDeleteRequest):
        duel.passwords.pop(request.name, None)
        if request.name == ROOT:  # only while authentication is off; without him nobody could do anything any more
            duel.passwords[ROOT] = f"{ROOT}-pw"
            duel.ask(pb.AuthUserAddRequest(name=ROOT, password=duel.passwords[ROOT]))
            duel.ask(pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT))
    elif isinstance(request, pb.AuthUserRevokeRoleRequest):
        if request.name == request.role == ROOT:
            duel.ask(pb.AuthUserGrantRoleRequest(user=ROOT, role=ROOT))
    elif isinstance(request, pb.AuthEnableRequest | pb.AuthDisableRequest):
        duel.enabled = isinstance(request, pb.AuthEnableRequest)


def look(duel: GuardedDuel, c: Chooser) -> None:
    request: Message = c.pick(
        [
            pb.AuthUserGetRequest(name=c.pick([*USERS, ROOT, "nobody"])),
            pb.AuthRoleGetRequest(role=c.pick([*ROLES, "none"])),
            pb.AuthUserListRequest(),
            pb.AuthRoleListRequest(),
            pb.AuthStatusRequest(),
        ]
    )
    duel.ask(request, somebody(duel, c))


def keys(duel: GuardedDuel, c: Chooser) -> None:
    kind = c.number(0, 9)
    who = somebody(duel, c)
    if kind < 4:
        request = generate.put_request(c, duel.known)
    elif kind < 7:
        request = generate.range_request(c, duel.known)
    elif kind < 8:
        request = generate.delete_request(c, duel.known)
    else:
        request = closed(generate.txn_request(c, duel.known))
        if not (request.compare or request.success or request.failure):
            return  # which 3.5.1 lets anybody do
    if any(end not in (b"", b"\x00") and key >= end for key, end in ranges_in(request)):
        who = duel.root()  # who else may ask for no keys at all depends on how etcd's tree of permissions happens to lie
    reply = duel.ask(request, who)
    if reply.message is not None:
        duel.known.revision = max(duel.known.revision, reply.message.header.revision)


def ranges_in(request: Message) -> list[tuple[bytes, bytes]]:
    if isinstance(request, pb.TxnRequest):
        found = [(compare.key, compare.range_end) for compare in request.compare]
        return found + [(op.key, op.range_end) for op in generate.flatten(request) if not isinstance(op, pb.PutRequest)]
    return [] if isinstance(request, pb.PutRequest) else [(request.key, request.range_end)]


def closed(request: Message) -> Message:
    """Without what 3.5.1 does not look at: nested transactions, and of puts in a transaction the lease and the value before."""
    for branch in (request.success, request.failure):
        kept = [op for op in branch if op.WhichOneof("request") != "request_txn"]
        del branch[:]
        branch.extend(kept)
        for op in branch:
            if op.WhichOneof("request") == "request_put":
                op.request_put.prev_kv, op.request_put.lease = False, 0
    return generate.defuse(request)


def leases(duel: GuardedDuel, c: Chooser) -> None:
    lease = c.pick([101, 102, 103])
    kind = c.number(0, 5)
    if kind < 2:
        reply = duel.ask(pb.LeaseGrantRequest(ID=lease, TTL=generate.LEASE_TTL_S), user_with_token(duel, c))
        if reply.code == OK:
            duel.known.leases.add(lease)
    elif kind == 2:
        if duel.ask(pb.LeaseRevokeRequest(ID=lease), user_with_token(duel, c)).code == OK:
            duel.known.leases.discard(lease)
    elif kind == 3:
        duel.ask(pb.LeaseTimeToLiveRequest(ID=lease), user_with_token(duel, c))
    elif kind == 4:
        duel.ask(pb.LeaseTimeToLiveRequest(ID=lease, keys=True), duel.root())
    else:
        duel.ask(pb.LeaseLeasesRequest(), duel.root())


def watches(duel: GuardedDuel, c: Chooser) -> None:
    """3.5.1 takes a watch from a key on for one of that key alone when it looks at permissions (GHSA-xg4h-6gfc-h4m8)."""
    spec = pb.WatchCreateRequest(key=c.pick(generate.KEYS), range_end=c.pick([b"", b"b", b"c", b"d", b"\xff\xff"]))
    if not spec.range_end or spec.key < spec.range_end:
        duel.watch(spec, somebody(duel, c))


def finish(duel: GuardedDuel) -> None:
    """Everything, as root sees it."""
    for request in (
        pb.RangeRequest(key=b"\0", range_end=b"\0"),
        pb.AuthStatusRequest(),
        pb.AuthUserListRequest(),
        pb.AuthRoleListRequest(),
        pb.LeaseLeasesRequest(),
        *(pb.AuthUserGetRequest(name=name) for name in (ROOT, *USERS)),
        *(pb.AuthRoleGetRequest(role=role) for role in ROLES),
    ):
        duel.ask(request, duel.root())
