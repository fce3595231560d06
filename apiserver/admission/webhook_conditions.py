"""matchConditions: expressions in CEL that all must hold before a webhook is asked (apiserver/pkg/admission/plugin/webhook/matchconditions).

They see `object`, `oldObject` and `request`. `authorizer` is not there: an expression that uses it does not compile, which is a failure of the call.
"""

from apiserver.admission.expressions import conditions_match, variables_of
from apiserver.machinery.objects import Object
from apiserver.request import Write


def is_wanted(webhook: Object, write: Write) -> bool:
    """One that says no is enough, whatever others would have failed with. Raises CelError if none says no and one fails."""
    conditions = webhook.get("matchConditions") or []
    return not conditions or conditions_match(conditions, variables_of(write))
