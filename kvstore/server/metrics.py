"""Metrics with etcd's names where the meaning is the same (semantics 19), rendered by prometheus-client.

Counts that exist anyway (Raft's indexes, the services' counters) are read when somebody asks; only durations are observed as they happen.
"""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from kvstore.api.rpc import Stats
from kvstore.server.loop import Runner
from kvstore.server.transport import Transport
from kvstore.version import CLUSTER_VERSION, ETCD_VERSION, KEELSON_VERSION
from kvstore.wire.messages import METHODS

_BUCKETS_S = tuple(0.001 * 2**power for power in range(14))


class Metrics:
    def __init__(self, runner: Runner, transport: Transport, stats: Stats) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(_MemberCollector(runner, transport, stats))
        observed = runner.observed
        observed.log_synced = self._histogram("etcd_disk_wal_fsync_duration_seconds", "The latency distributions of a synced write of the log.")
        observed.state_committed = self._histogram("etcd_disk_backend_commit_duration_seconds", "The latency distributions of a commit of the state.")
        observed.state_exported = self._histogram(
            "etcd_disk_backend_snapshot_duration_seconds", "The latency distribution of copying the state for a snapshot."
        )

    def _histogram(self, name: str, text: str) -> Callable[[float], None]:
        return Histogram(name, text, buckets=_BUCKETS_S, registry=self._registry).observe

    def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type for an Accept header."""
        encoder, content_type = choose_encoder(accept)
        return encoder(self._registry), content_type


class _MemberCollector(Collector):
    def __init__(self, runner: Runner, transport: Transport, stats: Stats) -> None:
        self._runner = runner
        self._transport = transport
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        yield from self._server()
        yield from self._storage()
        yield from self._network()
        yield from self._rpcs()

    def _server(self) -> Iterator[Metric]:
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
        yield _gauge("etcd_server_quota_backend_bytes", "Current backend storage quota size in bytes.", member.config.quota_bytes)
        yield _labelled("etcd_server_version", "Which version is running. 1 for 'server_version' label.", "server_version", ETCD_VERSION)
        yield _labelled("etcd_cluster_version", "Which version is running. 1 for 'cluster_version' label.", "cluster_version", CLUSTER_VERSION)
        yield _labelled("etcd_server_id", "Server or member ID in hexadecimal format. 1 for 'server_id' label.", "server_id", f"{member.id:x}")
        yield _labelled("keelson_version", "Which release of Keelson is running.", "version", KEELSON_VERSION)

    def _storage(self) -> Iterator[Metric]:
        member = self._runner.member
        size, in_use = self._runner.sizes()
        yield _gauge("etcd_mvcc_db_total_size_in_bytes", "Total size of the state's file in bytes.", size)
        yield _gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Size of the state's file that is in use.", in_use)
        yield _gauge("etcd_debugging_mvcc_current_revision", "The current revision of store.", member.machine.revision)
        yield _gauge("etcd_debugging_mvcc_compact_revision", "The revision of the last compaction in store.", member.machine.compacted_revision)
        yield _gauge("etcd_debugging_mvcc_watcher_total", "Total number of watchers.", member.delivery.watcher_count)
        yield _gauge("etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.", member.delivery.slow_watcher_count)

    def _network(self) -> Iterator[Metric]:
        yield _counter("etcd_network_client_grpc_received_bytes", "The total number of bytes received from grpc clients.", self._stats.received_bytes)
        yield _counter("etcd_network_client_grpc_sent_bytes", "The total number of bytes sent to grpc clients.", self._stats.sent_bytes)
        counters = self._transport.counters
        for name, label, text, counts in (
            ("etcd_network_peer_sent_bytes", "To", "The total number of bytes sent to peers.", counters.sent_bytes),
            ("etcd_network_peer_received_bytes", "From", "The total number of bytes received from peers.", counters.received_bytes),
            ("etcd_network_peer_sent_failures", "To", "The total number of send failures from peers.", counters.send_failures),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for peer, count in counts.items():
                family.add_metric([f"{peer:x}"], count)
            yield family
        active = GaugeMetricFamily("etcd_network_active_peers", "The current number of active peer connections.", labels=["Local", "Remote"])
        for peer_id, connection in self._transport.peers.items():
            active.add_metric([f"{self._transport.own_id:x}", f"{peer_id:x}"], float(connection.active))
        yield active

    def _rpcs(self) -> Iterator[Metric]:
        labels = ["grpc_type", "grpc_service", "grpc_method"]
        stats = self._stats
        started = CounterMetricFamily("grpc_server_started", "Total number of RPCs started on the server.", labels=labels)
        handled = CounterMetricFamily("grpc_server_handled", "Total number of RPCs completed on the server.", labels=[*labels, "grpc_code"])
        received = CounterMetricFamily("grpc_server_msg_received", "Total number of RPC stream messages received on the server.", labels=labels)
        sent = CounterMetricFamily("grpc_server_msg_sent", "Total number of gRPC stream messages sent by the server.", labels=labels)
        for family, counts in ((started, stats.started), (received, stats.messages_received), (sent, stats.messages_sent)):
            for path, count in counts.items():
                if path in METHODS:
                    family.add_metric(_method_labels(path), count)
        for (path, code), count in stats.handled.items():
            if path in METHODS:
                handled.add_metric([*_method_labels(path), code], count)
        return iter((started, handled, received, sent))


def _method_labels(path: str) -> list[str]:
    method = METHODS[path]
    kind = {(False, False): "unary", (True, False): "client_stream", (False, True): "server_stream", (True, True): "bidi_stream"}
    return [kind[method.client_streams, method.server_streams], method.service, method.name]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _labelled(name: str, text: str, label: str, value: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    family.add_metric([value], 1.0)
    return family
