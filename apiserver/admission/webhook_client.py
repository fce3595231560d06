"""One call of an admission webhook: the AdmissionReview sent, the answer checked (apiserver/pkg/admission/plugin/webhook/request, util/webhook).

The other side may be broken or hostile: answers have a limit, redirects are not followed, and whatever is not exactly an answer to the question is a
failure of the call.
"""

import base64
import binascii
import ssl
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from apiserver.authn.reviews import told
from apiserver.machinery.objects import Object
from apiserver.request import Write

ANSWER_BYTES_MAX = 3 << 20
TIMEOUT_S, TIMEOUT_MAX_S = 10, 30
CONTEXTS_MAX = 256
API = "admission.k8s.io/v1"

Resolve = Callable[[str, str, int], tuple[str, int]]
"""(namespace, service, port) -> address and port of one that stands behind it. Raises CallFailed."""


class CallFailed(Exception):
    """There is no answer that can be believed; the text says why."""


class Answer(Struct, frozen=True):
    allowed: bool
    status: Object
    patch: Any = None
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = {}


class WebhookClient:
    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._session: aiohttp.ClientSession | None = None
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()

    async def call(self, webhook: Object, write: Write) -> Answer:
        """Raises CallFailed."""
        if "v1" not in (webhook.get("admissionReviewVersions") or ()):
            raise CallFailed("it takes no AdmissionReview of version v1")
        timeout_s = min(webhook.get("timeoutSeconds") or TIMEOUT_S, TIMEOUT_MAX_S)
        identity = str(uuid.uuid4())
        body = msgspec.json.encode({"kind": "AdmissionReview", "apiVersion": API, "request": request_of(write, identity)})
        return _answer(await self.post(webhook.get("clientConfig") or {}, body, timeout_s), identity)

    async def post(self, config: Object, body: bytes, timeout_s: float) -> bytes:
        """What whoever `config` (WebhookClientConfig) names answers. Raises CallFailed."""
        url, headers, tls_name = self._where(config, timeout_s)
        try:
            return await self._post(url, body, headers, self._tls(config), tls_name, timeout_s)
        except TimeoutError:
            raise CallFailed(f'failed to call webhook: Post "{url}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError) as error:
            raise CallFailed(f'failed to call webhook: Post "{url}": {error}') from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, url: URL, body: bytes, headers: dict[str, str], tls: ssl.SSLContext, tls_name: str | None, timeout_s: float) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        posted = self._session.post(url, data=body, headers=headers, ssl=tls, server_hostname=tls_name, timeout=timeout, allow_redirects=False)
        async with posted as answer:
            content = await answer.content.read(ANSWER_BYTES_MAX + 1)
            while not answer.content.at_eof() and len(content) <= ANSWER_BYTES_MAX:
                content += await answer.content.read(ANSWER_BYTES_MAX + 1 - len(content))
            if len(content) > ANSWER_BYTES_MAX:
                raise CallFailed(f"the answer has more than {ANSWER_BYTES_MAX} bytes")
            if answer.status != 200:
                raise CallFailed(f"the server answered {answer.status}: {content[:200].decode(errors='replace')}")
            return content

    def _where(self, config: Object, timeout_s: float) -> tuple[URL, dict[str, str], str | None]:
        """Where to, with which headers, and the name that the certificate must have if it is not the address's."""
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "kube-apiserver-admission"}
        service = config.get("service")
        if service is None:
            url = URL(str(config.get("url") or ""))
            if url.scheme != "https" or not url.host:
                raise CallFailed(f"its url {str(url)!r} is not one of https")
            return url.update_query(timeout=f"{timeout_s}s"), headers, None
        name, namespace, port = str(service.get("name")), str(service.get("namespace")), int(service.get("port") or 443)
        address, at = self._resolve(namespace, name, port)
        tls_name = f"{name}.{namespace}.svc"
        url = URL.build(scheme="https", host=address, port=at, path=str(service.get("path") or "/"), query={"timeout": f"{timeout_s}s"})
        return url, {**headers, "Host": f"{tls_name}:{port}"}, tls_name

    def _tls(self, config: Object) -> ssl.SSLContext:
        bundle = str(config.get("caBundle") or "")
        found = self._contexts.get(bundle)
        if found is None:
            try:
                authorities = base64.b64decode(bundle, validate=True).decode("ascii") if bundle else None
                found = ssl.create_default_context(cadata=authorities)
            except (binascii.Error, ValueError, ssl.SSLError) as error:
                raise CallFailed(f"its caBundle holds no certificates: {error}") from None
            self._contexts[bundle] = found
            if len(self._contexts) > CONTEXTS_MAX:
                self._contexts.popitem(last=False)
        return found


def request_of(write: Write, identity: str) -> Object:
    """admission.k8s.io/v1 AdmissionRequest."""
    resource = write.resource
    part = resource.subresource(write.subresource) if write.subresource else None
    about = part or resource
    kind = {"group": about.group, "version": about.version, "kind": about.kind}
    named = {"group": resource.group, "version": resource.version, "resource": resource.plural}
    user = told(write.user)
    request: Object = {
        "uid": identity,
        "kind": kind,
        "resource": named,
        "requestKind": kind,
        "requestResource": named,
        "name": write.name,
        "namespace": write.namespace,
        "operation": write.operation,
        "userInfo": user,
        "object": write.object,
        "oldObject": write.old_object,
        "dryRun": write.dry_run,
        "options": dict(write.options) or None,
    }
    if write.subresource:
        request["subResource"] = request["requestSubResource"] = write.subresource
    return request


def response_of(content: bytes, identity: str, kind: str, api_version: str) -> Object:
    """The response in a review of `kind`, if it is one to the question that was asked. Raises CallFailed."""
    try:
        review = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        raise CallFailed("the answer is no JSON") from None
    if not isinstance(review, dict) or review.get("kind") != kind or review.get("apiVersion") != api_version:
        raise CallFailed(f"expected a {kind} of {api_version}")
    response = review.get("response")
    if not isinstance(response, dict):
        raise CallFailed("webhook response was absent")
    if response.get("uid") != identity:
        raise CallFailed(f'expected response.uid="{identity}", got "{response.get("uid")}"')
    return response


def _answer(content: bytes, identity: str) -> Answer:
    response = response_of(content, identity, "AdmissionReview", API)
    if not isinstance(response.get("allowed"), bool):
        raise CallFailed("expected response.allowed to be true or false")
    status = response.get("status")
    warnings = response.get("warnings") or []
    annotations = response.get("auditAnnotations") or {}
    if not isinstance(warnings, list) or not isinstance(annotations, dict):
        raise CallFailed("response.warnings is a list, response.auditAnnotations an object")
    return Answer(
        response["allowed"],
        status if isinstance(status, dict) else {},
        _patch(response),
        tuple(str(each)[:256] for each in warnings[:64]),
        {str(key): str(value) for key, value in annotations.items()},
    )


def _patch(response: Object) -> Any:
    patch = response.get("patch")
    if patch is None:
        return None
    if response.get("patchType") != "JSONPatch":
        raise CallFailed(f"invalid response.patchType {response.get('patchType')!r}: expected JSONPatch")
    try:
        content = base64.b64decode(patch, validate=True)
        return msgspec.json.decode(content) if content else None
    except (binascii.Error, ValueError, TypeError, msgspec.DecodeError, RecursionError):
        raise CallFailed("response.patch is no base64 of JSON") from None
