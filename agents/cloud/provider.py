"""What a cloud has to answer (k8s.io/cloud-provider, cloud.go: InstancesV2 and LoadBalancer, as far as controllers here ask)."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from apiserver.machinery.objects import Object


class Instance(Struct, frozen=True):
    """A node's machine. `provider_id` as in spec.providerID: local://node1."""

    provider_id: str
    kind: str
    zone: str
    region: str


class Address(Struct, frozen=True):
    """Where a load balancer listens: one of the two."""

    ip: str = ""
    hostname: str = ""


class NoAddress(Exception):
    """A load balancer cannot be had; the text says why, for an event on the Service."""


class Provider(Protocol):
    name: str

    async def instance(self, node: Object) -> Instance | None:
        """The machine of a node; None if there is none any more, and the node may be deleted."""

    async def ensure_balancer(self, service: Object, nodes: Sequence[Object], taken: Sequence[str]) -> Sequence[Address]:
        """A balancer for the service on these nodes, made or brought up to date; harmless if it is. `taken`: addresses that other services have.

        Raises NoAddress.
        """

    async def delete_balancer(self, service: Object) -> None:
        """Harmless if there is none."""
