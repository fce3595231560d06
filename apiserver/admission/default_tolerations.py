"""DefaultTolerationSeconds: a pod stays on a node that is not ready or out of reach for five minutes, unless it says otherwise."""

from apiserver.admission.plugin import is_about
from apiserver.request import Passive, Write

SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(Passive):
    """`not_ready_s`, `unreachable_s`: --default-not-ready-toleration-seconds, --default-unreachable-toleration-seconds."""

    name = "DefaultTolerationSeconds"

    def __init__(self, not_ready_s: int = SECONDS, unreachable_s: int = SECONDS) -> None:
        self._seconds = dict(zip(TAINTS, (not_ready_s, unreachable_s), strict=True))

    async def admit(self, write: Write) -> None:
        if not is_about(write, "pods", "CREATE", "UPDATE"):
            return
        spec = (write.object or {}).setdefault("spec", {})
        tolerations = spec.get("tolerations") or []
        added = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            for key, seconds in self._seconds.items()
            if not any((each.get("key") or key) == key and (each.get("effect") or "NoExecute") == "NoExecute" for each in tolerations)
        ]
        if added:
            spec["tolerations"] = [*tolerations, *added]
