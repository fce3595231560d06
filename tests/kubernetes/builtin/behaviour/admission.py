"""Built-in admission: quotas, ranges, classes, priorities, service accounts, pod security."""

from typing import Any

from tests.kubernetes.builtin.behaviour.objects import pod
from tests.kubernetes.builtin.duel import MERGE, Duel

AT = "/api/v1/namespaces/policy"


def _quota(name: str, hard: Any, **spec: Any) -> Any:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard, **spec}}


def limits(d: Duel) -> None:
    one = {
        "type": "Container",
        "max": {"cpu": "2", "memory": "1Gi"},
        "min": {"cpu": "100m"},
        "default": {"cpu": "500m"},
        "defaultRequest": {"cpu": "200m"},
        "maxLimitRequestRatio": {"memory": "2"},
    }
    d.ask(
        "POST",
        f"{AT}/limitranges",
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [one, {"type": "Pod", "max": {"cpu": "3"}}]}},
    )
    for resources in (
        {},
        {"requests": {"cpu": "50m"}},
        {"limits": {"cpu": "3"}},
        {"limits": {"memory": "1Gi"}, "requests": {"memory": "1Mi"}},
        {"requests": {"memory": "1Gi"}},
        {"limits": {"cpu": "1", "memory": "2Gi"}},
    ):
        d.until(
            "POST",
            f"{AT}/pods?dryRun=All",
            pod("limited", {"containers": [{"name": "main", "image": "x", "resources": resources}]}),
            what=f"limited {resources}",
        )
    d.until(
        "POST",
        f"{AT}/pods?dryRun=All",
        pod("limited", {"containers": [{"name": n, "image": "x", "resources": {"limits": {"cpu": "2", "memory": "1Mi"}}} for n in "ab"]}),
    )
    d.both("DELETE", f"{AT}/limitranges/l")


def quotas(d: Duel) -> None:
    d.ask("POST", f"{AT}/resourcequotas", _quota("q", {"configmaps": "1", "pods": "1", "requests.cpu": "1"}))
    d.ask(
        "PATCH",
        f"{AT}/resourcequotas/q/status",
        {"status": {"hard": {"configmaps": "1", "pods": "1", "requests.cpu": "1"}, "used": {"configmaps": "1", "pods": "0", "requests.cpu": "0"}}},
        MERGE,
    )
    d.until("POST", f"{AT}/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "over"}})
    d.until("POST", f"{AT}/pods", pod("nocpu"))
    d.until("POST", f"{AT}/pods", pod("much", {"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": "2"}}}]}))
    d.until("POST", f"{AT}/pods", pod("good", {"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": "500m"}}}]}))
    d.until("POST", f"{AT}/pods", pod("next", {"containers": [{"name": "main", "image": "x", "resources": {"requests": {"cpu": "600m"}}}]}))
    d.ask("GET", f"{AT}/resourcequotas/q")
    d.both("DELETE", f"{AT}/resourcequotas/q")
    d.both("DELETE", f"{AT}/pods/good?gracePeriodSeconds=0")


def accounts(d: Duel) -> None:
    d.ask("POST", f"{AT}/pods?dryRun=All", pod("x", {"serviceAccountName": "absent"}))
    d.ask(
        "POST",
        f"{AT}/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "full"}, "imagePullSecrets": [{"name": "pull"}]},
    )
    for spec in ({}, {"automountServiceAccountToken": False}, {"serviceAccount": "full"}, {"imagePullSecrets": [{"name": "own"}]}):
        d.ask("POST", f"{AT}/pods?dryRun=All", pod("x", {"serviceAccountName": "full", **spec}), what=f"account {spec}")
    d.ask(
        "POST",
        f"{AT}/pods?dryRun=All",
        pod("mirror", {"nodeName": "n", "serviceAccountName": "full"}, annotations={"kubernetes.io/config.mirror": "x"}),
    )


def priorities(d: Duel) -> None:
    at = "/apis/scheduling.k8s.io/v1/priorityclasses"
    d.ask("GET", f"{at}/system-cluster-critical")
    for spec in (
        {"priorityClassName": "absent"},
        {"priorityClassName": "system-node-critical"},
        {"priority": 5},
        {"priorityClassName": "system-node-critical", "priority": 5},
    ):
        d.ask("POST", f"{AT}/pods?dryRun=All", pod("x", spec), what=f"priority {spec}")
    for name, value in (("system-mine", 1), ("high", 2000000000), ("low", -5)):
        d.ask("POST", f"{at}?dryRun=All", {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value})
    d.ask("DELETE", f"{at}/system-node-critical")


def classes(d: Duel) -> None:
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "std", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "x/y",
    }
    d.ask("POST", "/apis/storage.k8s.io/v1/storageclasses", storage)
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    d.until("POST", f"{AT}/persistentvolumeclaims?dryRun=All", claim)
    d.ask("POST", f"{AT}/persistentvolumeclaims?dryRun=All", {**claim, "spec": {**claim["spec"], "storageClassName": ""}})
    d.ask("POST", f"{AT}/persistentvolumeclaims", claim)
    for size in ("2Gi", "500Mi", "word"):
        d.ask("PATCH", f"{AT}/persistentvolumeclaims/c", {"spec": {"resources": {"requests": {"storage": size}}}}, MERGE, what=f"resize to {size}")
    d.both("DELETE", "/apis/storage.k8s.io/v1/storageclasses/std")
    d.ask("POST", f"{AT}/pods?dryRun=All", pod("x", {"runtimeClassName": "absent"}))


def security(d: Duel) -> None:
    for level in ("baseline", "restricted"):
        d.ask("PATCH", "/api/v1/namespaces/policy", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": level}}}, MERGE)
        main = {"name": "main", "image": "x"}
        for spec in (
            {},
            {"hostNetwork": True, "hostPID": True},
            {"containers": [{**main, "securityContext": {"privileged": True}}]},
            {"volumes": [{"name": "h", "hostPath": {"path": "/"}}]},
            {"containers": [{**main, "ports": [{"containerPort": 1, "hostPort": 2}]}]},
            {"containers": [{**main, "securityContext": {"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}}]},
            {
                "securityContext": {
                    "sysctls": [{"name": "kernel.msgmax", "value": "1"}],
                    "seLinuxOptions": {"type": "x"},
                    "seccompProfile": {"type": "Unconfined"},
                }
            },
            {"securityContext": {"runAsUser": 0}},
        ):
            d.until("POST", f"{AT}/pods?dryRun=All", pod("secure", spec), what=f"{level} {spec}")
    d.ask("PATCH", "/api/v1/namespaces/policy", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "strange"}}}, MERGE)
    d.ask("PATCH", "/api/v1/namespaces/policy", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}, MERGE)
