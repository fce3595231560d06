"""How flags are told and how old ones are understood: the groups of `--help`, and the spellings of etcd 3.4 to 3.6 that have others now.

etcd 3.6 takes both spellings of what was experimental, and the old one wins when both are given (embed/config.go); what became a feature gate
may be set one way only.
"""

from collections.abc import Mapping

GROUPS: dict[str, str] = {
    "Member": """
        name data-dir wal-dir snapshot-count snapshot-catchup-entries heartbeat-interval election-timeout initial-election-tick-advance
        listen-peer-urls listen-client-urls listen-client-http-urls max-snapshots max-wals quota-backend-bytes backend-bbolt-freelist-type
        backend-batch-interval backend-batch-limit max-txn-ops max-request-bytes max-concurrent-streams max-learners grpc-keepalive-min-time
        grpc-keepalive-interval grpc-keepalive-timeout socket-reuse-port socket-reuse-address raft-read-timeout raft-write-timeout
        memory-mlock enable-grpc-gateway watch-progress-notify-interval compaction-batch-limit compaction-sleep-interval
        bootstrap-defrag-threshold-megabytes downgrade-check-time wait-cluster-ready-timeout config-file version""",
    "Clustering": """
        initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token advertise-client-urls discovery-srv
        discovery-srv-name discovery discovery-fallback discovery-proxy discovery-token discovery-endpoints discovery-dial-timeout
        discovery-request-timeout discovery-keepalive-time discovery-keepalive-timeout discovery-insecure-transport
        discovery-insecure-skip-tls-verify discovery-cert discovery-key discovery-cacert discovery-user discovery-password
        strict-reconfig-check pre-vote auto-compaction-retention auto-compaction-mode enable-v2 v2-deprecation corrupt-check-time
        compact-hash-check-time""",
    "Security": """
        cert-file key-file client-cert-auth client-crl-file client-cert-allowed-hostname client-cert-allowed-cn client-cert-file
        client-key-file trusted-ca-file auto-tls peer-cert-file peer-key-file peer-client-cert-auth peer-trusted-ca-file
        peer-cert-allowed-cn peer-cert-allowed-hostname peer-client-cert-file peer-client-key-file peer-auto-tls self-signed-cert-validity
        peer-crl-file peer-skip-client-san-verification cipher-suites tls-min-version tls-max-version cors host-whitelist""",
    "Auth": "auth-token bcrypt-cost auth-token-ttl",
    "Profiling and Monitoring": "enable-pprof metrics listen-metrics-urls warning-apply-duration warning-unary-request-duration",
    "Logging": "logger log-outputs log-level log-format enable-log-rotation log-rotation-config-json log-package-levels debug",
    "Distributed tracing": """
        enable-distributed-tracing distributed-tracing-address distributed-tracing-service-name distributed-tracing-instance-id
        distributed-tracing-sampling-rate""",
    "Feature gates": "feature-gates",
    "Unsafe features": "force-new-cluster unsafe-no-fsync",
    "Proxy of the v2 API": """
        proxy proxy-failure-wait proxy-refresh-interval proxy-dial-timeout proxy-write-timeout proxy-read-timeout experimental-enable-v2v3
        ca-file peer-ca-file""",
}
"""Titles and order as etcd's own help has them."""

OLD_SPELLINGS: dict[str, str] = {
    f"experimental-{name}": name
    for name in [
        "corrupt-check-time",
        "compact-hash-check-time",
        "compaction-batch-limit",
        "compaction-sleep-interval",
        "downgrade-check-time",
        "peer-skip-client-san-verification",
        "watch-progress-notify-interval",
        "warning-apply-duration",
        "warning-unary-request-duration",
        "bootstrap-defrag-threshold-megabytes",
        "max-learners",
        "memory-mlock",
        "snapshot-catchup-entries",
        "wait-cluster-ready-timeout",
        "enable-distributed-tracing",
        "distributed-tracing-address",
        "distributed-tracing-service-name",
        "distributed-tracing-instance-id",
        "distributed-tracing-sampling-rate",
    ]
}

OLD_GATES: dict[str, str] = {
    "experimental-initial-corrupt-check": "InitialCorruptCheck",
    "experimental-compact-hash-check-enabled": "CompactHashCheck",
    "experimental-enable-lease-checkpoint": "LeaseCheckpoint",
    "experimental-enable-lease-checkpoint-persist": "LeaseCheckpointPersist",
    "experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
    "experimental-stop-grpc-service-on-defrag": "StopGRPCServiceOnDefrag",
    "experimental-set-member-localaddr": "SetMemberLocalAddr",
}
"""Flags that became feature gates in 3.6."""

LONG_GONE = [
    "cluster-active-size",
    "cluster-remove-delay",
    "cluster-sync-interval",
    "config",
    "force",
    "max-result-buffer",
    "max-retry-attempts",
    "peer-heartbeat-interval",
    "peer-election-timeout",
    "retry-interval",
    "snapshot",
    "v",
    "vv",
    "test.coverprofile",
    "test.outputdir",
]
"""Flags of etcd before 2.0, which it still takes and says nothing of but that they are gone."""


def gate_values(text: str) -> dict[str, bool]:
    """--feature-gates as it was set. Raises ValueError for a value that is no boolean."""
    found: dict[str, bool] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        if value.strip().lower() not in ("true", "false", "1", "0", "t", "f"):
            raise ValueError(f"invalid value of {name}={value}, err: parsing {value!r}: invalid syntax")
        found[name.strip()] = value.strip().lower() in ("true", "1", "t")
    return found


class GateConflict(Exception):
    """The same feature gate by an old flag and by --feature-gates."""


def in_new_words(given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The settings by the names of today, and what the log should say about old ones. Raises GateConflict."""
    today = dict(given)
    notes: list[str] = []
    gates = [gate for gate in today.get("feature-gates", "").split(",") if gate]
    for name in given:
        if name in OLD_SPELLINGS:
            today[OLD_SPELLINGS[name]] = today.pop(name)
            notes.append(f"--{name} is deprecated in etcd 3.6; use --{OLD_SPELLINGS[name]} instead")
        elif name in OLD_GATES:
            gate, value = OLD_GATES[name], today.pop(name)
            if any(known.partition("=")[0] == gate for known in gates):
                raise GateConflict(
                    f"cannot specify both flags: --{name}={value} and --feature-gates={given['feature-gates']} "
                    "at the same time, please just use feature gates"
                )
            gates.append(f"{gate}={value}")
            notes.append(f"--{name} is deprecated in etcd 3.6; use --feature-gates={gate}={value} instead")
        elif name in LONG_GONE:
            today.pop(name)
            notes.append(f'flag "{name}" is no longer supported - ignoring')
    if gates:
        today["feature-gates"] = ",".join(gates)
    return today, notes
