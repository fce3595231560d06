import asyncio

import pytest
from multidict import CIMultiDict

from apiserver.authz.rbac import Rbac
from apiserver.filters.authorize import refusal
from apiserver.filters.impersonate import impersonate
from apiserver.machinery.status import ApiError
from apiserver.request import Attributes, User
from tests.unit.apiserver.cluster import Cluster, user

ANN = User("ann", ("dev", "system:authenticated"))
MASTER = User("root", ("system:masters",))


def act(headers: list[tuple[str, str]], who: User = MASTER, cluster: Cluster | None = None) -> User:
    return asyncio.run(impersonate(CIMultiDict(headers), who, Rbac(cluster or Cluster())))


def test_without_headers_everybody_is_himself():
    assert act([("Accept", "*/*")], ANN) is ANN


def test_a_master_may_be_anybody():
    found = act([("Impersonate-User", "bob"), ("Impersonate-Group", "ops"), ("impersonate-uid", "7"), ("Impersonate-Extra-Acme.com%2fScope", "view")])
    assert (found.name, found.groups, found.uid) == ("bob", ("ops", "system:authenticated"), "7")
    assert found.extra == {"acme.com/scope": ("view",)}


def test_groups_that_come_by_themselves():
    assert act([("Impersonate-User", "system:serviceaccount:ns:bot")]).groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:ns",
        "system:authenticated",
    )
    assert act([("Impersonate-User", "system:anonymous")]).groups == ("system:unauthenticated",)


def test_every_part_is_authorized_by_itself():
    cluster = Cluster()
    cluster.allow(user("ann"), [{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]}])
    assert act([("Impersonate-User", "bob")], ANN, cluster).name == "bob"
    for more in (("Impersonate-Group", "system:masters"), ("Impersonate-Uid", "1"), ("Impersonate-Extra-scopes", "x")):
        with pytest.raises(ApiError) as told:
            act([("Impersonate-User", "bob"), more], ANN, cluster)
        assert told.value.code == 403
    with pytest.raises(ApiError) as told:
        act([("Impersonate-User", "root")], ANN, cluster)
    assert told.value.message == 'users "root" is forbidden: User "ann" cannot impersonate resource "users" in API group "" at the cluster scope'
    with pytest.raises(ApiError, match=r'serviceaccounts "bot" is forbidden.*in the namespace "ns"'):
        act([("Impersonate-User", "system:serviceaccount:ns:bot")], ANN, cluster)


@pytest.mark.parametrize(
    "headers",
    [
        [("Impersonate-Group", "system:masters")],
        [("Impersonate-Extra-a", "b")],
        [("Impersonate-User", "a"), ("Impersonate-User", "b")],
        [("Impersonate-User", "a"), ("Impersonate-Groups", "b")],
        [("Impersonate-User", "a"), *[("Impersonate-Group", str(number)) for number in range(600)]],
    ],
)
def test_tricks(headers):
    with pytest.raises(ApiError) as told:
        act(headers)
    assert told.value.code in (400, 500)


def test_refusals_in_kubernetes_words():
    def told(**fields):
        return refusal(Attributes(ANN, **fields)).message

    resource = {"is_resource": True, "resource": "pods", "path": ""}
    assert told(verb="list", **resource, namespace="n") == (
        'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "n"'
    )
    assert told(verb="get", **{**resource, "resource": "deployments"}, group="apps", name="d", namespace="n", subresource="scale") == (
        'deployments.apps "d" is forbidden: User "ann" cannot get resource "deployments/scale" in API group "apps" in the namespace "n"'
    )
    assert told(verb="get", path="/metrics") == 'forbidden: User "ann" cannot get path "/metrics"'
    assert "&lt;script&gt;" in refusal(Attributes(User("<script>"), "get", "/")).message
