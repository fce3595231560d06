"""The JSON gateway's rules: which path is which method, and JSON to protobuf and back (grpc-gateway v2 as etcd 3.6 sets it up).

Field names out as in the .proto files, in also in lowerCamelCase; 64-bit integers as strings, bytes as base64, enums by name, defaults left out.
"""

import json
from typing import Any

from google.protobuf import json_format

from kvstore.wire.messages import METHODS, Method
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


def split_objects(text: str) -> list[str]:
    """The JSON objects of a body one after the other (client streams send several). Raises RpcError."""
    decoder = json.JSONDecoder()
    found: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at] in " \t\r\n":
            at += 1
        if at == len(text):
            return found
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"proto: syntax error: {error}") from error
        found.append(text[at:end])
        at = end


def parse_json(kind: Any, text: str) -> Any:
    """A message of class `kind`; empty text is an empty message. Raises RpcError."""
    try:
        return json_format.Parse(text, kind(), ignore_unknown_fields=True) if text.strip() else kind()
    except (json_format.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"proto: {error}") from error


def write_json(message: Any) -> bytes:
    """Compact, fields in declaration order, defaults left out."""
    return json.dumps(as_object(message), separators=(",", ":"), ensure_ascii=False).encode()


def as_object(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def error_object(code: Code, text: str) -> dict[str, Any]:
    """`error` is what gateways up to etcd 3.5 also had, and older clients look for."""
    return {"error": text, "code": int(code), "message": text}
