"""etcd's command line, environment and configuration file, by Go's flag rules: which flags there are, and what becomes of each.

`-x` and `--x` are the same; `--f=v` or `--f v`; booleans only `--b` or `--b=false`; the last of repeated flags wins; durations `1h30m`, `100ms`.
Environment: `ETCD_` and the name in capitals; the same setting by flag and by environment is an error. A configuration file (YAML or JSON)
replaces both. A flag of etcd's that this server does not have is refused by name when it is set to anything but its default, and a flag
without meaning here is accepted and noted.
"""

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kvstore.server.flag_groups import GROUPS, LONG_GONE, OLD_GATES, OLD_SPELLINGS


class Kind(enum.Enum):
    TEXT = "string"
    INTEGER = "int"
    BOOLEAN = "bool"
    DURATION = "duration"
    ANYTHING = ""
    """Takes no value or any with `=`, and means nothing."""


class Fate(enum.Enum):
    """What this server does with a flag."""

    USED = ""
    IGNORED = "accepted, without effect here"
    REFUSED = "refused"


class Flag(Struct, frozen=True):
    name: str
    kind: Kind
    default: str
    help: str
    fate: Fate = Fate.USED


class FlagError(Exception):
    """The command line cannot be understood. `exit_code` as etcd's."""

    def __init__(self, text: str, exit_code: int = 1, *, usage: bool = False) -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.usage = usage


_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_duration(text: str) -> float:
    """Seconds of a Go duration. Raises ValueError."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?(h|ms|m|s|us|µs|ns))+", text):
        raise ValueError(f'invalid duration "{text}"')
    total = sum(float(number) * _UNITS_S[unit] for number, unit in re.findall(r"(\d+(?:\.\d*)?)(h|ms|m|s|us|µs|ns)", text))
    return -total if text.startswith("-") else total


def _flags(fate: Fate, kind: Kind, rows: Iterable[tuple[str, str, str]]) -> list[Flag]:
    return [Flag(name, kind, default, text, fate) for name, default, text in rows]


_TEXT, _INT, _BOOL, _TIME = Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN, Kind.DURATION

FLAGS: dict[str, Flag] = {
    flag.name: flag
    for flag in [
        *_flags(
            Fate.USED,
            _TEXT,
            [
                ("distributed-tracing-address", "localhost:4317", "Collector that takes OTLP over gRPC."),
                ("distributed-tracing-service-name", "etcd", "Name of the service in traces, the same for all members."),
                ("distributed-tracing-instance-id", "", "Name of this member in traces."),
                ("access-log", "", "One JSON line a request, without values: 'default' (among the other lines) or a file. Keelson's own."),
                ("cors", "*", "Comma-separated origins whose pages may call from a browser (empty or *: all)."),
                ("host-whitelist", "*", "Comma-separated Host names that HTTP requests without TLS may ask for (empty or *: all)."),
                ("listen-client-http-urls", "", "List of URLs for http traffic only; the URLs of --listen-client-urls then serve grpc only."),
                (
                    "log-rotation-config-json",
                    '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
                    "maxsize in MB; maxage in days and maxbackups: 0 is no limit.",
                ),
                ("discovery-token", "", "Token under which the members of a new cluster find each other at --discovery-endpoints."),
                ("discovery-endpoints", "", "Comma-separated endpoints of another cluster, at which the members of a new one find each other."),
                ("discovery-cert", "", "Certificate to show the discovery service."),
                ("discovery-key", "", "The key of --discovery-cert."),
                ("discovery-cacert", "", "CA to check the discovery service by."),
                ("discovery-user", "", "User at the discovery service, or user:password."),
                ("discovery-password", "", "Password of --discovery-user."),
                ("discovery-srv", "", "DNS domain whose SRV records name the members of a new cluster."),
                ("discovery-srv-name", "", "Suffix of the SRV service's name, for clusters that share a domain."),
                ("name", "default", "Human-readable name for this member; must be one of --initial-cluster."),
                ("data-dir", "", "Path to the data directory (default '${name}.etcd')."),
                ("listen-client-urls", "http://localhost:2379", "List of URLs to listen on for client grpc and http traffic."),
                ("listen-peer-urls", "http://localhost:2380", "List of URLs to listen on for peer traffic."),
                ("listen-metrics-urls", "", "List of additional URLs for /metrics and /health."),
                ("initial-advertise-peer-urls", "http://localhost:2380", "List of this member's peer URLs to tell the rest of the cluster."),
                ("initial-cluster", "", "Initial cluster configuration for bootstrapping, name=url,name=url."),
                ("initial-cluster-state", "new", "Initial cluster state ('new', or 'existing' for a member that was added to a running cluster)."),
                ("initial-cluster-token", "etcd-cluster", "Initial cluster token, part of the ids."),
                ("advertise-client-urls", "http://localhost:2379", "List of this member's client URLs to tell clients."),
                ("cert-file", "", "Path to the client server TLS cert file."),
                ("key-file", "", "Path to the client server TLS key file."),
                ("trusted-ca-file", "", "Path to the client server TLS trusted CA cert file."),
                ("peer-cert-file", "", "Path to the peer server TLS cert file."),
                ("peer-key-file", "", "Path to the peer server TLS key file."),
                ("peer-trusted-ca-file", "", "Path to the peer server TLS trusted CA file."),
                ("client-crl-file", "", "Path to the client certificate revocation list file (PEM or DER)."),
                ("client-cert-allowed-hostname", "", "Comma-separated host names, one of which a client's certificate must be valid for."),
                ("client-cert-allowed-cn", "", "Comma-separated common names of clients (in etcd only in the file: allowed-cn)."),
                ("client-cert-file", "", "Accepted with its key, and without effect: the gateway makes no connection to its own port."),
                ("client-key-file", "", "See --client-cert-file."),
                ("peer-client-cert-file", "", "Path to the certificate for calling peers; without it --peer-cert-file."),
                ("peer-client-key-file", "", "Path to the key of --peer-client-cert-file."),
                ("peer-crl-file", "", "Path to the peer certificate revocation list file (PEM or DER)."),
                ("peer-cert-allowed-cn", "", "Comma-separated common names, one of which a peer's certificate must have."),
                ("peer-cert-allowed-hostname", "", "Comma-separated host names, one of which a peer's certificate must be valid for."),
                ("cipher-suites", "", "Comma-separated cipher suites of TLS 1.2 by Go's names, on both ports; TLS 1.3 has its own."),
                ("tls-min-version", "TLS1.2", "Minimum TLS version on both ports: TLS1.2 or TLS1.3."),
                ("tls-max-version", "", "Maximum TLS version on both ports: TLS1.2, TLS1.3, or empty for the newest."),
                ("auth-token", "simple", "Tokens: 'simple', or 'jwt,pub-key=FILE,priv-key=FILE,sign-method=RS256,ttl=5m'."),
                ("log-level", "info", "Log level: debug, info, warn, error, panic, fatal."),
                ("log-format", "json", "Log format: json or console."),
                ("log-outputs", "default", "'default', 'stderr', 'stdout' or file paths."),
                ("config-file", "", "Path to the server configuration file; all other flags and ETCD_ variables are ignored then."),
                ("metrics", "basic", "'basic' or 'extensive'."),
                ("auto-compaction-mode", "periodic", "'periodic' or 'revision': how the next flag is meant."),
                ("auto-compaction-retention", "0", "Compact automatically: hours or a duration to keep, or revisions to keep. 0 is off."),
                (
                    "feature-gates",
                    "",
                    "Feature gates, name=true|false: StopGRPCServiceOnDefrag, InitialCorruptCheck and CompactHashCheck count; others are names.",
                ),
            ],
        ),
        *_flags(
            Fate.USED,
            _INT,
            [
                ("snapshot-count", "10000", "Applied entries after which the log is cut."),
                ("snapshot-catchup-entries", "5000", "Entries kept for slow followers when the log is cut."),
                ("distributed-tracing-sampling-rate", "0", "Of a million calls whose callers do not trace, how many are traced."),
                ("heartbeat-interval", "100", "Time of a heartbeat interval, in milliseconds."),
                ("election-timeout", "1000", "Time for an election to time out, in milliseconds."),
                ("quota-backend-bytes", "0", "Raise the alarm NOSPACE when the state's file exceeds this many bytes (0: 2 GiB; negative: no limit)."),
                ("self-signed-cert-validity", "1", "Years that the certificates of --auto-tls and --peer-auto-tls are valid."),
                ("max-learners", "1", "Maximum number of learners in the cluster; the leader's setting counts."),
                ("bootstrap-defrag-threshold-megabytes", "0", "Defragment before serving if that frees at least so many megabytes; 0 is off."),
                ("max-txn-ops", "128", "Maximum number of operations permitted in a transaction."),
                ("max-request-bytes", "1572864", "Maximum client request size in bytes the server will accept."),
                ("auth-token-ttl", "300", "Time of a simple token after its last use, in seconds."),
                ("bcrypt-cost", "10", "Cost of hashing a password, 4 to 31: one more doubles the time."),
                ("max-concurrent-streams", "4294967295", "Maximum concurrent streams that each client can open at a time; here at most 4000."),
            ],
        ),
        *_flags(
            Fate.USED,
            _BOOL,
            [
                ("discovery-insecure-transport", "true", "Ask the discovery service without TLS where its endpoint has no scheme."),
                ("socket-reuse-port", "false", "Open ports with SO_REUSEPORT."),
                ("socket-reuse-address", "false", "Open ports with SO_REUSEADDR, as is done anyway."),
                ("enable-distributed-tracing", "false", "Send OpenTelemetry traces; needs the extra keelson[tracing]."),
                ("enable-pprof", "false", "Serve /debug/profile, /debug/tasks and /debug/threads on the client URLs; /debug/pprof/ lists them."),
                ("enable-grpc-reflection", "false", "Serve gRPC's server reflection, for tools such as grpcurl. Keelson's own."),
                ("enable-log-rotation", "false", "Rotate the one file of --log-outputs by --log-rotation-config-json."),
                (
                    "force-new-cluster",
                    "false",
                    "Start as the only member, with the data there are; the others, who are lost, are removed.",
                ),
                ("strict-reconfig-check", "true", "Reject changes of the membership that would cause quorum loss; the leader's setting counts."),
                ("pre-vote", "true", "Run an additional Raft election phase that keeps partitioned members from disrupting."),
                ("initial-election-tick-advance", "true", "Do not wait a whole election timeout after a start before the first election."),
                ("client-cert-auth", "false", "Require client certificates (--trusted-ca-file does so, too)."),
                ("peer-client-cert-auth", "false", "Require peer client certificates."),
                ("auto-tls", "false", "Client TLS with a certificate of one's own, made at the first start."),
                ("peer-auto-tls", "false", "Peer TLS with a certificate of one's own, made at the first start; nobody is known by it."),
                ("peer-skip-client-san-verification", "false", "Do not check that a peer calls from an address that its certificate names."),
                ("enable-grpc-gateway", "true", "Serve the JSON gateway under /v3/."),
                ("unsafe-no-fsync", "false", "Do not sync to disk: a power cut can lose acknowledged writes."),
                ("version", "false", "Print the version and exit."),
            ],
        ),
        *_flags(
            Fate.USED,
            _TIME,
            [
                ("grpc-keepalive-interval", "2h0m0s", "Ask a silent client this often whether it is alive (0: never)."),
                ("grpc-keepalive-timeout", "20s", "Time after which a client that does not answer is given up."),
                ("grpc-keepalive-min-time", "5s", "Send clients away that ask more often than this whether we are alive."),
                ("discovery-request-timeout", "5s", "Time for one request to the discovery service."),
                ("discovery-keepalive-time", "2s", "Ask a silent connection to the discovery service this often whether it is alive."),
                ("discovery-keepalive-timeout", "6s", "Time after which such a connection is given up."),
                ("watch-progress-notify-interval", "10m0s", "Duration of periodic watch progress notifications."),
                ("corrupt-check-time", "0s", "Time between checks whether members hold the same, made by the leader; 0 is off."),
                ("compact-hash-check-time", "1m0s", "Time between looks for a compaction to compare; needs the feature gate CompactHashCheck."),
                ("warning-apply-duration", "100ms", "Time after which a warning is logged if applying a request takes longer."),
                ("warning-unary-request-duration", "300ms", "Time after which a warning is logged if a unary request takes longer."),
            ],
        ),
        *_flags(
            Fate.IGNORED,
            _TEXT,
            [
                ("wal-dir", "", "The log lives in the data directory."),
                ("backend-bbolt-freelist-type", "", "The storage is LMDB."),
                ("logger", "zap", "Logs go through Python's logging."),
                ("discovery-fallback", "exit", "A remnant of the v2 API."),
                ("v2-deprecation", "", "There is no v2 API here."),
                ("log-package-levels", "", "Removed from etcd; kept for old manifests."),
            ],
        ),
        *_flags(
            Fate.IGNORED,
            _INT,
            [
                ("proxy-failure-wait", "5000", "See --proxy."),
                ("proxy-refresh-interval", "30000", "See --proxy."),
                ("proxy-dial-timeout", "1000", "See --proxy."),
                ("proxy-write-timeout", "5000", "See --proxy."),
                ("proxy-read-timeout", "0", "See --proxy."),
                ("max-wals", "5", "The log is one file."),
                ("max-snapshots", "5", "The state is one file."),
                ("backend-batch-limit", "0", "The state is committed by its own rule."),
                ("compaction-batch-limit", "1000", "Compaction works in steps of its own size."),
            ],
        ),
        *_flags(
            Fate.IGNORED,
            _BOOL,
            [
                ("discovery-insecure-skip-tls-verify", "false", "Certificates of the discovery service are always checked."),
                (
                    "memory-mlock",
                    "false",
                    "LMDB maps far more addresses than the file has pages, which cannot be locked; keep memory with the service manager.",
                ),
                ("enable-v2", "false", "There is no v2 API here."),
                ("debug", "false", "Use --log-level=debug."),
            ],
        ),
        *_flags(
            Fate.IGNORED,
            _TIME,
            [
                ("wait-cluster-ready-timeout", "5s", "A member serves when it has caught up, however long that takes."),
                ("backend-batch-interval", "0s", "The state is committed by its own rule."),
                ("raft-read-timeout", "5s", "Peers are not timed by reads."),
                ("raft-write-timeout", "5s", "Peers are not timed by writes."),
                ("discovery-dial-timeout", "2s", "Dialling is part of --discovery-request-timeout."),
                ("downgrade-check-time", "5s", "There is nothing to downgrade to."),
                ("compaction-sleep-interval", "10ms", "Compaction works in steps between requests."),
            ],
        ),
        *_flags(
            Fate.REFUSED,
            _TEXT,
            [
                (
                    "discovery",
                    "",
                    "The public v2 discovery service is gone; use --initial-cluster, --discovery-srv or --discovery-endpoints.",
                ),
                ("discovery-proxy", "", "See --discovery."),
                ("proxy", "off", "There is no proxy of the v2 API."),
                ("experimental-enable-v2v3", "", "There is no v2 API here."),
                ("ca-file", "", "Removed from etcd; use --trusted-ca-file and --client-cert-auth."),
                ("peer-ca-file", "", "Removed from etcd; use --peer-trusted-ca-file and --peer-client-cert-auth."),
            ],
        ),
    ]
}

FLAGS |= {old: Flag(old, FLAGS[new].kind, FLAGS[new].default, f"Deprecated: use --{new}.", FLAGS[new].fate) for old, new in OLD_SPELLINGS.items()}
FLAGS |= {
    old: Flag(old, Kind.BOOLEAN, "true" if "shared-buffer" in old else "false", f"Deprecated: use --feature-gates={gate}=true.")
    for old, gate in OLD_GATES.items()
}
FLAGS |= {name: Flag(name, Kind.ANYTHING, "", "Long gone from etcd.", Fate.IGNORED) for name in LONG_GONE}

FEATURE_GATES = frozenset(
    [
        "StopGRPCServiceOnDefrag",
        "InitialCorruptCheck",
        "CompactHashCheck",
        "TxnModeWriteWithSharedBuffer",
        "LeaseCheckpoint",
        "LeaseCheckpointPersist",
        "SetMemberLocalAddr",
        "FastLeaseKeepAlive",
        "PriorityRequest",
        "AllAlpha",
        "AllBeta",
    ]
)

_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


def _checked(flag: Flag, text: str) -> str:
    """Go's complaint about a value of the wrong kind."""
    try:
        if flag.kind is Kind.INTEGER:
            int(text, 0)
        elif flag.kind is Kind.DURATION:
            parse_duration(text)
        elif flag.kind is Kind.BOOLEAN and text not in _TRUE | _FALSE:
            raise ValueError
    except ValueError:
        raise FlagError(f'invalid value "{text}" for flag -{flag.name}: parse error', 2, usage=True) from None
    return text


def parse_arguments(arguments: list[str]) -> dict[str, str]:
    """Flags that were set, as text. Raises FlagError."""
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-") or argument == "-":
            raise FlagError(f'"{argument}" is not a valid flag')
        if argument == "--":
            if rest:
                raise FlagError(f'"{rest[0]}" is not a valid flag')
            break
        name, equals, value = argument.lstrip("-").partition("=")
        flag = FLAGS.get(name)
        if flag is None:
            raise FlagError(f"flag provided but not defined: -{name}", 2, usage=True)
        if not equals:
            if flag.kind in (Kind.BOOLEAN, Kind.ANYTHING):
                value = "true"
            elif not rest:
                raise FlagError(f"flag needs an argument: -{name}", 2, usage=True)
            else:
                value = rest.pop(0)
        given[name] = _checked(flag, value)
    return given


def from_environment(environment: Mapping[str, str], given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Settings by ETCD_ variables, and the names of variables that mean nothing. Raises FlagError if a flag sets the same."""
    known = {"ETCD_" + name.upper().replace("-", "_"): name for name in FLAGS}
    found: dict[str, str] = {}
    unknown = []
    for variable, value in environment.items():
        if not variable.startswith("ETCD_") or variable in ("ETCD_VERSION", "ETCD_UNSUPPORTED_ARCH", "ETCD_VERIFY"):
            continue
        name = known.get(variable)
        if name is None:
            unknown.append(variable)
            continue
        if name in given:
            raise FlagError(
                f'conflicting environment variable "{variable}" is shadowed by corresponding command-line flag '
                "(either unset environment variable or disable flag))"
            )
        if value:
            found[name] = _checked(FLAGS[name], value)
    return found, unknown


_TLS_SECTIONS = {"client-transport-security": "", "peer-transport-security": "peer-", "discovery-config": "discovery-"}
_TLS_KEYS = {
    "": {"crl-file": "client-crl-file", "allowed-cn": "client-cert-allowed-cn", "allowed-hostname": "client-cert-allowed-hostname"},
    "peer-": {"allowed-cn": "peer-cert-allowed-cn", "allowed-hostname": "peer-cert-allowed-hostname"},
}
"""Keys of these sections that are not the flag's name without the prefix."""


def from_file(text: str) -> dict[str, str]:
    """Settings of a configuration file (YAML; JSON is YAML). Unknown keys are ignored, as etcd does. Raises FlagError."""
    import yaml  # 10 ms, which a start without a file does not need

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FlagError(f"error parsing the configuration file: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise FlagError("error parsing the configuration file: it must be a map of settings")
    found: dict[str, str] = {}
    for key, value in content.items():
        if key in _TLS_SECTIONS:
            if not isinstance(value or {}, dict):
                raise FlagError(f"invalid {key}")
            prefix = _TLS_SECTIONS[key]
            for inner, setting in (value or {}).items():
                _take(found, _TLS_KEYS.get(prefix, {}).get(str(inner), prefix + str(inner)), setting)
        else:
            _take(found, str(key), value)
    return found


def _take(found: dict[str, str], name: str, value: Any) -> None:
    flag = FLAGS.get(name)
    if flag is None or value is None:
        return
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, list):
        text = ",".join(str(item) for item in value)
    elif flag.kind is Kind.DURATION and isinstance(value, int):
        text = f"{value}ns"  # the file gives durations as integer nanoseconds
    else:
        text = str(value)
    found[name] = _checked(flag, text)


_SECRET = frozenset({"discovery-password", "discovery-user"})


def without_secrets(arguments: Sequence[str]) -> tuple[str, ...]:
    """A command line as it may be shown."""
    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.lstrip("-").partition("=")
        secret = argument.startswith("-") and name in _SECRET
        shown.append("***" if hide_next else f"--{name}=***" if secret and equals else argument)
        hide_next = secret and not equals
    return tuple(shown)


def is_true(text: str) -> bool:
    return text in _TRUE


def refused_flags(given: Mapping[str, str]) -> list[str]:
    """Flags set to something that this server does not have."""
    return [name for name, value in given.items() if FLAGS[name].fate is Fate.REFUSED and value not in (FLAGS[name].default, "")]


def ignored_flags(given: Mapping[str, str]) -> list[str]:
    return [name for name, value in given.items() if FLAGS[name].fate is Fate.IGNORED and value != FLAGS[name].default]


_WHY = {Fate.USED: "", Fate.IGNORED: "Accepted without effect. ", Fate.REFUSED: "Refused. "}


def usage() -> str:
    """--help: every flag of etcd's, and of each that is not taken or has no effect, why."""
    lines = ["Usage:", "", "  kvstore [flags]", "    Start a member of the store.", ""]
    groups = {title: names.split() for title, names in GROUPS.items()}
    grouped = {name for names in groups.values() for name in names}
    old = {*OLD_SPELLINGS, *OLD_GATES, *LONG_GONE}
    groups["Keelson's own"] = [name for name in FLAGS if name not in grouped and name not in old]
    groups["Former spellings"] = [*OLD_SPELLINGS, *OLD_GATES]
    groups["Former flags"] = LONG_GONE
    for title, names in groups.items():
        if not names:
            continue
        lines.append(f"{title}:")
        for name in names:
            flag = FLAGS[name]
            lines += [f"  --{name} '{flag.default}'", f"    {_WHY[flag.fate]}{flag.help}"]
        lines.append("")
    return "\n".join(lines)
