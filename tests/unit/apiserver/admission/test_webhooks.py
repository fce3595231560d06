"""Webhooks over a stand-in for the wire: who is asked, what comes of the answers, and of those that are none. Real TLS is tried at the end."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from apiserver.admission.webhook_client import Answer, CallFailed, WebhookClient
from apiserver.admission.webhook_rules import MUTATING, VALIDATING
from apiserver.admission.webhooks import MutatingWebhooks, ValidatingWebhooks, denial
from apiserver.machinery.objects import Object
from apiserver.request import Write
from tests.support.webhook_server import Server
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster

RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}


def webhook(name: str = "a.acme.io", **more: Any) -> dict[str, Any]:
    return {"name": name, "rules": [RULE], "sideEffects": "None", "admissionReviewVersions": ["v1"], **more}


class Wire:
    """Answers by the webhook's name; calls are noted."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def call(self, hook: Object, asked: Write) -> Answer:
        self.asked.append(hook["name"])
        answer = self.answers.get(hook["name"].partition(".")[0])
        if isinstance(answer, Exception):
            raise answer
        return Answer(True, {}) if answer is None else answer(asked) if callable(answer) else answer


def run(kind: str, wire: Wire, asked: Write, *hooks: dict[str, Any], configuration: str = "c") -> dict[str, Any]:
    cluster = Cluster(namespaces=[{"metadata": {"name": "ns", "labels": {"team": "x"}}}])
    cluster.put(kind, {"metadata": {"name": configuration}, "webhooks": list(hooks)})
    plugin = MutatingWebhooks(cluster, wire, lambda write: None) if kind == MUTATING else ValidatingWebhooks(cluster, wire)  # type: ignore[arg-type]
    return admitted(plugin, asked)


def denied(kind: str, wire: Wire, asked: Write, *hooks: dict[str, Any]) -> Any:
    cluster = Cluster()
    cluster.put(kind, {"metadata": {"name": "c"}, "webhooks": list(hooks)})
    plugin = MutatingWebhooks(cluster, wire, lambda write: None) if kind == MUTATING else ValidatingWebhooks(cluster, wire)  # type: ignore[arg-type]
    return refused(plugin, asked)


def adding(key: str) -> Answer:
    return Answer(True, {}, [{"op": "add", "path": f"/metadata/labels/{key}", "value": "1"}])


def labelled() -> dict[str, Any]:
    made = pod()
    made["metadata"]["labels"] = {"app": "x"}
    return made


@pytest.mark.parametrize(
    ("hook", "asked", "is_asked"),
    [
        ({}, write("pods", pod()), True),
        ({}, write("pods", pod(), old=pod()), False),
        ({}, write("pods", pod(), subresource="status"), False),
        ({}, write("configmaps", {"metadata": {"name": "c"}}), False),
        ({"rules": [{**RULE, "resources": ["*/*"], "operations": ["*"]}]}, write("pods", pod(), old=pod(), subresource="status"), True),
        ({"rules": [{**RULE, "resources": ["pods/*"], "operations": ["*"]}]}, write("pods", pod(), old=pod(), subresource="status"), True),
        ({"rules": [{**RULE, "resources": ["*"]}]}, write("pods", pod(), subresource="status"), False),
        ({"rules": [{**RULE, "scope": "Cluster"}]}, write("pods", pod()), False),
        ({"rules": [{**RULE, "apiVersions": ["v2"]}], "matchPolicy": "Exact"}, write("pods", pod()), False),
        ({"rules": [{**RULE, "apiVersions": ["v2"]}]}, write("pods", pod()), True),
        ({"namespaceSelector": {"matchLabels": {"team": "x"}}}, write("pods", pod()), True),
        ({"namespaceSelector": {"matchLabels": {"team": "y"}}}, write("pods", pod()), False),
        ({"objectSelector": {"matchLabels": {"app": "x"}}}, write("pods", labelled()), True),
        ({"objectSelector": {"matchLabels": {"app": "x"}}}, write("pods", pod()), False),
        ({"rules": [{**RULE, "operations": ["*"]}], "objectSelector": {"matchLabels": {"app": "x"}}}, write("pods", pod(), old=labelled()), True),
        ({"rules": [{**RULE, "apiGroups": ["*"], "resources": ["*"]}]}, write(MUTATING, {"metadata": {"name": "m"}}), False),
    ],
)
def test_who_is_asked(hook, asked, is_asked):
    wire = Wire()
    run(VALIDATING, wire, asked, webhook(**hook))
    assert bool(wire.asked) is is_asked


def test_each_sees_what_those_before_have_made():
    def second(asked: Write) -> Answer:
        assert (asked.object or {})["metadata"]["labels"] == {"app": "x", "one": "1"}
        return adding("two")

    wire = Wire(a=adding("one"), b=second)
    asked = write("pods", labelled())
    assert run(MUTATING, wire, asked, webhook("a.x"), webhook("b.x"))["metadata"]["labels"] == {"app": "x", "one": "1", "two": "1"}
    assert asked.annotations["mutation.webhook.admission.k8s.io/round_0_index_1"] == '{"configuration":"c","webhook":"b.x","mutated":true}'


def test_once_more_if_others_changed_it_and_it_asks_for_that():
    wire = Wire(a=adding("one"), b=adding("two"))
    run(MUTATING, wire, write("pods", labelled()), webhook("a.x", reinvocationPolicy="IfNeeded"), webhook("b.x", reinvocationPolicy="IfNeeded"))
    assert wire.asked == ["a.x", "b.x", "a.x"]
    wire = Wire(b=adding("two"))
    run(MUTATING, wire, write("pods", labelled()), webhook("a.x"), webhook("b.x"))
    assert wire.asked == ["a.x", "b.x"]


def test_no_is_told_in_the_webhook_s_words():
    wire = Wire(a=Answer(False, {"message": "too large", "code": 403, "reason": "Forbidden"}))
    for kind in (MUTATING, VALIDATING):
        error = denied(kind, wire, write("pods", pod()), webhook())
        assert (error.code, error.message) == (403, 'admission webhook "a.acme.io" denied the request: too large')
    assert denial("w", {}).message == 'admission webhook "w" denied the request without explanation'
    assert (denial("w", {"code": 200}).code, denial("w", {"code": 99999}).code) == (400, 400)


def test_a_failed_call_refuses_unless_it_is_to_be_ignored():
    wire = Wire(a=CallFailed("no route"))
    error = denied(VALIDATING, wire, write("pods", pod()), webhook())
    assert (error.code, error.message) == (500, 'Internal error occurred: failed calling webhook "a.acme.io": no route')
    asked = write("pods", pod())
    run(VALIDATING, wire, asked, webhook(failurePolicy="Ignore"))
    assert asked.annotations == {"failed-open.validating.webhook.admission.k8s.io/round_0_index_0": "a.acme.io"}


@pytest.mark.parametrize(
    ("expressions", "asked"),
    [
        (["object.metadata.name == 'p'", "request.operation == 'CREATE'"], True),
        (["object.metadata.name == 'q'"], False),
        (["object.nothing.at.all", "request.userInfo.username != 'ann'"], False),
    ],
)
def test_conditions(expressions, asked):
    wire = Wire()
    conditions = [{"name": str(number), "expression": text} for number, text in enumerate(expressions)]
    run(VALIDATING, wire, write("pods", pod()), webhook(matchConditions=conditions))
    assert bool(wire.asked) is asked


@pytest.mark.parametrize("expression", ["object.nothing.at.all", "((", "1", "authorizer.group('')"])
def test_conditions_that_fail_are_a_failure_of_the_call(expression):
    hook = webhook(matchConditions=[{"name": "c", "expression": expression}])
    assert "failed calling webhook" in denied(VALIDATING, Wire(), write("pods", pod()), hook).message
    run(VALIDATING, Wire(), write("pods", pod()), {**hook, "failurePolicy": "Ignore"})


def test_dry_runs_reach_only_webhooks_without_side_effects():
    wire = Wire()
    error = denied(VALIDATING, wire, write("pods", pod(), dry_run=True), webhook(sideEffects="Some"))
    assert error.message == 'admission webhook "a.acme.io" does not support dry run'
    run(VALIDATING, wire, write("pods", pod(), dry_run=True), webhook(sideEffects="NoneOnDryRun"))
    assert wire.asked == ["a.acme.io"]


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "remove", "path": ""}],
        [{"op": "replace", "path": "/metadata/namespace", "value": "kube-system"}],
        [{"op": "replace", "path": "/metadata/name", "value": "other"}],
        [{"op": "add", "path": "/kind", "value": "Secret"}],
        [{"op": "remove", "path": "/metadata"}],
        [{"op": "test", "path": "/a", "value": 1}],
        {"op": "add"},
        ["x"],
    ],
)
def test_patches_that_make_something_else_of_it(patch):
    error = denied(MUTATING, Wire(a=Answer(True, {}, patch)), write("pods", pod()), webhook())
    assert error.code == 500 and "failed calling webhook" in error.message


def say(response: Any, code: int = 200) -> Any:
    def reply(review: dict[str, Any]) -> web.Response:
        made = response(review["request"]["uid"]) if callable(response) else response
        content = made if isinstance(made, bytes) else msgspec.json.encode(made)
        return web.Response(body=content, status=code, headers={"Location": "https://elsewhere"} if code == 302 else {})

    return reply


def reviewed(identity: str, **response: Any) -> dict[str, Any]:
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": identity, "allowed": True, **response}}


def over_tls(folder: Path, reply: Any, *, service: bool = False, bundle: str | None = None) -> tuple[Answer, list[dict[str, Any]]]:
    async def whole() -> tuple[Answer, list[dict[str, Any]]]:
        async with Server(folder, reply) as server:
            client = WebhookClient(lambda namespace, name, port: ("127.0.0.1", server.port))
            where = {"service": {"namespace": "ns", "name": "w"}} if service else {"url": f"https://127.0.0.1:{server.port}/x"}
            config = {**where, "caBundle": server.bundle if bundle is None else bundle}
            try:
                return await client.call(webhook(clientConfig=config, timeoutSeconds=1), write("pods", pod())), server.reviews
            finally:
                await client.close()

    return asyncio.run(whole())


@pytest.mark.parametrize("service", [False, True])
def test_a_call_over_tls(tmp_path, service):
    patch = base64.b64encode(b'[{"op":"add","path":"/spec/x","value":1}]').decode()
    answer, (review,) = over_tls(tmp_path, say(lambda uid: reviewed(uid, patch=patch, patchType="JSONPatch", warnings=["w"])), service=service)
    assert answer.patch == [{"op": "add", "path": "/spec/x", "value": 1}] and answer.warnings == ("w",)
    asked = review["request"]
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "pods"} and asked["operation"] == "CREATE"
    assert asked["userInfo"]["username"] == "ann" and asked["object"]["metadata"]["name"] == "p"


@pytest.mark.parametrize(
    "reply",
    [
        say(b"no json"),
        say(b"[" * 100_000),
        say(b'"' + b"x" * (4 << 20) + b'"'),
        say({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}),
        say({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}),
        say(reviewed("another")),
        say(lambda uid: reviewed(uid, allowed="yes")),
        say(lambda uid: reviewed(uid, patch="W10=", patchType="Merge")),
        say(lambda uid: reviewed(uid, patch="!", patchType="JSONPatch")),
        say(lambda uid: reviewed(uid), 500),
        say(lambda uid: reviewed(uid), 302),
    ],
)
def test_answers_that_are_none(tmp_path, reply):
    with pytest.raises(CallFailed):
        over_tls(tmp_path, reply)


def test_only_who_has_the_right_certificate_is_believed(tmp_path):
    for bundle in ("", "bm9uc2Vuc2U=", "!"):
        with pytest.raises(CallFailed):
            over_tls(tmp_path, say(lambda uid: reviewed(uid)), bundle=bundle)
