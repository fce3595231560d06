"""Kubernetes' defaults: rules belong to types, and are applied wherever an object's schema has such a type, outside in.

That is what Kubernetes' generated defaulters do (zz_generated.defaults.go): `SetDefaults_Deployment` first, then `SetDefaults_PodSpec` of its
template, then `SetDefaults_Probe` of each probe. The rules themselves stand in `default_rules.py`; here is the walk. For each type a plan is made
once: its own rule, and those of its fields below which a rule waits at all.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from msgspec import Struct, field

from apiserver.machinery.objects import Object
from apiserver.machinery.schema import definitions
from apiserver.registry.default_rules import RULES


class Plan(Struct):
    rule: Callable[[Object], None] | None = None
    fields: list[tuple[str, str, "Plan"]] = field(default_factory=list)
    """Field, how it holds the type (one, list, map), and the type's plan."""


@cache
def defaults_of(group: str, version: str, kind: str) -> Callable[[Object], None] | None:
    """The defaults of a built-in kind; None if it has none."""
    wanted = {"group": group, "version": version, "kind": kind}
    for name, definition in definitions().items():
        if wanted in definition.get("x-kubernetes-group-version-kind", ()):
            plan = _plan(name)
            return partial(apply, plan) if plan.rule or plan.fields else None
    return None


def apply(plan: Plan, value: Object) -> None:
    """In place."""
    if plan.rule is not None:
        plan.rule(value)
    for name, held, below in plan.fields:
        inner = value.get(name)
        if not inner:
            # An empty struct still gets its defaults: `securityContext: {}`, `emptyDir: {}`; a missing one is its owner's to make.
            if inner == {} and held == "one":
                apply(below, inner)
            continue
        if held == "one":
            if type(inner) is dict:
                apply(below, inner)
        else:
            for element in inner if held == "list" else inner.values():
                if type(element) is dict:
                    apply(below, element)


_plans: dict[str, Plan] = {}


def _plan(name: str) -> Plan:
    """The plan of a type; types that contain themselves (JSONSchemaProps) are walked once."""
    if name in _plans:
        return _plans[name]
    plan = _plans[name] = Plan(RULES.get(short(name)))
    for field_name, raw in (definitions()[name].get("properties") or {}).items():
        held, target = _held(raw)
        if target is None or target.startswith("io.k8s.apimachinery."):
            continue
        below = _plan(target)
        if below.rule is not None or below.fields:
            plan.fields.append((field_name, held, below))
    return plan


def _held(raw: dict[str, Any]) -> tuple[str, str | None]:
    for held, place in (("one", raw), ("list", raw.get("items")), ("map", raw.get("additionalProperties"))):
        if isinstance(place, dict) and "$ref" in place:
            return held, place["$ref"].rsplit("/", 1)[-1]
    return "one", None


def short(name: str) -> str:
    """`core.v1.Probe` of `io.k8s.api.core.v1.Probe`: how the rules name their types."""
    return ".".join(name.rsplit(".", 3)[-3:])
