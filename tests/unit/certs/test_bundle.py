"""A cluster's files: made once, then only what lacks is made again. And real TLS takes them."""

import contextlib
import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs import authority, bundle, files
from certs.authority import InvalidRequest
from certs.bundle import Bundle
from certs.profiles import CLIENT, LOOPBACK, PEER, SERVER, Profile

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
ALL = ("ca", "server-m1", "peer-m1", "server-m2", "peer-m2", "client-root")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "certs"
    assert bundle.ensure(folder, ["m1", "m2"], NOW).written == ALL
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "certs")


def again(folder: Path, members: tuple[str, ...] = ("m1", "m2"), now: datetime = NOW, hosts: tuple[str, ...] = LOOPBACK) -> tuple[str, ...]:
    return bundle.ensure(folder, members, now, hosts).written


def test_a_second_time_nothing_is_made(folder: Path) -> None:
    assert again(folder) == ()


def test_only_what_lacks_is_made(folder: Path) -> None:
    files.key_path(folder, "peer-m2").unlink()
    files.certificate_path(folder, "server-m1").write_text("garbage")
    assert again(folder, ("m1", "m2", "m3")) == ("server-m1", "peer-m2", "server-m3", "peer-m3")


def test_leaves_are_renewed_a_month_before_their_end(folder: Path) -> None:
    assert again(folder, now=NOW + timedelta(days=334)) == ()
    assert again(folder, now=NOW + timedelta(days=336)) == ALL[1:]


def test_a_new_host_renews_the_members_and_not_the_client(folder: Path) -> None:
    assert again(folder, hosts=(*LOOPBACK, "node.example.org")) == ALL[1:-1]
    assert again(folder) == ()


def test_another_authority_renews_all(folder: Path) -> None:
    files.write(folder, "ca", authority.create("another", NOW), overwrite=True)
    assert again(folder) == ALL[1:]


def test_an_authority_is_never_replaced_silently(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="keelson certs rotate"):
        again(folder, now=NOW + timedelta(days=3630))
    files.key_path(folder, "ca").unlink()
    with pytest.raises(FileNotFoundError, match=r"ca\.key"):
        again(folder)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "nul\0"])
def test_names_stay_inside_the_folder(name: str) -> None:
    with pytest.raises(InvalidRequest, match="file name"):
        bundle.file_name(CLIENT, name)


def shake_hands(ca: Path, server: tuple[Path, Path], client: tuple[Path, Path] | None, host: str = "127.0.0.1") -> str:
    """A whole mutual TLS handshake in memory; the client's name as the server reads it."""
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca)
    server_side.load_cert_chain(*server)
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context(cafile=ca)
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    if client is not None:
        client_side.load_cert_chain(*client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client_side.wrap_bio(to_client, to_server, server_hostname=host),
        server_side.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):  # three flights make a TLS 1.3 handshake
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    peer = ends[1].getpeercert()
    assert peer is not None
    return dict(part[0] for part in peer["subject"])["commonName"]


def pair(made: Path, profile: Profile, name: str) -> tuple[Path, Path]:
    files_of = Bundle(made)
    return files_of.certificate(profile, name), files_of.key(profile, name)


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("today")
    bundle.ensure(folder, ["m1"], datetime.now(UTC))
    return folder


@pytest.mark.parametrize("host", LOOPBACK)
def test_openssl_takes_them_by_name_and_address(today: Path, host: str) -> None:
    assert shake_hands(Bundle(today).ca, pair(today, SERVER, "m1"), pair(today, CLIENT, "root"), host) == "root"
    assert shake_hands(Bundle(today).ca, pair(today, PEER, "m1"), pair(today, PEER, "m1"), host) == "m1"


def test_openssl_refuses_wrong_uses_hosts_and_strangers(today: Path) -> None:
    ca, server, client = Bundle(today).ca, pair(today, SERVER, "m1"), pair(today, CLIENT, "root")
    with pytest.raises(ssl.SSLError, match="unsuitable certificate purpose"):
        shake_hands(ca, client, client)
    with pytest.raises(ssl.SSLError, match="not valid for"):
        shake_hands(ca, server, client, "10.1.1.1")
    with pytest.raises(ssl.SSLError, match="peer did not return a certificate"):
        shake_hands(ca, server, None)
