"""A pod's priority is what its class says, never what the pod says (plugin/pkg/admission/priority)."""

from apiserver.admission.plugin import is_about, refusal
from apiserver.machinery.objects import Object, name_of
from apiserver.request import Passive, Reader, Write, Writer

CLASSES = "priorityclasses.scheduling.k8s.io"
PREEMPT = "PreemptLowerPriority"
SYSTEM_CLASSES = (
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    ("system-node-critical", 2_000_001_000, "Used for system critical pods that must not be moved from their current node."),
)


async def ensure_system_classes(writer: Writer) -> None:
    """The two that every cluster has, made by each API server at its start unless they are there."""
    for name, value, description in SYSTEM_CLASSES:
        made = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name, "generation": 1}, "value": value}
        await writer.create(CLASSES, {**made, "description": description, "preemptionPolicy": PREEMPT})


class Priority(Passive):
    name = "Priority"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def admit(self, write: Write) -> None:
        if is_about(write, "pods", "CREATE"):
            await self._pod(write)
        elif is_about(write, "pods", "UPDATE") and write.old_object and write.object:
            # Neither is the client's to say: what a client that does not know them leaves out stays.
            new, old = write.object.setdefault("spec", {}), write.old_object.get("spec") or {}
            for key in ("priority", "preemptionPolicy"):
                if new.get(key) is None and old.get(key) is not None:
                    new[key] = old[key]

    async def validate(self, write: Write) -> None:
        if is_about(write, CLASSES, "DELETE") and any(write.name == name for name, _, _ in SYSTEM_CLASSES):
            raise refusal(write, "this is a system priority class and cannot be deleted")
        if not is_about(write, CLASSES, "CREATE", "UPDATE") or not (write.object or {}).get("globalDefault"):
            return
        for each in self._reader.list(CLASSES):
            if each.get("globalDefault") and name_of(each) != write.name:
                raise refusal(write, f"PriorityClass {name_of(each)} is already marked as default. Only one default can exist")

    async def _pod(self, write: Write) -> None:
        spec = (write.object or {}).setdefault("spec", {})
        found = await self._class_of(write, spec)
        priority = found.get("value", 0) if found else 0
        policy = (found or {}).get("preemptionPolicy") or PREEMPT
        if spec.get("priority") is not None and spec["priority"] != priority:
            told = f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            raise refusal(write, told + f"priority admission controller computed {priority} from the given PriorityClass name")
        if spec.get("preemptionPolicy") and spec["preemptionPolicy"] != policy:
            told = f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
            raise refusal(write, told + f"priority admission controller computed {policy} from the given PriorityClass name")
        spec["priority"], spec["preemptionPolicy"] = priority, policy

    async def _class_of(self, write: Write, spec: Object) -> Object | None:
        name = spec.get("priorityClassName")
        if name:
            found = self._reader.get(CLASSES, "", name) or await self._reader.fresh(CLASSES, "", name)
            if found is None:
                raise refusal(write, f"no PriorityClass with name {name} was found")
            return found
        defaults = [each for each in self._reader.list(CLASSES) if each.get("globalDefault")]
        # Two may stand a moment when two servers admit at once: the lower one, as upstream has it.
        chosen = min(defaults, key=lambda each: each.get("value", 0), default=None)
        if chosen is not None:
            spec["priorityClassName"] = name_of(chosen)
        return chosen
