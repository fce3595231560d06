"""Ingresses, ingress classes, network policies (pkg/apis/networking/validation)."""

import ipaddress
from typing import Any

from apiserver.machinery import names
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, forbidden_value, invalid_value, not_supported, required
from apiserver.registry.strategies import warnings
from apiserver.registry.strategies.checks import each, given, named, needed, network, one_of, port, port_or_name, selector, unchanged
from apiserver.registry.strategies.config import Plain
from apiserver.registry.strategy import Strategy

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
NOT_IN_PATHS = ("//", "/./", "/../", "%2f", "%2F")
NOT_AT_THE_END = ("/..", "/.")


class IngressStrategy(Strategy):
    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found: list[Cause] = []
        if not spec.get("rules") and not spec.get("defaultBackend"):
            found.append(invalid_value("spec", spec, "either `defaultBackend` or `rules` must be specified"))
        if isinstance(spec.get("defaultBackend"), dict):
            found += self._backend(spec["defaultBackend"], "spec.defaultBackend")
        found += given(spec.get("ingressClassName"), "spec.ingressClassName", names.dns1123_subdomain)
        for at, rule in each(spec.get("rules"), "spec.rules"):
            found += self._host(rule.get("host"), f"{at}.host")
            if isinstance(rule.get("http"), dict) and not rule["http"].get("paths"):
                found.append(required(f"{at}.http.paths"))
            for below, path in each((rule.get("http") or {}).get("paths"), f"{at}.http.paths"):
                found += self._path(path, below)
        for at, tls in each(spec.get("tls"), "spec.tls"):
            for index, host in enumerate(tls.get("hosts") or ()):
                rule_of = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
                found += given(host, f"{at}.hosts[{index}]", rule_of)
            found += named(tls.get("secretName"), f"{at}.secretName", names.dns1123_subdomain)
        return found

    def warnings(self, obj: Object) -> list[str]:
        return warnings.of_ingress(obj)

    @staticmethod
    def _host(host: Any, at: str) -> list[Cause]:
        if not host:
            return []
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return named(host, at, names.wildcard_subdomain if "*" in host else names.dns1123_subdomain)
        return [invalid_value(at, host, "must be a DNS name, not an IP address")]

    def _path(self, path: Object, at: str) -> list[Cause]:
        kind, text = path.get("pathType"), path.get("path") or ""
        found: list[Cause] = []
        if not kind:
            found.append(required(f"{at}.pathType", "pathType must be specified"))
        elif kind not in PATH_TYPES:
            found.append(not_supported(f"{at}.pathType", kind, list(PATH_TYPES)))
        if kind in ("Exact", "Prefix"):
            if not text.startswith("/"):
                found.append(invalid_value(f"{at}.path", text, "must be an absolute path"))
            found += [invalid_value(f"{at}.path", text, f"must not contain '{one}'") for one in NOT_IN_PATHS if one in text]
            found += [invalid_value(f"{at}.path", text, f"cannot end with '{one}'") for one in NOT_AT_THE_END if text.endswith(one)]
        elif text and not text.startswith("/"):
            found.append(invalid_value(f"{at}.path", text, "must be an absolute path"))
        return found + self._backend(path.get("backend") or {}, f"{at}.backend")

    @staticmethod
    def _backend(backend: Object, at: str) -> list[Cause]:
        service, resource = backend.get("service"), backend.get("resource")
        if service and resource:
            return [invalid_value(at, "", "cannot set both resource and service backends")]
        if resource:
            found = given(resource.get("apiGroup"), f"{at}.resource.apiGroup", names.dns1123_subdomain)
            return found + needed(resource.get("kind"), f"{at}.resource.kind") + needed(resource.get("name"), f"{at}.resource.name")
        if not service:
            return [required(at, "resource or service backend is required")]
        found = needed(service.get("name"), f"{at}.service.name") + named(service.get("name"), f"{at}.service.name", names.dns1035_label)
        wanted = service.get("port") or {}
        name, number = wanted.get("name"), wanted.get("number")
        if name and number:
            found.append(invalid_value(at, "", "cannot set both port name & port number"))
        elif name:
            found += named(name, f"{at}.service.port.name", names.port_name)
        elif number:
            found += port(number, f"{at}.service.port.number")
        else:
            found.append(required(at, "port name or number is required"))
        return found


class IngressClassStrategy(Plain):
    def validate(self, obj: Object) -> list[Cause]:
        controller = (obj.get("spec") or {}).get("controller") or ""
        found = [] if controller else [required("spec.controller")]
        if controller and "/" not in controller:
            found.append(invalid_value("spec.controller", controller, 'must be a domain-prefixed path (such as "acme.io/foo")'))
        return found

    def validate_update(self, new: Object, old: Object) -> list[Cause]:
        return unchanged((new.get("spec") or {}).get("controller"), (old.get("spec") or {}).get("controller"), "spec.controller")


class NetworkPolicyStrategy(Strategy):
    has_status = False

    def validate(self, obj: Object) -> list[Cause]:
        spec = obj.get("spec") or {}
        found = selector(spec.get("podSelector"), "spec.podSelector")
        for kind, peers in (("ingress", "from"), ("egress", "to")):
            for at, rule in each(spec.get(kind), f"spec.{kind}"):
                for below, one in each(rule.get("ports"), f"{at}.ports"):
                    found += self._port(one, below)
                for below, peer in each(rule.get(peers), f"{at}.{peers}"):
                    found += self._peer(peer, below)
        types = spec.get("policyTypes") or []
        if len(types) > 2:
            found.append(invalid_value("spec.policyTypes", types, "may not specify more than two policyTypes"))
        return found + [cause for index, one in enumerate(types) for cause in one_of(one, f"spec.policyTypes[{index}]", ("Egress", "Ingress"))]

    @staticmethod
    def _port(one: Object, at: str) -> list[Cause]:
        found = one_of(one.get("protocol"), f"{at}.protocol", ("SCTP", "TCP", "UDP")) + port_or_name(one.get("port"), f"{at}.port")
        last = one.get("endPort")
        if isinstance(last, int):
            if isinstance(one.get("port"), str):
                found.append(invalid_value(f"{at}.endPort", last, "may not be specified when `port` is non-numeric"))
            elif one.get("port") is None:
                found.append(invalid_value(f"{at}.endPort", last, "may not be specified when `port` is not specified"))
            elif last < one["port"]:
                found.append(invalid_value(f"{at}.endPort", last, "must be greater than or equal to `port`"))
            found += port(last, f"{at}.endPort")
        return found

    @staticmethod
    def _peer(peer: Object, at: str) -> list[Cause]:
        block = peer.get("ipBlock")
        if not any(isinstance(peer.get(name), dict) for name in ("podSelector", "namespaceSelector", "ipBlock")):
            return [required(at, "must specify a peer")]
        found = selector(peer.get("podSelector"), f"{at}.podSelector") + selector(peer.get("namespaceSelector"), f"{at}.namespaceSelector")
        if isinstance(block, dict):
            if peer.get("podSelector") is not None or peer.get("namespaceSelector") is not None:
                found.append(forbidden_value(at, "may not specify both ipBlock and another peer"))
            cidr = block.get("cidr") or ""
            faults = [required(f"{at}.ipBlock.cidr")] if not cidr else network(cidr, f"{at}.ipBlock.cidr")
            found += faults
            for index, hole in enumerate(block.get("except") or ()):
                below = f"{at}.ipBlock.except[{index}]"
                if wrong := network(hole, below):
                    found += wrong
                elif not faults and not _inside(hole, cidr):
                    found.append(invalid_value(below, hole, "must be a strict subset of `cidr`"))
        return found


def _inside(hole: str, cidr: str) -> bool:
    inner, outer = ipaddress.ip_network(hole), ipaddress.ip_network(cidr)
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner != outer and inner.subnet_of(outer)
    return isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network) and inner != outer and inner.subnet_of(outer)
