"""A small cluster for the tests of names."""

from typing import Any

from agents.dns.zone import Source, Zone


def service(name: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}], **spec}}


def part(of: str, endpoints: list[dict[str, Any]], namespace: str = "shop") -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": of}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return {"metadata": {"name": f"{of}-1", "namespace": namespace, "labels": labels}, "endpoints": endpoints, "ports": ports}


def endpoint(address: str, ready: bool = True, hostname: str = "") -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": hostname} if hostname else {})}


SERVICES = [
    service("web", clusterIP="10.96.0.7", clusterIPs=["10.96.0.7"]),
    service("db", clusterIP="None"),
    service("all", clusterIP="None", publishNotReadyAddresses=True),
    service("outside", type="ExternalName", externalName="example.org"),
    service("empty", clusterIP="None"),
]
SLICES = [
    part("db", [endpoint("10.244.1.2", hostname="db-0"), endpoint("10.244.2.2"), endpoint("10.244.3.2", ready=False)]),
    part("all", [endpoint("10.244.3.2", ready=False)]),
]


def zone() -> Zone:
    return Zone(
        Source(
            service=lambda namespace, name: next(
                (s for s in SERVICES if (s["metadata"]["namespace"], s["metadata"]["name"]) == (namespace, name)), None
            ),
            slices=lambda namespace, name: [
                s for s in SLICES if s["metadata"]["labels"]["kubernetes.io/service-name"] == name and namespace == "shop"
            ],
            namespace_exists=lambda name: name == "shop",
            pod_at=lambda namespace, address: (namespace, address) == ("shop", "10.244.1.2"),
            services_at=lambda address: [s for s in SERVICES if s["spec"].get("clusterIP") == address],
            slices_at=lambda address: [s for s in SLICES if any(address in e["addresses"] for e in s["endpoints"])],
        )
    )
