"""TaintNodesByCondition: a new node takes no pods until somebody has seen it ready (plugin/pkg/admission/nodetaint)."""

from apiserver.admission.plugin import is_about
from apiserver.request import Passive, Write

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(Passive):
    name = "TaintNodesByCondition"

    async def admit(self, write: Write) -> None:
        if not is_about(write, "nodes", "CREATE"):
            return
        spec = (write.object or {}).setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(each.get("key") == NOT_READY["key"] and each.get("effect") == NOT_READY["effect"] for each in taints):
            spec["taints"] = [*taints, dict(NOT_READY)]
