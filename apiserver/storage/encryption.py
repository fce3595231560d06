"""Secrets at rest: what --encryption-provider-config says is stored encrypted (apiserver/pkg/storage/value/encrypt, apiserver/pkg/server/options/
encryptionconfig). A value in the store begins with `k8s:enc:aesgcm:v1:NAME:`, then nonce and ciphertext; the key of the value in the store is bound
in, so that nobody who can write there swaps two values.

The first provider of a resource writes, all of them read: a key is changed by putting the new one first, and `identity` at the end reads what was
stored before anything was encrypted.
"""

import base64
import binascii
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from apiserver.config_files import Unusable, document
from apiserver.registry.registry import Registry, Served
from apiserver.storage.transform import PLAIN, Transformer

MARK = b"k8s:enc:"
NONCE_BYTES = 12
KEY_BYTES = (16, 24, 32)


class AesGcm:
    """`keys` by name, the first writes."""

    def __init__(self, keys: Sequence[tuple[str, bytes]], random: Callable[[int], bytes] = os.urandom) -> None:
        assert keys, "the configuration is refused before without one"
        self._keys = [(f"k8s:enc:aesgcm:v1:{name}:".encode(), AESGCM(secret)) for name, secret in keys]
        self._random = random

    def to_storage(self, value: bytes, key: bytes) -> bytes:
        prefix, cipher = self._keys[0]
        nonce = self._random(NONCE_BYTES)
        return prefix + nonce + cipher.encrypt(nonce, value, key)

    def from_storage(self, value: bytes, key: bytes) -> bytes:
        for prefix, cipher in self._keys:
            if value.startswith(prefix):
                nonce, sealed = value[len(prefix) : len(prefix) + NONCE_BYTES], value[len(prefix) + NONCE_BYTES :]
                try:
                    return cipher.decrypt(nonce, sealed, key)
                except (InvalidTag, ValueError):
                    raise ValueError(
                        f"the value under {key.decode(errors='replace')} does not fit its key: changed, moved, or of another key"
                    ) from None
        raise ValueError("no matching prefix found")

    def reads(self, value: bytes) -> bool:
        return any(value.startswith(prefix) for prefix, _ in self._keys)


class Identity:
    """As it is. Refuses what is encrypted: it would be taken for garbage, or served as such."""

    def to_storage(self, value: bytes, key: bytes) -> bytes:
        return value

    def from_storage(self, value: bytes, key: bytes) -> bytes:
        return value

    def reads(self, value: bytes) -> bool:
        return not value.startswith(MARK)


class Providers:
    """The providers of one resource: the first writes, the first that knows a value reads it."""

    def __init__(self, providers: Sequence[AesGcm | Identity]) -> None:
        self._providers = tuple(providers)

    def to_storage(self, value: bytes, key: bytes) -> bytes:
        return self._providers[0].to_storage(value, key)

    def from_storage(self, value: bytes, key: bytes) -> bytes:
        for provider in self._providers:
            if provider.reads(value):
                return provider.from_storage(value, key)
        shown = value[:64].rpartition(b":")[0].decode(errors="replace") if value.startswith(MARK) else "nothing that says it is encrypted"
        raise ValueError(f"no provider reads the value under {key.decode(errors='replace')}: it begins with {shown}")


Entry = tuple[tuple[str, ...], Providers]


def read(path: Path, random: Callable[[int], bytes] = os.urandom) -> list[Entry]:
    """Resources and their providers, in the file's order. Raises Unusable, OSError."""
    entries: list[Entry] = []
    found = document(path, "EncryptionConfiguration", ("apiserver.config.k8s.io/v1",))
    for number, each in enumerate(_listed(found.get("resources"), f"{path}: resources")):
        where = f"{path}: resources[{number}]"
        names = each.get("resources") if isinstance(each, dict) else None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
            raise Unusable(f"{where}: expected a list of resources such as secrets")
        if "*." in names:
            raise Unusable(f"{where}: use '*.' of the core group by its names, or '*.*' for everything")
        providers = [
            _provider(one, f"{where}.providers[{place}]", random) for place, one in enumerate(_listed(each.get("providers"), f"{where}.providers"))
        ]
        if not providers:
            raise Unusable(f"{where}: expected at least one provider")
        entries.append((tuple(names), Providers(providers)))
    if not entries:
        raise Unusable(f"{path}: expected at least one entry in resources")
    return entries


def _listed(given: Any, where: str) -> list[Any]:
    if not isinstance(given or [], list):
        raise Unusable(f"{where}: expected a list")
    return given or []


class Encryption:
    """`table`: how each resource is stored, by the prefix of its keys, for those that are served now and for those added later."""

    def __init__(self, registry: Registry, entries: Sequence[Entry]) -> None:
        self.table: dict[str, Transformer] = {}
        self._registry = registry
        self.use(entries)
        registry.listeners.append(self._added)

    def use(self, entries: Sequence[Entry]) -> None:
        """These from now on. What was stored with a key that they do not have cannot be read any more."""
        self._entries = entries
        for served in self._registry.served():
            self._added(served, True)

    def _added(self, served: Served, is_there: bool) -> None:
        if is_there:
            self.table[served.prefix] = _of(self._entries, served)


def _of(entries: Sequence[Entry], served: Served) -> Transformer:
    """The first entry that names the resource; those that name all of a group or everything come after in their own order."""
    group, qualified = served.resource.group, served.resource.qualified
    for names, providers in entries:
        if qualified in names or "*.*" in names or (group and f"*.{group}" in names):
            return providers
    return PLAIN


def _provider(given: Any, where: str, random: Callable[[int], bytes]) -> AesGcm | Identity:
    if not isinstance(given, dict) or len(given) != 1:
        raise Unusable(f"{where}: expected exactly one provider")
    kind, said = next(iter(given.items()))
    if kind == "identity":
        return Identity()
    if kind != "aesgcm":
        raise Unusable(f"{where}: the provider {kind!r} is not served: aesgcm and identity are")
    keys = (said or {}).get("keys") if isinstance(said, dict) else None
    if not isinstance(keys, list) or not keys:
        raise Unusable(f"{where}.aesgcm: expected a list of keys")
    return AesGcm([_key(each, f"{where}.aesgcm.keys[{number}]") for number, each in enumerate(keys)], random)


def _key(given: Any, where: str) -> tuple[str, bytes]:
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str) or not name or ":" in name:
        raise Unusable(f"{where}: expected a name without colons")
    try:
        secret = base64.b64decode(given.get("secret") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Unusable(f"{where}: the secret of key {name!r} is no base64") from None
    if len(secret) not in KEY_BYTES:
        raise Unusable(f"{where}: the secret of key {name!r} has {len(secret)} bytes, expected one of {', '.join(map(str, KEY_BYTES))}")
    return name, secret
