import asyncio
from typing import Any

import pytest

from apiserver.authn.service_accounts import account_user
from apiserver.authz.rbac import Rbac
from apiserver.authz.rules import compact, shown, uncovered
from apiserver.request import Attributes, Decision, User
from tests.unit.apiserver.cluster import RBAC_API, Cluster, group, user

ANN = User("ann", ("dev",))
PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}


def decide(cluster: Cluster, who: User, verb: str, resource: str = "pods", **more: Any) -> Decision:
    subresource = more.pop("subresource", "")
    attributes = Attributes(who, verb, "", True, more.pop("group", ""), "v1", resource, subresource, **more)
    return asyncio.run(Rbac(cluster).authorize(attributes))


def test_nobody_may_anything_by_default():
    assert decide(Cluster(), ANN, "get").allowed is None


def test_masters_may_everything():
    assert decide(Cluster(), User("x", ("system:masters",)), "delete", "nodes").allowed is True


def test_a_cluster_binding_reaches_everywhere_a_role_binding_its_namespace():
    cluster = Cluster()
    cluster.allow(user("ann"), [PODS])
    assert decide(cluster, ANN, "get", namespace="a").allowed
    assert decide(cluster, ANN, "list").reason == 'RBAC: allowed by ClusterRoleBinding "r" of ClusterRole "r" to User "ann"'
    cluster = Cluster()
    cluster.allow(group("dev"), [PODS], "a")
    assert decide(cluster, ANN, "get", namespace="a").reason == 'RBAC: allowed by RoleBinding "r/a" of Role "r" to Group "dev"'
    assert decide(cluster, ANN, "get", namespace="b").allowed is None
    assert decide(cluster, ANN, "list").allowed is None
    assert decide(cluster, ANN, "delete", namespace="a").allowed is None


def test_service_accounts_by_either_name():
    bot = account_user("ns", "bot", "u")
    for subject in (
        {"kind": "ServiceAccount", "namespace": "ns", "name": "bot"},
        user("system:serviceaccount:ns:bot"),
        group("system:serviceaccounts:ns"),
    ):
        cluster = Cluster()
        cluster.allow(subject, [PODS])
        assert decide(cluster, bot, "get", namespace="x").allowed
        assert decide(cluster, account_user("other", "bot", "u"), "get", namespace="x").allowed is None


def test_an_account_without_namespace_in_a_role_binding_is_of_its_namespace():
    cluster = Cluster()
    cluster.allow({"kind": "ServiceAccount", "name": "bot"}, [PODS], "ns")
    assert decide(cluster, account_user("ns", "bot", "u"), "get", namespace="ns").allowed


@pytest.mark.parametrize(
    ("rule", "asked", "allowed"),
    [
        ({"resources": ["pods/log"]}, {"subresource": "log"}, True),
        ({"resources": ["pods"]}, {"subresource": "log"}, None),
        ({"resources": ["*/log"]}, {"subresource": "log"}, True),
        ({"resources": ["*/log"]}, {}, None),
        ({"resources": ["*"]}, {"subresource": "exec"}, True),
        ({"resources": ["pods/*"]}, {"subresource": "log"}, None),
        ({"resources": ["pods"], "resourceNames": ["p"]}, {"name": "p"}, True),
        ({"resources": ["pods"], "resourceNames": ["p"]}, {"name": "q"}, None),
        ({"resources": ["pods"], "resourceNames": ["p"]}, {}, None),
        ({"resources": ["pods"], "apiGroups": ["apps"]}, {}, None),
        ({"resources": ["pods"], "apiGroups": ["*"]}, {"group": "apps"}, True),
        ({"resources": ["pods"], "verbs": ["*"]}, {"verb": "impersonate"}, True),
        ({"resources": ["pods"], "verbs": ["list"]}, {}, None),
        ({"nonResourceURLs": ["*"]}, {}, None),
    ],
)
def test_rules(rule, asked, allowed):
    cluster = Cluster()
    cluster.allow(user("ann"), [{"verbs": ["get"], "apiGroups": [""], **rule}])
    assert decide(cluster, ANN, asked.pop("verb", "get"), **asked).allowed is allowed


@pytest.mark.parametrize(
    ("url", "path", "allowed"), [("/healthz", "/healthz", True), ("/healthz", "/healthz/ping", None), ("/api/*", "/api/v1", True), ("*", "/x", True)]
)
def test_paths(url, path, allowed):
    cluster = Cluster()
    cluster.allow(user("ann"), [{"verbs": ["get"], "nonResourceURLs": [url]}])
    assert asyncio.run(Rbac(cluster).authorize(Attributes(ANN, "get", path))).allowed is allowed


def test_a_binding_to_a_role_that_is_not_there_is_told():
    cluster = Cluster()
    cluster.allow(user("ann"), [PODS])
    cluster.remove(f"clusterroles.{RBAC_API}", "", "r")
    assert decide(cluster, ANN, "get").reason == 'RBAC: clusterrole.rbac.authorization.k8s.io "r" not found'


def test_changes_are_seen_at_once():
    cluster = Cluster()
    rbac = Rbac(cluster)
    attributes = Attributes(ANN, "get", "", True, "", "v1", "pods", namespace="a")
    assert asyncio.run(rbac.authorize(attributes)).allowed is None
    cluster.allow(user("ann"), [PODS])
    assert asyncio.run(rbac.authorize(attributes)).allowed is True
    cluster.remove(f"clusterrolebindings.{RBAC_API}", "", "r")
    assert asyncio.run(rbac.authorize(attributes)).allowed is None


@pytest.mark.parametrize(
    ("owned", "wanted", "covered"),
    [
        ([PODS], [PODS], True),
        ([{**PODS, "verbs": ["*"]}], [PODS], True),
        ([PODS], [{**PODS, "verbs": ["*"]}], False),
        ([{**PODS, "resources": ["*"]}], [{**PODS, "resources": ["pods/exec"]}], True),
        ([{**PODS, "resources": ["*/scale"]}], [{**PODS, "resources": ["deployments/scale"]}], True),
        ([PODS], [{**PODS, "resourceNames": ["p"]}], True),
        ([{**PODS, "resourceNames": ["p"]}], [PODS], False),
        ([{"verbs": ["get"], "nonResourceURLs": ["/api/*"]}], [{"verbs": ["get"], "nonResourceURLs": ["/api/v1"]}], True),
        ([{"verbs": ["get"], "nonResourceURLs": ["/api"]}], [{"verbs": ["get"], "nonResourceURLs": ["/*"]}], False),
        ([{**PODS, "verbs": ["get"]}, {**PODS, "verbs": ["list"]}], [PODS], True),
    ],
)
def test_rules_cover_rules(owned, wanted, covered):
    assert (not uncovered(owned, wanted)) is covered


def test_what_is_not_covered_is_told_in_upstream_s_words():
    told = compact(uncovered([], [{**PODS, "resources": ["pods", "secrets"]}]))
    assert [shown(rule) for rule in told] == [
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}',
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}',
    ]
