"""Config maps, secrets, service accounts (pkg/apis/core/validation): keys, sizes, types, and what `immutable` means."""

import base64
from typing import Any

import msgspec

from apiserver.machinery import names
from apiserver.machinery.objects import Object, annotations_of
from apiserver.machinery.status import Cause, forbidden_value, invalid_value, required, too_long
from apiserver.registry.strategies.checks import named, unchanged
from apiserver.registry.strategy import Strategy

SIZE_MAX_BYTES = 1024 * 1024
SEALED = "field is immutable when `immutable` is set"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
NEEDED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def keys(values: Any, field: str) -> list[Cause]:
    return [cause for key in values or {} for cause in named(key, f"{field}[{key}]", names.config_key)]


class Plain(Strategy):
    """Neither status nor generation."""

    has_status = False
    counts_generation = False


class Sealable(Plain):
    """`immutable: true` cannot be taken back, and seals the data."""

    sealed: tuple[str, ...] = ("data",)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        if not old.get("immutable"):
            return []
        found = [] if new.get("immutable") else [forbidden_value("immutable", SEALED)]
        return found + [forbidden_value(field, SEALED) for field in self.sealed if (new.get(field) or {}) != (old.get(field) or {})]


class ConfigMapStrategy(Sealable):
    sealed = ("data", "binaryData")

    def validate(self, obj: Object) -> list[Cause]:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        found = keys(data, "data") + keys(binary, "binaryData")
        found += [invalid_value(f"data[{key}]", key, "duplicate of key present in binaryData") for key in data if key in binary]
        if sum(len(value.encode()) for value in data.values()) + sum(len(value) * 3 // 4 for value in binary.values()) > SIZE_MAX_BYTES:
            found.append(too_long("", SIZE_MAX_BYTES))
        return found


class SecretStrategy(Sealable):
    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        self._fold(obj)

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        self._fold(new)
        if not new.get("type"):
            new["type"] = old.get("type", "Opaque")

    @staticmethod
    def _fold(obj: Object) -> None:
        """`stringData` is for writing: it goes into `data`, and is never read back."""
        written = obj.pop("stringData", None)
        if written:
            obj["data"] = {**(obj.get("data") or {}), **{key: base64.b64encode(value.encode()).decode() for key, value in written.items()}}

    def validate(self, obj: Object) -> list[Cause]:
        data, kind = obj.get("data") or {}, obj.get("type")
        found = keys(data, "data")
        if sum(len(value) * 3 // 4 for value in data.values()) > SIZE_MAX_BYTES:
            found.append(too_long("data", SIZE_MAX_BYTES))
        for key in NEEDED_KEYS.get(str(kind), ()):
            if key not in data or (kind == "kubernetes.io/ssh-auth" and not data[key]):
                found.append(required(f"data[{key}]"))
        if kind in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
            key = NEEDED_KEYS[kind][0]
            try:
                msgspec.json.decode(base64.b64decode(data.get(key, "e30=")))
            except ValueError:
                found.append(invalid_value(f"data[{key}]", "<secret contents redacted>", "invalid JSON"))
        if kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
            found += [required("data[username]"), required("data[password]")]
        if kind == "kubernetes.io/service-account-token" and not annotations_of(obj).get(ACCOUNT_NAME):
            found.append(required(f"metadata.annotations[{ACCOUNT_NAME}]"))
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(new.get("type"), old.get("type"), "type") + super().validate_update(new, old)
