"""Addresses are given once, kept, and given back."""

import asyncio
from typing import Any

import pytest

from agents.cloud.local import Local, zone_of
from agents.cloud.provider import Address, NoAddress
from agents.cloud.services import FINALIZER, wants_balancer, with_addresses, with_finalizer
from agents.kit.actions import Patch


def service(ip: str = "", **spec: Any) -> dict[str, Any]:
    status = {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}} if ip else {}
    metadata = {"name": "s", "namespace": "n", "uid": "u", "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {"type": "LoadBalancer", **spec}, "status": status}


def address(of: dict[str, Any], taken: tuple[str, ...] = (), range_: str = "172.30.100.0/29") -> str:
    return asyncio.run(Local(range_).ensure_balancer(of, [], taken))[0].ip


def test_the_first_free_address_and_afterwards_the_same() -> None:
    assert address(service()) == "172.30.100.1"
    assert address(service(), ("172.30.100.1",)) == "172.30.100.2"
    assert address(service("172.30.100.5"), ("172.30.100.1",)) == "172.30.100.5"


def test_an_address_that_another_has_or_that_is_of_another_range_is_changed() -> None:
    assert address(service("172.30.100.1"), ("172.30.100.1",)) == "172.30.100.2"
    assert address(service("10.0.0.1")) == "172.30.100.1"


def test_a_wish_is_granted_or_refused() -> None:
    assert address(service(loadBalancerIP="172.30.100.6")) == "172.30.100.6"
    for wish, taken in (("172.30.100.6", ("172.30.100.6",)), ("10.0.0.1", ()), ("junk", ())):
        with pytest.raises(NoAddress, match=f"spec.loadBalancerIP {wish}"):
            address(service(loadBalancerIP=wish), taken)


def test_none_left_is_told() -> None:
    with pytest.raises(NoAddress, match="all 6 addresses"):
        address(service(), tuple(f"172.30.100.{number}" for number in range(1, 7)))


def test_who_wants_one() -> None:
    assert wants_balancer(service())
    assert not wants_balancer(service(type="ClusterIP"))
    assert not wants_balancer(service(loadBalancerClass="else.where/x"))
    gone = service()
    gone["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    assert not wants_balancer(gone)


def test_the_finalizer_comes_and_goes_beside_those_of_others() -> None:
    of = service()
    of["metadata"]["finalizers"] = ["a/b"]
    (put,) = with_finalizer(of, True)
    assert isinstance(put, Patch)
    assert put.patch == {"metadata": {"finalizers": ["a/b", FINALIZER], "resourceVersion": "7"}}
    of["metadata"]["finalizers"] = ["a/b", FINALIZER]
    assert with_finalizer(of, True) == []
    (taken,) = with_finalizer(of, False)
    assert isinstance(taken, Patch)
    assert taken.patch["metadata"]["finalizers"] == ["a/b"]


def test_the_status_is_written_once() -> None:
    patch, _ = with_addresses(service(), [Address("172.30.100.1")])
    assert isinstance(patch, Patch)
    assert (patch.subresource, patch.patch) == ("status", {"status": {"loadBalancer": {"ingress": [{"ip": "172.30.100.1", "ipMode": "VIP"}]}}})
    assert with_addresses(service("172.30.100.1"), [Address("172.30.100.1")]) == []
    assert len(with_addresses(service("172.30.100.1"), [])) == 1


def test_zones_by_turns() -> None:
    assert [zone_of(f"node{number}") for number in (1, 2, 3, 4)] == ["local-a", "local-b", "local-c", "local-a"]
    assert zone_of("worker") == zone_of("worker")
