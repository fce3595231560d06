"""What a status may say, as a real kube-apiserver has it (pkg/apis/apps/validation, pkg/apis/core/validation)."""

import pytest

CORE = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
POD = {"containers": [{"name": "main", "image": "i"}]}


def workload(**more):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
    return {"metadata": {"name": "w"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **more}}


@pytest.mark.parametrize(
    ("plural", "status", "told"),
    [
        ("deployments", {"replicas": -1}, "status.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("deployments", {"replicas": 1, "updatedReplicas": 2}, "status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas"),
        (
            "deployments",
            {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2},
            "status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas",
        ),
        (
            "statefulsets",
            {"replicas": 2, "readyReplicas": 1, "availableReplicas": 2},
            "status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas",
        ),
        ("replicasets", {"replicas": 1, "fullyLabeledReplicas": 2}, "cannot be greater than status.replicas"),
        ("daemonsets", {"numberReady": -1}, "status.numberReady: Invalid value: -1: must be greater than or equal to 0"),
    ],
)
def test_counts_that_cannot_be(served, plural, status, told):
    async def test(api):
        await api.post(f"{APPS}/{plural}", workload(**({"serviceName": "s"} if plural == "statefulsets" else {})))
        code, answer = await api.patch(f"{APPS}/{plural}/w/status", {"status": status})
        assert (code, told in answer["message"]) == (422, True), answer
        good = {"replicas": 2, "readyReplicas": 2} if plural != "daemonsets" else {"numberReady": 1}
        assert (await api.patch(f"{APPS}/{plural}/w/status", {"status": good}))[0] == 200

    served(test)


def test_a_pod_keeps_its_quality_and_has_real_addresses(served):
    async def test(api):
        await api.post(f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": POD})
        for status, told in (
            ({"qosClass": "Guaranteed"}, "status.qosClass: Invalid value: "),
            ({"podIPs": [{"ip": "word"}]}, "status.podIPs[0]: Invalid value: "),
            ({"conditions": [{"type": "$bad", "status": "True"}]}, "status.conditions[0].Type: Invalid value: "),
        ):
            code, answer = await api.patch(f"{CORE}/pods/p/status", {"status": status})
            assert (code, told in answer["message"]) == (422, True), answer
        pod = (await api.get(f"{CORE}/pods/p"))[1]
        code, pod = await api.put(f"{CORE}/pods/p/status", {**pod, "status": {"phase": "Running", "podIPs": [{"ip": "10.1.2.3"}]}})
        assert (code, pod["status"]["qosClass"]) == (200, "BestEffort")

    served(test)


def test_finalizers_without_a_domain_are_kubernetes_own(served):
    async def test(api):
        told = "name is neither a standard finalizer name nor is it fully qualified"
        code, answer = await api.post(f"{CORE}/configmaps", {"metadata": {"name": "a", "finalizers": ["orphan", "mine"]}})
        assert (code, answer["details"]["causes"][0]["field"]) == (422, "metadata.finalizers[1]")
        assert told in answer["message"]
        code, namespace = await api.post("/api/v1/namespaces", {"metadata": {"name": "ending"}})
        namespace["spec"]["finalizers"] = ["mine"]
        code, answer = await api.put("/api/v1/namespaces/ending/finalize", namespace)
        assert (code, f'spec.finalizers[0]: Invalid value: "mine": {told}' in answer["message"]) == (422, True)

    served(test)


def test_an_ephemeral_container_has_no_ports_probes_or_resources(served):
    async def test(api):
        await api.post(f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": POD})
        for field, value in (
            ("ports", [{"containerPort": 1}]),
            ("livenessProbe", {"tcpSocket": {"port": 1}}),
            ("resources", {"limits": {"cpu": "1"}}),
        ):
            one = {"name": "debug", "image": "i", field: value}
            body = {"spec": {"ephemeralContainers": [one]}}
            code, answer = await api.patch(f"{CORE}/pods/p/ephemeralcontainers", body, "application/strategic-merge-patch+json")
            told = f"spec.ephemeralContainers[0].{field}: Forbidden: cannot be set for an Ephemeral Container"
            assert (code, told in answer["message"]) == (422, True), answer

    served(test)


def test_a_client_does_not_give_a_generation(served):
    async def test(api):
        await api.post(f"{CORE}/configmaps", {"metadata": {"name": "a"}})
        code, changed = await api.patch(f"{CORE}/configmaps/a", {"metadata": {"generation": 5}})
        assert (code, "generation" in changed["metadata"]) == (200, False)
        code, made = await api.post("/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "p"}, "value": 1})
        assert (code, made["metadata"]["generation"]) == (201, 1)

    served(test)
