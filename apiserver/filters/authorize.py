"""May they: the authorizer asked, and its refusal in Kubernetes' words (apiserver/pkg/endpoints/handlers/responsewriters/errors.go)."""

from apiserver.machinery.status import ApiError, details, forbidden
from apiserver.request import Attributes, Authorizer


async def authorize(attributes: Attributes, authorizer: Authorizer) -> str:
    """The reason why it is allowed, for the audit log (`authorization.k8s.io/reason`). Raises ApiError Forbidden."""
    decision = await authorizer.authorize(attributes)
    if decision.allowed is not True:
        raise refusal(attributes, decision.reason)
    return decision.reason


def refusal(attributes: Attributes, reason: str = "") -> ApiError:
    text = sentence(attributes)
    why = f"{text}: {reason}" if reason else text
    if not attributes.is_resource:
        return ApiError("Forbidden", f"forbidden: {why}", details=details("", "", ""))
    return forbidden(attributes.group, attributes.resource, attributes.name, why)


def sentence(attributes: Attributes) -> str:
    """`User "x" cannot list resource "pods" in API group "" in the namespace "n"`."""
    user = _quoted(attributes.user.name)
    if not attributes.is_resource:
        return f"User {user} cannot {attributes.verb} path {_quoted(attributes.path)}"
    resource = f"{attributes.resource}/{attributes.subresource}" if attributes.subresource else attributes.resource
    where = f"in the namespace {_quoted(attributes.namespace)}" if attributes.namespace else "at the cluster scope"
    return f"User {user} cannot {attributes.verb} resource {_quoted(resource)} in API group {_quoted(attributes.group)} {where}"


def _quoted(text: str) -> str:
    """As Go's %q would, and with < > & escaped: names come from whoever asks, and some programs show messages as HTML."""
    out = ['"']
    for character in text:
        if character in '"\\':
            out.append("\\" + character)
        elif character in "<>&":
            out.append({"<": "&lt;", ">": "&gt;", "&": "&amp;"}[character])
        elif character.isprintable():
            out.append(character)
        elif character in _SHORT:
            out.append(_SHORT[character])
        else:
            number = ord(character)
            out.append(f"\\x{number:02x}" if number < 0x80 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}")
    return "".join(out) + '"'


_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
