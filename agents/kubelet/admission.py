"""What a node refuses although the scheduler sent it: pods that do not fit, or do not belong here (kubelet's lifecycle predicates). Pure.

The scheduler decides on what it knew; two schedulers, or a pod that names its node itself, can send too much.
"""

from collections.abc import Mapping, Sequence

from agents.kubelet import pods
from apiserver.machinery.objects import Object, labels_of, name_of
from apiserver.machinery.quantity import parse
from apiserver.machinery.selectors import EXISTS, GREATER, IN, LESS, MISSING, NOT_IN, requirement

_SAFE_SYSCTLS = """
kernel.shm_rmid_forced net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports net.ipv4.ip_unprivileged_port_start net.ipv4.ping_group_range
net.ipv4.tcp_fin_timeout net.ipv4.tcp_keepalive_intvl net.ipv4.tcp_keepalive_probes net.ipv4.tcp_keepalive_time net.ipv4.tcp_rmem
net.ipv4.tcp_syncookies net.ipv4.tcp_wmem
"""
SAFE_SYSCTLS = frozenset(_SAFE_SYSCTLS.split())
"""What belongs to a pod's own namespaces. Any other setting is, or could be, the whole machine's (pkg/kubelet/sysctl/safe_sysctls.go)."""


def forbidden_sysctl(pod: Object) -> tuple[str, str] | None:
    """Reason and message, or None."""
    spec = pod["spec"]
    for each in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = str(each.get("name", ""))
        why = ""
        if name.replace("/", ".") not in SAFE_SYSCTLS:
            why = "not allowlisted"
        elif spec.get("hostNetwork") and name.startswith("net"):
            why = "not allowed with host net enabled"
        elif spec.get("hostIPC") and name.startswith("kernel"):
            why = "not allowed with host ipc enabled"
        if why:
            return "SysctlForbidden", f'Pod was rejected: forbidden sysctl: "{name}" {why}'
    return None


def unenforceable(pod: Object) -> tuple[str, str] | None:
    """A profile of AppArmor that nobody here would enforce (kubelet's appArmorAdmitHandler on a node without it). Reason and message, or None."""
    spec = pod["spec"]
    for holder in (spec, *pods.every_container(pod)):
        kind = ((holder.get("securityContext") or {}).get("appArmorProfile") or {}).get("type")
        if kind not in (None, "Unconfined"):
            return "AppArmor", "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
    return None


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
