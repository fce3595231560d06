"""Single requests, good and bad: bodies, names, versions, paths, methods."""

from tests.kubernetes.builtin.behaviour.objects import APPS, CORE, config_map, deployment, pod
from tests.kubernetes.builtin.duel import Duel

MAPS = f"{CORE}/configmaps"


def bodies(d: Duel) -> None:
    for body in (b"", b"{}", b"[]", b"5", b"null", b"not json", b'{"kind": 5}', b'{"apiVersion": "v1", "kind": "ConfigMap"', b"\xff\xfe", b"a: b"):
        d.ask("POST", MAPS, body, what=f"POST {body!r}")
    d.ask("POST", MAPS, b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: yaml}\n", "application/yaml")
    d.ask("POST", MAPS, b"a: [", "application/yaml")
    d.ask("POST", MAPS, config_map("kind"), "text/plain")
    d.ask("POST", MAPS, config_map("accept"), accept="application/xml")
    d.ask("GET", MAPS, accept="text/html")
    d.ask("POST", f"{MAPS}?fieldValidation=Strict", {**config_map("strict"), "nobody": 1})
    d.ask("POST", f"{MAPS}?fieldValidation=Strict", b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice","name":"two"}}')
    d.ask("POST", f"{MAPS}?fieldValidation=Strange", config_map("strange"))
    d.ask("POST", f"{MAPS}?dryRun=None", config_map("dry"))
    d.ask("POST", f"{MAPS}?dryRun=All&dryRun=None", config_map("dry"))
    d.ask("POST", f"{MAPS}?pretty=true", config_map("pretty"))
    d.ask("POST", f"{MAPS}?fieldManager={'x' * 200}", config_map("manager"))
    d.ask("POST", f"{MAPS}?fieldManager=a%01b", config_map("manager"))


def kinds(d: Duel) -> None:
    d.ask("POST", MAPS, {**config_map("a"), "kind": "Secret"})
    d.ask("POST", MAPS, {**config_map("a"), "kind": "Nobody"})
    d.ask("POST", MAPS, {**config_map("a"), "kind": ""})
    d.ask("POST", MAPS, {**config_map("a"), "apiVersion": ""})
    d.ask("POST", MAPS, {**config_map("a"), "apiVersion": "v2"})
    d.ask("POST", MAPS, {**config_map("a"), "apiVersion": "apps/v1"})
    d.ask("POST", MAPS, {**config_map("a"), "apiVersion": "a/b/c"})
    d.ask("POST", f"{APPS}/deployments", {**deployment("a"), "apiVersion": "apps/v1beta1"})
    d.ask("POST", f"{APPS}/deployments", {**deployment("a"), "apiVersion": "extensions/v1beta1"})
    d.ask("POST", MAPS, {key: value for key, value in config_map("nokind").items() if key not in ("kind", "apiVersion")})
    d.ask("POST", MAPS, {"apiVersion": "v1", "kind": "ConfigMapList", "items": []})
    d.ask("POST", MAPS, {"apiVersion": "v1", "kind": "List", "items": []})


def names(d: Duel) -> None:
    d.ask("POST", MAPS, config_map("first"))
    d.ask("POST", MAPS, config_map("first"))
    d.ask("POST", MAPS, config_map(""))
    d.ask("POST", MAPS, config_map("", generateName="made-"))
    d.ask("POST", MAPS, config_map("", generateName="g" * 300))
    d.ask("POST", MAPS, config_map("", generateName="Bad_"))
    d.ask("POST", MAPS, config_map("named", generateName="made-"))
    d.ask("POST", f"{CORE}/pods", pod("", generateName="p" * 62))
    d.ask("POST", MAPS, config_map("far", namespace="other"))
    d.ask("POST", "/api/v1/namespaces/absent/configmaps", config_map("a"))
    d.ask("POST", "/api/v1/configmaps", config_map("a"))
    d.ask("POST", "/api/v1/configmaps", config_map("a", namespace="shop"))
    d.ask("POST", MAPS, config_map("rv", resourceVersion="5"))
    d.ask("POST", MAPS, config_map("uid", uid="5", creationTimestamp="2020-01-01T00:00:00Z", deletionTimestamp="2020-01-01T00:00:00Z", generation=7))
    d.ask("POST", MAPS, config_map("owned", ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]))
    d.ask("POST", MAPS, config_map("owned2", ownerReferences=[{"apiVersion": "v1", "kind": "", "name": "", "uid": ""}]))
    twice = [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": name, "controller": True} for name in ("p", "q")]
    d.ask("POST", MAPS, config_map("owned3", ownerReferences=twice))
    d.ask("POST", MAPS, config_map("owned4", ownerReferences=[{"apiVersion": "v1", "kind": "Event", "name": "p", "uid": "u"}]))
    d.ask("POST", MAPS, config_map("finalized", finalizers=["bad name", "foregroundDeletion", "orphan", "kubernetes"]))
    d.ask("POST", MAPS, config_map("both", finalizers=["foregroundDeletion", "orphan"]))
    d.ask("POST", MAPS, config_map("annotated", annotations={"a": "x" * 300000}))
    d.ask("POST", MAPS, config_map("annotated", annotations={"Bad Key!": "x"}))
    d.ask("POST", MAPS, config_map("labelled", labels={"Bad Key!": "x", "good": "Bad Value!", "x" * 64: "y", "a/b/c": "d", "/x": "", "y/": ""}))
    d.ask("POST", MAPS, config_map("big", {"a": "x" * 1100000}))


def updates(d: Duel) -> None:
    one = f"{MAPS}/upd"
    d.ask("POST", MAPS, config_map("upd"))
    d.ask("PUT", one, config_map("upd", {"a": "2"}))
    d.ask("PUT", one, config_map("upd", {"a": "2"}))
    d.ask("PUT", one, config_map("upd", resourceVersion="1"))
    d.ask("PUT", one, config_map("upd", resourceVersion="word"))
    d.ask("PUT", one, config_map("other"))
    d.ask("PUT", one, config_map(""))
    d.ask("PUT", one, config_map("upd", namespace="other"))
    d.ask("PUT", one, config_map("upd", uid="5"))
    d.ask("PUT", one, b"")
    d.ask("PUT", one, {**config_map("upd"), "kind": "Secret"})
    d.ask("PUT", f"{MAPS}/absent", config_map("absent"))
    d.ask("PUT", f"{MAPS}/absent", config_map("absent", resourceVersion="5"))
    d.ask("PUT", f"{MAPS}/absent", config_map("absent", uid="5"))
    d.ask("PUT", f"{APPS}/deployments/absent", deployment("absent"))
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "made"}, "spec": {"holderIdentity": "a"}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
    d.ask("PUT", f"{leases}/made", lease)
    d.ask("PUT", f"{leases}/made", lease)
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "made"}}
    d.ask("PUT", f"{CORE}/endpoints/made", endpoints)
    d.ask("POST", MAPS, {**config_map("fixed"), "immutable": True})
    d.ask("PUT", f"{MAPS}/fixed", {**config_map("fixed", {"a": "3"}), "immutable": True})
    d.ask("PUT", f"{MAPS}/fixed", config_map("fixed"))
    d.ask("PUT", f"{MAPS}/fixed", {**config_map("fixed", labels={"x": "y"}), "immutable": True})


def paths(d: Duel) -> None:
    for path in (
        "/nope",
        "/api/v2",
        "/api/v1/nope",
        "/api/v1/namespaces/shop/nope",
        "/apis/nope",
        "/apis/apps/v9",
        "/apis/apps/v1/nope",
        "/apis/apps/v1beta1/deployments",
        f"{MAPS}/absent",
        f"{MAPS}/absent/status",
        f"{MAPS}/Bad_Name",
        "/api/v1/namespaces/absent",
        "/api/v1/namespaces/absent/pods",
        "/api/v1/nodes/absent",
        f"{CORE}/pods/absent/log",
        f"{CORE}/pods/absent/nope",
        f"{APPS}/deployments/absent/scale",
        "/apis/extensions/v1beta1/ingresses",
        "/api/v1/namespaces/shop/nodes",
        "/api/v1/namespaces/shop/pods/a/b/c",
        "/api/v1/watch/namespaces/absent/nope",
    ):
        d.ask("GET", path)
    for method, path in (
        ("POST", f"{MAPS}/first"),
        ("PUT", MAPS),
        ("PATCH", MAPS),
        ("POST", "/version"),
        ("DELETE", "/api/v1"),
        ("PUT", f"{CORE}/pods"),
        ("POST", f"{CORE}/pods/p/log"),
        ("DELETE", f"{APPS}/deployments/x/scale"),
        ("PATCH", "/apis/authentication.k8s.io/v1/tokenreviews"),
        ("GET", "/apis/authentication.k8s.io/v1/tokenreviews"),
        ("GET", f"{CORE}/bindings"),
        ("GET", f"{CORE}/pods/absent/eviction"),
        ("DELETE", "/api/v1/componentstatuses"),
    ):
        d.ask(method, path, {} if method in ("POST", "PUT", "PATCH") else None)


def discovery(d: Duel) -> None:
    """Of each resource that upstream has, what is said of it."""
    groups = [{side: side.ask("GET", "/apis").body["groups"] for side in (d.oracle, d.subject)}]
    names = [{group["name"] for group in groups[0][side]} for side in (d.oracle, d.subject)]
    versions = [{version["groupVersion"] for group in groups[0][side] for version in group["versions"]} for side in (d.oracle, d.subject)]
    for path in ["/api/v1", *(f"/apis/{version}" for version in sorted(versions[0] & versions[1]))]:
        lists = [side.ask("GET", path).body for side in (d.oracle, d.subject)]
        found = [{each["name"]: {k: v for k, v in each.items() if k != "storageVersionHash"} for each in listed["resources"]} for listed in lists]
        for name in sorted(found[0].keys() | found[1].keys()):
            d.compare_values(f"discovery of {path} {name}", *(each.get(name) for each in found))
    d.compare_values("groups", *(sorted(each - {""}) for each in names))
