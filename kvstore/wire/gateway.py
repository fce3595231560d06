"""The JSON gateway's rules: which path is which method, and JSON to protobuf and back (grpc-gateway v2 as etcd 3.6 sets it up).

Field names out as in the .proto files, in also in lowerCamelCase; 64-bit integers as strings, bytes as base64, enums by name, defaults left out.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf import json_format

from kvstore.wire import plain_json
from kvstore.wire.messages import METHODS, Method
from kvstore.wire.plain_json import NotPlain
from kvstore.wire.status import Code, RpcError

_NAMES = {
    "etcdserverpb.KV": ("kv", {"Compact": "compaction"}),
    "etcdserverpb.Watch": ("", {"Watch": "watch"}),
    "etcdserverpb.Lease": ("lease", {}),
    "etcdserverpb.Cluster": ("cluster/member", {}),
    "etcdserverpb.Maintenance": ("maintenance", {"MoveLeader": "transfer-leadership"}),
    "etcdserverpb.Auth": ("auth", {}),
    "v3lockpb.Lock": ("lock", {}),
    "v3electionpb.Election": ("election", {}),
}

_AUTH = {
    "AuthEnable": "enable",
    "AuthDisable": "disable",
    "AuthStatus": "status",
    "Authenticate": "authenticate",
    "UserChangePassword": "user/changepw",
    "UserGrantRole": "user/grant",
    "UserRevokeRole": "user/revoke",
    "RoleGrantPermission": "role/grant",
    "RoleRevokePermission": "role/revoke",
}

_OLD_LEASE_PATHS = ("LeaseRevoke", "LeaseTimeToLive", "LeaseLeases")


def _path(method: Method) -> str:
    folder, special = _NAMES[method.service]
    name = special.get(method.name)
    if name is None:
        if method.service == "etcdserverpb.Auth":
            name = _AUTH.get(method.name) or f"{method.name[:4].lower()}/{method.name[4:].lower()}"
        else:
            name = method.name.lower()
            for prefix in ("lease", "member"):
                if method.service.lower().endswith({"lease": "lease", "member": "cluster"}[prefix]) and name.startswith(prefix):
                    name = name.removeprefix(prefix)
    return "/".join(part for part in ("/v3", folder, name) if part)


PATHS: dict[str, Method] = {_path(method): method for method in METHODS.values() if method.service in _NAMES and method.name != "RangeStream"}
"""The gateway's paths, all for POST."""

for _name in _OLD_LEASE_PATHS:
    _method = METHODS[f"/etcdserverpb.Lease/{_name}"]
    PATHS["/v3/kv" + _path(_method).removeprefix("/v3")] = _method


_STRUCTURE = re.compile(r'["\\{}\[\]]')


class ObjectSplitter:
    """The JSON objects of a request body, one after the other, as its text comes in (client streams send several).

    It only counts braces: what is between them is for the parser. Each character is looked at once, however the text is cut.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._depth = 0
        self._in_string = False
        self._escaped = False

    def feed(self, text: str) -> Iterator[str]:
        """The objects that `text` completes. Raises RpcError for anything between objects but white space."""
        begin = at = 0
        while at < len(text):
            if self._depth == 0:
                begin = at = self._skip_blanks(text, at)
                if at == len(text):
                    return
            end = self._end_of_object(text, at)
            if end is None:
                break
            yield "".join([*self._parts, text[begin:end]])
            self._parts = []
            begin = at = end
        if begin < len(text):
            self._parts.append(text[begin:])

    def finish(self) -> None:
        """The text has ended. Raises RpcError if it did so in the middle of an object."""
        if self._depth:
            raise RpcError(Code.INVALID_ARGUMENT, "unexpected EOF")

    @staticmethod
    def _skip_blanks(text: str, at: int) -> int:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at < len(text) and text[at] != "{":
            raise RpcError(Code.INVALID_ARGUMENT, f"proto: syntax error: unexpected token {text[at]!r}")
        return at

    def _end_of_object(self, text: str, at: int) -> int | None:
        """Behind the brace that closes the object under way, None if it is still to come."""
        if self._escaped and at < len(text):
            self._escaped = False
            at += 1
        while (found := _STRUCTURE.search(text, at)) is not None:
            char, at = found.group(), found.end()
            if self._in_string:
                if char == '"':
                    self._in_string = False
                elif char == "\\":
                    self._escaped = at == len(text)
                    at += 1
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return at
        return None


def first_object(text: str) -> str:
    """The one object of a unary call; what follows it is ignored, and no text at all is an empty message. Raises RpcError."""
    splitter = ObjectSplitter()
    for found in splitter.feed(text):
        return found
    splitter.finish()
    return ""


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("duplicate field")
    return content


_decode_object = json.JSONDecoder(object_pairs_hook=_without_repetition).raw_decode


def parse_request(kind: Any, text: str) -> Any:
    """A unary call's message: of class `kind`, from the first object in `text`. Raises RpcError."""
    if text.startswith("{"):
        with contextlib.suppress(NotPlain, ValueError, RecursionError):
            return plain_json.read(kind, _decode_object(text)[0])
    return parse_json(kind, first_object(text))


def parse_json(kind: Any, text: str) -> Any:
    """A message of class `kind`; empty text is an empty message. Raises RpcError."""
    if not text.strip():
        return kind()
    try:
        content = json.loads(text, object_pairs_hook=_without_repetition)
        with contextlib.suppress(NotPlain):
            return plain_json.read(kind, content)
        return json_format.ParseDict(_known_fields(kind.DESCRIPTOR, content), kind())
    except (json_format.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"proto: {error}") from error


def _whole_characters(text: Any) -> Any:
    """Raises UnicodeEncodeError, a ValueError, for halves of surrogate pairs: they are no text, and protobuf's look-ups stumble over them."""
    if isinstance(text, str) and not text.isascii():
        text.encode()
    return text


def _known_fields(descriptor: Any, content: Any) -> Any:
    """`content` without what the message does not have, every field under its .proto name: protobuf's own way of ignoring unknown
    fields would ignore unknown names of enum values, too."""
    if not isinstance(content, dict):
        return content  # what is no object where one belongs is refused by the parser
    known: dict[str, Any] = {}
    for name, value in content.items():
        _whole_characters(name)
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None:
            continue
        if field.name in known:
            raise ValueError(f"duplicate field {name!r}")
        known[field.name] = _known_content(field, value)
    return known


def _known_content(field: Any, value: Any) -> Any:
    if isinstance(value, list):
        return [_known_content(field, item) for item in value]
    return _whole_characters(value) if field.message_type is None else _known_fields(field.message_type, value)


_encode = msgspec.json.encode


def write_json(message: Any) -> bytes:
    """Compact, fields in declaration order, defaults left out."""
    return _encode(plain_json.write(message))


def error_object(code: Code, text: str) -> dict[str, Any]:
    """`error` is what gateways up to etcd 3.5 also had, and older clients look for."""
    return {"error": text, "code": int(code), "message": text}
