"""Services, endpoints and endpoint slices (pkg/apis/core/validation, ValidateService; pkg/apis/discovery/validation)."""

import ipaddress
from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, duplicate, forbidden_value, invalid_value, required
from apiserver.registry.strategies import warnings
from apiserver.registry.strategies.checks import (
    above_zero,
    address,
    each,
    labels,
    named,
    needed,
    network,
    one_of,
    outside_address,
    port,
    port_or_name,
    too_many,
    unchanged,
    unique,
)
from apiserver.registry.strategy import Strategy

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
POLICIES = ("Cluster", "Local")
PROTOCOLS = ("SCTP", "TCP", "UDP")
AFFINITY_SECONDS_MAX = 86400
ENDPOINTS_MAX = 1000
SLICE_PORTS_MAX = 20000
ADDRESSES_MAX = 100
HEADLESS = "None"


class ServiceStrategy(Strategy):
    counts_generation = False
    create_on_update = True

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {"loadBalancer": {}}
        self._same_first(obj.get("spec") or {})
        self._drop_unfit(obj.get("spec") or {})

    def prepare_update(self, new: Object, old: Object) -> None:
        super().prepare_update(new, old)
        after, before = new.get("spec") or {}, old.get("spec") or {}
        self._keep_allocated(after, before)
        self._same_first(after)
        self._drop_unfit(after, before)

    @staticmethod
    def _keep_allocated(after: Object, before: Object) -> None:
        """What the server gave stays if a client that knows nothing of it leaves it out (patchAllocatedValues)."""
        if after.get("type") == "ExternalName":
            return
        if before.get("type") != "ExternalName":
            if not after.get("clusterIP") and not after.get("clusterIPs"):
                for field in ("clusterIP", "clusterIPs"):
                    if field in before:
                        after[field] = before[field]
            for field in ("ipFamilies", "ipFamilyPolicy"):
                if field in before:
                    after.setdefault(field, before[field])
        if after.get("type") in ("NodePort", "LoadBalancer") and before.get("type") in ("NodePort", "LoadBalancer"):
            known = {(each_port.get("protocol"), each_port.get("port")): each_port.get("nodePort") for each_port in before.get("ports") or ()}
            used = {each_port.get("nodePort") for each_port in after.get("ports") or ()}
            for each_port in after.get("ports") or ():
                given = known.get((each_port.get("protocol"), each_port.get("port")))
                if not each_port.get("nodePort") and given and given not in used:
                    each_port["nodePort"] = given
        if after.get("externalTrafficPolicy") == "Local" and before.get("healthCheckNodePort"):
            after.setdefault("healthCheckNodePort", before["healthCheckNodePort"])

    @staticmethod
    def _same_first(spec: Object) -> None:
        """`clusterIP` is the first of `clusterIPs` (normalizeClusterIPs)."""
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]

    @staticmethod
    def _drop_unfit(spec: Object, before: Object | None = None) -> None:
        """Fields that another type needed and the new one does not have (dropTypeDependentFields)."""
        was = (before or {}).get("type")
        if spec.get("type") == "ExternalName" and was not in (None, "ExternalName"):
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if spec.get(field) == (before or {}).get(field):
                    spec.pop(field, None)
        if spec.get("type") in ("ClusterIP", "ExternalName") and was in ("NodePort", "LoadBalancer"):
            given = {each_port.get("nodePort") for each_port in (before or {}).get("ports") or ()}
            for each_port in spec.get("ports") or ():
                if each_port.get("nodePort") in given:
                    each_port.pop("nodePort", None)
            if spec.get("externalTrafficPolicy") == (before or {}).get("externalTrafficPolicy") and not spec.get("externalIPs"):
                spec.pop("externalTrafficPolicy", None)
        if spec.get("type") != "LoadBalancer" and was == "LoadBalancer":
            for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"):
                if spec.get(field) == (before or {}).get(field):
                    spec.pop(field, None)

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        kind, headless = spec.get("type"), spec.get("clusterIP") == HEADLESS
        found = self._ports(spec, kind, headless) + labels(spec.get("selector"), "spec.selector")
        found += one_of(kind, "spec.type", TYPES, needed=True)
        found += one_of(spec.get("sessionAffinity"), "spec.sessionAffinity", ("ClientIP", "None"), needed=True)
        found += self._affinity(spec) + self._addresses(spec)
        if kind == "LoadBalancer" and headless:
            found.append(invalid_value("spec.clusterIPs[0]", HEADLESS, "may not be set to 'None' for LoadBalancer services"))
        if kind == "NodePort" and headless:
            found.append(invalid_value("spec.clusterIPs[0]", HEADLESS, "may not be set to 'None' for NodePort services"))
        if kind == "ExternalName":
            if spec.get("clusterIP"):
                found.append(forbidden_value("spec.clusterIPs", "may not be set when `type` is 'ExternalName'"))
            name = str(spec.get("externalName") or "").removesuffix(".")
            found += named(name, "spec.externalName", names.dns1123_subdomain) if name else [required("spec.externalName")]
        if kind not in ("LoadBalancer", "NodePort") and not spec.get("externalIPs") and spec.get("externalTrafficPolicy"):
            found.append(
                invalid_value("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], "may only be set for externally-accessible services")
            )
        found += one_of(spec.get("externalTrafficPolicy"), "spec.externalTrafficPolicy", POLICIES)
        found += one_of(spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy", POLICIES)
        if kind != "LoadBalancer":
            if spec.get("loadBalancerClass") is not None:
                found.append(forbidden_value("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'"))
            if spec.get("allocateLoadBalancerNodePorts") is not None:
                found.append(forbidden_value("spec.allocateLoadBalancerNodePorts", "may only be used when `type` is 'LoadBalancer'"))
            if spec.get("loadBalancerSourceRanges"):
                found.append(forbidden_value("spec.LoadBalancerSourceRanges", "may only be used when `type` is 'LoadBalancer'"))
        return found

    def warnings(self, obj: Object) -> list[str]:
        return warnings.of_service(obj)

    @staticmethod
    def _ports(spec: Object, kind: Any, headless: bool) -> list[Cause]:
        listed = each(spec.get("ports"), "spec.ports")
        found: list[Cause] = []
        if not listed and not headless and kind != "ExternalName":
            found.append(required("spec.ports"))
        for at, one in listed:
            name = one.get("name")
            if not name and len(listed) > 1:
                found.append(required(f"{at}.name"))
            found += named(name, f"{at}.name", names.dns1123_label)
            found += port(one.get("port"), f"{at}.port") + one_of(one.get("protocol"), f"{at}.protocol", PROTOCOLS, needed=True)
            found += port_or_name(one.get("targetPort"), f"{at}.targetPort")
            if one.get("appProtocol"):
                found += named(one["appProtocol"], f"{at}.appProtocol", names.qualified_name)
            if one.get("nodePort") and kind == "ClusterIP":
                found.append(forbidden_value(f"{at}.nodePort", "may not be used when `type` is 'ClusterIP'"))
        found += unique((f"{at}.name", one["name"]) for at, one in listed if one.get("name"))
        taken: set[tuple[Any, Any]] = set()
        for at, one in listed:
            pair = one.get("protocol"), one.get("port")
            if pair in taken:
                found.append(duplicate(at, {"port": pair[1], "protocol": pair[0]}))
            taken.add(pair)
        nodes: set[tuple[Any, Any]] = set()
        for at, one in listed:
            pair = one.get("protocol"), one.get("nodePort")
            if one.get("nodePort") and pair in nodes:
                found.append(duplicate(f"{at}.nodePort", one["nodePort"]))
            nodes.add(pair)
        return found

    @staticmethod
    def _affinity(spec: Object) -> list[Cause]:
        config = spec.get("sessionAffinityConfig")
        if spec.get("sessionAffinity") == "None" and config is not None:
            return [forbidden_value("spec.sessionAffinityConfig", 'must not be set when session affinity is "None"')]
        seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
        if isinstance(seconds, int) and not 0 < seconds <= AFFINITY_SECONDS_MAX:
            told = f"must be greater than 0 and less than {AFFINITY_SECONDS_MAX}"
            return [invalid_value("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, told)]
        return []

    @staticmethod
    def _addresses(spec: Object) -> list[Cause]:
        found: list[Cause] = []
        addresses = spec.get("clusterIPs") or []
        if spec.get("clusterIP") and addresses and addresses[0] != spec["clusterIP"]:
            found.append(invalid_value("spec.clusterIPs", addresses, "first value must match `clusterIP`"))
        for index, one in enumerate(addresses):
            if one != HEADLESS:
                found += address(one, f"spec.clusterIPs[{index}]")
        for index, one in enumerate(spec.get("externalIPs") or ()):
            found += outside_address(one, f"spec.externalIPs[{index}]")
        if spec.get("type") == "LoadBalancer":
            for index, one in enumerate(spec.get("loadBalancerSourceRanges") or ()):
                found += network(one, f"spec.loadBalancerSourceRanges[{index}]")
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        after, before = new.get("spec") or {}, old.get("spec") or {}
        found: list[Cause] = []
        if (
            "ExternalName" not in (after.get("type"), before.get("type"))
            and before.get("clusterIP")
            and after.get("clusterIP") != before["clusterIP"]
        ):
            found.append(invalid_value("spec.clusterIPs[0]", after.get("clusterIPs") or [after.get("clusterIP")], "may not change once set"))
        if before.get("type") == "LoadBalancer" == after.get("type"):
            found += unchanged(after.get("loadBalancerClass"), before.get("loadBalancerClass"), "spec.loadBalancerClass", "may not change once set")
        return found


class EndpointsStrategy(Strategy):
    has_status = False
    counts_generation = False
    create_on_update = True

    def validate(self, obj: Object) -> list[Cause]:
        found: list[Cause] = []
        for at, subset in each(obj.get("subsets"), "subsets"):
            if not subset.get("addresses") and not subset.get("notReadyAddresses"):
                found.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
            for kind in ("addresses", "notReadyAddresses"):
                for below, one in each(subset.get(kind), f"{at}.{kind}"):
                    found += endpoint_address(one.get("ip"), f"{below}.ip")
            for below, one in each(subset.get("ports"), f"{at}.ports"):
                found += port(one.get("port"), f"{below}.port") + one_of(one.get("protocol"), f"{below}.protocol", PROTOCOLS, needed=True)
                if not one.get("name") and len(subset["ports"]) > 1:
                    found.append(required(f"{below}.name"))
                found += named(one.get("name"), f"{below}.name", names.dns1123_label)
        return found


def endpoint_address(value: Any, path: str) -> list[Cause]:
    """An address that traffic may go to: not this host, not everybody."""
    found = address(value, path)
    if found:
        return found
    one = ipaddress.ip_address(value)
    for is_so, why in (
        (one.is_unspecified, "may not be unspecified (0.0.0.0 or ::)"),
        (one.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (one.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (one.is_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ):
        if is_so:
            return [invalid_value(path, value, why)]
    return []


class EndpointSliceStrategy(Strategy):
    has_status = False
    create_on_update = False

    def validate(self, obj: Object) -> list[Cause]:
        kind = obj.get("addressType")
        found = one_of(kind, "addressType", ("FQDN", "IPv4", "IPv6"), needed=True)
        endpoints, ports = each(obj.get("endpoints"), "endpoints"), each(obj.get("ports"), "ports")
        if len(endpoints) > ENDPOINTS_MAX:
            found.append(too_many("endpoints", ENDPOINTS_MAX))
        if len(ports) > SLICE_PORTS_MAX:
            found.append(too_many("ports", SLICE_PORTS_MAX))
        for at, endpoint in endpoints:
            addresses = endpoint.get("addresses") or []
            found += needed(addresses, f"{at}.addresses", "must contain at least 1 address")
            if len(addresses) > ADDRESSES_MAX:
                found.append(too_many(f"{at}.addresses", ADDRESSES_MAX))
            for index, one in enumerate(addresses):
                below = f"{at}.addresses[{index}]"
                found += named(one, below, names.dns1123_subdomain) if kind == "FQDN" else endpoint_address(one, below)
            found += named(endpoint.get("hostname"), f"{at}.hostname", names.dns1123_label)
        for at, one in ports:
            found += one_of(one.get("protocol"), f"{at}.protocol", PROTOCOLS, needed=True) + above_zero(one.get("port"), f"{at}.port")
            found += named(one.get("name"), f"{at}.name", names.dns1123_label)
        return found + unique((f"{at}.name", one.get("name") or "") for at, one in ports)

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged(new.get("addressType"), old.get("addressType"), "addressType")
