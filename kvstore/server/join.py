"""Joining a cluster that runs: ask the members that are named for the real list, check it against --initial-cluster, take our id from it.

As etcd does it (etcdserver/cluster_util.go, membership.ValidateClusterAndAssignIDs): both lists must have the same number of members with the same
peer URLs. The member we happen to ask may lag behind the addition of ourselves, so a list that does not fit is held against the others'
before we give up.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import TypeVar, cast
from urllib.parse import urlsplit

from keelson.cogs.logs import fields
from kvstore.ids import NOBODY, ClusterId, MemberId
from kvstore.peer.frames import BadFrame, FrameReader
from kvstore.peer.handshake import ROSTER_BYTES_MAX, Roster, RosterMember, answer, parse_roster, roster_question
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.door import Door
from kvstore.server.tls import Material, TlsSettings
from kvstore.server.transport import check_dialled

log = logging.getLogger("kvstore.server")

ASK_TIMEOUT_S = 2.0

_T = TypeVar("_T")


async def find_cluster(name: str, initial_cluster: Mapping[str, Sequence[str]], material: Material | None) -> tuple[Roster, MemberId]:
    """The members of the running cluster, and which of them we are. Raises ConfigurationError with etcd's words."""
    problem = ""
    for url in _others(name, initial_cluster):
        roster = await ask_roster(url, material)
        if roster is None:
            continue
        problem = why_different(roster, initial_cluster)
        if not problem:
            return roster, _own_id(roster, initial_cluster[name])
        problem = f"error validating peerURLs {_as_etcd_says(roster)}: {problem}"
    raise ConfigurationError(problem or "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs")


async def refuse_if_started_before(name: str, own_id: MemberId, initial_cluster: Mapping[str, Sequence[str]], material: Material | None) -> None:
    """A founder that lost its disk must not begin anew under its old id: it would vote and acknowledge without what it had acknowledged before.
    Whoever answers and knows it as started tells so. Raises ConfigurationError."""
    answers = await asyncio.gather(*(ask_roster(url, material) for url in _others(name, initial_cluster)))
    if any(known.id == own_id and known.started for roster in answers if roster is not None for known in roster.members):
        raise ConfigurationError(f"member {own_id:x} has already been bootstrapped")


async def while_not_begun(listening: Sequence[tuple[str, socket.socket]], material: Material | None, work: Awaitable[_T]) -> _T:
    """Do `work` (one of the above), and meanwhile tell whoever calls at our peer port that we have not begun: founders that start at the same moment
    ask each other, and would wait for each other. Raises ConfigurationError."""
    problem: ConfigurationError | None = None
    async with asyncio.TaskGroup() as group:
        doors = [Door(listener, material if urlsplit(url).scheme == "https" else None, _turn_away, "peer") for url, listener in listening]
        serving = [group.create_task(door.serve(), name="peer port before the beginning") for door in doors]
        try:
            result = await work
        except ConfigurationError as error:
            problem = error
        finally:
            for task in serving:
                task.cancel()
    if problem is not None:
        raise problem
    return result


async def _turn_away(_transport: asyncio.Transport) -> asyncio.Protocol:
    return _NotBegun()


class _NotBegun(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        connection.write(answer(ClusterId(0), NOBODY, "this member has not begun yet"))
        connection.close()


async def ask_roster(url: str, material: Material | None) -> Roster | None:
    """What the member at `url` knows, or None if there is none that answers."""
    parts = urlsplit(url)
    if parts.scheme == "https" and material is None:
        material = Material(TlsSettings(), "peer")
    secure = material.dial if material is not None and parts.scheme == "https" else None
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            connection, protocol = await loop.create_connection(
                lambda: _Asking(loop), parts.hostname or "", parts.port or 0, ssl=secure, server_hostname=parts.hostname if secure else None
            )
            try:
                if secure is not None and material is not None:
                    check_dialled(connection, material)
                connection.write(roster_question())
                return await protocol.answered
            finally:
                connection.abort()
    except (OSError, ConnectionError, TimeoutError, ssl.SSLError, ValueError) as error:
        log.warning("failed to get cluster response", extra=fields(address=url, error=str(error)))
        return None


class _Asking(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._reader = FrameReader(ROSTER_BYTES_MAX)
        self.answered: asyncio.Future[Roster] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            return
        try:
            for payload in self._reader.feed(data):
                roster = parse_roster(payload)
                if roster.refused:
                    raise BadFrame(roster.refused)
                self.answered.set_result(roster)
                return
        except BadFrame as error:
            self._fail(str(error))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(str(error or "it hung up without an answer"))

    def _fail(self, why: str) -> None:
        if not self.answered.done():
            self.answered.set_exception(ConnectionError(why))
            self.answered.exception()  # nobody may wait for it any more


def _others(name: str, initial_cluster: Mapping[str, Sequence[str]]) -> Iterable[str]:
    own = set(initial_cluster[name])
    return [url for known, urls in initial_cluster.items() if known != name for url in urls if url not in own]


def why_different(roster: Roster, initial_cluster: Mapping[str, Sequence[str]]) -> str:
    """Empty: the lists name the same members."""
    if len(roster.members) != len(initial_cluster):
        return "member count is unequal"
    wanted = {tuple(sorted(urls)) for urls in initial_cluster.values()}
    for known in roster.members:
        if tuple(sorted(known.peer_urls)) not in wanted:
            return f"PeerURLs: no match found for existing member ({known.id:x}, [{' '.join(known.peer_urls)}])"
    return ""


def _own_id(roster: Roster, own_urls: Sequence[str]) -> MemberId:
    own = sorted(own_urls)
    return next(MemberId(known.id) for known in roster.members if sorted(known.peer_urls) == own)


def _as_etcd_says(roster: Roster) -> str:
    members = " ".join(_member_as_etcd_says(known) for known in sorted(roster.members, key=lambda known: known.id))
    return f"{{ClusterID:{roster.cluster_id:x} Members:[{members}] RemovedMemberIDs:[]}}"


def _member_as_etcd_says(known: RosterMember) -> str:
    return f"&{{ID:{known.id:x} RaftAttributes:{{PeerURLs:[{' '.join(known.peer_urls)}] IsLearner:{str(known.is_learner).lower()}}}}}"
