"""Flags, environment and file into one checked `Config`; what does not fit together is refused with etcd's words where it has them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from keelson.cogs.logs import LEVELS
from kvstore.auth.passwords import COST_DEFAULT, COST_MAX, COST_MIN
from kvstore.auth.tokens import TTL_DEFAULT_S
from kvstore.member.compactor import AutoCompaction
from kvstore.member.corruption import CorruptionChecks
from kvstore.server import flags, tls_flags
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.flag_groups import GateConflict, gate_values, in_new_words
from kvstore.server.flags import FLAGS, FlagError, is_true, parse_duration
from kvstore.server.log_outputs import Rotation, check_outputs, rotation_from
from kvstore.server.tls import TlsSettings
from kvstore.server.tokens import parse_auth_token

if TYPE_CHECKING:
    from kvstore.auth.signed import SignedTokens

ELECTION_MS_MAX = 50_000
DEFAULT_QUOTA_BYTES = 2 << 30
QUOTA_BYTES_RECOMMENDED = 8 << 30
REQUEST_BYTES_LIMIT = 10 << 20
"""More than this in one request and one log entry does not fit the peers' frames."""


class DiscoverySettings(Struct, frozen=True):
    """Another cluster at which the members of a new one find each other. Times in seconds."""

    token: str
    endpoints: tuple[str, ...]
    request_timeout_s: float
    keepalive_time_s: float
    keepalive_timeout_s: float
    insecure_transport: bool
    cert: str
    key: str
    cacert: str
    user: str
    password: str

    def __repr__(self) -> str:
        return f"DiscoverySettings({self.endpoints!r})"


class TracingSettings(Struct, frozen=True):
    """Where traces go, under which names, and how many of a million calls whose callers do not trace."""

    address: str
    service_name: str
    instance_id: str
    samples_per_million: int


class Config(Struct, frozen=True):
    """Everything that a member is started with. Times in seconds, sizes in bytes."""

    name: str
    data_dir: Path
    listen_client_urls: tuple[str, ...]
    listen_peer_urls: tuple[str, ...]
    listen_http_urls: tuple[str, ...]
    """Not empty: HTTP is served here, and the client URLs serve gRPC only."""
    listen_metrics_urls: tuple[str, ...]
    cors_origins: tuple[str, ...]
    host_whitelist: tuple[str, ...]
    reuse_port: bool
    keepalive_interval_s: float
    keepalive_timeout_s: float
    keepalive_least_s: float
    advertise_client_urls: tuple[str, ...]
    advertise_peer_urls: tuple[str, ...]
    initial_cluster: dict[str, list[str]]
    initial_cluster_existing: bool
    initial_cluster_token: str
    discovery: DiscoverySettings | None
    """Whom to ask instead."""
    discovery_srv: str
    """Domain whose DNS records take the place of `initial_cluster`, which is empty then."""
    discovery_srv_name: str
    strict_reconfiguration: bool
    force_new_cluster: bool
    learners_max: int
    client_tls: TlsSettings
    peer_tls: TlsSettings
    self_signed_years: int
    heartbeat_s: float
    election_s: float
    first_election_early: bool
    pre_vote: bool
    snapshot_entries: int
    catchup_entries: int
    quota_bytes: int
    auto_compaction: AutoCompaction
    corruption_checks: CorruptionChecks
    initial_corruption_check: bool
    defragment_at_start_mb: int
    txn_operations_max: int
    request_bytes_max: int
    concurrent_streams_max: int
    progress_notify_interval_s: float
    gateway: bool
    sync: bool
    log_level: str
    log_format: str
    log_outputs: tuple[str, ...]
    log_rotation: Rotation | None
    access_log: str
    """Empty: none; "default": among the other lines; else a file."""
    extensive_metrics: bool
    tracing: TracingSettings | None
    debug_pages: bool
    reflection: bool
    stop_serving_on_defrag: bool
    slow_request_s: float
    slow_apply_s: float
    signed_tokens: "SignedTokens | None"
    """None: simple tokens."""
    auth_token_ttl_s: float
    bcrypt_cost: int
    notes: tuple[str, ...]
    """What the log should say about settings without effect."""


def load(arguments: list[str], environment: Mapping[str, str] = os.environ) -> Config:
    """Raises FlagError or ConfigurationError."""
    given = flags.parse_arguments(arguments)
    file_name = given.get("config-file") or environment.get("ETCD_CONFIG_FILE", "")
    notes: list[str] = []
    if file_name:
        try:
            text = Path(file_name).read_text()
        except OSError as error:
            raise FlagError(f"error reading the configuration file: {error}") from error
        given = flags.from_file(text)
    else:
        from_environment, unknown = flags.from_environment(environment, given)
        given |= from_environment
        notes += [f"unrecognized environment variable {variable}" for variable in unknown]
    try:
        given, told = in_new_words(given)
    except GateConflict as error:
        raise ConfigurationError(str(error)) from error
    notes += told
    refused = flags.refused_flags(given)
    if refused:
        raise ConfigurationError(
            "not taken by this server: " + ", ".join(f"--{name} ({FLAGS[name].help.rstrip('.')})" for name in refused) + "; leave it out to start"
        )
    notes += [f"--{name} has no effect here: {FLAGS[name].help}" for name in flags.ignored_flags(given)]
    return _checked(given, notes)


def _checked(given: Mapping[str, str], notes: list[str]) -> Config:
    def text(name: str) -> str:
        return given.get(name, FLAGS[name].default)

    def number(name: str) -> int:
        return int(text(name), 0)

    if "listen-client-urls" in given and "advertise-client-urls" not in given:
        raise ConfigurationError("--advertise-client-urls is required when --listen-client-urls is set explicitly")
    name = text("name")
    heartbeat_ms, election_ms = _raft_times_ms(number)
    state = text("initial-cluster-state")
    if state not in ("new", "existing"):
        raise ConfigurationError(f'invalid value "{state}" for --initial-cluster-state: expected "new" or "existing"')
    request_bytes = number("max-request-bytes")
    if not 0 < request_bytes <= REQUEST_BYTES_LIMIT:
        raise ConfigurationError(f"--max-request-bytes must be between 1 and {REQUEST_BYTES_LIMIT}, got {request_bytes}")
    progress_s = parse_duration(text("watch-progress-notify-interval"))
    if progress_s < 0.1:
        raise ConfigurationError("--watch-progress-notify-interval must be at least 100ms")
    gates = _gates(text("feature-gates"))
    advertise_peer = urls(text("initial-advertise-peer-urls"), "initial-advertise-peer-urls")
    data_dir = Path(text("data-dir") or f"{name}.etcd")
    client_tls, peer_tls = (tls_flags.settings(text, port, data_dir, notes) for port in ("client", "peer"))
    listen_client = urls(text("listen-client-urls"), "listen-client-urls", listening=True)
    listen_peer = urls(text("listen-peer-urls"), "listen-peer-urls", listening=True)
    _refuse_https_without_files(listen_client, client_tls, "client")
    _refuse_https_without_files(listen_peer, peer_tls, "peer")
    log_outputs = tuple(text("log-outputs").split(","))
    rotated = is_true(text("enable-log-rotation"))
    check_outputs(log_outputs, rotated)
    if text("log-level") not in LEVELS:
        raise ConfigurationError(f'unrecognized level: "{text("log-level")}"')
    if text("log-format") not in ("json", "console"):
        raise ConfigurationError(f'unknown log format "{text("log-format")}", supported values json, console')
    _refuse_two_bootstraps(given)
    quota = number("quota-backend-bytes")
    if quota > QUOTA_BYTES_RECOMMENDED:
        notes.append(f"--quota-backend-bytes: quota exceeds the maximum value of {QUOTA_BYTES_RECOMMENDED} that is recommended")
    signed_tokens, token_notes = parse_auth_token(text("auth-token"))
    notes += token_notes
    bcrypt_cost = number("bcrypt-cost")
    if not COST_MIN <= bcrypt_cost <= COST_MAX:
        notes.append(f"--bcrypt-cost={bcrypt_cost} is not between {COST_MIN} and {COST_MAX}: {COST_DEFAULT} is used")
        bcrypt_cost = COST_DEFAULT
    if number("auth-token-ttl") < 0:
        raise FlagError(f'invalid value "{text("auth-token-ttl")}" for flag -auth-token-ttl: parse error', 2, usage=True)
    return Config(
        name=name,
        data_dir=data_dir,
        listen_client_urls=listen_client,
        listen_peer_urls=listen_peer,
        listen_http_urls=urls(text("listen-client-http-urls"), "listen-client-http-urls", listening=True),
        cors_origins=_all_or(text("cors")),
        host_whitelist=_all_or(text("host-whitelist")),
        reuse_port=is_true(text("socket-reuse-port")),
        keepalive_interval_s=parse_duration(text("grpc-keepalive-interval")),
        keepalive_timeout_s=parse_duration(text("grpc-keepalive-timeout")),
        keepalive_least_s=parse_duration(text("grpc-keepalive-min-time")),
        listen_metrics_urls=urls(text("listen-metrics-urls"), "listen-metrics-urls", listening=True),
        advertise_client_urls=urls(text("advertise-client-urls"), "advertise-client-urls"),
        advertise_peer_urls=advertise_peer,
        initial_cluster={}
        if text("discovery-srv") or text("discovery-endpoints")
        else initial_cluster(text("initial-cluster"), name, advertise_peer),
        discovery=_discovery(text, name),
        discovery_srv=text("discovery-srv"),
        discovery_srv_name=text("discovery-srv-name"),
        initial_cluster_existing=state == "existing",
        initial_cluster_token=text("initial-cluster-token"),
        force_new_cluster=is_true(text("force-new-cluster")),
        strict_reconfiguration=is_true(text("strict-reconfig-check")),
        learners_max=number("max-learners"),
        client_tls=client_tls,
        peer_tls=peer_tls,
        self_signed_years=number("self-signed-cert-validity"),
        heartbeat_s=heartbeat_ms / 1000,
        election_s=election_ms / 1000,
        first_election_early=is_true(text("initial-election-tick-advance")),
        pre_vote=is_true(text("pre-vote")),
        snapshot_entries=max(1, number("snapshot-count")),
        catchup_entries=max(1, number("snapshot-catchup-entries")),
        auto_compaction=_auto_compaction(text("auto-compaction-mode"), text("auto-compaction-retention")),
        corruption_checks=_corruption_checks(text, gates),
        initial_corruption_check=_is_open(gates, "InitialCorruptCheck"),
        defragment_at_start_mb=max(0, number("bootstrap-defrag-threshold-megabytes")),
        quota_bytes=quota if quota > 0 else (DEFAULT_QUOTA_BYTES if quota == 0 else 0),
        txn_operations_max=number("max-txn-ops"),
        request_bytes_max=request_bytes,
        concurrent_streams_max=number("max-concurrent-streams"),
        progress_notify_interval_s=progress_s,
        gateway=is_true(text("enable-grpc-gateway")),
        sync=not is_true(text("unsafe-no-fsync")),
        log_level=text("log-level"),
        log_format=text("log-format"),
        log_outputs=log_outputs,
        log_rotation=rotation_from(text("log-rotation-config-json")) if rotated else None,
        access_log=text("access-log"),
        extensive_metrics=text("metrics") == "extensive",
        tracing=_tracing(text) if is_true(text("enable-distributed-tracing")) else None,
        debug_pages=is_true(text("enable-pprof")),
        reflection=is_true(text("enable-grpc-reflection")),
        stop_serving_on_defrag=gates.get("StopGRPCServiceOnDefrag", False),
        slow_request_s=parse_duration(text("warning-unary-request-duration")),
        slow_apply_s=parse_duration(text("warning-apply-duration")),
        signed_tokens=signed_tokens,
        auth_token_ttl_s=number("auth-token-ttl") or TTL_DEFAULT_S,
        bcrypt_cost=bcrypt_cost,
        notes=tuple(notes),
    )


def _raft_times_ms(number: Callable[[str], int]) -> tuple[int, int]:
    """Heartbeat interval and election timeout."""
    heartbeat_ms, election_ms = number("heartbeat-interval"), number("election-timeout")
    if heartbeat_ms <= 0:
        raise ConfigurationError(f"--heartbeat-interval must be >0 (set to {heartbeat_ms}ms)")
    if election_ms < 5 * heartbeat_ms:
        raise ConfigurationError(f"--election-timeout[{election_ms}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat_ms}ms]")
    if election_ms > ELECTION_MS_MAX:
        raise ConfigurationError(f"--election-timeout[{election_ms}ms] is too long, and should be set less than {ELECTION_MS_MAX}ms")
    return heartbeat_ms, election_ms


def _gates(text: str) -> dict[str, bool]:
    try:
        gates = gate_values(text)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    for gate in gates:
        if gate not in flags.FEATURE_GATES:
            raise ConfigurationError(f"unrecognized feature gate: {gate}")
    return gates


def _refuse_https_without_files(wanted: tuple[str, ...], files: TlsSettings, what: str) -> None:
    if any(urlsplit(url).scheme == "https" for url in wanted) and not files.given:
        flag = "" if what == "client" else "peer-"
        raise ConfigurationError(f"--listen-{what}-urls has an https URL: give --{flag}cert-file and --{flag}key-file, too")


def _refuse_two_bootstraps(given: Mapping[str, str]) -> None:
    bootstraps = [flag for flag in ("initial-cluster", "discovery-endpoints", "discovery-srv") if given.get(flag)]
    if len(bootstraps) > 1:
        raise ConfigurationError(
            'multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery", "discovery-endpoints" or "discovery-srv"'
        )


def _discovery(text: Callable[[str], str], name: str) -> DiscoverySettings | None:
    endpoints = tuple(filter(None, (part.strip() for part in text("discovery-endpoints").split(","))))
    if bool(endpoints) != bool(text("discovery-token")):
        raise ConfigurationError("--discovery-endpoints and --discovery-token belong together: give both or none")
    if not endpoints:
        return None
    if name == FLAGS["name"].default:
        raise ConfigurationError("--discovery-endpoints needs a --name of each member's own: the members tell each other their names")
    user, colon, password = text("discovery-user").partition(":")
    return DiscoverySettings(
        token=text("discovery-token"),
        endpoints=endpoints,
        request_timeout_s=parse_duration(text("discovery-request-timeout")),
        keepalive_time_s=parse_duration(text("discovery-keepalive-time")),
        keepalive_timeout_s=parse_duration(text("discovery-keepalive-timeout")),
        insecure_transport=is_true(text("discovery-insecure-transport")),
        cert=text("discovery-cert"),
        key=text("discovery-key"),
        cacert=text("discovery-cacert"),
        user=user,
        password=password if colon else text("discovery-password"),
    )


def _tracing(text: Callable[[str], str]) -> TracingSettings:
    rate = int(text("distributed-tracing-sampling-rate"), 0)
    if rate < 0:
        raise ConfigurationError(f"distributed tracing sampling rate must be positive, got {rate}")
    if rate > 1_000_000:
        raise ConfigurationError(f"distributed tracing sampling rate must be less than 1000000, got {rate}")
    address, service_name = text("distributed-tracing-address"), text("distributed-tracing-service-name")
    return TracingSettings(address, service_name, text("distributed-tracing-instance-id"), rate)


def _all_or(text: str) -> tuple[str, ...]:
    """A comma list of names; "*" for all, also if it is empty."""
    return tuple(filter(None, (part.strip() for part in text.split(",")))) or ("*",)


def _is_open(gates: Mapping[str, bool], alpha_gate: str) -> bool:
    """A gate that is named beats AllAlpha."""
    return gates.get(alpha_gate, gates.get("AllAlpha", False))


def _corruption_checks(text: Callable[[str], str], gates: Mapping[str, bool]) -> CorruptionChecks:
    every_s, compacted_every_s = parse_duration(text("corrupt-check-time")), parse_duration(text("compact-hash-check-time"))
    if compacted_every_s <= 0:
        raise ConfigurationError(f"--compact-hash-check-time must be >0 (set to {text('compact-hash-check-time')})")
    return CorruptionChecks(max(0.0, every_s), compacted_every_s if _is_open(gates, "CompactHashCheck") else 0.0)


def _auto_compaction(mode: str, retention: str) -> AutoCompaction:
    """etcd's words: a whole number is hours in mode "periodic" and revisions in mode "revision"; else a duration."""
    mode = mode or FLAGS["auto-compaction-mode"].default
    retention = retention or FLAGS["auto-compaction-retention"].default
    if mode not in ("periodic", "revision"):
        raise ConfigurationError(f'unknown auto-compaction-mode "{mode}"')
    if retention.removeprefix("+").isdecimal():
        number = int(retention)
        return AutoCompaction(period_s=number * 3600.0) if mode == "periodic" else AutoCompaction(revisions=number)
    try:
        period_s = parse_duration(retention)
    except ValueError as error:
        raise ConfigurationError(f"error parsing CompactionRetention: time: {error}") from error
    if period_s < 0 or mode == "revision":
        raise ConfigurationError(
            f'invalid value "{retention}" for --auto-compaction-retention: expected '
            + ("a number of revisions to keep" if mode == "revision" else "a time that is not negative")
        )
    return AutoCompaction(period_s=period_s)


def urls(text: str, flag: str, *, listening: bool = False) -> tuple[str, ...]:
    """A comma list of URLs with scheme, host and port and nothing else. Raises ConfigurationError."""
    found = []
    for url in filter(None, (part.strip() for part in text.split(","))):
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f'invalid value "{url}" for --{flag}: {error}') from error
        if parts.scheme not in ("http", "https"):
            raise ConfigurationError(f'invalid value "{url}" for --{flag}: URL scheme must be http or https')
        if not parts.hostname or port is None:
            raise ConfigurationError(f'invalid value "{url}" for --{flag}: URL address does not have the form "host:port"')
        if parts.path not in ("", "/"):
            raise ConfigurationError(f'invalid value "{url}" for --{flag}: URL must not contain a path')
        if listening and parts.hostname != "localhost" and not _is_address(parts.hostname):
            raise ConfigurationError(f'expected IP in URL for binding ({url}) in --{flag}: "{parts.hostname}" is a name')
        found.append(url.rstrip("/"))
    return tuple(found)


def _is_address(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def initial_cluster(text: str, name: str, advertise_peer: tuple[str, ...]) -> dict[str, list[str]]:
    """name=url,name=url; a name may repeat. Empty: this member alone."""
    if not text:
        return {name: sorted(advertise_peer)}
    cluster: dict[str, list[str]] = {}
    for part in text.split(","):
        member, equals, url = part.strip().partition("=")
        if not equals or not member:
            raise ConfigurationError(f'invalid --initial-cluster entry "{part}": expected name=url')
        cluster.setdefault(member, []).extend(urls(url, "initial-cluster"))
    if name not in cluster:
        raise ConfigurationError(f'couldn\'t find local name "{name}" in the initial cluster configuration')
    if sorted(cluster[name]) != sorted(advertise_peer):
        raise ConfigurationError(
            f"--initial-cluster has {name}={','.join(cluster[name])} but missing from --initial-advertise-peer-urls={','.join(advertise_peer)}"
        )
    return cluster
