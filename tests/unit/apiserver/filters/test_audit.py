"""What is recorded of a request, how much, and what never is."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from apiserver.config_files import Unusable
from apiserver.filters import audit_policy, request_info
from apiserver.filters.audit import BODY, IMPERSONATOR, Auditor, LogFile
from apiserver.filters.audit_policy import Policy
from apiserver.request import User

ANN = User("ann", ("dev",))


class Trail:
    """One request through an auditor with one rule."""

    def __init__(self, rule: dict[str, Any], method: str = "GET", path: str = "/api/v1/namespaces/ns/pods/p", omit: tuple[str, ...] = ()) -> None:
        self.events: list[dict[str, Any]] = []
        clock = datetime(2026, 11, 21, 12, 0, 0, 5, tzinfo=UTC)
        self.auditor = Auditor(Policy([rule], omit), lambda line: self.events.append(json.loads(line)), lambda: clock)
        self.request = make_mocked_request(method, path, headers={"User-Agent": "kubectl/v1", "Authorization": "Bearer secret"})
        self.info, _ = request_info.parse(method, path)

    def run(self, status: int = 200, answer: Any = None, body: Any = None, impersonator: User | None = None) -> list[dict[str, Any]]:
        if impersonator:
            self.request[IMPERSONATOR] = impersonator
        if body is not None:
            self.request[BODY] = json.dumps(body).encode()
        self.auditor.begin(self.request, self.info, ANN, "id-1")
        self.auditor.allowed(self.request, "because")
        self.auditor.ended(self.request, web.Response(status=status, body=json.dumps(answer).encode()))
        return self.events


def test_who_did_what_to_what():
    received, complete = Trail({"level": "Metadata"}).run()
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    assert complete["auditID"] == "id-1" and complete["user"] == {"username": "ann", "groups": ["dev"]}
    assert complete["objectRef"] == {"resource": "pods", "namespace": "ns", "name": "p", "apiVersion": "v1"}
    assert complete["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "because"}
    assert complete["responseStatus"] == {"metadata": {}, "code": 200}
    assert complete["requestReceivedTimestamp"] == "2026-11-21T12:00:00.000005Z"
    assert "secret" not in json.dumps([received, complete])
    assert "requestObject" not in complete and "responseObject" not in complete


def test_bodies_as_the_level_says():
    answer = {"metadata": {"managedFields": [1], "name": "p"}}
    assert Trail({"level": "Request"}).run(answer=answer, body={"a": 1})[1]["requestObject"] == {"a": 1}
    full = Trail({"level": "RequestResponse", "omitManagedFields": True}).run(answer=answer, body={"a": 1})[1]
    assert full["responseObject"] == {"metadata": {"name": "p"}}
    big = Trail({"level": "RequestResponse"}).run(answer="x" * 200_000)[1]
    assert big["responseObject"] is None and "audit.keelson/response-left-out" in big["annotations"]


def test_tokens_stay_out_at_every_level():
    token = Trail({"level": "RequestResponse"}, "POST", "/api/v1/namespaces/ns/serviceaccounts/bot/token")
    assert "geheim" not in json.dumps(token.run(answer={"status": {"token": "geheim"}}))
    review = Trail({"level": "RequestResponse"}, "POST", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert "geheim" not in json.dumps(review.run(body={"spec": {"token": "geheim"}}))


def test_failures_say_why():
    status = {"kind": "Status", "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403}
    told = Trail({"level": "Metadata"}).run(403, status)[1]["responseStatus"]
    assert (told["message"], told["reason"], told["code"]) == ("no", "Forbidden", 403)


def test_who_acts_as_somebody_else():
    told = Trail({"level": "Metadata"}).run(impersonator=User("root"))[1]
    assert (told["user"]["username"], told["impersonatedUser"]["username"]) == ("root", "ann")


def test_stages_are_left_out():
    assert [each["stage"] for each in Trail({"level": "Metadata"}, omit=("RequestReceived",)).run()] == ["ResponseComplete"]
    assert Trail({"level": "None"}).run() == []


@pytest.mark.parametrize(
    ("rule", "method", "path", "fits"),
    [
        ({"users": ["ann"]}, "GET", "/api/v1/pods", True),
        ({"users": ["bob"]}, "GET", "/api/v1/pods", False),
        ({"userGroups": ["dev"]}, "GET", "/api/v1/pods", True),
        ({"verbs": ["watch"]}, "GET", "/api/v1/pods?watch=1", True),
        ({"verbs": ["list"]}, "GET", "/api/v1/pods?watch=1", False),
        ({"namespaces": ["ns"]}, "GET", "/api/v1/namespaces/ns/pods", True),
        ({"namespaces": ["ns"]}, "GET", "/healthz", False),
        ({"resources": [{"group": "", "resources": ["secrets"]}]}, "GET", "/api/v1/pods", False),
        ({"resources": [{"group": "", "resources": ["pods/log"]}]}, "GET", "/api/v1/namespaces/n/pods/p/log", True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, "GET", "/api/v1/namespaces/n/pods/p/log", False),
        ({"resources": [{"group": "", "resources": ["*"]}]}, "GET", "/api/v1/namespaces/n/pods/p/log", True),
        ({"resources": [{"group": "apps"}]}, "GET", "/apis/apps/v1/deployments", True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["p"]}]}, "GET", "/api/v1/namespaces/n/pods/q", False),
        ({"nonResourceURLs": ["/healthz*"]}, "GET", "/healthz/ping", True),
        ({"nonResourceURLs": ["/healthz*"]}, "GET", "/api/v1/pods", False),
    ],
)
def test_rules(rule, method, path, fits):
    assert bool(Trail({"level": "Metadata", **rule}, method, path).run()) is fits


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [{"level": "Everything"}],
        [{"level": "Metadata", "omitStages": ["Later"]}],
        [{"level": "Metadata", "user": ["a"]}],
        [{"level": "Metadata", "users": "ann"}],
        [{"level": "Metadata", "namespaces": ["a"], "nonResourceURLs": ["/"]}],
        ["x"],
    ],
)
def test_policies_that_are_none(tmp_path, rules):
    path = tmp_path / "policy.yaml"
    path.write_text(json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}))
    with pytest.raises(Unusable, match=r"policy\.yaml"):
        audit_policy.read(path)


def test_the_log_turns_over_and_keeps_some(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = LogFile(str(path), 1, 2)
    line = b"x" * 300_000 + b"\n"
    for _ in range(15):
        log.write(line)
    log.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["audit.log", "audit.log.3", "audit.log.4"]
    assert all(each.stat().st_size <= 1 << 20 for each in tmp_path.iterdir())
    assert path.stat().st_mode & 0o077 == 0
