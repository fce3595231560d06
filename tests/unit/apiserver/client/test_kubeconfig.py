"""What a kubeconfig says, and what it must not leave out."""

from pathlib import Path

import pytest
import yaml

from apiserver.client import kubeconfig
from apiserver.client.errors import BadConfiguration


def write(folder: Path, **changes: object) -> Path:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "n"}}],
        "clusters": [{"name": "k", "cluster": {"server": "http://a:1/,http://b:2"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        **changes,
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


def test_servers_token_and_namespace(tmp_path: Path) -> None:
    access = kubeconfig.load(write(tmp_path))
    assert (access.servers, access.token, access.namespace, access.tls) == (("http://a:1", "http://b:2"), "t", "n", None)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"contexts": []}, "no context called 'c'"),
        ({"clusters": []}, "no cluster called 'k'"),
        ({"clusters": [{"name": "k", "cluster": {}}]}, "has no server"),
        ({"clusters": [{"name": "k", "cluster": {"server": "https://a", "certificate-authority-data": "??"}}]}, "is not base64"),
        ({"clusters": [{"name": "k", "cluster": {"server": "https://a", "certificate-authority": "gone.crt"}}]}, "No such file"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(BadConfiguration, match=told):
        kubeconfig.load(write(tmp_path, **changes))


def test_no_file_and_no_mapping(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="No such file"):
        kubeconfig.load(tmp_path / "none")
    (tmp_path / "text").write_text("just text")
    with pytest.raises(BadConfiguration, match="not a kubeconfig"):
        kubeconfig.load(tmp_path / "text")


def test_outside_of_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(BadConfiguration, match="not in a pod"):
        kubeconfig.in_cluster(tmp_path)
