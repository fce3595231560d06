"""What a client does over time, scenario by scenario. A scenario is a function that takes the duel; its objects are its own."""

from collections.abc import Callable

from tests.kubernetes.builtin.behaviour import access, admission, apply, deletion, lists, patches, requests, subresources, tables
from tests.kubernetes.builtin.behaviour.objects import CORE
from tests.kubernetes.builtin.duel import Duel

ROOMS = (requests, patches, apply, subresources, deletion, lists, tables, access, admission)


def scenarios() -> dict[str, Callable[[Duel], None]]:
    return {
        f"{room.__name__.rpartition('.')[2]}.{name}": value
        for room in ROOMS
        for name, value in vars(room).items()
        if callable(value) and getattr(value, "__module__", "") == room.__name__ and not name.startswith("_")
    }


def prepare(duel: Duel) -> None:
    """What controllers would make, which do not run here."""
    for name in ("shop", "policy"):
        duel.both("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}, "automountServiceAccountToken": False}
        duel.both("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)


def run(duel: Duel, only: str) -> None:
    for name, scenario in scenarios().items():
        if only.lower() in name:
            duel.scenario = name
            scenario(duel)
            duel.between_scenarios()
    duel.scenario = ""


__all__ = ["CORE", "prepare", "run", "scenarios"]
