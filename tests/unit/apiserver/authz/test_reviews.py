import asyncio
from typing import Any

import pytest

from apiserver.authn.chain import Authenticator
from apiserver.authn.reviews import IdentityReviews
from apiserver.authn.tokens import StaticTokens, read_file
from apiserver.authz.rbac import Rbac
from apiserver.authz.reviews import AccessReviews
from apiserver.machinery.status import ApiError
from apiserver.request import User
from tests.unit.apiserver.cluster import Cluster, user

ANN = User("ann", ("dev",))
PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
ASKED = {"verb": "get", "resource": "pods", "namespace": "ns"}


def ask(kind: str, spec: dict[str, Any], namespace: str = "", who: User = ANN) -> dict[str, Any]:
    cluster = Cluster()
    cluster.allow(user("ann"), [PODS, {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}])
    rbac = Rbac(cluster)
    table = AccessReviews(rbac, rbac).table()
    return asyncio.run(table[f"{kind}.authorization.k8s.io"]({"spec": spec}, who, namespace))["status"]


def test_may_i():
    assert ask("selfsubjectaccessreviews", {"resourceAttributes": ASKED})["allowed"]
    assert ask("selfsubjectaccessreviews", {"resourceAttributes": {**ASKED, "verb": "delete"}}) == {"allowed": False}
    assert ask("selfsubjectaccessreviews", {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}})["allowed"]


def test_may_somebody():
    assert not ask("subjectaccessreviews", {"resourceAttributes": ASKED, "user": "bob"})["allowed"]
    assert ask("subjectaccessreviews", {"resourceAttributes": ASKED, "user": "ann"}, who=User("bob"))["allowed"]
    assert ask("localsubjectaccessreviews", {"resourceAttributes": ASKED, "user": "ann"}, "ns")["allowed"]


@pytest.mark.parametrize(
    ("kind", "spec", "code"),
    [
        ("subjectaccessreviews", {"resourceAttributes": ASKED}, 422),
        ("selfsubjectaccessreviews", {}, 422),
        ("selfsubjectaccessreviews", {"resourceAttributes": ASKED, "nonResourceAttributes": {"path": "/"}}, 422),
        ("localsubjectaccessreviews", {"resourceAttributes": {**ASKED, "namespace": "other"}, "user": "a"}, 400),
        ("localsubjectaccessreviews", {"nonResourceAttributes": {"path": "/"}, "user": "a"}, 422),
        ("selfsubjectrulesreviews", {}, 400),
    ],
)
def test_questions_that_are_none(kind, spec, code):
    with pytest.raises(ApiError) as told:
        ask(kind, spec, "ns")
    assert told.value.code == code


def test_all_that_i_may():
    status = ask("selfsubjectrulesreviews", {"namespace": "ns"})
    assert status == {"resourceRules": [PODS], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}], "incomplete": False}
    assert ask("selfsubjectrulesreviews", {"namespace": "ns"}, who=User("r", ("system:masters",)))["resourceRules"][0]["verbs"] == ["*"]


def test_whose_token_and_who_am_i(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("secret,ann,7,dev\n")
    table = IdentityReviews(Authenticator(static=StaticTokens(read_file(path)), audiences=["api"])).table()

    def review(token: str, **spec: Any) -> dict[str, Any]:
        return asyncio.run(table["tokenreviews.authentication.k8s.io"]({"spec": {"token": token, **spec}}, ANN, ""))["status"]

    assert review("secret")["user"] == {"username": "ann", "uid": "7", "groups": ["dev", "system:authenticated"]}
    assert review("secret", audiences=["api", "x"])["audiences"] == ["api"]
    assert not review("secret", audiences=["x"]).get("authenticated")
    assert not review("wrong").get("authenticated")
    with pytest.raises(ApiError):
        review("")
    own = asyncio.run(table["selfsubjectreviews.authentication.k8s.io"]({}, ANN, ""))
    assert own["status"]["userInfo"] == {"username": "ann", "groups": ["dev"]}
