"""One member as a process: starts everything in order, stops it in reverse."""

import asyncio
import contextlib
import functools
import logging
import random
import secrets
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from keelson.cogs.logs import fields
from keelson.cogs.readiness import notify_init_daemon
from keelson.cogs.shutdown import StopAsked, stop_on_signals
from kvstore.api.app import App
from kvstore.api.rpc import Settings
from kvstore.ids import ClusterId, MemberId
from kvstore.member.changes import Rules, new_member_id
from kvstore.member.config import MemberConfig
from kvstore.member.member import Member as RunningMember
from kvstore.member.messages import AnyPeerMessage
from kvstore.model import Member
from kvstore.peer.frames import MessageCodec
from kvstore.raft.config import Config as RaftConfig
from kvstore.server.backend import MemberBackend
from kvstore.server.bootstrap import (
    ConfigurationError,
    Opened,
    Removed,
    begin_cluster,
    begin_joining,
    continue_as_member,
    force_new_cluster,
    open_data,
    own_founder_id,
)
from kvstore.server.checking import check_files, compare_with_peers
from kvstore.server.config import Config, initial_cluster
from kvstore.server.discovery import cluster_from_dns
from kvstore.server.flags import without_secrets
from kvstore.server.guard import Guard, held_bytes_max
from kvstore.server.join import find_cluster, refuse_if_started_before, while_not_begun
from kvstore.server.listeners import GRACE_S, ClientPort, KeepAlive
from kvstore.server.logins import Logins
from kvstore.server.loop import Runner
from kvstore.server.observed import Observed
from kvstore.server.tls import Material
from kvstore.server.tracing import TracedBackend, Tracing
from kvstore.server.transport import Transport
from kvstore.storage.lmdb_engine import DEFAULT_MAP_BYTES, UNLIMITED_MAP_BYTES, LmdbDisk
from kvstore.version import ETCD_VERSION, KEELSON_VERSION, STORAGE_VERSION

if TYPE_CHECKING:
    from kvstore.server.metrics import Metrics

log = logging.getLogger("kvstore.server")

BACKLOG = 1024
KEEPALIVE_PROBES = 4
KEEPALIVE_S_MAX = 32_767
"""What Linux takes."""
FINISH_POLL_S = 0.01


class Fatal(Exception):
    """The member cannot go on; says why."""


async def run(config: Config) -> signal.Signals | None:
    """Serve until a signal asks to stop; returns it. Raises Removed, Fatal, ConfigurationError, EngineError, OSError."""
    for note in config.notes:
        log.warning(note)
    tracing = None if config.tracing is None else Tracing(config.tracing)
    sockets = Sockets(
        _listen(config, config.listen_client_urls, "client"),
        _listen(config, config.listen_http_urls, "http"),
        _listen(config, config.listen_metrics_urls, "metrics"),
        _listen(config, config.listen_peer_urls, "peer"),
    )
    _sign_for_ourselves(config)
    disk = LmdbDisk(config.data_dir / "member", _map_bytes(config.quota_bytes), sync=config.sync)
    try:
        await asyncio.to_thread(check_files, disk, defragment_mb=config.defragment_at_start_mb, thorough=config.initial_corruption_check)
        opened = await _open(config, disk, sockets)
        with stop_on_signals() as stop:
            try:
                return await _serve(config, disk, opened, sockets, tracing, stop)
            except* Fatal as group:
                raise Fatal(str(group.exceptions[0])) from None
    finally:
        disk.close()


async def _first_cluster(config: Config) -> dict[str, list[str]]:
    """The members to begin with. Only asked for an empty directory: who has data knows them, and does not depend on others for starting again."""
    if config.discovery is not None:
        # Imported only here: gRPC's own client is heavy, and nothing else of a member needs it.
        from kvstore.server.discovery_service import cluster_from_service

        own_id = new_member_id(config.advertise_peer_urls, config.initial_cluster_token)
        found = await cluster_from_service(config.discovery, own_id, config.name, config.advertise_peer_urls)
        return initial_cluster(found, config.name, config.advertise_peer_urls)
    if not config.discovery_srv:
        return config.initial_cluster
    return cluster_from_dns(config.discovery_srv, config.discovery_srv_name, config.name, config.advertise_peer_urls)


def _map_bytes(quota_bytes: int) -> int:
    """Address space for a state: far above its quota, because deletes go on when that is reached; it costs nothing."""
    return max(DEFAULT_MAP_BYTES, 4 * quota_bytes) if quota_bytes else UNLIMITED_MAP_BYTES


def _sign_for_ourselves(config: Config) -> None:
    """Certificates of --auto-tls and --peer-auto-tls, for the hosts that are listened on."""
    for settings, urls in ((config.client_tls, config.listen_client_urls), (config.peer_tls, config.listen_peer_urls)):
        if settings.self_signed:
            from kvstore.server import selfsigned

            hosts = [urlsplit(url).hostname or "" for url in urls]
            selfsigned.ensure(Path(settings.cert), Path(settings.key), hosts, config.self_signed_years)


async def _open(config: Config, disk: LmdbDisk, sockets: "Sockets") -> Opened:
    """The data directory; one that is empty is begun, as a founder or as one who joins. Raises ConfigurationError, EngineError, Removed."""
    data = open_data(disk)
    if data.identity is not None:
        opened = continue_as_member(data)
        if config.force_new_cluster:
            left = force_new_cluster(data)
            log.warning("forced a new cluster of this member alone", extra=fields(left_behind=[f"{member:x}" for member in left]))
        return opened
    name, first_cluster = config.name, await _first_cluster(config)
    material = Material(config.peer_tls, "peer") if config.peer_tls.given else None
    if config.initial_cluster_existing:
        finding = find_cluster(name, first_cluster, material)
        roster, own_id = await while_not_begun(sockets.peer, material, finding)
        members = [Member(MemberId(known.id), "", known.peer_urls, (), known.is_learner) for known in roster.members]
        return begin_joining(data, roster.cluster_id, members, own_id)
    own_id = own_founder_id(name, first_cluster, config.initial_cluster_token)
    await while_not_begun(sockets.peer, material, refuse_if_started_before(name, own_id, first_cluster, material))
    return begin_cluster(data, name, first_cluster, config.initial_cluster_token)


def _listen(config: Config, urls: Sequence[str], what: str) -> list[tuple[str, socket.socket]]:
    """Open the ports at once, so that one in use is found now; they are served when the member is ready."""
    opened = []
    for url in urls:
        parts = urlsplit(url)
        host = "127.0.0.1" if parts.hostname == "localhost" else (parts.hostname or "")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if what != "peer":
            _keep_alive(listener, config)
        try:
            listener.bind((host, parts.port or 0))
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {url} for {what} traffic: {error.strerror}; stop what has it, or choose another") from error
        listener.listen(BACKLOG)
        listener.setblocking(False)
        opened.append((url, listener))
    return opened


def _keep_alive(listener: socket.socket, config: Config) -> None:
    """--grpc-keepalive-interval and -timeout by TCP, for connections that this socket will accept: HTTP/2 has pings besides."""
    interval_s, timeout_s = config.keepalive_interval_s, config.keepalive_timeout_s
    if interval_s <= 0 or timeout_s <= 0:
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value_s in ((socket.TCP_KEEPIDLE, interval_s), (socket.TCP_KEEPINTVL, timeout_s / KEEPALIVE_PROBES)):
        listener.setsockopt(socket.IPPROTO_TCP, option, min(KEEPALIVE_S_MAX, max(1, round(value_s))))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def _member_config(config: Config, opened: Opened) -> MemberConfig:
    ticks = max(2, round(config.election_s / config.heartbeat_s))
    return MemberConfig(
        cluster_id=ClusterId(opened.identity.cluster_id),
        raft=RaftConfig(MemberId(opened.identity.member_id), election_ticks=ticks, pre_vote=config.pre_vote),
        name=config.name,
        client_urls=config.advertise_client_urls,
        version=ETCD_VERSION,
        storage_version=STORAGE_VERSION,
        election_timeout_s=config.election_s,
        tick_s=config.heartbeat_s,
        snapshot_entries=config.snapshot_entries,
        catchup_entries=config.catchup_entries,
        first_election_early=config.first_election_early,
        quota_bytes=config.quota_bytes,
        auto_compaction=config.auto_compaction,
        corruption_checks=config.corruption_checks,
        auth_token_ttl_s=config.auth_token_ttl_s,
        reconfiguration=Rules(config.strict_reconfiguration, config.learners_max),
    )


_Listening = list[tuple[str, socket.socket]]


class Sockets(Struct, frozen=True):
    """What is open for whom: URL and socket."""

    client: _Listening
    http: _Listening
    metrics: _Listening
    peer: _Listening


async def _serve(config: Config, disk: LmdbDisk, opened: Opened, sockets: Sockets, tracing: Tracing | None, stop: StopAsked) -> signal.Signals | None:
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[str] = loop.create_future()

    def fatal(reason: str) -> None:
        if not failed.done():
            failed.set_result(reason)

    def removed() -> None:
        if not failed.done():
            failed.set_exception(Removed())

    runner = Runner(loop, disk, opened.log, opened.state, Observed(), fatal, removed)
    runner.slow_apply_s = config.slow_apply_s
    await runner.state_thread.call(lambda: opened.machine.begin(opened.state.begin_write()))
    member_config = _member_config(config, opened)
    member = RunningMember(
        member_config,
        opened.log,
        opened.machine,
        draw=random.SystemRandom().randint,
        first_request_id=secrets.randbits(64),
        now_s=time.monotonic(),
    )
    log.info(
        "starting an etcd server",
        extra=fields(
            name=config.name,
            local_member_id=f"{member.id:x}",
            cluster_id=f"{opened.identity.cluster_id:x}",
            keelson_version=KEELSON_VERSION,
            etcd_version=ETCD_VERSION,
            data_dir=str(config.data_dir),
            new=opened.is_new,
            applied_index=opened.machine.applied_index,
        ),
    )
    transport = Transport(
        loop,
        member_config.cluster_id,
        member.id,
        MessageCodec(AnyPeerMessage),
        receive=runner.receive,
        connected=runner.connected,
        heard=runner.heard,
        unreachable=runner.unreachable,
        told_removed=runner.told_removed,
        members=lambda: member.machine.members,
        removed_members=lambda: member.machine.removed_members,
        material=Material(config.peer_tls, "peer") if config.peer_tls.given else None,
    )
    async with asyncio.TaskGroup() as group:
        transport.listen(sockets.peer, group)

        def dial() -> None:
            known = member.machine.members
            transport.set_peers({peer: record.peer_urls for peer, record in known.items() if peer != member.id}, group)

        runner.members_changed = dial
        dial()
        runner.start(member, transport.send)
        ports: list[ClientPort] = []
        logins = Logins(runner, config.signed_tokens, config.bcrypt_cost)
        stopping = group.create_task(stop.wait(), name="wait for a signal")
        waiting: list[asyncio.Future[Any]] = [stopping, failed]
        await asyncio.wait([*waiting, runner.ready], return_when=asyncio.FIRST_COMPLETED)
        if runner.ready.done() and not failed.done() and config.initial_corruption_check:
            await compare_with_peers(runner, waiting, fatal)
        if runner.ready.done() and not failed.done() and not stopping.done():
            ports, guarding = await _open_services(config, runner, logins, transport, sockets, tracing, group)
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            guarding.cancel()
        if (number := stop.number) is not None:
            log.info("received signal; shutting down", extra=fields(signal=(signal.strsignal(number) or number.name).lower()))
        told = fields(name=config.name, data_dir=str(config.data_dir), advertise_client_urls=config.advertise_client_urls)
        log.info("closing etcd server", extra=told)
        stopping.cancel()
        await _stop(runner, transport, ports, failed)
        logins.close()
        if tracing is not None:
            await loop.run_in_executor(None, tracing.close)
        log.info("closed etcd server", extra=told)
        if failed.done() and failed.exception() is None:
            raise Fatal(failed.result())
    if failed.done():
        failed.result()  # removed: only when the listeners have answered what they had, the order to remove us among it
    return stop.number


async def _open_services(
    config: Config,
    runner: Runner,
    logins: Logins,
    transport: Transport,
    sockets: Sockets,
    tracing: Tracing | None,
    group: asyncio.TaskGroup,
) -> tuple[list[ClientPort], asyncio.Task[None]]:
    @functools.cache
    def metrics() -> "Metrics":
        """Made, and the library that it takes imported, when somebody asks for the first time: 15 ms that a start need not wait for."""
        from kvstore.server.metrics import Metrics

        return Metrics(runner, transport, app.stats)

    settings = Settings(
        request_bytes_max=config.request_bytes_max,
        txn_operations_max=config.txn_operations_max,
        progress_notify_interval_s=config.progress_notify_interval_s,
        election_timeout_s=config.election_s,
        gateway=config.gateway,
        slow_request_s=config.slow_request_s,
        access_log=bool(config.access_log),
        cors_origins=config.cors_origins,
        host_whitelist=config.host_whitelist,
        stop_serving_on_defrag=config.stop_serving_on_defrag,
        reflection=config.reflection,
        debug_pages=config.debug_pages,
        command_line=without_secrets(sys.argv),
        extensive_metrics=config.extensive_metrics,
        client_cert_auth=config.client_tls.require_client,
        held_bytes_max=held_bytes_max(),
        metrics=lambda accept: metrics().render(accept),
    )
    backend = MemberBackend(runner, logins)
    if tracing is not None:
        backend = TracedBackend(runner, logins)
        backend.tracer = tracing.tracer
    app = App(backend, settings)
    body_max = settings.message_bytes_max * 2
    ports = []
    keep_alive = KeepAlive(config.keepalive_interval_s, config.keepalive_timeout_s, config.keepalive_least_s)
    on_client_urls = app.grpc_only if sockets.http else app
    for served, listening in ((on_client_urls, sockets.client), (app.http_only, sockets.http), (app.observing_only, sockets.metrics)):
        wrapped = served if tracing is None else tracing.wrap(served)
        port = ClientPort(wrapped, listening, config.client_tls, config.concurrent_streams_max, body_max, app.held.add, keep_alive)
        await port.open(group)
        ports.append(port)
    for url, _ in sockets.client:
        log.info("ready to serve client requests", extra=fields(address=url))
        if urlsplit(url).scheme == "https":
            log.info("serving client traffic securely", extra=fields(address=url))
        else:
            log.info("serving client traffic insecurely; this is strongly discouraged!", extra=fields(address=url))
    notify_init_daemon()
    return ports, group.create_task(Guard(app, ports).run(), name="guard")


async def _stop(runner: Runner, transport: Transport, ports: list[ClientPort], failed: asyncio.Future[str]) -> None:
    """Hand leadership over, finish requests, write the state down."""
    if not failed.done():
        await _hand_over(runner)
    for port in ports:
        port.stop()
    if not failed.done():
        await _finish_requests(runner.member, ports)
    await runner.stop()
    for port in ports:
        # Who failed has told everybody that it stopped; streams would only learn of it later.
        await port.finish(0.0 if failed.done() else GRACE_S)
    await transport.close()


async def _finish_requests(member: RunningMember, ports: list[ClientPort]) -> None:
    """Let what was asked before be answered; whoever still waits after the grace time is told that the server stopped.

    Clients that were told to go elsewhere still ask here until they have read that: so the member serves until each connection is settled, too.
    """
    for _ in range(int(GRACE_S / FINISH_POLL_S)):
        if not member.requests_waiting and all(port.is_settled for port in ports):
            return
        await asyncio.sleep(FINISH_POLL_S)


async def _hand_over(runner: Runner) -> None:
    """Give leadership to the follower that is furthest, and wait until it has it, at most an election timeout."""
    member = runner.member
    if not member.is_leader:
        return
    followers = [(known.match, peer) for peer, known in member.raft.status().followers.items() if peer != member.id and not known.is_learner]
    if not followers:
        log.info("skipped leadership transfer for single voting member cluster", extra=fields(local_member_id=f"{member.id:x}"))
        return
    target = max(followers)[1]
    future = runner.loop.create_future()
    member.move_leader(target, future)
    runner.wake()
    log.info("leadership transfer starting", extra=fields(local_member_id=f"{member.id:x}", transferee_member_id=f"{target:x}"))
    with contextlib.suppress(Exception):
        async with asyncio.timeout(member.config.election_timeout_s):
            await future
    log.info("leadership transfer finished", extra=fields(transferee_member_id=f"{target:x}", current_leader_member_id=f"{member.leader:x}"))
