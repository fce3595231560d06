"""ValidatingAdmissionPolicy: rules in CEL over writes, bound to what they are for (apiserver/pkg/admission/plugin/policy/validating).

A policy without a binding says nothing. Policies themselves and their bindings are never looked at, so that a wrong one can be removed; nor are
reviews.
Not there: `authorizer` (an expression with it does not compile, and the policy's failurePolicy decides).
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from apiserver.admission.expressions import VARIABLES, conditions_match, holds, seen, variables_of
from apiserver.admission.plugin import refusal
from apiserver.admission.webhook_rules import concerns
from apiserver.machinery.objects import Object, labels_of, name_of
from apiserver.machinery.resources import built_in
from apiserver.machinery.selectors import from_label_selector
from apiserver.machinery.status import CODES, Cause
from apiserver.registry.cel import CelError, compile_expression
from apiserver.request import Passive, Reader, Write

GROUP = "admissionregistration.k8s.io"
POLICIES, BINDINGS = f"validatingadmissionpolicies.{GROUP}", f"validatingadmissionpolicybindings.{GROUP}"
DEFINITIONS = "customresourcedefinitions.apiextensions.k8s.io"
UNTOUCHED = ("authentication.k8s.io", "authorization.k8s.io")
FAILURE_ANNOTATION = "validation.policy.admission.k8s.io/validation_failure"


class ValidatingAdmissionPolicy(Passive):
    name = "ValidatingAdmissionPolicy"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def validate(self, write: Write) -> None:
        """Raises ApiError: the first policy's denial."""
        if write.resource.group in UNTOUCHED or write.resource.qualified in (POLICIES, BINDINGS):
            return
        common: dict[str, Any] | None = None
        for binding in sorted(self._reader.list(BINDINGS), key=name_of):
            spec = binding.get("spec") or {}
            policy = self._reader.get(POLICIES, "", str(spec.get("policyName") or ""))
            if policy is None or not concerns(self._reader, policy["spec"].get("matchConstraints") or {}, write):
                continue
            if spec.get("matchResources") and not concerns(self._reader, spec["matchResources"], write, must_have_rules=False):
                continue
            if common is None:
                common = variables_of(write, self._reader.get("namespaces", "", write.namespace) if write.namespace else None)
            for why, reason in self._broken(policy, binding, common, write):
                self._act(policy, binding, why, reason, write)

    def _broken(self, policy: Object, binding: Object, common: dict[str, Any], write: Write) -> Iterator[tuple[str, str]]:
        """(what to tell, the reason) of every rule that does not hold."""
        spec = policy["spec"]
        try:
            if not conditions_match(spec.get("matchConditions") or [], common):
                return
            for params in self._params(spec, binding, write):
                variables = {**common, "params": seen(params)}
                variables["variables"] = _composed(spec, variables)
                yield from _rules(spec, variables)
                _annotate(policy, variables, write)
        except CelError as wrong:
            if spec.get("failurePolicy") != "Ignore":
                yield str(wrong), "Invalid"

    def _params(self, spec: Object, binding: Object, write: Write) -> list[Object | None]:
        """What the rules are asked with, once each. Raises CelError if there should be some and are not."""
        kind, reference = spec.get("paramKind"), (binding.get("spec") or {}).get("paramRef")
        if not kind or not reference:
            return [None]
        found = _resource_of(self._reader, str(kind.get("apiVersion")), str(kind.get("kind")))
        if found is None:
            raise CelError(f"failed to find resource referenced by paramKind: '{kind.get('apiVersion')}, Kind={kind.get('kind')}'")
        resource, namespaced = found
        namespace = (reference.get("namespace") or write.namespace) if namespaced else ""
        if reference.get("name"):
            one = self._reader.get(resource, namespace, reference["name"])
            chosen: list[Object | None] = [] if one is None else [one]
        else:
            selector = from_label_selector(reference.get("selector"))
            chosen = [each for each in self._reader.list(resource, namespace) if selector.matches(labels_of(each))]
        if not chosen and reference.get("parameterNotFoundAction") != "Allow":
            raise CelError("no params found for policy binding with `Deny` parameterNotFoundAction")
        return chosen

    def _act(self, policy: Object, binding: Object, why: str, reason: str, write: Write) -> None:
        about = f"ValidatingAdmissionPolicy '{name_of(policy)}' with binding '{name_of(binding)}'"
        actions = (binding.get("spec") or {}).get("validationActions") or ["Deny"]
        if "Audit" in actions:
            entry = {"message": why, "policy": name_of(policy), "binding": name_of(binding), "validationActions": actions}
            before = msgspec.json.decode(write.annotations.get(FAILURE_ANNOTATION, "[]"))
            write.annotations[FAILURE_ANNOTATION] = msgspec.json.encode([*before, entry]).decode()
        if "Warn" in actions:
            write.warnings.append(f"Validation failed for {about}: {why}")
        if "Deny" in actions:
            error = refusal(write, f"{about} denied request: {why}")
            error.reason, error.code = reason, CODES.get(reason, 422)
            error.causes = (Cause("", f"{about} denied request: {why}", ""),)
            raise error


def _composed(spec: Object, variables: dict[str, Any]) -> dict[str, Any]:
    """`variables.x`, each seeing those before it. One that fails is not there, which fails whoever asks for it."""
    found: dict[str, Any] = {}
    for each in spec.get("variables") or ():
        try:
            found[each["name"]] = compile_expression(each["expression"], VARIABLES).evaluate({**variables, "variables": found})
        except CelError:
            continue
    return found


def _rules(spec: Object, variables: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for each in spec.get("validations") or ():
        text = str(each.get("expression") or "")
        try:
            if holds(text, variables):
                continue
            yield _message(each, text, variables), each.get("reason") or "Invalid"
        except CelError as wrong:
            if spec.get("failurePolicy") != "Ignore":
                yield f"expression '{text}' resulted in error: {wrong}", "Invalid"


def _message(rule: Object, text: str, variables: dict[str, Any]) -> str:
    if rule.get("messageExpression"):
        try:
            told = compile_expression(rule["messageExpression"], VARIABLES).evaluate(variables)
            if isinstance(told, str) and told.strip() and "\n" not in told:
                return told.strip()
        except CelError:
            pass
    return str(rule.get("message") or f"failed expression: {text.strip()}")


def _annotate(policy: Object, variables: dict[str, Any], write: Write) -> None:
    for each in policy["spec"].get("auditAnnotations") or ():
        try:
            told = compile_expression(each["valueExpression"], VARIABLES).evaluate(variables)
        except CelError:
            continue
        if isinstance(told, str) and told:
            write.annotations[f"{name_of(policy)}/{each['key']}"] = told


def _resource_of(reader: Reader, api_version: str, kind: str) -> tuple[str, bool] | None:
    """(qualified plural, whether in namespaces) of a kind, built in or custom."""
    for each in built_in():
        if each.api_version == api_version and each.kind == kind and "get" in each.verbs:
            return each.qualified, each.namespaced
    for definition in reader.list(DEFINITIONS):
        spec = definition["spec"]
        if spec["names"]["kind"] == kind and spec["group"] == api_version.rpartition("/")[0]:
            return f"{spec['names']['plural']}.{spec['group']}", spec.get("scope") == "Namespaced"
    return None
