"""etcd's flags by Go's rules, and what does not fit together."""

from pathlib import Path

import pytest

from kvstore.member.changes import new_member_id
from kvstore.server import flags
from kvstore.server.bootstrap import ConfigurationError, cluster_id
from kvstore.server.config import load
from kvstore.server.flags import FlagError, parse_duration


def start(*arguments: str, **environment: str):
    return load(list(arguments), environment)


def test_defaults_are_etcds():
    config = start()
    assert config.name == "default"
    assert config.data_dir == Path("default.etcd")
    assert config.listen_client_urls == ("http://localhost:2379",)
    assert config.initial_cluster == {"default": ["http://localhost:2380"]}
    assert (config.heartbeat_s, config.election_s) == (0.1, 1.0)
    assert config.request_bytes_max == 1_572_864


def test_go_spellings_of_flags():
    config = start(
        "-name=a", "--heartbeat-interval", "50", "--pre-vote=false", "--initial-cluster", "a=http://localhost:2380", "--heartbeat-interval=60"
    )
    assert config.name == "a"
    assert config.heartbeat_s == 0.06, "the last of repeated flags wins"
    assert not config.pre_vote


@pytest.mark.parametrize(
    ("arguments", "exit_code", "text"),
    [
        (["--bogus"], 2, "flag provided but not defined: -bogus"),
        (["stray"], 1, '"stray" is not a valid flag'),
        (["--heartbeat-interval=x"], 2, "invalid value"),
        (["--name"], 2, "needs an argument"),
    ],
)
def test_bad_command_lines(arguments, exit_code, text):
    with pytest.raises(FlagError, match=text) as caught:
        load(arguments, {})
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--listen-client-urls=http://127.0.0.1:2379"], "--advertise-client-urls is required"),
        (["--election-timeout=400"], "at least as 5 times"),
        (["--election-timeout=60000"], "too long"),
        (["--initial-cluster=b=http://localhost:2380"], "couldn't find local name"),
        (["--initial-cluster=default=http://localhost:9999"], "missing from --initial-advertise-peer-urls"),
        (["--listen-peer-urls=http://example.com:1"], "expected IP in URL for binding"),
        (["--listen-peer-urls=ftp://127.0.0.1:1"], "scheme must be http or https"),
        (["--listen-peer-urls=http://127.0.0.1"], "host:port"),
        (["--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"], "--cert-file and --key-file"),
        (["--auto-tls", "--self-signed-cert-validity=0"], "selfSignedCertValidity is invalid"),
        (["--feature-gates=NoSuch=true"], "unrecognized feature gate"),
        (["--cert-file=/nowhere"], "belong together"),
        (["--client-cert-auth"], "needs --trusted-ca-file"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, text):
    with pytest.raises(ConfigurationError, match=text):
        load(arguments, {})


def test_the_environment_sets_what_flags_do_not():
    config = start(ETCD_NAME="e", ETCD_INITIAL_CLUSTER="e=http://localhost:2380", ETCD_BOGUS="1")
    assert config.name == "e"
    assert any("ETCD_BOGUS" in note for note in config.notes)
    with pytest.raises(FlagError, match="is shadowed by"):
        start("--name=f", ETCD_NAME="f")


def test_a_configuration_file_replaces_flags_and_environment(tmp_path):
    file = tmp_path / "etcd.yaml"
    file.write_text("name: y\ninitial-cluster: y=http://localhost:2380\nwatch-progress-notify-interval: 5000000000\nunknown: 1\n")
    config = start("--name=flag", f"--config-file={file}", ETCD_NAME="environment")
    assert config.name == "y"
    assert config.progress_notify_interval_s == 5
    file.write_text("[1, 2")
    with pytest.raises(FlagError, match="error parsing the configuration file"):
        start(f"--config-file={file}")


def test_durations_of_go():
    assert parse_duration("1h30m") == 5400
    assert parse_duration("100ms") == pytest.approx(0.1)
    for text in ("", "5", "1x", "s"):
        with pytest.raises(ValueError, match="invalid duration"):
            parse_duration(text)


def test_ids_are_those_that_etcd_computes():
    """The value that etcd's own end-to-end test expects of a member at https://localhost:20001 with token "new"."""
    first = new_member_id(["http://127.0.0.1:20380"], "etcd-cluster")
    assert first == 0x3C2BDAFE2850B2C0, "read off a real etcd started with this URL"
    assert cluster_id([first]) == 16290230296511005681


def test_help_names_every_flag():
    text = flags.usage()
    assert all(f"--{name} " in text for name in flags.FLAGS)


@pytest.mark.parametrize(
    ("arguments", "period_s", "revisions"),
    [
        ([], 0.0, 0),
        (["--auto-compaction-retention=0"], 0.0, 0),
        (["--auto-compaction-retention=8"], 8 * 3600.0, 0),
        (["--auto-compaction-retention=+8"], 8 * 3600.0, 0),
        (["--auto-compaction-retention=90s"], 90.0, 0),
        (["--auto-compaction-retention=1h30m", "--auto-compaction-mode=periodic"], 5400.0, 0),
        (["--auto-compaction-retention=1000", "--auto-compaction-mode=revision"], 0.0, 1000),
        (["--auto-compaction-retention=5", "--auto-compaction-mode="], 5 * 3600.0, 0),
        (["--auto-compaction-retention="], 0.0, 0),
    ],
)
def test_automatic_compaction_in_etcds_spellings(arguments: list[str], period_s: float, revisions: int):
    wanted = start(*arguments).auto_compaction
    assert (wanted.period_s, wanted.revisions) == (period_s, revisions)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--auto-compaction-mode=often"], 'unknown auto-compaction-mode "often"'),
        (["--auto-compaction-retention=abc"], 'error parsing CompactionRetention: time: invalid duration "abc"'),
        (["--auto-compaction-retention=-1"], "error parsing CompactionRetention"),
        (["--auto-compaction-retention=-5m"], "not negative"),
        (["--auto-compaction-retention=5m", "--auto-compaction-mode=revision"], "a number of revisions"),
    ],
)
def test_automatic_compaction_that_means_nothing_is_refused(arguments: list[str], text: str):
    with pytest.raises(ConfigurationError, match=text):
        start(*arguments)


def test_the_quota_of_0_is_2_gib_and_a_negative_one_is_none():
    assert start().quota_bytes == 2 << 30
    assert start("--quota-backend-bytes=-1").quota_bytes == 0
    assert start("--quota-backend-bytes=1000").quota_bytes == 1000
    assert "maximum value" in start(f"--quota-backend-bytes={9 << 30}").notes[0]
