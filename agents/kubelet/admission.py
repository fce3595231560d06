"""What a node refuses although the scheduler sent it: pods that do not fit, or do not belong here (kubelet's lifecycle predicates). Pure.

The scheduler decides on what it knew; two schedulers, or a pod that names its node itself, can send too much.
"""

from collections.abc import Mapping, Sequence

from agents.kubelet import pods
from apiserver.machinery.objects import Object, labels_of, name_of
from apiserver.machinery.quantity import parse
from apiserver.machinery.selectors import EXISTS, GREATER, IN, LESS, MISSING, NOT_IN, requirement


def refusal(pod: Object, others: Sequence[Object], node: Object, allocatable: Mapping[str, str]) -> tuple[str, str] | None:
    """Reason and message, or None. `others`: the pods that the node has already."""
    spec = pod["spec"]
    labels = labels_of(node)
    if not _selected(spec, node, labels):
        return "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    if len(others) + 1 > int(allocatable.get("pods", "110")):
        text = f"Node didn't have enough resource: pods, requested: 1, used: {len(others)}, capacity: {allocatable['pods']}"
        return "OutOfpods", f"Pod was rejected: {text}"
    for name, amount in allocatable.items():
        if name == "pods":
            continue
        wanted = pods.requested(pod, name)
        if not wanted:
            continue
        used = parse("0")
        for other in others:
            used = used + pods.requested(other, name)
        capacity = parse(amount)
        if used + wanted > capacity:
            numbers = [each.milli_value if name == "cpu" else each.value for each in (wanted, used, capacity)]
            text = f"Node didn't have enough resource: {name}, requested: {numbers[0]}, used: {numbers[1]}, capacity: {numbers[2]}"
            return f"OutOf{name}", f"Pod was rejected: {text}"
    taken = {port for other in others for port in _host_ports(other)}
    if taken & set(_host_ports(pod)):
        return "NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
    return None


def _selected(spec: Object, node: Object, labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if not affinity:
        return True
    return any(_term_holds(term, node, labels) for term in affinity.get("nodeSelectorTerms") or ())


def _term_holds(term: Object, node: Object, labels: Mapping[str, str]) -> bool:
    """An empty term selects nothing."""
    expressions, names = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not names:
        return False
    fields = {"metadata.name": name_of(node)}
    return all(_holds(each, labels) for each in expressions) and all(_holds(each, fields) for each in names)


OPERATORS = {"In": IN, "NotIn": NOT_IN, "Exists": EXISTS, "DoesNotExist": MISSING, "Gt": GREATER, "Lt": LESS}


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    return requirement(expression["key"], OPERATORS[expression["operator"]], tuple(expression.get("values") or ())).matches(labels)


def _host_ports(pod: Object) -> list[tuple[str, str, int]]:
    found = []
    for container in pods.containers(pod):
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port["containerPort"] if pods.host_network(pod) else 0)
            if number:
                found.append((port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", int(number)))
    return found
