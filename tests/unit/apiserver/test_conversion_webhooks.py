"""Custom resources whose versions a webhook converts: reads, writes, lists and watches in both, and answers that are none."""

import asyncio
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from aiohttp import web
from msgspec import json

from apiserver.admission.webhook_client import WebhookClient
from apiserver.conversion_webhooks import Converter
from apiserver.machinery.resources import Resource
from apiserver.registry.registry import Served
from apiserver.storage.items import Item
from tests.support.api_server import ApiServer
from tests.support.webhook_server import Server
from tests.unit.apiserver.test_custom_resources import DEFINITIONS, seen

ONE, TWO = ("/apis/example.com/v1/namespaces/default/shirts", "/apis/example.com/v2/namespaces/default/shirts")


def converted(review):
    """v1 has spec.color, v2 spec.paint.name."""
    request = review["request"]
    objects = deepcopy(request["objects"])
    for each in objects:
        each["apiVersion"], spec = request["desiredAPIVersion"], each["spec"]
        if request["desiredAPIVersion"] == "example.com/v2":
            spec["paint"] = {"name": spec.pop("color")}
        else:
            spec["color"] = spec.pop("paint")["name"]
    return {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects}


class Webhook:
    def __init__(self, server):
        self.server = server
        self.spoil = None
        """Called with the response before it is sent."""

    @property
    def asked(self):
        """How many objects each review had."""
        return [len(each["request"]["objects"]) for each in self.server.reviews]

    def reply(self, review):
        response = converted(review)
        if self.spoil is not None:
            self.spoil(response)
        answer = {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response}
        return web.Response(body=json.encode(answer))


def definition(server, storage="v1"):
    def version(name, **spec):
        schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
        return {"name": name, "served": True, "storage": name == storage, "schema": {"openAPIV3Schema": schema}}

    text = {"type": "string"}
    paint = {"type": "object", "properties": {"name": text}}
    two = {**version("v2", paint=paint), "selectableFields": [{"jsonPath": ".spec.paint.name"}]}
    client = {"url": f"https://127.0.0.1:{server.port}/convert", "caBundle": server.bundle}
    names = {"plural": "shirts", "kind": "Shirt"}
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version("v1", color=text), two], "conversion": conversion}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "shirts.example.com"}, "spec": spec}


@asynccontextmanager
async def standing():
    with TemporaryDirectory() as folder:
        server = Server(Path(folder), lambda review: webhook.reply(review))
        webhook = Webhook(server)
        async with asyncio.timeout(30), server, ApiServer(str(Path(folder) / "api")) as api:
            client = WebhookClient(lambda namespace, name, port: ("127.0.0.1", server.port))
            api.app.converter = Converter(client)
            code, made = await api.post(DEFINITIONS, definition(server))
            assert code == 201, made
            await seen(api)
            try:
                yield api, webhook
            finally:
                await client.close()


def run(test):
    async def whole():
        async with standing() as (api, webhook):
            await test(api, webhook)

    asyncio.run(whole())


def shirt(name, color):
    return {"apiVersion": "example.com/v1", "kind": "Shirt", "metadata": {"name": name}, "spec": {"color": color}}


def painted(name, color):
    return {"apiVersion": "example.com/v2", "kind": "Shirt", "metadata": {"name": name}, "spec": {"paint": {"name": color}}}


def test_both_versions_are_read_and_written():
    async def test(api, webhook):
        assert (await api.post(ONE, shirt("a", "red")))[0] == 201
        assert webhook.asked == [], "it was written as it is stored"
        code, made = await api.post(TWO, painted("b", "blue"))
        assert (code, made["apiVersion"], made["spec"]) == (201, "example.com/v2", {"paint": {"name": "blue"}})
        assert (await api.get(f"{ONE}/b"))[1]["spec"] == {"color": "blue"}
        code, patched = await api.patch(f"{TWO}/a", {"spec": {"paint": {"name": "green"}}})
        assert (code, patched["spec"]) == (200, {"paint": {"name": "green"}})
        assert (await api.get(f"{ONE}/a"))[1]["spec"] == {"color": "green"}
        stored = json.decode((await api.store.get(b"/registry/example.com/shirts/default/a")).kvs[0].value)
        assert (stored["apiVersion"], stored["spec"]) == ("example.com/v1", {"color": "green"})
        code, old = await api.get(f"{TWO}/a")
        old["spec"] = {"paint": {"name": "white"}}
        assert (await api.put(f"{TWO}/a", old))[0] == 200
        assert (await api.delete(f"{TWO}/a"))[0] == 200
        assert (await api.get(f"{ONE}/a"))[0] == 404

    run(test)


def test_a_list_is_converted_at_once_and_remembered():
    async def test(api, webhook):
        for name in "abc":
            await api.post(ONE, shirt(name, name * 2))
        for _ in range(2):
            code, listed = await api.get(TWO)
            assert [each["spec"]["paint"]["name"] for each in listed["items"]] == ["aa", "bb", "cc"]
        assert webhook.asked == [3]
        code, listed = await api.get(f"{TWO}?fieldSelector=spec.paint.name%3Dbb")
        assert (code, [each["metadata"]["name"] for each in listed["items"]], webhook.asked) == (200, ["b"], [3])
        assert (await api.get(ONE))[1]["items"][0]["spec"] == {"color": "aa"}

    run(test)


def test_a_collection_that_is_deleted_is_converted_at_once():
    async def test(api, webhook):
        for name in "abc":
            await api.post(ONE, shirt(name, name * 2))
        code, deleted = await api.delete(TWO)
        assert (code, [each["spec"]["paint"]["name"] for each in deleted["items"]]) == (200, ["aa", "bb", "cc"])
        assert webhook.asked == [3, 1, 1, 1], "and each as admission is shown it"

    run(test)


def test_who_was_converted_to_before_the_way_changed_keeps_what_he_has():
    def by(way):
        known = Resource("example.com", "v2", "Shirt", "shirts", True, ())
        return Served(known, "/k", "example.com/v1", webhook={"clientConfig": {"url": way}}, form=f"example.com/v2#{way}")

    item = Item("/k", {"apiVersion": "example.com/v1", "metadata": {"name": "a"}}, 1)
    old, new, newest = by("old"), by("new"), by("newest")
    for served in (old, new):
        item.keep_form(served, {"by": served.form})
    assert [item.encoded(served) for served in (old, new)] == [b'{"by":"example.com/v2#old"}', b'{"by":"example.com/v2#new"}']
    item.keep_form(newest, {"by": "newest"})
    assert [item.has_form(served) for served in (old, new, newest)] == [False, True, True], "they are not gathered for ever"


def test_the_stored_version_changes_and_objects_of_both_are_there():
    async def test(api, webhook):
        await api.post(ONE, shirt("a", "red"))
        _, known = await api.get(f"{DEFINITIONS}/shirts.example.com")
        known["spec"]["versions"] = definition(webhook.server, storage="v2")["spec"]["versions"]
        assert (await api.put(f"{DEFINITIONS}/shirts.example.com", known))[0] == 200
        await seen(api)
        await api.post(ONE, shirt("b", "blue"))
        kinds = [
            json.decode((await api.store.get(f"/registry/example.com/shirts/default/{name}".encode())).kvs[0].value)["apiVersion"] for name in "ab"
        ]
        assert kinds == ["example.com/v1", "example.com/v2"]
        assert [each["spec"]["color"] for each in (await api.get(ONE))[1]["items"]] == ["red", "blue"]
        assert [each["spec"]["paint"]["name"] for each in (await api.get(TWO))[1]["items"]] == ["red", "blue"]

    run(test)


def test_watches_see_their_own_version():
    async def test(api, webhook):
        await api.post(ONE, shirt("a", "red"))
        async with api.watch(f"{TWO}?watch=true") as two, api.watch(f"{ONE}?watch=true") as one:
            await api.patch(f"{ONE}/a", {"spec": {"color": "blue"}})
            await api.delete(f"{ONE}/a")
            seen_two = [await anext(two) for _ in range(3)]
            seen_one = [await anext(one) for _ in range(3)]
        assert [(each["type"], each["object"]["spec"]["paint"]["name"]) for each in seen_two] == [
            ("ADDED", "red"),
            ("MODIFIED", "blue"),
            ("DELETED", "blue"),
        ]
        assert [(each["type"], each["object"]["spec"]["color"]) for each in seen_one] == [("ADDED", "red"), ("MODIFIED", "blue"), ("DELETED", "blue")]

    run(test)


def spoiled(**what):
    return lambda response: response.update(what)


def renamed(response):
    response["convertedObjects"][0]["metadata"]["name"] = "x"


def labelled(response):
    response["convertedObjects"][0]["metadata"]["labels"] = {"l": "no label"}


def other_version(response):
    response["convertedObjects"][0]["apiVersion"] = "example.com/v9"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoiled(uid="another"), "expected response.uid"),
        (spoiled(result={"status": "Failure", "message": "no paint"}), "no paint"),
        (spoiled(convertedObjects=[]), "webhook returned 0 objects, expected 1"),
        (renamed, "must have the same name"),
        (other_version, "invalid groupVersion"),
        (labelled, "invalid metadata: metadata.labels: Invalid value"),
    ],
)
def test_what_is_no_answer_is_an_error_of_the_request(spoil, told):
    async def test(api, webhook):
        await api.post(ONE, shirt("a", "red"))
        webhook.spoil = spoil
        for path in (f"{TWO}/a", TWO):
            code, status = await api.get(path)
            assert (code, status["reason"]) == (500, "InternalError")
            assert status["message"].startswith("conversion webhook for example.com/v1, Kind=Shirt failed: ") and told in status["message"]
        async with api.watch(f"{TWO}?watch=true") as events:
            assert (await anext(events))["type"] == "ERROR"
        assert (await api.get(ONE))[0] == 200, "who reads the stored version needs nobody"
        webhook.spoil = None
        assert (await api.get(f"{TWO}/a"))[0] == 200

    run(test)


def test_a_webhook_changes_labels_and_annotations_and_no_other_metadata():
    async def test(api, webhook):
        def spoil(response):
            response["convertedObjects"][0]["metadata"].update(labels={"l": "2"}, finalizers=["x/y"], resourceVersion="1")

        await api.post(ONE, shirt("a", "red"))
        _, before = await api.get(f"{ONE}/a")
        webhook.spoil = spoil
        _, after = await api.get(f"{TWO}/a")
        assert after["metadata"] == {**before["metadata"], "labels": {"l": "2"}}

    run(test)


def test_a_definition_says_whom_to_ask():
    async def test(api, webhook):
        asked = definition(webhook.server)
        asked["metadata"]["name"], asked["spec"]["names"] = "hats.example.com", {"plural": "hats", "kind": "Hat"}
        for change, field in (
            ({"webhook": None}, "spec.conversion.webhookClientConfig"),
            ({"strategy": "None"}, "spec.conversion.webhook"),
            ({"webhook": {**asked["spec"]["conversion"]["webhook"], "conversionReviewVersions": ["v9"]}}, "conversionReviewVersions"),
        ):
            spec = {**asked["spec"], "conversion": {**asked["spec"]["conversion"], **change}}
            code, status = await api.post(DEFINITIONS, {**asked, "spec": spec})
            assert code == 422 and field in status["message"], status

    run(test)
