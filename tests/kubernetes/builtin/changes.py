"""What changed in Kubernetes itself between the oracle's version and today: differences that are allowed, each with its reason."""

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tests.kubernetes.builtin.normal import older_version


def older(minor: int, path: str, body: Any) -> tuple[str, Any]:
    """A request of today as Kubernetes 1.`minor` takes it."""
    if minor < 21:
        path = path.replace("/apis/policy/v1/", "/apis/policy/v1beta1/")
        path = re.sub(r"/apis/batch/v1/(?=([^?]*/)?cronjobs)", "/apis/batch/v1beta1/", path)
    if isinstance(body, dict) and "kind" in body and "apiVersion" in body:
        body = {**body, "apiVersion": older_version(minor, str(body["apiVersion"]), str(body["kind"]))}
    return path, body


class Change(Struct, frozen=True):
    """`since`: the minor version that has it."""

    since: int
    reason: str
    covers: Callable[[str, Any, Any], bool]


CHANGES: list[Change] = []
