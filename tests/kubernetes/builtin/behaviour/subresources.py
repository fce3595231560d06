"""Scale, status, eviction, binding, tokens, approval and the like."""

from typing import Any

from tests.kubernetes.builtin.behaviour.objects import APPS, CORE, deployment, pod, workload
from tests.kubernetes.builtin.duel import MERGE, STRATEGIC, Duel


def scale(d: Duel) -> None:
    d.both("POST", f"{APPS}/deployments", deployment("scaled", replicas=2))
    d.both("POST", f"{APPS}/statefulsets", workload("StatefulSet", "scaled", serviceName="x"))
    d.both("POST", f"{APPS}/replicasets", workload("ReplicaSet", "scaled"))
    for plural in ("deployments", "statefulsets", "replicasets"):
        one = f"{APPS}/{plural}/scaled/scale"
        d.ask("GET", one)
        d.change(one, lambda live: live["spec"].update(replicas=5))
        d.change(one, lambda live: live["spec"].update(replicas=-1))
        d.change(one, lambda live: live["metadata"].update(resourceVersion="1"))
        d.change(one, lambda live: live["metadata"].update(name="other"))
        d.change(one, lambda live: live.update(kind="Deployment"))
        d.ask("PATCH", one, {"spec": {"replicas": 7}}, MERGE)
        d.ask("PATCH", one, {"spec": {"replicas": 1}}, STRATEGIC)
        d.ask("PATCH", one, {"spec": {"replicas": "x"}}, MERGE)
        d.ask("PUT", f"{APPS}/{plural}/absent/scale", {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "absent"}, "spec": {}})
        d.ask("PUT", one, {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "scaled", "namespace": "shop"}, "spec": {}})
        d.ask("GET", f"{APPS}/{plural}/scaled")


def status(d: Duel) -> None:
    d.both("POST", f"{APPS}/deployments", deployment("stat"))
    one = f"{APPS}/deployments/stat"
    d.ask("GET", f"{one}/status")
    d.ask("PATCH", f"{one}/status", {"status": {"replicas": 3, "readyReplicas": 2, "availableReplicas": 5}}, MERGE)
    d.ask("PATCH", f"{one}/status", {"status": {"replicas": -1}}, MERGE)
    d.ask(
        "PATCH",
        f"{one}/status",
        {"status": {"replicas": 3, "readyReplicas": 3}, "spec": {"replicas": 9}, "metadata": {"labels": {"from": "status"}}},
        MERGE,
    )
    d.ask("PATCH", one, {"status": {"replicas": 8}, "metadata": {"labels": {"from": "main"}}}, MERGE)
    d.ask("GET", one)
    d.both("POST", f"{CORE}/pods", pod("stat"))
    at = f"{CORE}/pods/stat/status"
    d.ask("PATCH", at, {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}, STRATEGIC)
    d.ask("PATCH", at, {"status": {"conditions": [{"type": "Other", "status": "False", "reason": "x"}]}}, STRATEGIC)
    d.ask("PATCH", at, {"status": {"conditions": [{"type": "$setElementOrder", "status": "strange"}]}}, STRATEGIC)
    d.ask("PATCH", at, {"status": {"phase": "Strange", "qosClass": "Guaranteed", "podIP": "word"}}, STRATEGIC)
    d.ask("PATCH", at, {"status": {"containerStatuses": [{"name": "main", "ready": True}]}}, STRATEGIC)
    d.ask("PATCH", at, {"spec": {"nodeName": "n"}, "metadata": {"labels": {"a": "b"}, "ownerReferences": []}}, STRATEGIC)
    d.ask("PATCH", f"{CORE}/configmaps/kube-root-ca.crt/status", {}, MERGE)
    d.ask("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "stat"}})
    d.ask("PATCH", "/api/v1/nodes/stat/status", {"status": {"capacity": {"cpu": "4", "memory": "1Gi", "pods": "x"}}}, MERGE)
    d.ask(
        "PATCH",
        "/api/v1/nodes/stat/status",
        {"status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}]}},
        STRATEGIC,
    )
    d.ask("PATCH", "/api/v1/nodes/stat", {"spec": {"podCIDR": "10.5.0.0/24", "podCIDRs": ["10.5.0.0/24"]}}, MERGE)
    d.ask("PATCH", "/api/v1/nodes/stat", {"spec": {"podCIDR": "10.6.0.0/24", "podCIDRs": ["10.6.0.0/24"]}}, MERGE)
    d.ask("PATCH", "/api/v1/nodes/stat", {"spec": {"providerID": "a"}}, MERGE)
    d.ask("PATCH", "/api/v1/nodes/stat", {"spec": {"providerID": "b"}}, MERGE)


def _binding(node: str, kind: str = "Node", **target: Any) -> Any:
    return {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bound"}, "target": {"kind": kind, "name": node, **target}}


def binding(d: Duel) -> None:
    d.both("POST", f"{CORE}/pods", pod("bound"))
    at = f"{CORE}/pods/bound/binding"
    d.ask("POST", at, _binding(""))
    d.ask("POST", at, _binding("n1", "Machine"))
    d.ask("POST", at, _binding("n1"))
    d.ask("POST", at, _binding("n2"))
    d.ask("GET", f"{CORE}/pods/bound")
    d.ask("POST", f"{CORE}/pods/absent/binding", {**_binding("n1"), "metadata": {"name": "absent"}})
    d.ask("POST", f"{CORE}/pods/absent/binding", _binding("n1"))
    d.ask("POST", f"{CORE}/bindings", {**_binding("n1"), "metadata": {"name": "absent"}})
    d.both("POST", f"{CORE}/pods", pod("gated", {"schedulingGates": [{"name": "a.b/c"}]}))
    d.ask("POST", f"{CORE}/pods/gated/binding", {**_binding("n1"), "metadata": {"name": "gated"}})


def eviction(d: Duel) -> None:
    d.both("POST", f"{CORE}/pods", pod("evicted", labels={"app": "evicted"}))
    at = f"{CORE}/pods/evicted/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "evicted", "namespace": "shop"}}
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "evicted"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "evicted"}}},
    }
    d.ask("POST", f"{CORE}/pods/absent/eviction", {**body, "metadata": {"name": "absent"}})
    d.ask("POST", at, {**body, "metadata": {"name": "other"}})
    d.ask("POST", f"{at}?dryRun=All", body)
    d.both("POST", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets", budget)
    d.both("PATCH", f"{CORE}/pods/evicted/status", {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}, MERGE)
    d.ask("POST", at, body)
    d.both(
        "PATCH",
        "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/evicted/status",
        {"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}},
        MERGE,
    )
    d.ask("POST", at, body)
    d.both(
        "PATCH",
        "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/evicted/status",
        {"status": {"disruptionsAllowed": 1, "currentHealthy": 2, "expectedPods": 2}},
        MERGE,
    )
    d.ask("POST", at, {**body, "deleteOptions": {"preconditions": {"uid": "x"}}})
    d.ask("POST", at, body)
    d.ask("POST", at, body)
    d.ask("GET", "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/evicted")


def streams(d: Duel) -> None:
    d.both("POST", f"{CORE}/pods", pod("quiet"))
    for what in (
        "log",
        "log?container=absent",
        "log?tailLines=-1",
        "log?container=main",
        "log?sinceSeconds=0",
        "log?limitBytes=0",
        "log?stream=strange",
        "exec?command=x",
        "exec",
        "attach",
        "portforward",
    ):
        d.ask("GET", f"{CORE}/pods/quiet/{what}")
    d.ask("POST", f"{CORE}/pods/quiet/exec?command=x")
    d.ask("POST", f"{CORE}/pods/absent/exec?command=x")
    d.ask("GET", f"{CORE}/pods/quiet/proxy/x")
    d.ask("GET", f"{CORE}/services/absent/proxy/x")
    d.ask("GET", "/api/v1/nodes/absent/proxy/x")


def ephemeral(d: Duel) -> None:
    d.both("POST", f"{CORE}/pods", pod("debugged"))
    at = f"{CORE}/pods/debugged/ephemeralcontainers"
    d.ask("GET", at)
    for one in (
        {"name": "dbg", "image": "busybox"},
        {"name": "main", "image": "busybox"},
        {"name": "d2", "image": "b", "ports": [{"containerPort": 1}]},
        {"name": "d3", "image": "b", "targetContainerName": "absent"},
        {"name": "d4", "image": "b", "livenessProbe": {"tcpSocket": {"port": 1}}},
        {"name": "d5", "image": "b", "resources": {"limits": {"cpu": "1"}}},
    ):
        d.ask("PATCH", at, {"spec": {"ephemeralContainers": [one]}}, STRATEGIC, what=f"ephemeral {one}")
    d.ask("PATCH", at, {"spec": {"ephemeralContainers": [{"name": "dbg", "image": "other"}]}}, STRATEGIC)
    d.ask("PATCH", f"{CORE}/pods/debugged", {"spec": {"ephemeralContainers": [{"name": "dbg2", "image": "other"}]}}, STRATEGIC)


def tokens(d: Duel) -> None:
    at = f"{CORE}/serviceaccounts/default/token"

    def shape(side: Any, body: Any) -> Any:
        answer = side.ask("POST", at, body)
        if isinstance(answer.body, dict) and "status" in answer.body and isinstance(answer.body["status"], dict):
            answer.body["status"].pop("token", None)
        return {"code": answer.code, "body": answer.body}

    for spec in (
        {},
        {"expirationSeconds": 60},
        {"expirationSeconds": 2**33},
        {"audiences": ["a", "b"]},
        {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "absent"}},
        {"boundObjectRef": {"kind": "Job", "apiVersion": "v1", "name": "absent"}},
        {"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "absent"}},
    ):
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        d.compare_values(f"token {spec}", shape(d.oracle, body), shape(d.subject, body))
    d.ask("POST", f"{CORE}/serviceaccounts/absent/token", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nobody"}}
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    d.ask("POST", reviews, review)
    d.ask("POST", reviews, {**review, "spec": {"token": "wrong"}})
    d.ask("POST", reviews, {**review, "spec": {"token": ""}})
    d.ask("POST", reviews, {**review, "spec": {"token": "nobody", "audiences": ["other"]}})


def namespaces(d: Duel) -> None:
    d.ask("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ending"}})
    d.ask("DELETE", "/api/v1/namespaces/ending")
    d.ask("GET", "/api/v1/namespaces/ending")
    d.ask("DELETE", "/api/v1/namespaces/ending")
    d.ask("POST", "/api/v1/namespaces/ending/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}})
    d.ask("PATCH", "/api/v1/namespaces/ending", {"spec": {"finalizers": []}}, MERGE)
    d.change("/api/v1/namespaces/ending/finalize", lambda live: live["spec"].update(finalizers=["a.b/c"]), read="/api/v1/namespaces/ending")
    d.change("/api/v1/namespaces/ending/finalize", lambda live: live["spec"].update(finalizers=["bad"]), read="/api/v1/namespaces/ending")
    d.change("/api/v1/namespaces/ending/finalize", lambda live: live["spec"].update(finalizers=[]), read="/api/v1/namespaces/ending")
    d.ask("GET", "/api/v1/namespaces/ending")
    for name in ("default", "kube-system", "kube-public"):
        d.ask("DELETE", f"/api/v1/namespaces/{name}")
    d.ask("PATCH", "/api/v1/namespaces/shop/status", {"status": {"phase": "Terminating"}}, MERGE)
    d.ask("PATCH", "/api/v1/namespaces/shop", {"metadata": {"labels": {"kubernetes.io/metadata.name": "other"}}}, MERGE)
    d.ask("PATCH", "/api/v1/namespaces/shop", {"metadata": {"labels": None}}, MERGE)
    d.ask("DELETE", "/api/v1/namespaces")
