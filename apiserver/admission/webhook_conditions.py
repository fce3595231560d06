"""matchConditions: expressions in CEL that all must hold before a webhook is asked (apiserver/pkg/admission/plugin/webhook/matchconditions).

They see `object`, `oldObject` and `request`. `authorizer` is not there: an expression that uses it does not compile, which is a failure of the call.
"""

from apiserver.admission.webhook_client import request_of
from apiserver.machinery.objects import Object
from apiserver.registry.cel import CelError, compile_expression
from apiserver.request import Write

VARIABLES = ("object", "oldObject", "request")


def is_wanted(webhook: Object, write: Write) -> bool:
    """One that says no is enough, whatever others would have failed with. Raises CelError if none says no and one fails."""
    conditions = webhook.get("matchConditions") or ()
    if not conditions:
        return True
    request = {key: value for key, value in request_of(write, "").items() if key not in ("object", "oldObject", "uid")}
    variables = {"object": write.object, "oldObject": write.old_object, "request": request}
    failed: CelError | None = None
    for condition in conditions:
        try:
            answer = compile_expression(str(condition.get("expression") or ""), VARIABLES).evaluate(variables)
        except CelError as error:
            failed = CelError(f"match condition {condition.get('name')!r}: {error}")
            continue
        if answer is False:
            return False
        if answer is not True:
            failed = CelError(f"match condition {condition.get('name')!r} is neither true nor false")
    if failed is not None:
        raise failed
    return True
