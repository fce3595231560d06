"""What a request asks for, read off its method, path and query (apiserver/pkg/endpoints/request/requestinfo.go). Pure.

/api/v1/namespaces/{namespace}/pods/{name}/{subresource}      /apis/{group}/{version}/{plural}/{name}
"""

from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from apiserver.machinery.status import ApiError, bad_request

PATH_BYTES_MAX = 8192
QUERY_FIELDS_MAX = 1000

METHOD_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NAMESPACE_SUBRESOURCES = ("status", "finalize")


class RequestInfo(Struct, frozen=True):
    """`verb`: get, list, watch, create, update, patch, delete, deletecollection; for paths that are no resources the method in lower case.

    `tail`: what follows a subresource in the path, as it came (proxy subresources hand it on)."""

    verb: str
    path: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    tail: str = ""


class Query:
    """The query's fields; of one that is given twice the first counts, except where `all` is asked."""

    __slots__ = ("_pairs",)

    def __init__(self, text: str) -> None:
        try:
            self._pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX) if text else []
        except ValueError:
            raise bad_request(f"more than {QUERY_FIELDS_MAX} query parameters") from None

    def get(self, name: str, default: str = "") -> str:
        return next((value for key, value in self._pairs if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def flag(self, name: str) -> bool:
        """As Go's conversion has it: anything but false and 0 is true, also the empty text of `?watch`."""
        value = next((value for key, value in self._pairs if key == name), None)
        return value is not None and value.lower() not in ("false", "0")

    def given(self, name: str) -> bool:
        return any(key == name for key, _ in self._pairs)

    def number(self, name: str) -> int | None:
        """Raises ApiError (400)."""
        text = self.get(name)
        if not text:
            return None
        try:
            if len(text) > 19 or not text.lstrip("+-").isascii():
                raise ValueError
            return int(text)
        except ValueError:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None

    def pairs(self) -> list[tuple[str, str]]:
        return list(self._pairs)


def parse(method: str, raw_path: str) -> tuple[RequestInfo, Query]:
    """Raises ApiError for paths that try to be another one."""
    raw, _, query_text = raw_path.partition("?")
    if len(raw) > PATH_BYTES_MAX:
        raise bad_request(f"the path has more than {PATH_BYTES_MAX} characters")
    query = Query(query_text)
    raw_parts = raw.strip("/").split("/") if raw.strip("/") else []
    if "" in raw_parts:
        # Only what is proxied may have empty parts; elsewhere two slashes are somebody's try at a second reading of the path.
        end = raw_parts.index("")
        if not _proxies(raw_parts[:end]):
            raise ApiError("NotFound", "the server could not find the requested resource")
    parts = [unquote(part) for part in raw_parts]
    info = _resource(method, raw, parts, raw_parts, query)
    if info is not None:
        return info, query
    _check(parts)
    return RequestInfo(method.lower(), "/" + "/".join(parts)), query


def _resource(method: str, raw: str, parts: list[str], raw_parts: list[str], query: Query) -> RequestInfo | None:
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest, raw_rest = "", parts[1], parts[2:], raw_parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest, raw_rest = parts[1], parts[2], parts[3:], raw_parts[3:]
    else:
        return None
    verb = METHOD_VERBS.get(method, "")
    watches = False
    if rest[0] == "watch" and len(rest) > 1:  # the path of before `?watch=true`
        watches, rest, raw_rest = True, rest[1:], raw_rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in NAMESPACE_SUBRESOURCES:
            rest, raw_rest = rest[2:], raw_rest[2:]
    resource, name, subresource = rest[0], (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    _check(parts[: len(parts) - len(rest) + 3])
    tail = "/".join(raw_rest[3:])
    if tail and subresource != "proxy":
        raise ApiError("NotFound", "the server could not find the requested resource")
    if not name:
        verb = {"get": "watch" if watches or query.flag("watch") else "list", "delete": "deletecollection"}.get(verb, verb)
        if verb in ("list", "watch", "deletecollection"):
            name = _selected_name(query.get("fieldSelector"))
    elif verb == "get" and not subresource and (watches or query.flag("watch")):
        verb = "watch"
    if resource == "namespaces":
        namespace = name if name else ""
    return RequestInfo(verb, raw, True, group, version, resource, subresource, namespace, name, tail)


def _selected_name(selector: str) -> str:
    """The one name that a field selector lets through: rights on a named object are enough to list or watch it."""
    for term in selector.split(","):
        key, equals, value = term.partition("=")
        if key == "metadata.name" and equals and not value.startswith("="):
            return value
        if key == "metadata.name" and value.startswith("="):
            return value[1:]
    return ""


def _proxies(parts: list[str]) -> bool:
    return "proxy" in parts and parts[:1] == ["api"]


def _check(parts: list[str]) -> None:
    for part in parts:
        if part in (".", "..") or "/" in part or "\x00" in part:
            raise bad_request(f"the path part {part!r} is not allowed")
