"""Nobody gives rights that he does not have, by no way of writing roles and bindings."""

import asyncio
from typing import Any

import pytest

from apiserver.authz.escalation import Escalation
from apiserver.authz.rbac import Rbac
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from apiserver.request import User, Write
from tests.unit.apiserver.cluster import RBAC_API, Cluster, user

ANN = User("ann", ("dev", "system:authenticated"))
PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
SECRETS = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}


def cluster(*rules: dict[str, Any]) -> Cluster:
    """Ann may write roles and bindings, read pods, and what `rules` say."""
    made = Cluster()
    made.allow(
        user("ann"), [{"verbs": ["*"], "apiGroups": [RBAC_API], "resources": ["roles", "rolebindings"], "resourceNames": ["mine"]}, PODS, *rules]
    )
    return made


def write(
    plural: str, new: dict[str, Any], old: dict[str, Any] | None = None, who: User = ANN, rules: tuple[dict[str, Any], ...] = (), **put: Any
) -> None:
    made = cluster(*rules)
    for name, role in put.items():
        made.put(f"clusterroles.{RBAC_API}", {"metadata": {"name": name}, **role})
    rbac = Rbac(made)
    operation = "UPDATE" if old is not None else "CREATE"
    namespace = "" if plural.startswith("cluster") else "ns"
    asyncio.run(Escalation(rbac, rbac).validate(Write(who, operation, resource(f"{plural}.{RBAC_API}"), namespace, "x", new, old)))


def refused(*args: Any, **more: Any) -> str:
    with pytest.raises(ApiError) as told:
        write(*args, **more)
    assert told.value.code == 403
    return told.value.message


def test_a_role_of_what_one_holds():
    write("roles", {"rules": [PODS]})
    write("clusterroles", {"rules": [{**PODS, "resourceNames": ["p"]}]})


def test_a_role_of_more():
    assert refused("roles", {"rules": [PODS, SECRETS]}) == (
        'roles.rbac.authorization.k8s.io "x" is forbidden: user "ann" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC '
        'permissions not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}'
    )
    for rule in (
        {**PODS, "verbs": ["*"]},
        {**PODS, "resources": ["*"]},
        {**PODS, "apiGroups": ["*"]},
        {"verbs": ["get"], "nonResourceURLs": ["/metrics"]},
    ):
        refused("clusterroles", {"rules": [rule]})
    refused("roles", {"rules": [SECRETS]}, {"rules": [PODS]})


def test_a_role_that_is_not_made_stronger_may_be_relabelled():
    write("roles", {"rules": [SECRETS], "metadata": {"labels": {"a": "b"}}}, {"rules": [SECRETS]})


def test_an_aggregated_role_may_come_to_hold_anything():
    selector = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
    refused("clusterroles", {"rules": [], "aggregationRule": selector})
    refused("clusterroles", {"rules": [], "aggregationRule": selector}, {"rules": []})


def test_the_verb_escalate():
    write("roles", {"rules": [SECRETS]}, rules=({"verbs": ["escalate"], "apiGroups": [RBAC_API], "resources": ["roles"], "resourceNames": ["x"]},))
    refused("clusterroles", {"rules": [SECRETS]}, rules=({"verbs": ["escalate"], "apiGroups": [RBAC_API], "resources": ["roles"]},))


def binding(name: str) -> dict[str, Any]:
    return {"roleRef": {"apiGroup": RBAC_API, "kind": "ClusterRole", "name": name}, "subjects": [user("ann")]}


def test_bindings():
    write("rolebindings", binding("reader"), reader={"rules": [PODS]})
    assert "{APIGroups:" in refused("rolebindings", binding("admin"), admin={"rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]})
    refused("clusterrolebindings", binding("keys"), keys={"rules": [SECRETS]})
    refused("rolebindings", binding("keys"), {**binding("keys"), "subjects": []}, keys={"rules": [SECRETS]})
    write("rolebindings", {**binding("keys"), "metadata": {"labels": {}}}, binding("keys"), keys={"rules": [SECRETS]})
    with pytest.raises(ApiError) as told:
        write("rolebindings", binding("missing"))
    assert told.value.code == 404


def test_the_verb_bind_is_for_one_role():
    may = ({"verbs": ["bind"], "apiGroups": [RBAC_API], "resources": ["clusterroles"], "resourceNames": ["keys"]},)
    write("rolebindings", binding("keys"), rules=may, keys={"rules": [SECRETS]})
    refused("rolebindings", binding("other"), rules=may, other={"rules": [SECRETS]})


def test_masters_may():
    write("clusterrolebindings", binding("missing"), who=User("root", ("system:masters",)))
