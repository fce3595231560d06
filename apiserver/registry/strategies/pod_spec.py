"""The spec of a pod, and the template of one (pkg/apis/core/validation, ValidatePodSpec and ValidatePodTemplateSpec)."""

from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, duplicate, forbidden_value, invalid_value, required
from apiserver.registry.strategies import resources
from apiserver.registry.strategies.checks import (
    above_zero,
    address,
    at_least_zero,
    each,
    labels,
    named,
    needed,
    not_found,
    one_of,
    selector,
    unique,
)
from apiserver.registry.strategies.containers import containers
from apiserver.registry.strategies.volumes import volumes

RESTART_POLICIES = ("Always", "Never", "OnFailure")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
EFFECTS = ("NoExecute", "NoSchedule", "PreferNoSchedule")
DNS_NAMESERVERS_MAX = 3


def template(value: Any, path: str, claims: set[str] | None = None) -> list[Cause]:
    """A PodTemplateSpec. `claims`: names of volumes that a StatefulSet will add."""
    if not isinstance(value, dict):
        return []
    meta = value.get("metadata") or {}
    found = labels(meta.get("labels"), f"{path}.metadata.labels")
    for key in meta.get("annotations") or {}:
        found += named(key.lower(), f"{path}.metadata.annotations", names.qualified_name)
    spec = value.get("spec")
    if isinstance(spec, dict):
        found += pod_spec(spec, f"{path}.spec", claims)
        if spec.get("ephemeralContainers"):
            found.append(forbidden_value(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))
    return found


def pod_spec(spec: Object, path: str, claims: set[str] | None = None) -> list[Cause]:
    found, known = volumes(spec.get("volumes"), f"{path}.volumes")
    found += containers(spec, path, known | (claims or set()))
    found += one_of(spec.get("restartPolicy"), f"{path}.restartPolicy", RESTART_POLICIES, needed=True)
    found += one_of(spec.get("dnsPolicy"), f"{path}.dnsPolicy", DNS_POLICIES, needed=True)
    found += at_least_zero(spec.get("terminationGracePeriodSeconds"), f"{path}.terminationGracePeriodSeconds")
    deadline = spec.get("activeDeadlineSeconds")
    if isinstance(deadline, int) and not 1 <= deadline < 2**31:
        found.append(invalid_value(f"{path}.activeDeadlineSeconds", deadline, f"must be between 1 and {2**31 - 1}, inclusive"))
    found += labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    for field, rule in (
        ("serviceAccountName", names.dns1123_subdomain),
        ("nodeName", names.dns1123_subdomain),
        ("hostname", names.dns1123_label),
        ("subdomain", names.dns1123_label),
        ("priorityClassName", names.dns1123_subdomain),
        ("runtimeClassName", names.dns1123_subdomain),
    ):
        found += named(spec.get(field), f"{path}.{field}", rule)
    found += resources.requirements(spec.get("resources"), f"{path}.resources")
    found += _dns(spec, path) + _aliases(spec, path) + tolerations(spec.get("tolerations"), f"{path}.tolerations")
    found += affinity(spec.get("affinity"), f"{path}.affinity") + _spread(spec, path) + _gates(spec, path)
    if spec.get("preemptionPolicy") not in (None, "Never", "PreemptLowerPriority"):
        found += one_of(spec["preemptionPolicy"], f"{path}.preemptionPolicy", ("PreemptLowerPriority", "Never"))
    return found + _claims(spec, path)


def _claims(spec: Object, path: str) -> list[Cause]:
    """Containers ask for resource claims that the pod has."""
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    found: list[Cause] = []
    for kind in ("containers", "initContainers"):
        for at, container in each(spec.get(kind), f"{path}.{kind}"):
            for below, claim in each((container.get("resources") or {}).get("claims"), f"{at}.resources.claims"):
                if claim.get("name") not in known:
                    found.append(not_found(below, claim.get("name")))
    return found


def _dns(spec: Object, path: str) -> list[Cause]:
    config = spec.get("dnsConfig") or {}
    servers = config.get("nameservers") or []
    if spec.get("dnsPolicy") == "None":
        if not config:
            return [required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not servers:
            return [required(f"{path}.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")]
    found = [cause for index, server in enumerate(servers) for cause in address(server, f"{path}.dnsConfig.nameservers[{index}]")]
    if len(servers) > DNS_NAMESERVERS_MAX:
        told = f"must not have more than {DNS_NAMESERVERS_MAX} nameservers"
        found.append(invalid_value(f"{path}.dnsConfig.nameservers", servers, told))
    return found


def _aliases(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, alias in each(spec.get("hostAliases"), f"{path}.hostAliases"):
        found += address(alias.get("ip"), f"{at}.ip")
        for index, hostname in enumerate(alias.get("hostnames") or ()):
            found += named(hostname, f"{at}.hostnames[{index}]", names.dns1123_subdomain)
    return found


def _gates(spec: Object, path: str) -> list[Cause]:
    listed = each(spec.get("schedulingGates"), f"{path}.schedulingGates")
    found = [cause for at, gate in listed for cause in named(gate.get("name"), f"{at}.name", names.qualified_name)]
    if listed and spec.get("nodeName"):
        found.append(forbidden_value(f"{path}.nodeName", "cannot be set until all schedulingGates have been cleared"))
    return found + unique((at, gate.get("name")) for at, gate in listed)


def tolerations(value: Any, path: str) -> list[Cause]:
    found: list[Cause] = []
    for at, toleration in each(value, path):
        key, operator, wanted = toleration.get("key"), toleration.get("operator") or "Equal", toleration.get("value")
        found += named(key, f"{at}.key", names.label_key)
        if not key and operator != "Exists":
            found.append(
                invalid_value(
                    f"{at}.operator",
                    toleration.get("operator") or "",
                    'operator must be Exists when `key` is empty, which means "match all values and all keys"',
                )
            )
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            found.append(invalid_value(f"{at}.effect", toleration.get("effect") or "", "effect must be 'NoExecute' when `tolerationSeconds` is set"))
        if operator == "Equal":
            found += [invalid_value(f"{at}.operator", wanted, fault) for fault in names.label_value(wanted or "")]
        elif operator == "Exists":
            if wanted:
                found.append(invalid_value(f"{at}.operator", toleration, "value must be empty when `operator` is 'Exists'"))
        else:
            found += one_of(operator, f"{at}.operator", ("Equal", "Exists", "Gt", "Lt"))
        found += one_of(toleration.get("effect"), f"{at}.effect", EFFECTS)
    return found


def node_selector_term(term: Object, at: str) -> list[Cause]:
    found: list[Cause] = []
    for below, expression in each(term.get("matchExpressions"), f"{at}.matchExpressions"):
        operator, values = expression.get("operator"), expression.get("values") or []
        if operator in ("In", "NotIn"):
            found += [] if values else [required(f"{below}.values", "must be specified when `operator` is 'In' or 'NotIn'")]
        elif operator in ("Exists", "DoesNotExist"):
            found += [forbidden_value(f"{below}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")] if values else []
        elif operator in ("Gt", "Lt"):
            if len(values) != 1:
                found.append(required(f"{below}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
        else:
            found.append(invalid_value(f"{below}.operator", operator, "not a valid selector operator"))
        found += named(expression.get("key"), f"{below}.key", names.label_key)
    return found


def node_selector(value: Any, path: str) -> list[Cause]:
    if not isinstance(value, dict):
        return []
    terms = value.get("nodeSelectorTerms")
    if not terms:
        return [required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    return [cause for at, term in each(terms, f"{path}.nodeSelectorTerms") for cause in node_selector_term(term, at)]


def affinity(value: Any, path: str) -> list[Cause]:
    if not isinstance(value, dict):
        return []
    found: list[Cause] = []
    of_nodes = value.get("nodeAffinity") or {}
    wanted, preferred = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
    found += node_selector(of_nodes.get(wanted), f"{path}.nodeAffinity.{wanted}")
    for at, term in each(of_nodes.get(preferred), f"{path}.nodeAffinity.{preferred}"):
        found += _weight(term, at) + node_selector_term(term.get("preference") or {}, f"{at}.preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        of_pods = value.get(kind) or {}
        for at, term in each(of_pods.get(wanted), f"{path}.{kind}.{wanted}"):
            found += _pod_term(term, at)
        for at, term in each(of_pods.get(preferred), f"{path}.{kind}.{preferred}"):
            found += _weight(term, at) + _pod_term(term.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return found


def _weight(term: Object, at: str) -> list[Cause]:
    weight = term.get("weight")
    return [invalid_value(f"{at}.weight", weight, "must be in the range 1-100")] if isinstance(weight, int) and not 1 <= weight <= 100 else []


def _pod_term(term: Object, at: str) -> list[Cause]:
    found = selector(term.get("labelSelector"), f"{at}.labelSelector") + selector(term.get("namespaceSelector"), f"{at}.namespaceSelector")
    if term.get("topologyKey") == "":
        found.append(required(f"{at}.topologyKey", "can not be empty"))
    return found + named(term.get("topologyKey"), f"{at}.topologyKey", names.label_key)


def _spread(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    listed = each(spec.get("topologySpreadConstraints"), f"{path}.topologySpreadConstraints")
    for at, term in listed:
        found += above_zero(term.get("maxSkew"), f"{at}.maxSkew") + needed(term.get("topologyKey"), f"{at}.topologyKey", "can not be empty")
        found += one_of(term.get("whenUnsatisfiable"), f"{at}.whenUnsatisfiable", ("DoNotSchedule", "ScheduleAnyway"), needed=True)
        domains = term.get("minDomains")
        found += above_zero(domains, f"{at}.minDomains")
        if domains is not None and term.get("whenUnsatisfiable") != "DoNotSchedule":
            told = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + str(term.get("whenUnsatisfiable"))
            found.append(invalid_value(f"{at}.minDomains", domains, told))
        for field in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            found += one_of(term.get(field), f"{at}.{field}", ("Honor", "Ignore"))
        found += selector(term.get("labelSelector"), f"{at}.labelSelector")
    taken: set[tuple[Any, Any]] = set()
    for at, term in listed:
        pair = term.get("topologyKey"), term.get("whenUnsatisfiable")
        if pair in taken:
            found.append(duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}"))
        taken.add(pair)
    return found
