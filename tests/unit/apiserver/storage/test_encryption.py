import base64
import json
from pathlib import Path
from typing import Any

import pytest

from apiserver.config_files import Unusable
from apiserver.machinery.resources import resource
from apiserver.registry.registry import Registry, Served
from apiserver.storage.encryption import AesGcm, Encryption, Identity, Providers, read
from apiserver.storage.transform import PLAIN

KEY = b"/registry/secrets/ns/s"
ONE, TWO = ("one", b"1" * 32), ("two", b"2" * 16)


def configured(folder: Path, *resources: dict[str, Any], kind: str = "EncryptionConfiguration") -> Path:
    path = folder / "encryption.yaml"
    path.write_text(json.dumps({"apiVersion": "apiserver.config.k8s.io/v1", "kind": kind, "resources": list(resources)}))
    return path


def aesgcm(*keys: tuple[str, bytes]) -> dict[str, Any]:
    return {"aesgcm": {"keys": [{"name": name, "secret": base64.b64encode(secret).decode()} for name, secret in keys]}}


def test_what_is_stored_tells_nothing_and_comes_back():
    sealed = AesGcm([ONE]).to_storage(b'{"data":{}}', KEY)
    assert sealed.startswith(b"k8s:enc:aesgcm:v1:one:") and b"data" not in sealed
    assert AesGcm([ONE]).from_storage(sealed, KEY) == b'{"data":{}}'
    assert AesGcm([ONE]).to_storage(b"x", KEY) != AesGcm([ONE]).to_storage(b"x", KEY)


def test_a_value_is_bound_to_its_place_and_its_key():
    sealed = AesGcm([ONE]).to_storage(b"x", KEY)
    for value, key in ((sealed, KEY + b"2"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), KEY), (sealed[:30], KEY)):
        with pytest.raises(ValueError, match="does not fit"):
            AesGcm([ONE]).from_storage(value, key)
    with pytest.raises(ValueError, match="does not fit"):
        AesGcm([("one", b"3" * 32)]).from_storage(sealed, KEY)


def test_a_key_is_changed_without_a_gap():
    old = AesGcm([ONE]).to_storage(b"x", KEY)
    both = Providers([AesGcm([TWO, ONE]), Identity()])
    assert both.from_storage(old, KEY) == b"x"
    assert both.to_storage(b"x", KEY).startswith(b"k8s:enc:aesgcm:v1:two:")
    assert both.from_storage(b'{"plain":1}', KEY) == b'{"plain":1}'


def test_what_no_provider_reads_is_refused():
    sealed = AesGcm([ONE]).to_storage(b"x", KEY)
    with pytest.raises(ValueError, match="k8s:enc:aesgcm:v1:one"):
        Providers([AesGcm([TWO]), Identity()]).from_storage(sealed, KEY)
    with pytest.raises(ValueError, match="no provider"):
        Providers([AesGcm([TWO])]).from_storage(b"{}", KEY)


def served(qualified: str) -> Served:
    of = resource(qualified)
    return Served(of, f"/registry/{of.plural}/", of.api_version)


def test_which_resources(tmp_path):
    path = configured(
        tmp_path,
        {"resources": ["secrets"], "providers": [aesgcm(ONE), {"identity": {}}]},
        {"resources": ["*.apps"], "providers": [{"identity": {}}, aesgcm(ONE)]},
    )
    registry = Registry([served("secrets"), served("configmaps")])
    encrypted = Encryption(registry, read(path))
    table = encrypted.table
    registry.add(served("deployments.apps"))
    assert table["/registry/secrets/"].to_storage(b"x", KEY).startswith(b"k8s:enc:")
    assert table["/registry/configmaps/"] is PLAIN
    assert table["/registry/deployments/"].to_storage(b"x", KEY) == b"x"
    path = configured(tmp_path, {"resources": ["configmaps"], "providers": [aesgcm(TWO)]})
    encrypted.use(read(path))
    assert table["/registry/configmaps/"].to_storage(b"x", KEY).startswith(b"k8s:enc:aesgcm:v1:two:")
    assert table["/registry/secrets/"] is PLAIN


@pytest.mark.parametrize(
    "resources",
    [
        [],
        [{"resources": [], "providers": [{"identity": {}}]}],
        [{"resources": ["secrets"], "providers": []}],
        [{"resources": ["secrets"], "providers": [{"kms": {}}]}],
        [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": []}}]}],
        [{"resources": ["secrets"], "providers": [aesgcm(("a:b", b"1" * 32))]}],
        [{"resources": ["secrets"], "providers": [aesgcm(("a", b"1" * 31))]}],
        [{"resources": ["secrets"], "providers": [{"aesgcm": {"keys": [{"name": "a", "secret": "!"}]}}]}],
        ["secrets"],
    ],
)
def test_configurations_that_are_none(tmp_path, resources):
    with pytest.raises(Unusable, match=r"encryption\.yaml"):
        read(configured(tmp_path, *resources))
    with pytest.raises(Unusable, match="EncryptionConfiguration"):
        read(configured(tmp_path, kind="Other"))


@pytest.mark.parametrize("said", ["2026-13-45", "!!int x", "!!bool maybe", "[" * 2000, "5", "[{resources: [secrets], providers: 5}]"])
def test_values_that_are_none_are_told_as_the_files_fault(tmp_path, said):
    path = tmp_path / "encryption.yaml"
    path.write_text(f"kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: {said}\n")
    with pytest.raises(Unusable, match=str(path)):
        read(path)
