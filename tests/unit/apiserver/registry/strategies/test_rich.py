"""Rich objects of all common kinds go through a whole create, and what is stored is valid against its schema, which clients' models insist on."""

import copy
from typing import Any

import pytest

from apiserver.machinery.objects import metadata
from apiserver.machinery.resources import resource
from apiserver.registry.schemas import check
from apiserver.registry.strategies.registry import OWN, strategy_for
from tests.unit.apiserver.registry.strategies.rich import RICH
from tests.unit.apiserver.valid import assert_valid

NAMES = {"customresourcedefinitions.apiextensions.k8s.io": "tabs.example.com"}


def created(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    """What the handlers do to a new object, in their order; faults fail the test."""
    which = resource(kind)
    made = {"apiVersion": which.api_version, "kind": which.kind, **copy.deepcopy(obj)}
    meta = metadata(made)
    meta.setdefault("name", NAMES.get(kind, "x"))
    assert check(which).decode(made, validation="Strict") == []
    check(which).default(made)
    meta.update(uid="7d3a0a4c-0000-4000-8000-000000000000", creationTimestamp="2026-01-01T00:00:00Z")
    if which.namespaced:
        meta["namespace"] = "default"
    strategy = strategy_for(which)
    strategy.prepare_create(made)
    check(which).default(made)
    assert [cause.text() for cause in [*check(which).required(made), *strategy.validate(made)]] == []
    return made


@pytest.mark.parametrize("kind", RICH)
def test_what_is_stored_is_valid_and_may_be_written_again(kind: str) -> None:
    stored = created(kind, RICH[kind])
    assert_valid(stored)
    which, strategy = resource(kind), strategy_for(resource(kind))
    again = copy.deepcopy(stored)
    assert check(which).decode(again, validation="Strict") == []
    check(which).default(again)
    strategy.prepare_update(again, stored)
    assert again == stored
    assert [cause.text() for cause in strategy.validate_update(again, stored)] == []


def test_every_kind_with_a_strategy_has_a_rich_object() -> None:
    unlike = {"events.events.k8s.io", "apiservices.apiregistration.k8s.io", "mutatingwebhookconfigurations.admissionregistration.k8s.io"}
    assert OWN.keys() - RICH.keys() == unlike


def test_the_check_of_validity_can_fail() -> None:
    stored = created("configmaps", RICH["configmaps"])
    with pytest.raises(Exception, match=r"(?i)unevaluated|additional"):
        assert_valid({**stored, "unknown": 1})


def test_the_official_python_client_reads_every_one() -> None:
    models = pytest.importorskip("kubernetes.client", reason="the official Python client is not installed")
    named = {name.lower(): name for name in dir(models)}
    for kind, obj in RICH.items():
        stored = created(kind, obj)
        group, _, version = stored["apiVersion"].rpartition("/")
        its = f"{version}{stored['kind']}".lower()
        # Where two groups have a kind of one name, the model says whose it is.
        name = named.get(its) or named[(group.partition(".")[0] or "core") + its]
        model = getattr(models, name)
        assert model.from_dict(stored).metadata.name == stored["metadata"]["name"], kind
