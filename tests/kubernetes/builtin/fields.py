"""Each field of each kind, made odd: what is defaulted, what is refused and in which words, at creation and in an update."""

import base64
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from apiserver.machinery import resources
from tests.kubernetes.builtin.duel import Duel
from tests.kubernetes.builtin.mutations import mutations

NAMESPACE = "shop"
DRY = "?dryRun=All"


def manifests() -> Iterator[Any]:
    text = Path(__file__).with_name("manifests.yaml").read_text()
    yield from yaml.safe_load_all(text.replace("request: REQUEST", f"request: {_certificate_request()}"))


def _certificate_request() -> str:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode()


def collection(manifest: Any) -> str:
    """The path of its kind's collection."""
    for resource in resources.built_in():
        if (resource.api_version, resource.kind) == (manifest["apiVersion"], manifest["kind"]):
            return resource.path(NAMESPACE)
    raise KeyError(manifest["kind"])


def run(duel: Duel, only: str, parts: list[str]) -> None:
    for manifest in manifests():
        if only and only.lower() not in f"{manifest['kind']}/{manifest['metadata']['name']}".lower():
            continue
        told = f"{manifest['kind']}/{manifest['metadata']['name']}"
        path = collection(manifest)
        if "fields" in parts or "types" in parts:
            duel.ask("POST", path + DRY, manifest, what=f"create {told}")
        if "fields" in parts:
            for name, odd in mutations(manifest):
                duel.ask("POST", path + DRY, odd, what=f"create {told} with {name}")
        if "types" in parts:
            for name, odd in mutations(manifest, types=True):
                duel.ask("POST", path + DRY, odd, what=f"create {told} typed {name}")
        if "updates" in parts:
            _update(duel, path, manifest, told)


def _update(duel: Duel, path: str, manifest: Any, told: str) -> None:
    one = f"{path}/{manifest['metadata']['name']}"
    duel.ask("POST", path, manifest, what=f"create for good {told}")
    duel.ask("GET", one)
    for name, odd in mutations(manifest):
        changed = _change_between(manifest, odd)

        def edit(live: Any, changed: Any = changed) -> None:
            for at, value in changed:
                _put(live, at, value if value is MISSING else copy.deepcopy(value))

        duel.change(one + DRY, edit, what=f"update {told} with {name}")
    for side in (duel.oracle, duel.subject):
        side.ask("PATCH", one, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    duel.both("DELETE", f"{one}?gracePeriodSeconds=0")


MISSING = object()


def _change_between(old: Any, new: Any, at: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """The one place where the mutation changed the manifest, so that it can be changed in what the server made of it."""
    if isinstance(old, dict) and isinstance(new, dict) and new:
        found = []
        for key in {**old, **new}:
            if key not in new:
                found.append(((*at, key), MISSING))
            elif key not in old:
                found.append(((*at, key), new[key]))
            else:
                found += _change_between(old[key], new[key], (*at, key))
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [each for index, (a, b) in enumerate(zip(old, new, strict=True)) for each in _change_between(a, b, (*at, index))]
    return [] if old == new and type(old) is type(new) else [(at, new)]


def _put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    try:
        for step in path[:-1]:
            value = value[step]
        if new is MISSING:
            value.pop(path[-1], None)
        else:
            value[path[-1]] = new
    except (KeyError, IndexError, TypeError):
        return  # a field that the server does not show (stringData)
