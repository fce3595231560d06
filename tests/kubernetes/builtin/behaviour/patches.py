"""Patches of all kinds."""

from tests.kubernetes.builtin.behaviour.objects import APPS, CORE, config_map, deployment, pod, service
from tests.kubernetes.builtin.duel import JSON_PATCH, MERGE, STRATEGIC, Duel

MAP = f"{CORE}/configmaps/patched"
WEB = f"{APPS}/deployments/patched"


def merge(d: Duel) -> None:
    d.ask("POST", f"{CORE}/configmaps", config_map("patched"))
    for body in (
        {"data": {"b": "2"}},
        {"data": {"a": None}},
        {},
        {"metadata": {"name": "other"}},
        {"metadata": {"namespace": "other"}},
        {"metadata": {"uid": "x"}},
        {"metadata": {"resourceVersion": "1"}},
        {"metadata": {"labels": {"Bad!": "x"}}},
        {"data": 5},
        {"data": {"a": 5}},
        {"kind": "Secret"},
        {"apiVersion": "v2"},
        {"metadata": {"generateName": "g"}},
        {"metadata": {"creationTimestamp": None}},
        {"metadata": {"finalizers": ["a.b/c"]}},
        {"metadata": {"finalizers": []}},
        {"metadata": {"ownerReferences": [{"kind": "x"}]}},
        {"nobody": 1},
        {"metadata": None},
        {"data": None},
        {"metadata": {"generation": 5}},
    ):
        d.ask("PATCH", MAP, body, MERGE, what=f"merge {body}")
    for raw in (b"", b"[]", b"5", b"nothing", b"null"):
        d.ask("PATCH", MAP, raw, MERGE, what=f"merge {raw!r}")
    d.ask("PATCH", f"{MAP}?fieldValidation=Strict", {"nobody": 1}, MERGE)
    d.ask("PATCH", f"{MAP}?dryRun=All", {"data": {"dry": "1"}}, MERGE)
    d.ask("PATCH", f"{CORE}/configmaps/absent", {"data": {}}, MERGE)
    for kind in ("application/json", "text/plain", "application/patch", "", "application/yaml"):
        d.ask("PATCH", MAP, {"data": {"c": "1"}}, kind, what=f"PATCH as {kind}")
    d.ask("GET", MAP)


def json_patch(d: Duel) -> None:
    d.both("POST", f"{CORE}/configmaps", config_map("patched"))
    for body in (
        [{"op": "add", "path": "/data/j", "value": "1"}],
        [{"op": "test", "path": "/data/j", "value": "2"}],
        [{"op": "test", "path": "/data/j", "value": "1"}, {"op": "remove", "path": "/data/j"}],
        [{"op": "remove", "path": "/data/absent"}],
        [{"op": "replace", "path": "/data/absent", "value": "x"}],
        [{"op": "replace", "path": "/nope/absent", "value": "x"}],
        [{"op": "copy", "from": "/data/a", "path": "/data/copied"}],
        [{"op": "move", "from": "/data/copied", "path": "/data/moved"}],
        [{"op": "move", "from": "/data/absent", "path": "/data/moved"}],
        [{"op": "strange", "path": "/data/j", "value": "1"}],
        [{"op": "add", "path": "data/j", "value": "1"}],
        [{"op": "add", "path": "/data/j"}],
        [{"path": "/data/j"}],
        [],
        {},
        [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}],
        [{"op": "add", "path": "/metadata/labels/x~1y", "value": "z"}],
        [{"op": "replace", "path": "/metadata/name", "value": "other"}],
        [{"op": "replace", "path": "/data/a", "value": 5}],
        [{"op": "add", "path": "/data", "value": []}],
        [{"op": "remove", "path": ""}],
    ):
        d.ask("PATCH", MAP, body, JSON_PATCH, what=f"json patch {body}")
    d.ask("PATCH", MAP, b"nothing", JSON_PATCH)
    d.ask("PATCH", MAP, [{"op": "add", "path": "/data/n", "value": "1"}] * 10001, JSON_PATCH, what="json patch of 10001 operations")


def strategic(d: Duel) -> None:
    d.ask("POST", f"{APPS}/deployments", deployment("patched"))
    at = lambda spec: {"spec": {"template": {"spec": spec}}}  # noqa: E731
    for body in (
        at({"containers": [{"name": "main", "image": "nginx:2"}]}),
        at({"containers": [{"name": "side", "image": "busybox", "ports": [{"containerPort": 80}, {"containerPort": 81, "name": "x"}]}]}),
        at({"containers": [{"name": "side", "ports": [{"containerPort": 81, "name": "y"}]}]}),
        at({"$setElementOrder/containers": [{"name": "side"}, {"name": "main"}], "containers": [{"name": "side", "image": "busybox:2"}]}),
        at({"containers": [{"name": "side", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}),
        at({"containers": [{"name": "side", "env": [{"name": "A", "$patch": "delete"}]}]}),
        at({"containers": [{"name": "side", "$patch": "delete"}]}),
        at({"containers": [{"image": "nameless"}]}),
        at({"containers": [{"$patch": "replace"}, {"name": "only", "image": "x"}]}),
        at({"volumes": [{"name": "v", "emptyDir": {}}]}),
        at({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}),
        at({"tolerations": [{"key": "a", "operator": "Exists"}]}),
        at({"nodeSelector": {"a": "b"}}),
        at({"nodeSelector": {"$patch": "replace", "c": "d"}}),
        at({"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}),
        at({"$patch": "strange"}),
        at({"securityContext": {"supplementalGroups": [1, 2]}}),
        {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
        {"metadata": {"finalizers": ["a.b/c", "d.e/f"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a.b/c"]}},
        {"metadata": {"$setElementOrder/finalizers": ["x.y/z", "d.e/f"], "finalizers": ["x.y/z"]}},
        {"metadata": {"finalizers": None}},
        {"metadata": {"labels": {"$patch": "delete"}}},
        {"spec": {"replicas": "many"}},
        {"spec": {"selector": {"matchLabels": {"other": "x"}}}},
        {"spec": 5},
        {"spec": {"template": {"spec": {"containers": 5}}}},
        {"spec": None},
    ):
        d.ask("PATCH", WEB, body, STRATEGIC, what=f"strategic {body}")
    d.ask("PATCH", WEB, b"[]", STRATEGIC)
    d.ask("PATCH", WEB, b"{", STRATEGIC)
    d.ask("GET", WEB)


def services(d: Duel) -> None:
    d.both("POST", f"{CORE}/services", service("patched"))
    one = f"{CORE}/services/patched"
    for body in (
        {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}},
        {"spec": {"ports": [{"port": 81}]}},
        {"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 81, "name": "other"}]}},
        {"spec": {"type": "NodePort"}},
        {"spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}},
        {"spec": {"type": "ClusterIP"}},
        {"spec": {"type": "ClusterIP", "externalTrafficPolicy": None, "healthCheckNodePort": None}},
        {"spec": {"clusterIP": "10.0.0.200"}},
        {"spec": {"type": "ExternalName", "externalName": "a.b"}},
        {"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": "", "clusterIPs": None}},
        {"spec": {"type": "ClusterIP", "externalName": None}},
    ):
        d.ask("PATCH", one, body, STRATEGIC, what=f"service {body}")


def pods(d: Duel) -> None:
    d.both("POST", f"{CORE}/pods", pod("patched"))
    one = f"{CORE}/pods/patched"
    for body in (
        {"spec": {"containers": [{"name": "main", "image": "nginx:3"}]}},
        {"spec": {"containers": [{"name": "main", "command": ["x"]}]}},
        {"spec": {"containers": [{"name": "new", "image": "x"}]}},
        {"spec": {"containers": [{"name": "main", "image": ""}]}},
        {"spec": {"activeDeadlineSeconds": 100}},
        {"spec": {"activeDeadlineSeconds": 200}},
        {"spec": {"activeDeadlineSeconds": 50}},
        {"spec": {"activeDeadlineSeconds": None}},
        {"spec": {"tolerations": [{"key": "x", "operator": "Exists"}]}},
        {"spec": {"tolerations": [{"$patch": "replace"}]}},
        {"spec": {"terminationGracePeriodSeconds": 1}},
        {"spec": {"nodeName": "n1"}},
        {"spec": {"hostname": "x"}},
        {"spec": {"nodeSelector": {"a": "b"}}},
        {"spec": {"schedulingGates": [{"name": "a.b/c"}]}},
        {"spec": {"volumes": [{"name": "x", "emptyDir": {}}]}},
        {"status": {"phase": "Running"}},
        {"spec": {"serviceAccountName": "other"}},
        {"spec": {"priority": 7}},
        {"spec": {"restartPolicy": "Never"}},
        {"metadata": {"labels": {"x": "y"}}},
    ):
        d.ask("PATCH", one, body, STRATEGIC, what=f"pod {body}")
