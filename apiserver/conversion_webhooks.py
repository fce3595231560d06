"""Conversion webhooks of custom resources: a ConversionReview is sent, and what comes back is believed only as far as it must be
(apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go).

A webhook turns spec and status into another version. It may change labels and annotations, and nothing else that metadata says; whatever is not
exactly an answer to the question is an error of the request that needed it. Which version an object has does not change what it is called: names,
namespaces and uids are checked.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

import msgspec

from apiserver.admission.webhook_client import TIMEOUT_MAX_S, CallFailed, WebhookClient, response_of
from apiserver.machinery.objects import Object
from apiserver.machinery.status import ApiError
from apiserver.registry import object_meta
from apiserver.registry.registry import Served
from apiserver.storage.items import Item, batches

API = "apiextensions.k8s.io/v1"
REVIEW_OBJECTS_MAX = 500
REVIEW_BYTES_MAX = 2 << 20
"""Of the objects in one review, as stored: a list is converted in several calls when it has more. An answer may have 3 MiB."""


class Converter:
    def __init__(self, client: WebhookClient) -> None:
        self._client = client

    async def shown(self, served: Served, obj: Object) -> Object:
        """A stored object in this version. Raises ApiError (500)."""
        return await self._one(served, obj, served.resource.api_version)

    async def stored(self, served: Served, obj: Object) -> Object:
        """An object of this version as it is stored. Raises ApiError (500)."""
        return await self._one(served, obj, served.storage_version)

    async def prepare(self, served: Served, items: Iterable[Item]) -> None:
        """After this `Item.form` knows what they look like in this version. Raises ApiError (500)."""
        if served.webhook is None:
            return
        wanting = (item for item in items if not item.has_form(served))
        for batch in batches(wanting, lambda item: item.size_bytes, REVIEW_OBJECTS_MAX, REVIEW_BYTES_MAX):
            made = await self._converted(served, [item.obj for item in batch], served.resource.api_version)
            for item, obj in zip(batch, made, strict=True):
                item.keep_form(served, obj)

    async def _one(self, served: Served, obj: Object, api_version: str) -> Object:
        if obj.get("apiVersion") == api_version:
            return obj
        return (await self._converted(served, [obj], api_version))[0]

    async def _converted(self, served: Served, objects: Sequence[Object], api_version: str) -> list[Object]:
        webhook = served.webhook or {}
        identity = str(uuid.uuid4())
        request = {"uid": identity, "desiredAPIVersion": api_version, "objects": objects}
        try:
            if "v1" not in (webhook.get("conversionReviewVersions") or ()):
                raise CallFailed("it takes no ConversionReview of version v1")
            review = {"kind": "ConversionReview", "apiVersion": API, "request": request}
            content = await self._client.post(webhook.get("clientConfig") or {}, msgspec.json.encode(review), TIMEOUT_MAX_S)
            return _answer(content, identity, objects, api_version)
        except CallFailed as failed:
            about = f"{objects[0].get('apiVersion')}, Kind={served.resource.kind}"
            raise ApiError("InternalError", f"conversion webhook for {about} failed: {failed}") from None


def _answer(content: bytes, identity: str, objects: Sequence[Object], api_version: str) -> list[Object]:
    """Raises CallFailed."""
    response = response_of(content, identity, "ConversionReview", API)
    result = response.get("result")
    if not isinstance(result, dict) or result.get("status") != "Success":
        raise CallFailed(str(result.get("message") or "no message provided") if isinstance(result, dict) else "response.result is missing")
    converted = response.get("convertedObjects")
    if not isinstance(converted, list) or len(converted) != len(objects):
        raise CallFailed(f"webhook returned {len(converted) if isinstance(converted, list) else 0} objects, expected {len(objects)}")
    return [_checked(made, asked, api_version, index) for index, (made, asked) in enumerate(zip(converted, objects, strict=True))]


def _checked(made: object, asked: Object, api_version: str, index: int) -> Object:
    """The converted object with the metadata of the one that was sent. Raises CallFailed."""
    where = f"invalid converted object at index {index}"
    if not isinstance(made, dict):
        raise CallFailed(f"{where}: no object")
    if made.get("apiVersion") != api_version:
        raise CallFailed(f"{where}: invalid groupVersion (expected {api_version}, received {made.get('apiVersion')})")
    if made.get("kind") != asked.get("kind"):
        raise CallFailed(f"{where}: invalid kind (expected {asked.get('kind')}, received {made.get('kind')})")
    before, after = asked["metadata"], made.get("metadata")
    if not isinstance(after, dict):
        raise CallFailed(f"{where}: missing metadata in converted object")
    for name in ("name", "namespace", "uid"):
        if (after.get(name) or "") != (before.get(name) or ""):
            raise CallFailed(f"{where}: invalid metadata of object: must have the same {name}: {before.get(name)} != {after.get(name)}")
    kept = {name: value for name, value in before.items() if name not in ("labels", "annotations")}
    for name in ("labels", "annotations"):
        value = after.get(name)
        if value is not None and not (isinstance(value, dict) and all(isinstance(each, str) for each in value.values())):
            raise CallFailed(f"{where}: metadata.{name} must be a map of strings")
        if value and value != before.get(name) and (causes := object_meta.faults({name: value}, "metadata")):
            raise CallFailed(f"{where}: invalid metadata: {causes[0].text()}")
        if value:
            kept[name] = value
    return {**made, "metadata": kept}
