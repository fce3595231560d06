"""Volumes of pods (pkg/apis/core/validation, validateVolumeSource): each has a name of its own and exactly one source."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.quantity import Quantity, parse
from apiserver.machinery.status import Cause, duplicate, forbidden_value, invalid_value, required
from apiserver.registry.strategies.checks import each, named, needed, one_of

HOST_PATH_TYPES = ("DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def volumes(value: Any, path: str) -> tuple[list[Cause], set[str]]:
    """The faults, and the names that containers may mount."""
    found: list[Cause] = []
    known: set[str] = set()
    for at, volume in each(value, path):
        name = volume.get("name")
        if name == "":
            found.append(required(f"{at}.name"))
        elif name in known:
            found.append(duplicate(f"{at}.name", name))
        elif name:
            found += named(name, f"{at}.name", names.dns1123_label)
            known.add(name)
        found += _source(volume, at)
    return found, known


def _source(volume: Object, at: str) -> list[Cause]:
    sources = [(name, source) for name, source in volume.items() if name != "name" and isinstance(source, dict)]
    if not sources:
        return [required(at, "must specify a volume type")]
    found: list[Cause] = [forbidden_value(f"{at}.{name}", "may not specify more than 1 volume type") for name, _ in sources[1:]]
    name, source = sources[0]
    path = f"{at}.{name}"
    if name == "emptyDir" and "sizeLimit" in source:
        try:
            if parse(source["sizeLimit"]) < Quantity(0):
                found.append(forbidden_value(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity"))
        except ValueError:
            pass
    elif name == "hostPath":
        found += needed(source.get("path"), f"{path}.path")
        found += _no_backsteps(source.get("path"), f"{path}.path")
        found += one_of(source.get("type"), f"{path}.type", HOST_PATH_TYPES)
    elif name == "secret":
        found += needed(source.get("secretName"), f"{path}.secretName") + _modes(source, path) + _items(source.get("items"), f"{path}.items")
    elif name == "configMap":
        found += needed(source.get("name"), f"{path}.name") + _modes(source, path) + _items(source.get("items"), f"{path}.items")
    elif name == "persistentVolumeClaim":
        found += needed(source.get("claimName"), f"{path}.claimName")
    elif name == "nfs":
        found += needed(source.get("server"), f"{path}.server") + needed(source.get("path"), f"{path}.path")
    elif name == "downwardAPI":
        found += _modes(source, path) + _downward(source.get("items"), f"{path}.items")
    elif name == "projected":
        found += _modes(source, path) + _projections(source.get("sources"), f"{path}.sources")
    elif name == "ephemeral":
        found += [] if "volumeClaimTemplate" in source else [required(f"{path}.volumeClaimTemplate")]
    return found


def _modes(source: Object, path: str) -> list[Cause]:
    mode = source.get("defaultMode")
    return [invalid_value(f"{path}.defaultMode", mode, MODE)] if isinstance(mode, int) and not 0 <= mode <= 0o777 else []


def _items(value: Any, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, item in each(value, path):
        found += needed(item.get("key"), f"{at}.key") + needed(item.get("path"), f"{at}.path") + local_path(item.get("path"), f"{at}.path")
        if isinstance(item.get("mode"), int) and not 0 <= item["mode"] <= 0o777:
            found.append(invalid_value(f"{at}.mode", item["mode"], MODE))
    return found


def _downward(value: Any, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, item in each(value, path):
        found += needed(item.get("path"), f"{at}.path") + local_path(item.get("path"), f"{at}.path")
        if bool(item.get("fieldRef")) == bool(item.get("resourceFieldRef")):
            found.append(required(at, "one of fieldRef and resourceFieldRef is required") if not item.get("fieldRef") else _both(at))
    return found


def _both(at: str) -> Cause:
    return invalid_value(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")


def _projections(value: Any, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, source in each(value, path):
        kinds = [name for name, inner in source.items() if isinstance(inner, dict)]
        if not kinds:
            found.append(required(at, "must specify a projection"))
        found += [forbidden_value(f"{at}.{name}", "may not specify more than 1 volume type") for name in kinds[1:]]
        for name in kinds[:1]:
            inner, below = source[name], f"{at}.{name}"
            if name in ("secret", "configMap"):
                found += needed(inner.get("name"), f"{below}.name") + _items(inner.get("items"), f"{below}.items")
            elif name == "downwardAPI":
                found += _downward(inner.get("items"), f"{below}.items")
            elif name == "serviceAccountToken":
                seconds = inner.get("expirationSeconds")
                if isinstance(seconds, int) and seconds < 600:
                    found.append(invalid_value(f"{below}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
                found += needed(inner.get("path"), f"{below}.path") + local_path(inner.get("path"), f"{below}.path")
    return found


def local_path(value: Any, path: str) -> list[Cause]:
    """A relative path that stays where it is."""
    if not isinstance(value, str):
        return []
    if value.startswith("/"):
        return [invalid_value(path, value, "must be a relative path")]
    found = _no_backsteps(value, path)
    if value.startswith("..") and not found:
        found.append(invalid_value(path, value, "must not start with '..'"))
    return found


def _no_backsteps(value: Any, path: str) -> list[Cause]:
    return [invalid_value(path, value, "must not contain '..'")] if isinstance(value, str) and ".." in value.split("/") else []
