"""Where our server is meant to answer otherwise than the genuine one, and why: one entry each, as narrow as it can be."""

from collections.abc import Callable

from msgspec import Struct

from tests.kubernetes.oracle.normal import Plain
from tests.kubernetes.oracle.requests import Request


class Difference(Struct, frozen=True):
    """`adjust(request, genuine, ours)` changes the answers in place so that what is meant to differ is equal."""

    name: str
    reason: str
    adjust: Callable[[Request, Plain, Plain], None]


REJECTED = "the server rejected our request due to an error in our request"
UNDECODABLE = ("json parse error", "error decoding patch", "error strict decoding patch", "invalid continue token")


def _message(answer: Plain) -> str:
    return str(answer["body"].get("message") or "") if isinstance(answer["body"], dict) else ""


def _say(answer: Plain, text: str) -> None:
    answer["body"]["message"] = text


def _no_page(request: Request, genuine: Plain, ours: Plain) -> None:
    told = ours["body"]
    if genuine["body"] == "404 page not found\n" and ours["code"] == 404 and isinstance(told, dict) and told.get("reason") == "NotFound":
        genuine.update(ours)


def _rejected_patch(request: Request, genuine: Plain, ours: Plain) -> None:
    if _message(genuine) == REJECTED and _message(ours).startswith(REJECTED + ": "):
        _say(ours, REJECTED)
        genuine["body"].pop("details", None)


def _undecodable(request: Request, genuine: Plain, ours: Plain) -> None:
    for text in UNDECODABLE:
        if text in _message(genuine) and text in _message(ours):
            for answer in (genuine, ours):
                _say(answer, _message(answer).partition(text)[0] + text)


def _order_of_types(request: Request, genuine: Plain, ours: Plain) -> None:
    start = "failed to create typed patch object"
    if _message(genuine).startswith(start) and _message(ours).startswith(start):
        for answer in (genuine, ours):
            head, found, lines = _message(answer).partition("errors:\n")
            _say(answer, head + found + "\n".join(sorted(lines.split("\n"))))
        if all("not declared in schema" in _message(each) for each in (genuine, ours)):
            _say(ours, _message(genuine))


def _scale_managers(request: Request, genuine: Plain, ours: Plain) -> None:
    for told in (each["body"] for each in (genuine, ours) if isinstance(each["body"], dict)):
        for each in (told, *(told.get("items") or ()), *(row.get("object") or {} for row in told.get("rows") or ())):
            meta = each.get("metadata") or {}
            kept = [entry for entry in meta.get("managedFields") or () if entry.get("subresource") != "scale"]
            if "managedFields" in meta and kept:
                meta["managedFields"] = kept
            elif "managedFields" in meta:
                del meta["managedFields"]


def _no_conditions(request: Request, genuine: Plain, ours: Plain) -> None:
    for told, own in zip(_definitions(genuine), _definitions(ours), strict=False):
        if told["status"].get("conditions", ...) is None and own["status"].get("conditions") == []:
            own["status"]["conditions"] = None


def _definitions(answer: Plain) -> list[Plain]:
    body = answer["body"]
    return [body] if isinstance(body, dict) and body.get("kind") == "CustomResourceDefinition" and isinstance(body.get("status"), dict) else []


def _storage_words(request: Request, genuine: Plain, ours: Plain) -> None:
    for answer in (genuine, ours):
        head, found, rest = _message(answer).partition("StorageError: ")
        if found and "Precondition failed" in rest:
            _say(answer, head + rest.partition("AdditionalErrorMsg: ")[2])


TABLE = (
    Difference(
        "who scaled a custom resource",
        "upstream mostly cannot convert one to autoscaling/v1 and then notes nobody (its log: SHOULD NOT HAPPEN); ours notes the scale's manager",
        _scale_managers,
    ),
    Difference(
        "conditions of a definition that nobody has judged",
        "upstream tells null, which makes `kubectl wait` fail if it asks so early; ours tells none",
        _no_conditions,
    ),
    Difference("the store's words", "a precondition that fails in an update is told by upstream with the key in etcd", _storage_words),
    Difference(
        "no such page", "a path that nobody serves is told by a Status, as all else; upstream's outermost handler says it in a line of text", _no_page
    ),
    Difference("why a patch was rejected", "upstream drops the reason on its way to the client; ours goes on to tell it", _rejected_patch),
    Difference("what is wrong with a text", "the words of the JSON and YAML readers are their own; that, and of what, is told alike", _undecodable),
    Difference(
        "which type faults are told",
        "upstream walks a map in random order and ends its walk at the first field that is not declared",
        _order_of_types,
    ),
)
NEVER_SENT = {
    "a malformed status in a creation": "it is dropped there, and makes upstream lose all managers of the new object (its log: SHOULD NOT HAPPEN)",
    "a protobuf body for a custom resource": "upstream's handler panics and cuts the connection (schemaCoercingDecoder without a delegate)",
    "server-side apply of a Scale of a custom resource": "upstream answers 500: it asks for the object as autoscaling/v1 and cannot convert it",
    "a whole number where multipleOf is a fraction": "upstream cuts the factor to an integer, 0, and refuses every number",
}
"""What the genuine server would not survive or does wrong, and why our own answer is not compared."""


def expected(request: Request, genuine: Plain, ours: Plain) -> tuple[Plain, Plain]:
    for difference in TABLE:
        difference.adjust(request, genuine, ours)
    return genuine, ours
