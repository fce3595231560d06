"""ValidatingAdmissionPolicy: what a rule sees, what it refuses, and how it is bound."""

from typing import Any

import pytest

from apiserver.admission.policies import BINDINGS, POLICIES, ValidatingAdmissionPolicy
from apiserver.admission.webhook_rules import VALIDATING
from apiserver.admission.webhooks import ValidatingWebhooks
from apiserver.registry.strategies.policies import ValidatingAdmissionPolicyStrategy
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster

RULE = {"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}


def plugin(expression: str = "object.spec.hostNetwork != true", *, spec: Any = None, binding: Any = None, **rule: Any) -> ValidatingAdmissionPolicy:
    cluster = Cluster(
        namespaces=[{"metadata": {"name": "ns", "labels": {"team": "x"}}}],
        configmaps=[{"metadata": {"name": "limits", "namespace": "ns"}, "data": {"name": "p"}}],
    )
    validations = [{"expression": expression, **rule}]
    cluster.put(
        POLICIES, {"metadata": {"name": "pol"}, "spec": {"matchConstraints": {"resourceRules": [RULE]}, "validations": validations, **(spec or {})}}
    )
    cluster.put(BINDINGS, {"metadata": {"name": "bind"}, "spec": {"policyName": "pol", "validationActions": ["Deny"], **(binding or {})}})
    return ValidatingAdmissionPolicy(cluster)


def test_a_rule_that_does_not_hold() -> None:
    error = refused(plugin("object.spec.containers.size() > 1"), write("pods", pod()))
    about = "ValidatingAdmissionPolicy 'pol' with binding 'bind' denied request: failed expression: object.spec.containers.size() > 1"
    assert (error.code, error.reason, error.message) == (422, "Invalid", f'pods "p" is forbidden: {about}')
    assert error.causes[0].message == about
    error = refused(plugin("false", messageExpression="'no ' + object.metadata.name", reason="Forbidden"), write("pods", pod()))
    assert (error.code, error.message.rpartition(": ")[2]) == (403, "no p")


@pytest.mark.parametrize(
    "expression",
    [
        "request.operation == 'CREATE' && request.userInfo.username == 'ann'",
        "namespaceObject.metadata.labels.team == 'x'",
        "oldObject == null && object.metadata.name == 'p'",
        "!has(object.metadata.labels)",
        "request.__namespace__ == 'ns'",
    ],
)
def test_what_rules_see(expression: str) -> None:
    admitted(plugin(expression), write("pods", pod()))


def test_only_what_it_is_for() -> None:
    admitted(plugin("false"), write("services", {"metadata": {"name": "s"}}))
    admitted(plugin("false"), write("pods", None, old=pod(), operation="DELETE"))
    admitted(plugin("false", spec={"matchConditions": [{"name": "c", "expression": "object.metadata.name == 'other'"}]}), write("pods", pod()))
    admitted(plugin("false", binding={"matchResources": {"namespaceSelector": {"matchLabels": {"team": "y"}}}}), write("pods", pod()))
    admitted(plugin("false", binding={"policyName": "none"}), write("pods", pod()))


def test_parameters_and_variables() -> None:
    spec = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "variables": [{"name": "wanted", "expression": "params.data.name"}]}
    bound = {"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}}
    admitted(plugin("variables.wanted == object.metadata.name", spec=spec, binding=bound), write("pods", pod()))
    refused(plugin("variables.wanted == object.metadata.name", spec=spec, binding=bound), write("pods", pod("q")))
    error = refused(plugin("true", spec=spec, binding={"paramRef": {"name": "none", "parameterNotFoundAction": "Deny"}}), write("pods", pod()))
    assert "no params found for policy binding with `Deny` parameterNotFoundAction" in error.message
    admitted(plugin("false", spec=spec, binding={"paramRef": {"name": "none", "parameterNotFoundAction": "Allow"}}), write("pods", pod()))


def test_failures_and_other_actions() -> None:
    assert "resulted in error: Key not found" in refused(plugin("object.spec.nothing == 1"), write("pods", pod())).message
    admitted(plugin("object.spec.nothing == 1", spec={"failurePolicy": "Ignore"}), write("pods", pod()))
    asked = write("pods", pod())
    admitted(plugin("false", message="careful", binding={"validationActions": ["Warn", "Audit"]}), asked)
    assert asked.warnings == ["Validation failed for ValidatingAdmissionPolicy 'pol' with binding 'bind': careful"]
    assert '"message":"careful"' in asked.annotations["validation.policy.admission.k8s.io/validation_failure"]


def test_expressions_must_compile() -> None:
    spec = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "object.a +"}, {"expression": "nosuch(1)"}]}
    found = ValidatingAdmissionPolicyStrategy().validate({"metadata": {"name": "pol"}, "spec": spec})
    assert [each.field for each in found] == ["spec.validations[0].expression", "spec.validations[1].expression"]


class Silent:
    """A wire on which nobody may be called."""

    async def call(self, hook: Any, asked: Any) -> Any:
        raise AssertionError("a webhook was asked whose conditions do not hold")


def test_webhooks_have_conditions_too() -> None:
    cluster = Cluster()
    hook = {"name": "a.acme.io", "rules": [RULE], "matchConditions": [{"name": "c", "expression": "object.metadata.name == 'other'"}]}
    cluster.put(VALIDATING, {"metadata": {"name": "c"}, "webhooks": [hook]})
    admitted(ValidatingWebhooks(cluster, Silent()), write("pods", pod()))  # type: ignore[arg-type]
