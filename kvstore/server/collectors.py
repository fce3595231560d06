"""Metrics with etcd's names, types and labels where the meaning is the same (semantics 19); what has no equal in etcd begins with `keelson_`.

What etcd has and Keelson cannot mean is left out, and listed in docs/operating/metrics.md.
"""

import asyncio
import resource
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keelson.cogs.exposition import histogram_family, plain_counter
from keelson.cogs.metrics import Histogram
from kvstore.api.rpc import Stats
from kvstore.ids import MemberId
from kvstore.model import LeaseGrant, LeaseRevoke
from kvstore.server.loop import Runner
from kvstore.server.observed import operation_of
from kvstore.server.transport import Transport
from kvstore.version import CLUSTER_VERSION, ETCD_VERSION, KEELSON_VERSION
from kvstore.wire.messages import METHODS

_PROMOTE = "/etcdserverpb.Cluster/MemberPromote"


class ServerCollector(Collector):
    """etcd_server_*: consensus and what applying it took."""

    def __init__(self, runner: Runner, stats: Stats) -> None:
        self._runner = runner
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        yield from self._consensus()
        yield from self._work()
        yield from self._versions()
        yield from self._health()

    def _consensus(self) -> Iterator[Metric]:
        member = self._runner.member
        yield _gauge("etcd_server_has_leader", "Whether or not a leader exists. 1 is existence, 0 is not.", bool(member.leader))
        yield _gauge("etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.", member.is_leader)
        yield _gauge("etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.", member.is_learner)
        yield _counter("etcd_server_leader_changes_seen", "The number of leader changes seen.", member.leader_changes)
        # These two are gauges with counters' names in etcd, too.
        yield _gauge("etcd_server_proposals_committed_total", "The total number of consensus proposals committed.", member.raft.commit_index)
        yield _gauge("etcd_server_proposals_applied_total", "The total number of consensus proposals applied.", member.machine.applied_index)
        yield _gauge("etcd_server_proposals_pending", "The current number of pending proposals to commit.", member.proposals_pending)
        yield _counter("etcd_server_proposals_failed", "The total number of failed proposals seen.", member.proposals_failed)
        late = self._runner.observed.heartbeats_late
        yield _counter("etcd_server_heartbeat_send_failures", "The number of heartbeats sent late (likely overloaded from slow disk).", late)
        yield _counter("etcd_server_read_indexes_failed", "The total number of failed read indexes seen.", member.read_rounds_failed)
        slow = member.read_rounds_timed_out
        yield _counter("etcd_server_slow_read_indexes", "The total number of pending read indexes not in sync with the leader's.", slow)
        promoted = self._stats.handled.get((_PROMOTE, "OK"), 0)
        yield plain_counter(
            "etcd_server_learner_promote_successes", "The number of successful learner promotions while this member is leader.", promoted
        )

    def _work(self) -> Iterator[Metric]:
        member, observed = self._runner.member, self._runner.observed
        yield _counter("etcd_server_slow_apply", "The total number of slow apply requests (likely overloaded from slow disk).", observed.slow_applies)
        applied: dict[tuple[str, ...], Histogram] = {}
        for (kind, granted), histogram in observed.applied.items():
            applied["v3", operation_of(kind), _word(granted)] = histogram
        text = "The latency distributions of applying a command to the state."
        yield histogram_family("etcd_server_apply_duration_seconds", text, ("version", "op", "success"), applied)
        text = "1 if the server is applying a received snapshot, 0 if none."
        yield _gauge("etcd_server_snapshot_apply_in_progress_total", text, member.installing)
        yield _gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", member.config.quota_bytes)
        alarms = GaugeMetricFamily(
            "etcd_debugging_server_alarms", "Alarms for every member in cluster. 1 for an active one.", labels=["server_id", "alarm_type"]
        )
        for alarm in member.machine.alarms:
            alarms.add_metric([f"{alarm.member_id:x}", alarm.alarm.name], 1.0)
        yield alarms
        yield _counter("etcd_debugging_server_lease_expired", "The total number of expired leases.", member.lease_expirations)

    def _versions(self) -> Iterator[Metric]:
        member_id = f"{self._runner.member.id:x}"
        yield _labelled("etcd_server_version", "Which version is running. 1 for 'server_version' label.", "server_version", ETCD_VERSION)
        cluster = CLUSTER_VERSION.rsplit(".", 1)[0]
        yield _labelled("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label.", "cluster_version", cluster)
        yield _labelled("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label.", "server_id", member_id)
        yield _labelled("keelson_version", "Which release of Keelson is running.", "version", KEELSON_VERSION)

    def _health(self) -> Iterator[Metric]:
        stats = self._stats
        yield plain_counter("etcd_server_health_success", "The total number of successful health checks.", stats.health[True])
        yield plain_counter("etcd_server_health_failures", "The total number of failed health checks.", stats.health[False])
        last = GaugeMetricFamily("etcd_server_healthcheck", "The result of each kind of healthcheck.", labels=["type", "name"])
        for (page, name), passed in stats.last_check.items():
            last.add_metric([page, name], float(passed))
        yield last
        checks = CounterMetricFamily("etcd_server_healthchecks", "The total number of each kind of healthcheck.", labels=["type", "name", "status"])
        for (page, name, passed), count in stats.checks.items():
            checks.add_metric([page, name, "success" if passed else "error"], count)
        yield checks


class StateCollector(Collector):
    """etcd_mvcc_*, watches, leases."""

    def __init__(self, runner: Runner, stats: Stats) -> None:
        self._runner = runner
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        yield from self._keys()
        yield from self._compaction()
        yield from self._watches()
        yield from self._leases()

    def _keys(self) -> Iterator[Metric]:
        machine = self._runner.member.machine
        counts = machine.counts
        size, in_use = self._runner.sizes()
        yield _gauge("etcd_mvcc_db_total_size_in_bytes", "Total size of the state's file in bytes.", size)
        yield _gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the state's file that is in use.", in_use)
        readers = self._runner.count_readers()
        yield _gauge("etcd_mvcc_db_open_read_transactions", "The number of currently open read transactions.", readers)
        yield _counter("etcd_mvcc_range", "Total number of ranges seen by this member.", counts.ranges)
        yield _counter("etcd_debugging_mvcc_range", "Total number of ranges seen by this member.", counts.ranges)
        yield _counter("etcd_mvcc_put", "Total number of puts seen by this member.", counts.puts)
        yield _counter("etcd_mvcc_delete", "Total number of deletes seen by this member.", counts.deletes)
        yield _counter("etcd_mvcc_txn", "Total number of txns seen by this member.", counts.txns)
        text = "The total size of put kv pairs seen by this member."
        yield _gauge("etcd_debugging_mvcc_total_put_size_in_bytes", text, counts.put_bytes)
        yield _gauge("etcd_debugging_mvcc_keys_total", "Total number of keys, as of the last commit.", self._runner.count_keys())
        yield _gauge("etcd_debugging_auth_revision", "The current revision of auth store.", machine.accounts.revision)
        yield _gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.", machine.revision)
        observed = self._runner.observed
        yield _histogram("etcd_mvcc_hash_duration_seconds", "The latency distribution of storage hash operation.", observed.hashed)
        text = "The latency distribution of storage hash by revision operation."
        yield _histogram("etcd_mvcc_hash_rev_duration_seconds", text, observed.hashed_revision)

    def _compaction(self) -> Iterator[Metric]:
        machine, observed = self._runner.member.machine, self._runner.observed
        # etcd counts "never" as -1.
        yield _gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.", machine.compacted_revision or -1)
        text = "Total number of db keys compacted."
        yield _counter("etcd_debugging_mvcc_db_compaction_keys", text, machine.counts.compacted_versions)
        yield _gauge(
            "etcd_debugging_mvcc_db_compaction_last", "The unix time of the last db compaction. Resets to 0 on start.", int(observed.compacted_at_s)
        )
        name = "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds"
        yield _histogram(name, "Bucketed histogram of the steps of a compaction, between which others have their turn.", observed.compaction_pause_ms)
        name = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds"
        yield _histogram(name, "Bucketed histogram of db compaction total duration.", observed.compaction_total_ms)

    def _watches(self) -> Iterator[Metric]:
        delivery, queues = self._runner.member.delivery, self._stats.watch_queues
        yield _gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.", delivery.watcher_count)
        yield _gauge("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.", delivery.slow_watcher_count)
        yield _gauge("etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.", len(queues))
        yield _counter("etcd_debugging_mvcc_events", "Total number of events sent by this member.", delivery.events_sent)
        pending = sum(map(len, queues.values()))
        yield _gauge("etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent, counted in answers.", pending)

    def _leases(self) -> Iterator[Metric]:
        member, observed = self._runner.member, self._runner.observed
        granted, revoked = observed.applied.get((LeaseGrant, True)), observed.applied.get((LeaseRevoke, True))
        yield _counter("etcd_debugging_lease_granted", "The total number of granted leases.", sum(granted.counts) if granted else 0)
        yield _counter("etcd_debugging_lease_revoked", "The total number of revoked leases.", sum(revoked.counts) if revoked else 0)
        yield _counter("etcd_debugging_lease_renewed", "The number of renewed leases seen by the leader.", member.lease_renewals)
        yield _histogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs.", observed.lease_ttl)
        yield _gauge("keelson_leases", "Leases that exist now.", len(member.machine.leases))


class DiskCollector(Collector):
    """etcd_disk_*, and the whole state written in one piece."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        observed = self._runner.observed
        yield _histogram("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of a synced write of the log.", observed.log_synced)
        yield _gauge("etcd_disk_wal_write_bytes_total", "Total number of bytes of entries written to the log.", observed.log_written_bytes)
        name = "etcd_disk_backend_commit_duration_seconds"
        yield _histogram(name, "The latency distributions of a commit of the state.", observed.state_committed)
        name = "etcd_disk_backend_snapshot_duration_seconds"
        yield _histogram(name, "The latency distribution of copying the state for a snapshot.", observed.state_exported)
        name = "etcd_disk_backend_defrag_duration_seconds"
        yield _histogram(name, "The latency distribution of defragmenting the state.", observed.defragmented)
        yield _gauge(
            "etcd_disk_defrag_inflight", "Whether or not defrag is active on the member. 1 means active, 0 means not.", observed.defragmenting
        )
        name = "etcd_snap_db_save_total_duration_seconds"
        yield _histogram(
            name, "The total latency distributions of putting a received state in the place of the present one.", observed.state_installed
        )


class NetworkCollector(Collector):
    """etcd_network_*: clients and peers."""

    def __init__(self, runner: Runner, transport: Transport, stats: Stats) -> None:
        self._runner = runner
        self._transport = transport
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        yield _counter("etcd_network_client_grpc_received_bytes", "The total number of bytes received from grpc clients.", self._stats.received_bytes)
        yield _counter("etcd_network_client_grpc_sent_bytes", "The total number of bytes sent to grpc clients.", self._stats.sent_bytes)
        yield self._client_requests()
        yield from self._peers()
        yield from self._snapshots()

    def _client_requests(self) -> Metric:
        """etcd counts every call, those that do not say their version as "unknown"."""
        labels = ["type", "client_api_version"]
        family = CounterMetricFamily("etcd_server_client_requests", "The total number of client requests per client version.", labels=labels)
        stats = self._stats
        unsaid = {False: 0, True: 0}
        for path, count in stats.started.items():
            unsaid[METHODS[path].client_streams or METHODS[path].server_streams] += count
        for (stream, version), count in stats.client_versions.items():
            family.add_metric(["stream" if stream else "unary", version], count)
            unsaid[stream] -= count
        for stream, count in unsaid.items():
            if count > 0:
                family.add_metric(["stream" if stream else "unary", "unknown"], count)
        return family

    def _peers(self) -> Iterator[Metric]:
        counters, own_id = self._transport.counters, self._transport.own_id
        yield _by_peer("etcd_network_peer_sent_bytes", "To", "The total number of bytes sent to peers.", counters.sent_bytes)
        yield _by_peer("etcd_network_peer_received_bytes", "From", "The total number of bytes received from peers.", counters.received_bytes)
        yield _by_peer("etcd_network_peer_sent_failures", "To", "The total number of send failures from peers.", counters.send_failures)
        yield _by_peer("etcd_network_peer_received_failures", "From", "The total number of receive failures from peers.", counters.receive_failures)
        name = "etcd_network_peer_round_trip_time_seconds"
        yield _histograms_by_peer(name, "To", "Round-Trip-Time histogram between peers.", counters.round_trip)
        labels = ["Local", "Remote"]
        known = GaugeMetricFamily("etcd_network_known_peers", "The current number of known peers.", labels=labels)
        active = GaugeMetricFamily("etcd_network_active_peers", "The current number of active peer connections.", labels=labels)
        for peer_id, connection in self._transport.peers.items():
            known.add_metric([f"{own_id:x}", f"{peer_id:x}"], 1.0)
            active.add_metric([f"{own_id:x}", f"{peer_id:x}"], float(connection.active))
        yield known
        yield active
        lost = CounterMetricFamily("etcd_network_disconnected_peers", "The total number of disconnected peers.", labels=labels)
        for peer_id, count in counters.disconnects.items():
            lost.add_metric([f"{own_id:x}", f"{peer_id:x}"], count)
        yield lost

    def _snapshots(self) -> Iterator[Metric]:
        observed = self._runner.observed
        for direction, label, done, failed, durations in (
            ("send", "To", observed.snapshots_sent, observed.snapshots_failed, observed.snapshot_send),
            ("receive", "From", observed.snapshots_received, observed.snapshots_refused, observed.snapshot_receive),
        ):
            yield _plain_by_peer(f"etcd_network_snapshot_{direction}_success", label, f"Total number of successful snapshot {direction}s.", done)
            yield _plain_by_peer(f"etcd_network_snapshot_{direction}_failures", label, f"Total number of snapshot {direction} failures.", failed)
            name = f"etcd_network_snapshot_{direction}_total_duration_seconds"
            yield _histograms_by_peer(name, label, f"Total latency distributions of v3 snapshot {direction}s.", durations)
        sending = GaugeMetricFamily("etcd_network_snapshot_send_inflights_total", "Total number of inflight snapshot sends.", labels=["To"])
        for receiver in self._runner.sending_state_to:
            sending.add_metric([f"{receiver:x}"], 1.0)
        yield sending


class RpcCollector(Collector):
    """grpc_server_*: calls over gRPC and over the gateway alike. Every method is there from the start, as etcd has it."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._labels = {path: _method_labels(path) for path in METHODS}

    def collect(self) -> Iterator[Metric]:
        stats, names = self._stats, ["grpc_type", "grpc_service", "grpc_method"]
        for family, counts in (
            (CounterMetricFamily("grpc_server_started", "Total number of RPCs started on the server.", labels=names), stats.started),
            (
                CounterMetricFamily("grpc_server_msg_received", "Total number of RPC stream messages received on the server.", labels=names),
                stats.messages_received,
            ),
            (
                CounterMetricFamily("grpc_server_msg_sent", "Total number of gRPC stream messages sent by the server.", labels=names),
                stats.messages_sent,
            ),
        ):
            for path, labels in self._labels.items():
                family.add_metric(labels, counts.get(path, 0))
            yield family
        text = "Total number of RPCs completed on the server, regardless of success or failure."
        handled = CounterMetricFamily("grpc_server_handled", text, labels=[*names, "grpc_code"])
        for (path, code), count in {**dict.fromkeys(((path, "OK") for path in self._labels), 0), **stats.handled}.items():
            handled.add_metric([*self._labels[path], code], count)
        yield handled
        if stats.handling is not None:
            text = "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server."
            histograms = {tuple(self._labels[path]): histogram for path, histogram in stats.handling.items()}
            yield histogram_family("grpc_server_handling_seconds", text, tuple(names), histograms)


class ProcessGauges(Collector):
    """What this process is like beyond what prometheus-client's collectors tell."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        yield _gauge("os_fd_used", "The number of used file descriptors.", sum(1 for _ in Path("/proc/self/fd").iterdir()))
        yield _gauge("os_fd_limit", "The file descriptor limit.", _limit(resource.RLIMIT_NOFILE))
        text = "Maximum amount of virtual memory available in bytes."
        yield _gauge("process_virtual_memory_max_bytes", text, _limit(resource.RLIMIT_AS))
        text = "How late the member's clock ticked: what everything on the event loop has to wait."
        yield _histogram("keelson_event_loop_lag_seconds", text, self._runner.observed.loop_lag)
        yield _gauge("keelson_threads", "Threads of this process that Python knows.", threading.active_count())
        yield _gauge("keelson_tasks", "Tasks of the event loop that are not done.", len(asyncio.all_tasks(self._runner.loop)))


def _method_labels(path: str) -> list[str]:
    method = METHODS[path]
    kind = {(False, False): "unary", (True, False): "client_stream", (False, True): "server_stream", (True, True): "bidi_stream"}
    return [kind[method.client_streams, method.server_streams], method.service, method.name]


def _limit(which: int) -> float:
    soft = resource.getrlimit(which)[0]
    return float("inf") if soft == resource.RLIM_INFINITY else soft


def _word(value: bool) -> str:
    return "true" if value else "false"


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return histogram_family(name, text, (), {(): histogram})


def _labelled(name: str, text: str, label: str, value: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    family.add_metric([value], 1.0)
    return family


def _by_peer(name: str, label: str, text: str, counts: Mapping[MemberId, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for peer, count in counts.items():
        family.add_metric([f"{peer:x}"], count)
    return family


def _plain_by_peer(name: str, label: str, text: str, counts: Mapping[MemberId, int]) -> Metric:
    """A counter whose name does not end in `_total`."""
    family = Metric(name, text, "counter")
    for peer, count in counts.items():
        family.add_sample(name, {label: f"{peer:x}"}, count)
    return family


def _histograms_by_peer(name: str, label: str, text: str, histograms: Mapping[MemberId, Histogram]) -> Metric:
    return histogram_family(name, text, (label,), {(f"{peer:x}",): histogram for peer, histogram in histograms.items()})
