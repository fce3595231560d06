"""Attackers against the whole API server: every verb of every resource without rights, and the ways that lead to more than one has.

The doors are those of a real server: authentication, impersonation, Node authorizer, RBAC with its default roles, admission; the store is in memory.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from apiserver import config as configuration
from apiserver.security import Security
from tests.support.api_server import MERGE, ApiServer

RBAC = "/apis/rbac.authorization.k8s.io/v1"
TOKENS = """root-token,root,1,system:masters
ann-token,ann,2
n1-token,system:node:n1,3,system:nodes
n2-token,system:node:n2,4,system:nodes
"""
APPLY = "application/apply-patch+yaml"

Attack = Callable[["Fortress"], Awaitable[None]]


class Fortress(ApiServer):
    async def by(self, who: str, method: str, path: str, body: Any = None, kind: str = "application/json", **headers: str) -> tuple[int, Any]:
        """`who`: a name in TOKENS, a token, or nothing."""
        token = f"{who}-token" if f"{who}-token" in TOKENS else who
        shown = {"Authorization": f"Bearer {token}"} if who else {}
        return await self.ask(method, path, body, kind, **{**shown, **headers})

    async def must(self, method: str, path: str, body: Any = None) -> Any:
        code, answer = await self.by("root", method, path, body)
        assert code < 300, answer
        return answer

    async def grant(self, user: str, namespace: str, *rules: dict[str, Any], name: str = "granted") -> None:
        base = f"{RBAC}/namespaces/{namespace}"
        await self.must("POST", f"{base}/roles", {"metadata": {"name": name}, "rules": list(rules)})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
        await self.must("POST", f"{base}/rolebindings", {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]})
        await self.seen(f"{base}/rolebindings/{name}")

    async def seen(self, path: str) -> None:
        """Until the watch cache has what was written: a list waits for it."""
        await self.must("GET", path.rpartition("/")[0])


@asynccontextmanager
async def fortress(folder: Path):
    key, tokens = folder / "sa.key", folder / "tokens.csv"
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key.write_bytes(pem)
    tokens.write_text(TOKENS)
    api = Fortress(str(folder / "api.sock"))
    flags = ["--etcd-servers", "none", "--token-auth-file", str(tokens), "--service-account-signing-key-file", str(key)]
    api.security = Security(configuration.load(flags), api.app)
    async with api:
        yield api


@pytest.fixture
def attack(tmp_path: Path) -> Callable[[Attack], None]:
    def run(body: Attack) -> None:
        async def whole() -> None:
            async with fortress(tmp_path) as api:
                await body(api)

        asyncio.run(whole())

    return run


VERBS = (("list", "GET", ""), ("watch", "GET", "?watch=true"), ("create", "POST", ""), ("deletecollection", "DELETE", ""))
NAMED = (("get", "GET", {}), ("update", "PUT", {}), ("patch", "PATCH", {}), ("delete", "DELETE", {}))
OPEN_TO_ALL = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}


def test_every_verb_of_every_resource_without_rights(attack):
    async def body(api: Fortress) -> None:
        wrong = []
        asked = 0
        for served in api.app.registry.served():
            resource = served.resource
            if resource.plural in OPEN_TO_ALL:
                continue
            collections = [resource.path()] + ([resource.path("ns")] if resource.namespaced else [])
            requests = [(method, path + query) for path in collections for _, method, query in VERBS]
            named = resource.path("ns" if resource.namespaced else "", "x")
            for path in [named, *(f"{named}/{each.name}" for each in resource.subresources)]:
                requests += [(method, path) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")]
            for method, path in requests:
                for who in ("ann", ""):
                    asked += 1
                    code, _ = await api.by(who, method, path, {} if method in ("POST", "PUT", "PATCH") else None)
                    if code != 403:
                        wrong.append((who, method, path, code))
        assert not wrong, wrong[:20]
        assert asked > 2000

    attack(body)


def test_who_shows_something_wrong_is_nobody(attack):
    async def body(api: Fortress) -> None:
        for token in ("wrong", "a.b.c", "x" * 7000, "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2t1YmVybmV0ZXMuZGVmYXVsdC5zdmMuY2x1c3Rlci5sb2NhbCJ9."):
            code, answer = await api.by(token, "GET", "/version")
            assert (code, answer["message"]) == (401, "Unauthorized")
        async with api.session.get("/version", headers=[("Authorization", "Bearer ann-token"), ("Authorization", "Bearer root-token")]) as answer:
            assert answer.status == 401
        assert (await api.by("", "GET", "/version"))[0] == 200
        front = {"X-Remote-User": "root", "X-Remote-Group": "system:masters", "X-Forwarded-User": "root"}
        assert (await api.by("", "GET", "/api/v1/secrets", **front))[0] == 403
        for method in ("HEAD", "OPTIONS", "TRACE", "PROPFIND"):
            async with api.session.request(method, "/api/v1/namespaces/default/secrets/x", headers={"Authorization": "Bearer ann-token"}) as answer:
                assert answer.status in (403, 405), method
        for path in ("/metrics", "/api", "/openapi/v2", "/openid/v1/jwks", "/.well-known/openid-configuration", "/nothing"):
            assert (await api.by("", "GET", path))[0] == 403, path

    attack(body)


def test_paths_that_try_to_be_others(attack):
    async def body(api: Fortress) -> None:
        await api.must("POST", "/api/v1/namespaces", {"metadata": {"name": "mine"}})
        await api.grant("ann", "mine", {"verbs": ["*"], "apiGroups": [""], "resources": ["*"]})
        await api.must("POST", "/api/v1/namespaces/kube-system/secrets", {"metadata": {"name": "s"}, "stringData": {"a": "geheim"}})
        for path in (
            "/api/v1/namespaces/mine/../kube-system/secrets/s",
            "/api/v1/namespaces/mine/%2e%2e/kube-system/secrets/s",
            "/api/v1/namespaces/mine%2f..%2fkube-system/secrets/s",
            "/api/v1/namespaces/mine/secrets/..%2f..%2fkube-system%2fsecrets%2fs",
            "/api/v1/namespaces/mine//secrets/s",
            "//api/v1/namespaces/kube-system/secrets/s",
            "/api/v1/namespaces/mine/secrets/%2e%2e",
            "/api/v1/namespaces/mine%00/secrets/s",
            "/api/v1/watch/namespaces/kube-system/secrets",
            "/api/v1/namespaces/kube-system/secrets?fieldSelector=metadata.namespace=mine",
        ):
            async with api.session.get(URL(f"http://api{path}", encoded=True), headers={"Authorization": "Bearer ann-token"}) as answer:
                assert answer.status in (400, 403, 404), path
                assert "geheim" not in await answer.text()

    attack(body)


def test_nobody_gives_himself_more(attack):
    async def body(api: Fortress) -> None:
        await api.must("POST", "/api/v1/namespaces", {"metadata": {"name": "mine"}})
        writes = {
            "verbs": ["*"],
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
        }
        await api.grant(
            "ann", "mine", {**writes, "verbs": ["get", "create", "update", "patch"]}, {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
        )
        roles, bindings = f"{RBAC}/namespaces/mine/roles", f"{RBAC}/namespaces/mine/rolebindings"
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        admin = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        me = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}]
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
        tries: list[tuple[str, str, Any, str]] = [
            ("POST", roles, {"metadata": {"name": "more"}, "rules": [everything]}, "application/json"),
            ("PATCH", f"{roles}/granted", {"rules": [everything]}, MERGE),
            ("PATCH", f"{roles}/granted", [{"op": "replace", "path": "/rules", "value": [everything]}], "application/json-patch+json"),
            ("PATCH", f"{roles}/more?fieldManager=a", {**role, "metadata": {"name": "more"}, "rules": [everything]}, APPLY),
            ("PUT", f"{roles}/granted", {"metadata": {"name": "granted"}, "rules": [everything]}, "application/json"),
            ("POST", bindings, {"metadata": {"name": "more"}, "roleRef": admin, "subjects": me}, "application/json"),
            ("POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "more"}, "roleRef": admin, "subjects": me}, "application/json"),
            (
                "POST",
                f"{RBAC}/namespaces/kube-system/rolebindings",
                {"metadata": {"name": "m"}, "roleRef": admin, "subjects": me},
                "application/json",
            ),
        ]
        for method, path, sent, kind in tries:
            code, answer = await api.by("ann", method, path, sent, kind)
            assert code == 403, (method, path, answer)
        fine = {"metadata": {"name": "less"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}
        assert (await api.by("ann", "POST", roles, fine))[0] == 201
        code, answer = await api.by("ann", "POST", roles, {"metadata": {"name": "more"}, "rules": [{**everything, "resources": ["secrets"]}]})
        assert "is attempting to grant RBAC permissions not currently held:\n" in answer["message"]
        for namespace in ("mine", "kube-system"):
            assert (await api.by("ann", "GET", f"/api/v1/namespaces/{namespace}/secrets"))[0] == 403

    attack(body)


def test_who_may_change_may_not_create(attack):
    async def body(api: Fortress) -> None:
        change = {"verbs": ["get", "update", "patch"], "apiGroups": ["", "coordination.k8s.io"], "resources": ["configmaps", "leases"]}
        await api.grant("ann", "default", change)
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "new"}}
        path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/new"
        code, answer = await api.by("ann", "PUT", path, lease)
        assert (code, 'cannot create resource "leases"' in answer["message"]) == (403, True), answer
        assert (await api.by("ann", "PATCH", f"{path}?fieldManager=a", lease, APPLY))[0] == 403
        assert (await api.by("root", "PATCH", f"{path}?fieldManager=a", lease, APPLY))[0] == 201
        assert (await api.by("ann", "PATCH", f"{path}?fieldManager=a", lease, APPLY))[0] == 200

    attack(body)


def test_who_may_only_read_gets_into_no_pod(attack):
    async def body(api: Fortress) -> None:
        await api.grant("ann", "default", {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["*"]})
        for part in ("exec", "attach", "portforward"):
            code, answer = await api.by("ann", "GET", f"/api/v1/namespaces/default/pods/p/{part}")
            assert (code, f'cannot create resource "pods/{part}"' in answer["message"]) == (403, True), answer
        assert (await api.by("ann", "GET", "/api/v1/namespaces/default/pods/p"))[0] == 404

    attack(body)


def test_nobody_acts_as_somebody_else_without_leave(attack):
    async def body(api: Fortress) -> None:
        for headers in (
            {"Impersonate-User": "root", "Impersonate-Group": "system:masters"},
            {"impersonate-user": "system:serviceaccount:kube-system:default"},
            {"Impersonate-User": "ann", "Impersonate-Extra-Scopes": "x"},
            {"Impersonate-User": "ann", "Impersonate-Uid": "2"},
        ):
            assert (await api.by("ann", "GET", "/api", **headers))[0] == 403, headers
        assert (await api.by("ann", "GET", "/api", **{"Impersonate-Group": "system:masters"}))[0] in (400, 403, 500)
        code, answer = await api.by("root", "GET", "/api/v1/secrets", **{"Impersonate-User": "ann"})
        assert (code, 'User "ann" cannot list' in answer["message"]) == (403, True)

    attack(body)


def test_a_token_ends_with_its_account(attack):
    async def body(api: Fortress) -> None:
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        await api.must("POST", accounts, {"metadata": {"name": "bot"}})
        answer = await api.must("POST", f"{accounts}/bot/token", {"spec": {}})
        token = answer["status"]["token"]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        code, told = await api.by(token, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        assert (code, told["status"]["userInfo"]["username"]) == (201, "system:serviceaccount:default:bot")
        assert (await api.by(token, "GET", "/api/v1/secrets"))[0] == 403
        assert (await api.by("ann", "POST", f"{accounts}/bot/token", {"spec": {}}))[0] == 403
        other = await api.must("POST", f"{accounts}/bot/token", {"spec": {"audiences": ["vault"]}})
        assert (await api.by(other["status"]["token"], "GET", "/version"))[0] == 401
        await api.must("DELETE", f"{accounts}/bot")
        await api.must("GET", accounts)
        assert (await api.by(token, "GET", "/version"))[0] == 401
        await api.must("POST", accounts, {"metadata": {"name": "bot"}})
        assert (await api.by(token, "GET", "/version"))[0] == 401

    attack(body)


def test_a_node_gets_at_nothing_of_another(attack):
    async def body(api: Fortress) -> None:
        base = "/api/v1/namespaces/default"
        for name in ("one", "two", "free"):
            await api.must("POST", f"{base}/secrets", {"metadata": {"name": name}})
        for name in ("default", "bot"):
            await api.must("POST", f"{base}/serviceaccounts", {"metadata": {"name": name}})
        for node, secret in (("n1", "one"), ("n2", "two")):
            volume = {"name": "v", "secret": {"secretName": secret}}
            spec = {"nodeName": node, "containers": [{"name": "c", "image": "i"}], "volumes": [volume], "serviceAccountName": "bot"}
            await api.must("POST", f"{base}/pods", {"metadata": {"name": f"p-{node}"}, "spec": spec})
        pods = (await api.must("GET", f"{base}/pods"))["items"]
        uid = {each["metadata"]["name"]: each["metadata"]["uid"] for each in pods}
        assert (await api.by("n1", "GET", f"{base}/secrets/one"))[0] == 200
        assert (await api.by("n1", "GET", f"{base}/secrets?fieldSelector=metadata.name=one"))[0] == 200
        assert (await api.by("n1", "GET", "/api/v1/pods?fieldSelector=spec.nodeName=n1"))[0] == 200
        assert (await api.by("n1", "POST", "/api/v1/nodes", {"metadata": {"name": "n1"}}))[0] == 201
        bound = {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p-n1", "uid": uid["p-n1"]}}}
        assert (await api.by("n1", "POST", f"{base}/serviceaccounts/bot/token", bound))[0] == 201
        foreign = {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p-n2", "uid": uid["p-n2"]}}}
        pod = {"metadata": {"name": "x"}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}}
        tries: list[tuple[str, str, Any]] = [
            ("GET", f"{base}/secrets/two", None),
            ("GET", f"{base}/secrets/free", None),
            ("GET", f"{base}/secrets", None),
            ("GET", "/api/v1/secrets?watch=true", None),
            ("GET", f"{base}/secrets?fieldSelector=metadata.name=two", None),
            ("DELETE", f"{base}/secrets/one", None),
            ("GET", f"{base}/pods/p-n2", None),
            ("GET", "/api/v1/pods", None),
            ("DELETE", f"{base}/pods/p-n2", None),
            ("PATCH", f"{base}/pods/p-n2/status", {"status": {"phase": "Failed"}}),
            ("POST", f"{base}/pods", pod),
            ("POST", "/api/v1/nodes", {"metadata": {"name": "n3"}}),
            ("PATCH", "/api/v1/nodes/n2", {"metadata": {"labels": {"a": "b"}}}),
            ("PATCH", "/api/v1/nodes/n1", {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
            ("PATCH", "/api/v1/nodes/n1", {"spec": {"taints": []}}),
            ("POST", f"{base}/serviceaccounts/bot/token", {"spec": {}}),
            ("POST", f"{base}/serviceaccounts/bot/token", foreign),
            ("POST", f"{base}/serviceaccounts/default/token", bound),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2", {"metadata": {"name": "n2"}}),
            ("POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", {"metadata": {"name": "n2"}}),
        ]
        for method, path, sent in tries:
            code, answer = await api.by("n1", method, path, sent, MERGE if method == "PATCH" else "application/json")
            assert code == 403, (method, path, code, answer)

    attack(body)


def test_who_asks_for_a_certificate_cannot_say_that_he_is_somebody_else(attack):
    """The approver reviews the rights of spec.username: forged, it would be a way to any node's certificate."""

    async def body(api: Fortress) -> None:
        base = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        spec = {"request": "YQ==", "signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["digital signature", "client auth"]}
        forged = {**spec, "username": "system:node:n1", "groups": ["system:nodes", "system:masters"], "uid": "3", "extra": {"a": ["b"]}}
        rule = {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create", "patch", "update"]}
        await api.must("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "asks"}, "rules": [rule]})
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "asks"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}
        await api.must("POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "asks"}, "roleRef": reference, "subjects": [subject]})
        await api.seen(f"{RBAC}/clusterrolebindings/asks")
        code, made = await api.by("ann", "POST", base, {"metadata": {"name": "r"}, "spec": forged})
        assert code == 201, made
        assert (made["spec"]["username"], made["spec"]["uid"]) == ("ann", "2")
        assert "system:masters" not in made["spec"]["groups"] and "extra" not in made["spec"]
        made["spec"] |= {"username": "system:node:n1"}
        _, changed = await api.by("ann", "PUT", f"{base}/r", made)
        assert changed["spec"]["username"] == "ann"

    attack(body)
