"""/metrics beside a real etcd's: the same families with the same types, labels and buckets, and after the same requests the same counts."""

import base64
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import kinds
from tests.support.exposition import Exposition
from tests.support.members import Cluster, Member, wait_until
from tests.support.promql import labels_selected, series_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LEFT_OUT = {
    r"go_.*|etcd_server_go_version": "Go's runtime",
    r"promhttp_.*": "Go's HTTP handler",
    r"etcd_grpc_proxy_.*": "there is no proxy",
    r"etcd_debugging_store_.*": "the v2 store",
    r"etcd_debugging_disk_backend_commit_.*": "phases of bbolt's commit; LMDB has one",
    r"etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds": "there is no index in memory",
    r"etcd_debugging_snap_save_.*": "etcd's snapshot files beside the database",
    r"etcd_snap_(db_)?fsync_duration_seconds": "etcd's snapshot files beside the database",
}
"""What real etcd has and we have not, and why: the same list as in docs/operating/metrics.md."""

DASHBOARD = [
    "etcd_server_has_leader",
    "etcd_server_is_leader",
    "etcd_server_is_learner",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_pending",
    "etcd_server_proposals_failed_total",
    "etcd_server_quota_backend_bytes",
    "etcd_server_heartbeat_send_failures_total",
    "etcd_server_slow_apply_total",
    "etcd_disk_wal_fsync_duration_seconds_bucket",
    "etcd_disk_backend_commit_duration_seconds_bucket",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_debugging_mvcc_keys_total",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_peer_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_round_trip_time_seconds_bucket",
    "grpc_server_started_total",
    "grpc_server_handled_total",
    "grpc_server_msg_received_total",
    "grpc_server_msg_sent_total",
    "grpc_server_handling_seconds_bucket",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
    "process_virtual_memory_bytes",
]
"""Series that etcd's own mixin, its Grafana dashboard and kube-prometheus select."""

FLAGS = ["--metrics=extensive"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    """Two members of etcd and two of ours, that did the same."""
    folder = tmp_path_factory.mktemp("metrics")
    with (
        Cluster(kinds.find(kinds.ETCD), folder / "reference", 2, flags=FLAGS) as reference,
        Cluster(kinds.subject(), folder / "subject", 2, flags=FLAGS) as subject,
    ):
        for cluster in (reference, subject):
            work(cluster.leader())
        yield reference, subject


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def work(member: Member) -> None:
    """A little of everything; what the counts of `COUNTED` are about."""

    def post(path: str, **body: object) -> object:
        answer = member.http.post(f"/v3/{path}", body)
        assert answer.status == 200, answer.text()
        return json.loads(answer.body)

    for number in range(20):
        post("kv/put", key=text(f"k{number}"), value=text("v" * 100))
    post("kv/deleterange", key=text("k0"))
    post("kv/deleterange", key=text("nothing"))
    put = {"request_put": {"key": text("t"), "value": text("1")}}
    post("kv/txn", success=[put, {"request_delete_range": {"key": text("k1")}}])
    post("kv/txn", success=[put])
    post("kv/range", key=text("k2"))
    lease = post("lease/grant", TTL=300)
    assert isinstance(lease, dict)
    post("lease/keepalive", ID=lease["ID"])
    post("lease/revoke", ID=lease["ID"])
    post("kv/compaction", revision=5, physical=True)
    post("maintenance/hash")
    post("maintenance/defragment")


def scrape(member: Member) -> Exposition:
    answer = member.http.get("/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Exposition(answer.text())


def is_left_out(family: str) -> bool:
    return any(re.fullmatch(pattern, family) for pattern in LEFT_OUT)


def test_every_family_of_etcd_is_there_with_its_type_labels_and_buckets_or_named_as_left_out(two: tuple[Cluster, Cluster]) -> None:
    reference, subject = (scrape(cluster.leader()) for cluster in two)
    wanted = {name: kind for name, kind in reference.types.items() if not is_left_out(name)}
    assert {name: subject.types.get(name) for name in wanted} == wanted
    for name, kind in wanted.items():
        theirs, ours = reference.labels_of(name), subject.labels_of(name)
        assert not (theirs and ours) or theirs == ours, name
        if kind == "histogram" and subject.bounds_of(name):
            assert subject.bounds_of(name) == pytest.approx(reference.bounds_of(name)), name
    assert not [name for name in subject.types if is_left_out(name)], "what is left out is not there by accident"


def test_nothing_is_told_twice_or_with_a_creation_time(two: tuple[Cluster, Cluster]) -> None:
    subject = scrape(two[1].leader())
    keys = [(series.name, *sorted(series.labels.items())) for series in subject.series]
    assert len(keys) == len(set(keys))
    assert not [name for name in subject.names if name.endswith("_created")]


def test_the_series_of_well_known_dashboards_exist(two: tuple[Cluster, Cluster]) -> None:
    for cluster in two:
        for member in cluster:
            missing = set(DASHBOARD) - scrape(member).names
            # etcd measures round trips every half minute only.
            assert missing <= ({"etcd_network_peer_round_trip_time_seconds_bucket"} if cluster is two[0] else set())


COUNTED = [
    ("etcd_mvcc_put_total", {}),
    ("etcd_mvcc_delete_total", {}),
    ("etcd_mvcc_txn_total", {}),
    ("etcd_debugging_mvcc_total_put_size_in_bytes", {}),
    ("etcd_debugging_mvcc_keys_total", {}),
    ("etcd_debugging_auth_revision", {}),
    ("etcd_debugging_mvcc_current_revision", {}),
    ("etcd_debugging_mvcc_compact_revision", {}),
    ("etcd_debugging_lease_granted_total", {}),
    ("etcd_debugging_lease_renewed_total", {}),
    ("etcd_debugging_lease_revoked_total", {}),
    ("etcd_debugging_lease_ttl_total_sum", {}),
    ("etcd_disk_backend_defrag_duration_seconds_count", {}),
    ("etcd_mvcc_hash_duration_seconds_count", {}),
    ("etcd_server_apply_duration_seconds_count", {"version": "v3", "op": "Put", "success": "true"}),
    ("etcd_server_apply_duration_seconds_count", {"version": "v3", "op": "DeleteRange", "success": "true"}),
    ("etcd_server_has_leader", {}),
    ("etcd_server_is_leader", {}),
    ("etcd_server_is_learner", {}),
    ("etcd_server_quota_backend_bytes", {}),
    ("grpc_server_started_total", {"grpc_service": "etcdserverpb.KV", "grpc_method": "Put"}),
    ("grpc_server_handled_total", {"grpc_service": "etcdserverpb.KV", "grpc_method": "Put", "grpc_code": "OK"}),
    ("grpc_server_msg_received_total", {"grpc_service": "etcdserverpb.KV", "grpc_method": "DeleteRange"}),
    ("grpc_server_handling_seconds_count", {"grpc_service": "etcdserverpb.KV", "grpc_method": "Txn"}),
]


def test_the_same_requests_make_the_same_counts(two: tuple[Cluster, Cluster]) -> None:
    # Keys are counted as of the last commit, which comes within a second.
    wait_until(lambda: scrape(two[1].leader()).value("etcd_debugging_mvcc_keys_total") == 19, 5, "the state is committed")
    reference, subject = (scrape(cluster.leader()) for cluster in two)
    assert {(name, *labels.values()): subject.value(name, **labels) for name, labels in COUNTED} == {
        (name, *labels.values()): reference.value(name, **labels) for name, labels in COUNTED
    }
    assert subject.value("etcd_debugging_mvcc_keys_total") == 19


def test_what_cannot_be_equal_is_plausible(two: tuple[Cluster, Cluster]) -> None:
    _, cluster = two
    leader, [follower] = cluster.leader(), cluster.followers()
    told, others = scrape(leader), scrape(follower)
    peer = f"{int(follower.member_id()):x}"
    own = f"{int(leader.member_id()):x}"
    assert told.value("etcd_network_active_peers", Local=own, Remote=peer) == 1
    assert told.value("etcd_network_peer_sent_bytes_total", To=peer) > 2000
    assert others.value("etcd_network_peer_received_bytes_total", From=own) > 2000
    wait_until(lambda: scrape(leader).value("etcd_network_peer_round_trip_time_seconds_count", To=peer) > 1, 5, "round trips to the follower")
    trips = scrape(leader)
    mean_s = trips.value("etcd_network_peer_round_trip_time_seconds_sum", To=peer) / trips.value(
        "etcd_network_peer_round_trip_time_seconds_count", To=peer
    )
    assert 0 < mean_s < 1
    for histogram in ("etcd_disk_wal_fsync_duration_seconds", "etcd_disk_backend_commit_duration_seconds"):
        count, total = told.value(f"{histogram}_count"), told.value(f"{histogram}_sum")
        assert count > 0
        assert 0 < total / count < 1
    assert told.value("etcd_disk_wal_write_bytes_total") > 2000
    assert 0 < told.value("etcd_mvcc_db_total_size_in_use_in_bytes") <= told.value("etcd_mvcc_db_total_size_in_bytes")
    assert told.value("etcd_server_proposals_applied_total") <= told.value("etcd_server_proposals_committed_total")
    assert told.value("etcd_server_leader_changes_seen_total") >= 1
    assert abs(told.value("process_start_time_seconds") - time.time()) < 600
    assert told.value("etcd_server_id", server_id=own) == 1
    assert told.value("etcd_server_health_success") >= 1
    assert told.value("keelson_event_loop_lag_seconds_count") > 0
    assert told.value("os_fd_limit") >= told.value("os_fd_used") > 0


def test_a_watch_shows_while_it_lasts(two: tuple[Cluster, Cluster]) -> None:
    _, cluster = two
    leader = cluster.leader()
    before = scrape(leader)
    connection = http.client.HTTPConnection("127.0.0.1", leader.client_port, timeout=10)
    connection.request("POST", "/v3/watch", json.dumps({"create_request": {"key": text("watched")}}))
    response = connection.getresponse()
    assert b"created" in response.readline()
    during = scrape(leader)
    for name in ("etcd_debugging_mvcc_watcher_total", "etcd_debugging_mvcc_watch_stream_total"):
        assert during.value(name) == before.value(name) + 1
    leader.http.post("/v3/kv/put", {"key": text("watched"), "value": text("1")})
    assert b"events" in response.readline()
    assert scrape(leader).value("etcd_debugging_mvcc_events_total") == before.value("etcd_debugging_mvcc_events_total") + 1
    connection.close()


def test_open_metrics_for_who_asks(two: tuple[Cluster, Cluster]) -> None:
    answer = two[1][0].http.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


# --- docs/operating: what operators install ---------------------------------------------------------------------------------

OPERATING = Path(__file__).parents[2] / "docs" / "operating"
GIVEN_BY_PROMETHEUS = {"up"}
TARGET_LABELS = {"job", "instance", "pod", "endpoint"}


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((OPERATING / "grafana-dashboard.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) > 30
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    return [target["expr"] for panel in panels for target in panel["targets"]]


def alert_expressions() -> list[str]:
    groups = yaml.safe_load((OPERATING / "alert-rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 20
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
    return [rule["expr"] for rule in rules]


@pytest.mark.parametrize("expressions", [dashboard_expressions, alert_expressions])
def test_whatever_dashboard_and_alerts_select_is_told(two: tuple[Cluster, Cluster], expressions: Callable[[], list[str]]) -> None:
    told = [scrape(member) for member in two[1]]
    names = set.union(*(exposition.names for exposition in told))
    # Of what nobody used yet (no alarm, no peer lost) only the family is told.
    declared = set.union(*(set(exposition.types) for exposition in told))
    wanted = set.union(*map(series_of, expressions())) - GIVEN_BY_PROMETHEUS
    assert len(wanted) > 20
    assert wanted - names - declared == set()
    assert wanted - names <= {
        "etcd_debugging_server_alarms",
        "etcd_network_disconnected_peers_total",
        "etcd_network_peer_received_failures_total",
        "etcd_network_peer_sent_failures_total",
        "etcd_network_snapshot_send_inflights_total",
    }
    for expression in expressions():
        for name, labels in labels_selected(expression):
            family = name.removesuffix("_bucket").removesuffix("_count")
            known = told[0].labels_of(family if told[0].types.get(family) == "histogram" else name)
            assert labels - known - TARGET_LABELS == set(), expression
