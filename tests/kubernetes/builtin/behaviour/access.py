"""Who may do what: refusals, reviews, escalation."""

from typing import Any

from tests.kubernetes.builtin.behaviour.objects import APPS, CORE, config_map, deployment
from tests.kubernetes.builtin.duel import MERGE, Duel

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/shop/roles"
BINDINGS = f"{RBAC}/namespaces/shop/rolebindings"


def refusals(d: Duel) -> None:
    for method, path in (
        ("GET", f"{CORE}/pods"),
        ("GET", f"{CORE}/pods/x"),
        ("POST", f"{CORE}/pods"),
        ("DELETE", f"{CORE}/pods"),
        ("DELETE", f"{CORE}/pods/x"),
        ("PATCH", f"{CORE}/pods/x"),
        ("PUT", f"{APPS}/deployments/x/scale"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/pods"),
        ("GET", f"{APPS}/deployments?watch=1"),
        ("GET", "/apis/apps/v1/deployments"),
        ("GET", "/metrics"),
        ("GET", "/api"),
        ("GET", "/healthz"),
        ("GET", "/version"),
        ("GET", "/nope"),
        ("GET", "/logs/x"),
        ("GET", f"{CORE}/pods/x/log"),
        ("GET", f"{CORE}/pods/x/exec"),
        ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
        ("GET", "/api/v1/namespaces/absent/nope"),
        ("GET", "/api/v1/namespaces/shop"),
        ("POST", "/api/v1/namespaces"),
        ("GET", "/apis/nope/v1/things"),
        ("GET", "/openapi/v2x"),
        ("POST", f"{CORE}/serviceaccounts/default/token"),
        ("GET", "/api/v1/watch/pods"),
    ):
        d.ask(
            method,
            path,
            {} if method in ("POST", "PUT", "PATCH") else None,
            MERGE if method == "PATCH" else "application/json",
            user="nobody",
            what=f"nobody {method} {path}",
        )
    d.ask("GET", f"{CORE}/pods", user="wrong")
    d.ask("GET", "/healthz", user="wrong")
    d.ask("GET", f"{CORE}/pods", user="")


def reviews(d: Duel) -> None:
    at = "/apis/authorization.k8s.io/v1"
    body: Any = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    attributes = {"namespace": "shop", "verb": "get", "resource": "pods"}
    for user in ("admin", "nobody"):
        for spec in (
            {"resourceAttributes": attributes},
            {"nonResourceAttributes": {"path": "/healthz", "verb": "get"}},
            {"nonResourceAttributes": {"path": "/secret", "verb": "get"}},
            {},
            {"resourceAttributes": attributes, "nonResourceAttributes": {"path": "/"}},
        ):
            d.ask("POST", f"{at}/selfsubjectaccessreviews", {**body, "spec": spec}, user=user, what=f"self review {user} {spec}")
        d.ask("POST", f"{at}/selfsubjectrulesreviews", {**body, "kind": "SelfSubjectRulesReview", "spec": {}}, user=user)
    for spec in (
        {"resourceAttributes": attributes, "user": "nobody"},
        {"resourceAttributes": attributes, "user": "x", "groups": ["system:masters"]},
        {"resourceAttributes": attributes},
        {"user": "x"},
        {"resourceAttributes": attributes, "groups": ["a"], "extra": {"k": ["v"]}},
    ):
        d.ask("POST", f"{at}/subjectaccessreviews", {**body, "kind": "SubjectAccessReview", "spec": spec}, what=f"review {spec}")
    for spec in (
        {"resourceAttributes": attributes, "user": "x"},
        {"resourceAttributes": {**attributes, "namespace": "other"}, "user": "x"},
        {"nonResourceAttributes": {"path": "/"}, "user": "x"},
    ):
        d.ask(
            "POST",
            f"{at}/namespaces/shop/localsubjectaccessreviews",
            {**body, "kind": "LocalSubjectAccessReview", "metadata": {"namespace": "shop"}, "spec": spec},
            what=f"local review {spec}",
        )


def _role(name: str, *rules: Any) -> Any:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": list(rules)}


def _bound(name: str, role: str, user: str = "nobody", kind: str = "Role") -> Any:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    }


def escalation(d: Duel) -> None:
    rules = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]}
    maps = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "update", "patch", "create"]}
    d.ask("POST", ROLES, _role("keeper", rules, maps))
    d.ask("POST", BINDINGS, _bound("keeper", "keeper"))
    d.until("GET", f"{CORE}/configmaps", user="nobody")
    d.ask("POST", ROLES, _role("more", {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}), user="nobody")
    d.ask(
        "POST",
        ROLES,
        _role("more", {"apiGroups": [""], "resources": ["secrets", "pods"], "verbs": ["get"], "resourceNames": ["a"]}, maps),
        user="nobody",
    )
    d.ask("POST", ROLES, _role("same", maps), user="nobody")
    d.ask("PATCH", f"{ROLES}/same", {"rules": [maps, {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}, MERGE, user="nobody")
    d.ask("POST", BINDINGS, _bound("wide", "admin", kind="ClusterRole"), user="nobody")
    d.ask("POST", BINDINGS, _bound("good", "same"), user="nobody")
    d.ask("POST", BINDINGS, _bound("absent", "absent"), user="nobody")
    d.ask("PATCH", f"{BINDINGS}/good", {"roleRef": {"name": "other"}}, MERGE)
    d.ask("GET", f"{CORE}/secrets", user="nobody")
    d.ask("DELETE", f"{CORE}/configmaps/x", user="nobody")
    d.ask("POST", f"{APPS}/deployments", deployment("x"), user="nobody")
    d.ask("PUT", f"{CORE}/configmaps/unmade", config_map("unmade"), user="nobody")
    d.ask("PATCH", f"{CORE}/configmaps/unmade?fieldManager=x", config_map("unmade"), "application/apply-patch+yaml", user="nobody")
    d.ask("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", user="nobody")


def bootstrap(d: Duel) -> None:
    """The roles that come with the server."""
    for plural in ("clusterroles", "clusterrolebindings"):
        found = []
        for side in (d.oracle, d.subject):
            items = side.ask("GET", f"{RBAC}/{plural}").body["items"]
            found.append({item["metadata"]["name"]: {k: v for k, v in item.items() if k != "metadata"} for item in items})
        for name in sorted(found[0].keys() | found[1].keys()):
            d.compare_values(f"{plural} {name}", *(_sorted(each.get(name)) for each in found))


def _sorted(role: Any) -> Any:
    """Rules one by one: how they are put together is not what they allow."""
    if role is None or "rules" not in role:
        return role
    told = set()
    for rule in role["rules"] or []:
        for verb in rule["verbs"]:
            for url in rule.get("nonResourceURLs", []):
                told.add(f"{verb} {url}")
            for group in rule.get("apiGroups", []):
                for resource in rule["resources"]:
                    told.add(f"{verb} {resource}.{group} {rule.get('resourceNames', '')}")
    return {**role, "rules": dict.fromkeys(sorted(told), True)}
