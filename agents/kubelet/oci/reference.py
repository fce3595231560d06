"""Names of images as Docker reads them: `nginx` is docker.io/library/nginx:latest. Pure."""

import re

from msgspec import Struct

DEFAULT_REGISTRY, DEFAULT_TAG = "docker.io", "latest"
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidReference(ValueError):
    """The text is what the kubelet puts behind `InvalidImageName`."""


class Reference(Struct, frozen=True):
    """`repository` with its registry. A digest wins over a tag."""

    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}" if self.digest else f"{self.repository}:{self.tag}"


def parse(text: str) -> Reference:
    """Raises InvalidReference."""
    rest, _, digest = text.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise invalid(text)
    head, slash, last = rest.rpartition("/")
    last, colon, tag = last.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise invalid(text)
    parts = f"{head}{slash}{last}".split("/")
    registry = DEFAULT_REGISTRY
    if len(parts) > 1 and (set(".:") & set(parts[0]) or parts[0] == "localhost"):
        registry, *parts = parts
    if not all(_PATH.fullmatch(part) for part in parts) or len(rest) > 255:
        raise invalid(text)
    if registry == DEFAULT_REGISTRY and len(parts) == 1:
        parts = ["library", *parts]
    return Reference("/".join([registry, *parts]), "" if digest and not tag else tag or DEFAULT_TAG, digest)


def invalid(text: str) -> InvalidReference:
    return InvalidReference(f'couldn\'t parse image name "{text}": invalid reference format')


def tag_of(text: str) -> str:
    """The tag that decides the default pull policy; empty where a digest says what is meant."""
    found = parse(text)
    return "" if found.digest else found.tag
