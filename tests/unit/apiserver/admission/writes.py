"""Writes as handlers would hand them to admission."""

import asyncio
from typing import Any

import pytest

from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from apiserver.request import Admission, User, Write

ANN = User("ann", ("system:authenticated",))


def write(
    qualified: str, new: dict[str, Any] | None, *, old: dict[str, Any] | None = None, operation: str = "", who: User = ANN, **more: Any
) -> Write:
    """A create, or an update if there is an old object; in namespace ns unless it says otherwise."""
    of = resource(qualified)
    either = new or old or {}
    name = more.pop("name", (either.get("metadata") or {}).get("name", ""))
    namespace = more.pop("namespace", "ns" if of.namespaced else "")
    return Write(who, operation or ("UPDATE" if old else "CREATE"), of, namespace, name, new, old, **more)


def admitted(plugin: Admission, asked: Write) -> dict[str, Any]:
    """The object after both passes."""

    async def both() -> None:
        await plugin.admit(asked)
        await plugin.validate(asked)

    asyncio.run(both())
    return asked.object or {}


def refused(plugin: Admission, asked: Write) -> ApiError:
    with pytest.raises(ApiError) as told:
        admitted(plugin, asked)
    return told.value


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
