"""`kvstore --help` has every flag of etcd's, and says of each that has no effect or is refused, why."""

import re
import subprocess
from pathlib import Path

import pytest

from kvstore.server import flags
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.config import load
from kvstore.server.flags import FLAGS, Fate, FlagError
from tests.support import kinds

IN_3_6 = [
    "name",
    "data-dir",
    "wal-dir",
    "listen-client-urls",
    "listen-client-http-urls",
    "listen-peer-urls",
    "listen-metrics-urls",
    "snapshot-count",
    "snapshot-catchup-entries",
    "max-wals",
    "max-snapshots",
    "heartbeat-interval",
    "election-timeout",
    "initial-election-tick-advance",
    "pre-vote",
    "quota-backend-bytes",
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "max-txn-ops",
    "max-request-bytes",
    "max-concurrent-streams",
    "grpc-keepalive-min-time",
    "grpc-keepalive-interval",
    "grpc-keepalive-timeout",
    "socket-reuse-port",
    "socket-reuse-address",
    "raft-read-timeout",
    "raft-write-timeout",
    "max-learners",
    "memory-mlock",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "advertise-client-urls",
    "discovery-token",
    "discovery-endpoints",
    "discovery-dial-timeout",
    "discovery-request-timeout",
    "discovery-keepalive-time",
    "discovery-keepalive-timeout",
    "discovery-insecure-transport",
    "discovery-insecure-skip-tls-verify",
    "discovery-cert",
    "discovery-key",
    "discovery-cacert",
    "discovery-user",
    "discovery-password",
    "discovery-srv",
    "discovery-srv-name",
    "discovery-fallback",
    "strict-reconfig-check",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "force-new-cluster",
    "cert-file",
    "key-file",
    "client-cert-auth",
    "trusted-ca-file",
    "auto-tls",
    "client-cert-file",
    "client-key-file",
    "client-crl-file",
    "client-cert-allowed-hostname",
    "peer-cert-file",
    "peer-key-file",
    "peer-client-cert-auth",
    "peer-trusted-ca-file",
    "peer-auto-tls",
    "peer-client-cert-file",
    "peer-client-key-file",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
    "peer-crl-file",
    "peer-skip-client-san-verification",
    "self-signed-cert-validity",
    "cipher-suites",
    "tls-min-version",
    "tls-max-version",
    "cors",
    "host-whitelist",
    "auth-token",
    "bcrypt-cost",
    "auth-token-ttl",
    "logger",
    "log-outputs",
    "log-level",
    "log-format",
    "enable-log-rotation",
    "log-rotation-config-json",
    "enable-pprof",
    "metrics",
    "enable-distributed-tracing",
    "distributed-tracing-address",
    "distributed-tracing-service-name",
    "distributed-tracing-instance-id",
    "distributed-tracing-sampling-rate",
    "warning-apply-duration",
    "warning-unary-request-duration",
    "version",
    "config-file",
    "enable-grpc-gateway",
    "corrupt-check-time",
    "compact-hash-check-time",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "watch-progress-notify-interval",
    "downgrade-check-time",
    "bootstrap-defrag-threshold-megabytes",
    "unsafe-no-fsync",
    "feature-gates",
    "v2-deprecation",
    "experimental-initial-corrupt-check",
    "experimental-corrupt-check-time",
    "experimental-compact-hash-check-enabled",
    "experimental-compact-hash-check-time",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-compaction-batch-limit",
    "experimental-compaction-sleep-interval",
    "experimental-downgrade-check-time",
    "experimental-peer-skip-client-san-verification",
    "experimental-watch-progress-notify-interval",
    "experimental-warning-apply-duration",
    "experimental-warning-unary-request-duration",
    "experimental-txn-mode-write-with-shared-buffer",
    "experimental-bootstrap-defrag-threshold-megabytes",
    "experimental-max-learners",
    "experimental-memory-mlock",
    "experimental-stop-grpc-service-on-defrag",
    "experimental-snapshot-catchup-entries",
    "experimental-set-member-localaddr",
    "experimental-enable-distributed-tracing",
    "experimental-distributed-tracing-address",
    "experimental-distributed-tracing-service-name",
    "experimental-distributed-tracing-instance-id",
    "experimental-distributed-tracing-sampling-rate",
]
"""etcd 3.6's flags, hidden ones included (embed/config.go, AddFlags; etcdmain/config.go)."""


def names_in(help_text: str) -> set[str]:
    return set(re.findall(r"^ {2}--([a-z0-9.\-]+)", help_text, flags=re.MULTILINE))


def test_every_flag_of_the_real_etcd_is_in_the_help() -> None:
    done = subprocess.run([*kinds.find(kinds.ETCD).command, "--help"], capture_output=True, text=True, timeout=20, check=False)
    theirs = names_in(done.stdout + done.stderr)
    assert len(theirs) > 80
    assert theirs - names_in(flags.usage()) == set()


def test_every_flag_of_3_6_is_in_the_help() -> None:
    assert set(IN_3_6) - names_in(flags.usage()) == set()


def test_whatever_is_taken_is_in_the_help_once_and_explained() -> None:
    text = flags.usage()
    told = re.findall(r"^ {2}--([a-z0-9.\-]+) '.*'\n {4}(.+)$", text, flags=re.MULTILINE)
    assert sorted(name for name, _ in told) == sorted(FLAGS)
    for name, explanation in told:
        fate = FLAGS[name].fate
        assert explanation.startswith({Fate.USED: "", Fate.IGNORED: "Accepted without effect. ", Fate.REFUSED: "Refused. "}[fate])
        assert len(explanation.removeprefix("Accepted without effect. ").removeprefix("Refused. ")) > 10, name


def test_former_spellings_mean_the_same_and_win() -> None:
    config = load(["--experimental-warning-apply-duration=7s", "--warning-apply-duration=1s", "--experimental-watch-progress-notify-interval=3s"], {})
    assert (config.slow_apply_s, config.progress_notify_interval_s) == (7.0, 3.0)
    assert any("--experimental-warning-apply-duration is deprecated" in note for note in config.notes)
    assert load([], {"ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION": "2s"}).slow_apply_s == 2.0


def test_what_became_a_gate_is_set_in_one_way_only() -> None:
    assert any("--feature-gates=InitialCorruptCheck=true" in note for note in load(["--experimental-initial-corrupt-check"], {}).notes)
    with pytest.raises(ConfigurationError, match="cannot specify both flags"):
        load(["--experimental-initial-corrupt-check", "--feature-gates=InitialCorruptCheck=false"], {})


def test_flags_of_long_ago_are_ignored() -> None:
    config = load(["--peer-heartbeat-interval=7", "--vv", "--name=m1", "--initial-cluster=m1=http://localhost:2380"], {})
    assert config.name == "m1"
    assert 'flag "vv" is no longer supported - ignoring' in config.notes


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--proxy=on"], "There is no proxy of the v2 API"),
        (["--discovery=https://discovery.etcd.io/x"], "use --initial-cluster, --discovery-srv"),
        (["--discovery-token=x"], "belong together"),
        (["--discovery-token=x", "--discovery-endpoints=h:1"], "needs a --name of each member's own"),
        (["--name=m1", "--discovery-token=x", "--discovery-endpoints=h:1", "--discovery-srv=x.com"], "multiple discovery or bootstrap flags are set"),
        (["--discovery-srv=example.com", "--initial-cluster=default=http://localhost:2380"], "multiple discovery or bootstrap flags are set"),
        (["--log-outputs=default,stdout"], 'multi logoutput for "default"'),
        (["--enable-log-rotation"], "requires a single file path"),
        (["--enable-log-rotation", "--log-outputs=/tmp/l", "--log-rotation-config-json={"], "improperly formatted log rotation config"),
        (["--enable-log-rotation", "--log-outputs=/tmp/l", '--log-rotation-config-json={"maxsize":"x"}'], "maxsize cannot be 'x'"),
        (["--log-level=loud"], 'unrecognized level: "loud"'),
        (["--log-format=xml"], 'unknown log format "xml"'),
    ],
)
def test_refusals_say_why(arguments: list[str], text: str) -> None:
    with pytest.raises((ConfigurationError, FlagError), match=re.escape(text)):
        load(arguments, {})


def test_tracing_settings() -> None:
    assert load([], {}).tracing is None
    tracing = load(["--experimental-enable-distributed-tracing", "--distributed-tracing-sampling-rate=10"], {}).tracing
    assert tracing is not None
    assert (tracing.address, tracing.service_name, tracing.samples_per_million) == ("localhost:4317", "etcd", 10)
    for rate, text in (("-1", "must be positive"), ("1000001", "must be less than 1000000")):
        with pytest.raises(ConfigurationError, match=text):
            load(["--enable-distributed-tracing", f"--distributed-tracing-sampling-rate={rate}"], {})


def test_discovery_in_a_file_and_no_password_in_a_repr(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "name: m1\ndiscovery-config: {token: t, endpoints: [http://a:1, http://b:1], request-timeout: 7000000000, user: 'u:secret-word'}\n"
    )
    discovery = load([f"--config-file={file}"], {}).discovery
    assert discovery is not None
    assert (discovery.endpoints, discovery.request_timeout_s) == (("http://a:1", "http://b:1"), 7.0)
    assert (discovery.user, discovery.password) == ("u", "secret-word")
    assert "secret-word" not in repr(discovery)


def test_a_command_line_is_shown_without_its_secrets() -> None:
    given = [
        "kvstore",
        "--name=m1",
        "--discovery-password=hidden",
        "-discovery-user",
        "u:hidden",
        "--discovery-token=t",
        "--discovery-password",
        "hidden",
    ]
    assert flags.without_secrets(given) == (
        "kvstore",
        "--name=m1",
        "--discovery-password=***",
        "-discovery-user",
        "***",
        "--discovery-token=t",
        "--discovery-password",
        "***",
    )
