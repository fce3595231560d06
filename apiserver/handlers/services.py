"""What a Service gets from the server: its address, its node ports, its families (pkg/registry/core/service/storage/alloc.go)."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from apiserver.machinery.objects import Object, name_of
from apiserver.machinery.status import ApiError, Cause, invalid, invalid_value
from apiserver.storage import addresses, ports
from apiserver.storage.addresses import Addresses
from apiserver.storage.claims import Claim
from apiserver.storage.ports import Ports

IP, PORT = "ip", "port"
NONE = "None"
HAVE_PORTS = ("NodePort", "LoadBalancer")


class Services:
    """The allocator of services."""

    def __init__(self, addresses: Addresses, ports: Ports) -> None:
        self.addresses = addresses
        self.ports = ports

    def carry(self, new: Object, old: Object) -> None:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        if needs_address(spec) and needs_address(before):
            for name in ("clusterIP", "clusterIPs"):
                if not spec.get(name) and before.get(name):
                    spec[name] = before[name]
        for name in ("ipFamilies", "ipFamilyPolicy"):
            if spec.get("type") != "ExternalName" and not spec.get(name) and before.get(name):
                spec[name] = before[name]
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if needs_ports(spec) and needs_ports(before):
            used = {port.get("nodePort") for port in spec.get("ports") or ()}
            known = {_which(port): port.get("nodePort") for port in before.get("ports") or ()}
            for port in spec.get("ports") or ():
                carried = known.get(_which(port))
                if not port.get("nodePort") and carried and carried not in used:
                    port["nodePort"] = carried
                    used.add(carried)
        if needs_health_port(spec) and needs_health_port(before) and not spec.get("healthCheckNodePort"):
            spec["healthCheckNodePort"] = before.get("healthCheckNodePort")
        if not needs_ports(spec) and needs_ports(before):
            # A client that takes the type back seldom takes the ports back with it; they were never its own.
            known = {_which(port): port.get("nodePort") for port in before.get("ports") or ()}
            for port in spec.get("ports") or ():
                if port.get("nodePort") and known.get(_which(port)) == port["nodePort"]:
                    del port["nodePort"]
        if spec.get("type") == "ExternalName" and before.get("type") != "ExternalName":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if spec.get(name) == before.get(name):
                    spec.pop(name, None)

    async def claim(self, obj: Object, old: Object | None, *, dry_run: bool) -> tuple[Object, Set[Claim]]:
        spec: dict[str, Any] = dict(obj.get("spec") or {})
        if spec.get("ports"):
            spec["ports"] = [dict(port) for port in spec["ports"]]
        complete = {**obj, "spec": spec}
        taken: set[Claim] = set()
        ours = self.held(old) if old is not None else set()
        try:
            await self._address(complete, spec, taken, ours, dry_run=dry_run)
            await self._node_ports(complete, spec, taken, ours, dry_run=dry_run)
        except BaseException:
            if taken and not dry_run:
                await self.release(taken, obj)
            raise
        return complete, taken

    async def _address(self, obj: Object, spec: dict[str, Any], taken: set[Claim], ours: Set[Claim], *, dry_run: bool) -> None:
        if spec.get("type") == "ExternalName":
            return
        spec.setdefault("ipFamilies", [self.addresses.family])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        if spec.get("clusterIP") == NONE:
            spec["clusterIPs"] = [NONE]
            return
        wanted = spec.get("clusterIP") or next(iter(spec.get("clusterIPs") or ()), "")
        if (IP, wanted) in ours:
            return
        try:
            address = await self.addresses.claim(obj, wanted, dry_run=dry_run)
        except addresses.OutOfRange:
            range_ = self.addresses.network
            told = f"failed to allocate IP {wanted}: the provided network does not match the current range"
            if "." in wanted or ":" in wanted:
                told = f"failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {range_}"
            raise _refused(obj, Cause("FieldValueInvalid", f'Invalid value: []string{{"{wanted}"}}: {told}', "spec.clusterIPs")) from None
        except addresses.Taken:
            told = f'Invalid value: []string{{"{wanted}"}}: failed to allocate IP {wanted}: provided IP is already allocated'
            raise _refused(obj, Cause("FieldValueInvalid", told, "spec.clusterIPs")) from None
        except addresses.Exhausted:
            raise ApiError("InternalError", "failed to allocate a serviceIP: range is full") from None
        taken.add((IP, address))
        spec["clusterIP"], spec["clusterIPs"] = address, [address]

    async def _node_ports(self, obj: Object, spec: dict[str, Any], taken: set[Claim], ours: Set[Claim], *, dry_run: bool) -> None:
        if needs_ports(spec):
            by_number: dict[int, set[str]] = {}
            for index, port in enumerate(spec.get("ports") or ()):
                wanted, protocol = port.get("nodePort") or 0, port.get("protocol", "TCP")
                # Two protocols may share a number within one service.
                if wanted and wanted in by_number and protocol not in by_number[wanted]:
                    by_number[wanted].add(protocol)
                    continue
                if (PORT, str(wanted)) not in ours:
                    port["nodePort"] = await self._port(obj, wanted, f"spec.ports[{index}].nodePort", dry_run=dry_run)
                    taken.add((PORT, str(port["nodePort"])))
                by_number.setdefault(port["nodePort"], set()).add(protocol)
        if needs_health_port(spec):
            wanted = spec.get("healthCheckNodePort") or 0
            if (PORT, str(wanted)) not in ours:
                spec["healthCheckNodePort"] = await self._port(obj, wanted, "spec.healthCheckNodePort", dry_run=dry_run)
                taken.add((PORT, str(spec["healthCheckNodePort"])))

    async def _port(self, obj: Object, wanted: int, field: str, *, dry_run: bool) -> int:
        try:
            return await self.ports.claim(wanted, dry_run=dry_run)
        except ports.OutOfRange:
            told = f"provided port is not in the valid range. The range of valid ports is {self.ports.text}"
            raise _refused(obj, invalid_value(field, wanted, told)) from None
        except ports.Taken:
            raise _refused(obj, invalid_value(field, wanted, "provided port is already allocated")) from None
        except ports.Exhausted:
            raise ApiError("InternalError", "failed to allocate a nodePort: range is full") from None

    def held(self, obj: Object) -> Set[Claim]:
        spec = obj.get("spec") or {}
        found: set[Claim] = {(IP, each) for each in spec.get("clusterIPs") or () if each != NONE}
        found |= {(PORT, str(port["nodePort"])) for port in spec.get("ports") or () if port.get("nodePort")}
        if spec.get("healthCheckNodePort"):
            found.add((PORT, str(spec["healthCheckNodePort"])))
        return found

    async def release(self, claims: Set[Claim], obj: Object) -> None:
        for kind, value in claims:
            if kind == IP:
                await self.addresses.release(obj, value)
        await self.ports.release(int(value) for kind, value in claims if kind == PORT)


def needs_address(spec: Object) -> bool:
    return spec.get("type", "ClusterIP") != "ExternalName" and spec.get("clusterIP") != NONE


def needs_ports(spec: Object) -> bool:
    if spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
        return False
    return spec.get("type") in HAVE_PORTS


def needs_health_port(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _which(port: Object) -> tuple[str, int]:
    return port.get("protocol", "TCP"), port.get("port", 0)


def _refused(obj: Object, cause: Cause) -> ApiError:
    return invalid("", "Service", name_of(obj), [cause])
