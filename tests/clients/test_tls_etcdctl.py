"""Real etcdctl against every way in which a member can do TLS on its client port."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import kinds
from tests.support import tls as pki
from tests.support.kinds import distro_program
from tests.support.members import Member
from tests.support.tls import TlsFiles

pytestmark = pytest.mark.cluster

WAYS = {"fast": [], "checked": ["--client-cert-allowed-cn=root,alice"]}
"""h2corn's own TLS, and the one in front of it."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return pki.make(tmp_path_factory.mktemp("certs"))


def etcdctl(endpoint: str, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    program = distro_program("etcdctl")
    if program is None:
        pytest.skip("etcdctl 3.5 is not installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")} | {"ETCDCTL_API": "3"}
    command = [program, f"--endpoints={endpoint}", "--command-timeout=2s", "--dial-timeout=1s", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False, input=stdin)


def kvctl(endpoint: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kvstore.ctl.main", f"--endpoints={endpoint}", "--command-timeout=2s", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def member_with(tmp_path: Path, files: TlsFiles, *flags: str) -> Member:
    if kinds.subject().name != kinds.KEELSON and any("allowed-cn" in flag for flag in flags):
        pytest.skip("etcd has this only in its file")
    member = Member(kinds.subject(), "m1", tmp_path, files, flags)
    member.start()
    return member


@pytest.mark.parametrize("way", WAYS)
def test_a_certificate_names_a_user(files: TlsFiles, tmp_path: Path, way: str) -> None:
    """With authentication on, whose common name is alice may do what alice may, however TLS is done."""
    member = member_with(tmp_path, files, *WAYS[way])
    try:
        member.wait_ready()
        alice = pki.issue(files, tmp_path, "alice")
        trust = [f"--cacert={files.ca}"]
        as_root = [*trust, f"--cert={files.client_cert}", f"--key={files.client_key}"]
        as_alice = [*trust, f"--cert={alice.client_cert}", f"--key={alice.client_key}"]
        for words in (
            ["user", "add", "root:pw"],
            ["role", "add", "reader"],
            ["role", "grant-permission", "reader", "read", "shown"],
            ["user", "add", "alice", "--no-password"],
            ["user", "grant-role", "alice", "reader"],
            ["put", "shown", "to alice"],
            ["auth", "enable"],
        ):
            said(etcdctl(member.client_url, *as_root, *words))
        assert said(etcdctl(member.client_url, *as_alice, "get", "shown")) == "shown\nto alice\n"
        assert "permission denied" in etcdctl(member.client_url, *as_alice, "put", "shown", "mine").stderr
        assert said(etcdctl(member.client_url, *as_root, "put", "shown", "again")) == "OK\n"
        assert etcdctl(member.client_url, *trust, "get", "shown").returncode != 0
    finally:
        member.stop()


@pytest.mark.parametrize("way", WAYS)
def test_streams_and_large_values(files: TlsFiles, tmp_path: Path, way: str) -> None:
    member = member_with(tmp_path, files, *WAYS[way])
    try:
        member.wait_ready()
        who = [f"--cacert={files.ca}", f"--cert={files.client_cert}", f"--key={files.client_key}"]
        large = "x" * 1_000_000
        assert said(etcdctl(member.client_url, *who, "put", "large", stdin=large)) == "OK\n"
        assert said(etcdctl(member.client_url, *who, "get", "large", "--print-value-only")) == large + "\n"
        assert said(etcdctl(member.client_url, *who, "snapshot", "save", str(tmp_path / "copy")))
        assert (tmp_path / "copy").stat().st_size > 1_000_000
    finally:
        member.stop()


class AutoTls(TlsFiles, frozen=True):
    """No files at all."""

    def server_flags(self) -> list[str]:
        return ["--auto-tls", "--peer-auto-tls"]


def test_auto_tls_is_checked_by_its_own_certificate_or_not_at_all(files: TlsFiles, tmp_path: Path) -> None:
    nothing = AutoTls(*(getattr(files, name) for name in files.__struct_fields__))
    member = member_with(tmp_path, nothing)
    try:
        member.wait_ready()
        own = member.data / "fixtures" / "client" / "cert.pem"
        assert said(etcdctl(member.client_url, f"--cacert={own}", "put", "a", "b")) == "OK\n"
        assert said(etcdctl(member.client_url, "--insecure-transport=false", "--insecure-skip-tls-verify", "get", "a")) == "a\nb\n"
        assert etcdctl(member.client_url, f"--cacert={files.ca}", "get", "a").returncode != 0
        for words in ([f"--cacert={own}"], ["--insecure-transport=false", "--insecure-skip-tls-verify"]):
            assert said(kvctl(member.client_url, *words, "get", "a")) == "a\nb\n"
        assert kvctl(member.client_url, f"--cacert={files.ca}", "get", "a").returncode == 1
        assert kvctl(member.client_url, "--insecure-skip-tls-verify", "get", "a").returncode == 1, "as etcdctl: it asks for no TLS"
    finally:
        member.stop()


def test_a_server_without_an_authority_asks_for_no_certificate(files: TlsFiles, tmp_path: Path) -> None:
    class ServerOnly(TlsFiles, frozen=True):
        def server_flags(self) -> list[str]:
            return [f"--cert-file={self.server_cert}", f"--key-file={self.server_key}", "--peer-auto-tls"]

    member = member_with(tmp_path, ServerOnly(*(getattr(files, name) for name in files.__struct_fields__)))
    try:
        member.wait_ready()
        assert said(etcdctl(member.client_url, f"--cacert={files.ca}", "put", "a", "b")) == "OK\n"
        assert etcdctl(member.endpoint, "get", "a").returncode != 0
    finally:
        member.stop()
