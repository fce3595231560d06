"""The three steps of a rotation: who trusts whom after each, and that an interrupted one goes on."""

import itertools
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from certs import authority, bundle, files, revocation, rotation
from certs.authority import Pair
from certs.files import Unusable
from certs.rotation import Step

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
LEAVES = ["client-root", "peer-m1", "server-m1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "certs"
    bundle.ensure(folder, ["m1"], NOW)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "certs")


def trusted(folder: Path) -> list[x509.Certificate]:
    return files.read_certificates(folder / "ca.crt")


def accepted(folder: Path, certificates: list[x509.Certificate]) -> bool:
    return all(any(authority.signed_by(each, ca) for ca in trusted(folder)) for each in certificates)


def shown(folder: Path) -> list[x509.Certificate]:
    return [files.read_certificate(folder / f"{stem}.crt") for stem in bundle.leaves(folder)]


def test_each_step_is_accepted_by_who_has_read_the_one_before(folder: Path) -> None:
    old = files.read(folder, "ca")
    certificates, trust = [shown(folder)], [trusted(folder)]
    for step in Step:
        assert rotation.next_step(folder) is step
        rotation.take(folder, step, NOW)
        certificates.append(shown(folder))
        trust.append(trusted(folder))
    for (early_shown, late_shown), (early_trust, late_trust) in zip(itertools.pairwise(certificates), itertools.pairwise(trust), strict=True):
        for who_shows, who_trusts in itertools.product((early_shown, late_shown), (early_trust, late_trust)):
            assert all(any(authority.signed_by(each, ca) for ca in who_trusts) for each in who_shows)
    assert rotation.next_step(folder) is Step.TRUST
    new = files.read(folder, "ca")
    assert new.certificate != old.certificate
    assert trusted(folder) == [new.certificate]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["ca.crt", "ca.key", *(f"{stem}.{kind}" for stem in LEAVES for kind in ("crt", "key"))]
    )


def test_certificates_keep_their_names_hosts_and_uses(folder: Path) -> None:
    def said(certificate: x509.Certificate) -> tuple[str, list[str], list[str]]:
        return authority.name_of(certificate.subject), authority.hosts_of(certificate), authority.uses_of(certificate)

    before = list(map(said, shown(folder)))
    for step in Step:
        rotation.take(folder, step, NOW)
    assert list(map(said, shown(folder))) == before


def test_up_works_between_all_steps(folder: Path) -> None:
    for step in Step:
        rotation.take(folder, step, NOW)
        assert bundle.ensure(folder, ["m1"], NOW).written == ()
        assert "peer-m2" in bundle.ensure(folder, ["m1", "m2"], NOW).written
        shutil.copytree(folder, folder.parent / step.value)
        for name in ("peer-m2", "server-m2"):
            for kind in ("crt", "key"):
                (folder / f"{name}.{kind}").unlink()


@pytest.mark.parametrize("broken_off", ["files of the leaves", "key", "authority"])
def test_an_interrupted_step_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch, broken_off: str) -> None:
    """Whatever of ISSUE was done, the next try does the rest, and nobody was locked out meanwhile."""
    rotation.take(folder, Step.TRUST, NOW)
    before = shown(folder)
    steps = {"files of the leaves": "write", "key": "write_atomically", "authority": "write_certificates"}

    def break_off(*_arguments: object, **_options: object) -> None:
        raise OSError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr(files, steps[broken_off], break_off)
        with pytest.raises(OSError, match="power"):
            rotation.take(folder, Step.ISSUE, NOW)
    assert accepted(folder, before) and accepted(folder, shown(folder))
    assert rotation.next_step(folder) is Step.ISSUE
    rotation.take(folder, Step.ISSUE, NOW)
    assert rotation.next_step(folder) is Step.FINISH
    rotation.take(folder, Step.FINISH, NOW)
    assert accepted(folder, shown(folder)) and not accepted(folder, before)


def test_nobody_is_left_behind(folder: Path) -> None:
    old = files.read(folder, "ca")
    for step in (Step.TRUST, Step.ISSUE):
        rotation.take(folder, step, NOW)
    late = authority.issue(old, authority.PROFILES["client"], "late", (), NOW)
    files.write(folder, "client-late", late)
    with pytest.raises(Unusable, match="client-late"):
        rotation.take(folder, Step.FINISH, NOW)
    bundle.renew(folder, "client-late", files.read(folder, "ca"), NOW)
    rotation.take(folder, Step.FINISH, NOW)


def test_a_revocation_list_grows_and_follows_the_authority(folder: Path) -> None:
    assert revocation.serials(folder) == frozenset()
    revocation.revoke(folder, [5], NOW)
    client = files.read_certificate(folder / "client-root.crt")
    assert revocation.revoke(folder, [client.serial_number], NOW) == {5, client.serial_number}
    assert bundle.ensure(folder, ["m1"], NOW).written == ("client-root",), "a revoked certificate is made anew"
    for step in Step:
        rotation.take(folder, step, NOW)
    crl = x509.load_der_x509_crl((folder / "ca.crl").read_bytes())
    ca: Pair = files.read(folder, "ca")
    assert crl.is_signature_valid(ca.certificate.public_key())  # type: ignore[arg-type]
    assert revocation.serials(folder) == {5, client.serial_number}
    (folder / "ca.crl").write_bytes(b"no list")
    with pytest.raises(Unusable, match="no revocation list"):
        revocation.serials(folder)
