"""ValidatingAdmissionPolicies as resources: their expressions must compile (pkg/apis/admissionregistration/validation)."""

from collections.abc import Iterator

from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, invalid_value, required
from apiserver.registry.cel import CelError, compile_expression
from apiserver.registry.strategy import Strategy

VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_PLACES = (
    ("validations", "expression", True),
    ("validations", "messageExpression", False),
    ("matchConditions", "expression", True),
    ("variables", "expression", True),
    ("auditAnnotations", "valueExpression", True),
)


class ValidatingAdmissionPolicyStrategy(Strategy):
    unconditional_update = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = list(_expression_faults(spec))
        if not spec.get("validations") and not spec.get("auditAnnotations"):
            found.append(required("spec.validations", "validations or auditAnnotations must contain at least one item"))
        if not ((spec.get("matchConstraints") or {}).get("resourceRules")):
            found.append(required("spec.matchConstraints.resourceRules"))
        return found


def _expression_faults(spec: Object) -> Iterator[Cause]:
    for field, key, is_needed in _PLACES:
        for number, each in enumerate(spec.get(field) or ()):
            where, text = f"spec.{field}[{number}].{key}", str(each.get(key) or "")
            if not text.strip():
                if is_needed:
                    yield required(where)
                continue
            try:
                compile_expression(text, VARIABLES)
            except CelError as wrong:
                yield invalid_value(where, text, f"compilation failed: {wrong}")
