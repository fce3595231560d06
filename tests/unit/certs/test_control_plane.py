"""The control plane's identities: made once, who is who, and nobody of one authority passes at the other."""

import base64
import json
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certs import authority, bundle, control_plane, files
from certs.control_plane import ControlPlane

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
NODES = {"node-1": ["172.30.0.11"], "node-2": ["172.30.0.12"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    home = tmp_path_factory.mktemp("cluster")
    bundle.ensure(home / "store", ["m1"], NOW)
    return control_plane.ensure(home / "pki", NOW, NODES, ["api.example.org"], home / "store")


def test_a_second_time_nothing_is_made(made: ControlPlane) -> None:
    assert "sa" in made.written and "serving-kubelet-node-2" in made.written and "store client" in made.written
    assert control_plane.ensure(made.folder, NOW, NODES, ["api.example.org"], made.store).written == ()


def test_what_lacks_or_ends_is_made(made: ControlPlane) -> None:
    assert control_plane.ensure(made.folder, NOW, {**NODES, "node-3": []}).written == ("serving-kubelet-node-3", "client-kubelet-node-3")
    assert control_plane.ensure(made.folder, NOW, api_server_hosts=["10.0.0.9"]).written == ("serving-apiserver",)
    late = control_plane.ensure(made.folder, NOW + timedelta(days=350)).written
    assert set(late) == {"serving-apiserver", *(f"client-{name}" for name in control_plane.COMPONENTS)}


def test_who_is_who(made: ControlPlane) -> None:
    def said(name: str) -> tuple[str, list[str], list[str]]:
        certificate = files.read_certificate(made.client(name)[0])
        return authority.name_of(certificate.subject), authority.organizations_of(certificate.subject), authority.uses_of(certificate)

    assert said("kubelet-node-1") == ("system:node:node-1", ["system:nodes"], ["client"])
    assert said("admin") == ("kubernetes-admin", ["system:masters"], ["client"])
    assert said("scheduler") == ("system:kube-scheduler", [], ["client"])


def test_servers_are_no_clients_and_know_their_names(made: ControlPlane) -> None:
    for name, hosts in (("apiserver", {"kubernetes.default.svc.cluster.local", "172.30.0.1", "10.96.0.1"}), ("kubelet-node-2", {"172.30.0.12"})):
        certificate = files.read_certificate(made.serving(name)[0])
        assert authority.uses_of(certificate) == ["server"]
        assert hosts <= set(authority.hosts_of(certificate))


def test_two_authorities(made: ControlPlane) -> None:
    assert made.store is not None
    kubernetes, store = files.read_certificate(made.ca), files.read_certificate(files.certificate_path(made.store, "ca"))
    assert authority.signed_by(files.read_certificate(made.store_client()[0]), store)
    for name in control_plane.COMPONENTS:
        certificate = files.read_certificate(made.client(name)[0])
        assert authority.signed_by(certificate, kubernetes) and not authority.signed_by(certificate, store)


def test_a_kubeconfig_is_all_that_one_needs(made: ControlPlane, tmp_path: Path) -> None:
    path = tmp_path / "new" / "admin.conf"
    assert made.write_kubeconfig(path, "admin", "https://127.0.0.1:6443")
    assert not made.write_kubeconfig(path, "admin", "https://127.0.0.1:6443")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said = json.loads(path.read_text())
    assert said["current-context"] == "kubernetes-admin@keelson"
    assert ssl.create_default_context(cadata=base64.b64decode(said["clusters"][0]["cluster"]["certificate-authority-data"]).decode()).get_ca_certs()


def test_keys_are_for_their_owner_alone_and_never_made_again(made: ControlPlane) -> None:
    for path in (made.ca_key, made.service_account_key, made.encryption, made.client("admin")[1]):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = made.service_account_key.read_bytes(), made.encryption.read_bytes()
    made.service_account_public_keys.unlink()
    assert "sa" in control_plane.ensure(made.folder, NOW, NODES).written
    assert (made.service_account_key.read_bytes(), made.encryption.read_bytes()) == before


def test_a_rotated_authority_keeps_groups(made: ControlPlane) -> None:
    ca = authority.create("another", NOW)
    bundle.renew(made.folder, "client-admin", ca, NOW)
    assert authority.organizations_of(files.read_certificate(made.client("admin")[0]).subject) == ["system:masters"]


def test_names_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(authority.InvalidRequest):
        control_plane.ensure(tmp_path / "pki", NOW, {"a/b": []})
    with pytest.raises(authority.InvalidRequest):
        authority.issue(authority.create("x", NOW), control_plane.CLIENT, "n", (), NOW, organizations=["o" * 65])
