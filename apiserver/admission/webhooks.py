"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: others are asked whether a write may be, and may change it
(apiserver/pkg/admission/plugin/webhook/{mutating,validating}).

The mutating ones are asked one after the other, each seeing what those before have made of the object; if the object changed after one's turn and it
says `reinvocationPolicy: IfNeeded`, it is asked once more. The validating ones are asked all at once. A call that fails refuses the write, unless the
webhook says `failurePolicy: Ignore`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable

from apiserver.admission.webhook_client import Answer, CallFailed, WebhookClient
from apiserver.admission.webhook_conditions import is_wanted
from apiserver.admission.webhook_rules import MUTATING, VALIDATING, concerned
from apiserver.machinery.objects import Object, name_of
from apiserver.machinery.patches import json_patch
from apiserver.machinery.status import ApiError, bad_request
from apiserver.registry.cel import CelError
from apiserver.request import Passive, Reader, Write

log = logging.getLogger(__name__)

DRY_RUN_SAFE = ("None", "NoneOnDryRun")
Settle = Callable[[Write], None]
"""Prunes and defaults `write.object` after somebody else has changed it. Raises ApiError."""
Chosen = tuple[Object, Object, int]


class MutatingWebhooks(Passive):
    name = "MutatingAdmissionWebhook"

    def __init__(self, reader: Reader, client: WebhookClient, settle: Settle) -> None:
        self._reader = reader
        self._client = client
        self._settle = settle

    async def admit(self, write: Write) -> None:
        seen: dict[tuple[str, int], Object | None] = {}
        for chosen in list(concerned(self._reader, MUTATING, write)):
            await self._ask(chosen, write, 0)
            seen[(name_of(chosen[0]), chosen[2])] = write.object
        for chosen in concerned(self._reader, MUTATING, write):
            key = (name_of(chosen[0]), chosen[2])
            # One that was not concerned before may be by what another has changed; it is asked in the second round, as upstream does.
            if chosen[1].get("reinvocationPolicy") == "IfNeeded" and key in seen and seen[key] != write.object:
                await self._ask(chosen, write, 1)

    async def _ask(self, chosen: Chosen, write: Write, turn: int) -> None:
        configuration, webhook, index = chosen
        place = f"round_{turn}_index_{index}"
        answer = await _answered(self._client, webhook, write, "mutating", place)
        if answer is None:
            return
        changed = False
        if answer.patch is not None and write.object is not None:
            changed = self._apply(webhook, answer, write)
        mutation = f'{{"configuration":"{name_of(configuration)}","webhook":"{webhook.get("name")}","mutated":{str(changed).lower()}}}'
        write.annotations[f"mutation.webhook.admission.k8s.io/{place}"] = mutation

    def _apply(self, webhook: Object, answer: Answer, write: Write) -> bool:
        before = write.object
        try:
            new = json_patch(before, answer.patch)
            if not isinstance(new, dict) or not isinstance(new.get("metadata"), dict):
                raise bad_request("the patch leaves no object")
        except ApiError as error:
            raise _broken(webhook, f"the patch of the webhook does not apply: {error.message}") from None
        if new == before:
            return False
        if before is None or _identity(new) != _identity(before):
            raise _broken(webhook, "the patch of the webhook makes another object of it: kind, name, namespace and uid stay")
        write.object = new
        self._settle(write)
        return True


def _identity(obj: Object) -> tuple[object, ...]:
    meta = obj.get("metadata") or {}
    return obj.get("apiVersion"), obj.get("kind"), meta.get("name"), meta.get("namespace"), meta.get("uid"), meta.get("resourceVersion")


class ValidatingWebhooks(Passive):
    name = "ValidatingAdmissionWebhook"

    def __init__(self, reader: Reader, client: WebhookClient) -> None:
        self._reader = reader
        self._client = client

    async def validate(self, write: Write) -> None:
        chosen = list(concerned(self._reader, VALIDATING, write))
        if not chosen:
            return
        outcomes = await asyncio.gather(
            *(_answered(self._client, webhook, write, "validating", f"round_0_index_{index}") for _, webhook, index in chosen), return_exceptions=True
        )
        for error in _errors(outcomes):
            raise error


def _errors(outcomes: Iterable[object]) -> Iterable[BaseException]:
    """What ends the write, in the order of the webhooks: the same one whichever answered first."""
    return [each for each in outcomes if isinstance(each, BaseException)]


async def _answered(client: WebhookClient, webhook: Object, write: Write, kind: str, place: str) -> Answer | None:
    """The answer if it says yes; None if the call failed and that does not matter. Raises ApiError."""
    name = str(webhook.get("name") or "")
    try:
        if not is_wanted(webhook, write):
            return None
    except CelError as error:
        _failed(webhook, write, str(error), kind, place)
        return None
    if write.dry_run and webhook.get("sideEffects") not in DRY_RUN_SAFE:
        raise bad_request(f'admission webhook "{name}" does not support dry run')
    try:
        answer = await client.call(webhook, write)
    except CallFailed as error:
        _failed(webhook, write, str(error), kind, place)
        return None
    write.warnings.extend(answer.warnings)
    write.annotations.update({f"{name}/{key}": value for key, value in answer.annotations.items()})
    if not answer.allowed:
        raise denial(name, answer.status)
    return answer


def _failed(webhook: Object, write: Write, why: str, kind: str, place: str) -> None:
    if webhook.get("failurePolicy") != "Ignore":
        raise _broken(webhook, why)
    log.warning("Failed calling webhook, failing open", extra={"fields": {"webhook": webhook.get("name"), "error": why}})
    write.annotations[f"failed-open.{kind}.webhook.admission.k8s.io/{place}"] = str(webhook.get("name"))


def _broken(webhook: Object, why: str) -> ApiError:
    return ApiError("InternalError", f'Internal error occurred: failed calling webhook "{webhook.get("name")}": {why}')


def denial(name: str, status: Object) -> ApiError:
    """What the webhook said, with its code and reason if they say no (webhook/errors/statuserror.go)."""
    by = f'admission webhook "{name}" denied the request'
    message, reason = status.get("message"), status.get("reason")
    told = f"{by}: {message}" if message else f"{by}: {reason}" if reason else f"{by} without explanation"
    code = status.get("code")
    code = code if isinstance(code, int) and 400 <= code < 600 else 400
    error = ApiError("BadRequest", told, code=code)
    error.reason = reason if isinstance(reason, str) else ""
    return error
