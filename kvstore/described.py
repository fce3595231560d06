"""A request in words, for the log: as etcd's own lines print it (api/etcdserverpb/raft_internal_stringer.go), with keys, without values.

Values, passwords and tokens never get in here: what has no form below is named and nothing more.
"""

import re
from collections.abc import Callable
from typing import Any

from kvstore.model import Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, LeaseRevoke, Put, Range, Txn

KEY_BYTES_MAX = 256
"""Longer keys are cut, lest one request fills the log."""
OPERATIONS_MAX = 16


def described(request: Any) -> str:
    """What is asked for, without the name of the operation."""
    form = _FORMS.get(type(request))
    return form(request) if form is not None else ""


def described_command(command: Any) -> str:
    """With the name: `put:<key:"a" value_size:1 >`."""
    kind = type(command)
    name = _COMMANDS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()
    return f"{name}:<{described(command)}>"


def quoted(key: bytes) -> str:
    """In double quotes, what is not printable ASCII escaped as protobuf's text form does."""
    cut = key[:KEY_BYTES_MAX]
    text = "".join(_ESCAPED.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in cut)
    return f'"{text}{"..." if len(key) > KEY_BYTES_MAX else ""}"'


_ESCAPED = {ord('"'): r"\"", ord("\\"): r"\\", ord("\n"): r"\n", ord("\r"): r"\r", ord("\t"): r"\t"}


def _keys(key: bytes, range_end: bytes) -> str:
    return f"key:{quoted(key)} " + (f"range_end:{quoted(range_end)} " if range_end else "")


def _range(request: Range) -> str:
    rest = "".join(f"{name}:{value} " for name, value in (("limit", request.limit), ("revision", request.revision)) if value)
    flags = "".join(f"{name}:true " for name in ("serializable", "keys_only", "count_only") if getattr(request, name))
    return _keys(request.key, request.range_end) + rest + flags


def _put(request: Put) -> str:
    lease = f"lease:{request.lease} " if request.lease else ""
    return f"key:{quoted(request.key)} value_size:{len(request.value)} {lease}"


def _delete_range(request: DeleteRange) -> str:
    return _keys(request.key, request.range_end)


def _compare(compare: Compare) -> str:
    target = CompareTarget(compare.target).name if compare.target in set(CompareTarget) else str(compare.target)
    result = CompareResult(compare.result).name if compare.result in set(CompareResult) else str(compare.result)
    operand = f"value_size:{len(compare.operand)}" if isinstance(compare.operand, bytes) else f"operand:{compare.operand}"
    return f"compare:<result:{result} target:{target} key:{quoted(compare.key)} {operand} > "


_OPERATION_NAMES: dict[type[Any], str] = {
    Range: "request_range",
    Put: "request_put",
    DeleteRange: "request_delete_range",
    Txn: "request_txn",
}


def _branch(name: str, operations: Any) -> str:
    shown = "".join(f"{_OPERATION_NAMES.get(type(operation), 'request')}:<{described(operation)}> " for operation in operations[:OPERATIONS_MAX])
    more = f"and {len(operations) - OPERATIONS_MAX} more " if len(operations) > OPERATIONS_MAX else ""
    return f"{name}:<{shown}{more}> "


def _txn(request: Txn) -> str:
    compares = "".join(map(_compare, request.compare[:OPERATIONS_MAX]))
    return (compares + _branch("success", request.success) + _branch("failure", request.failure)).rstrip()


_COMMANDS: dict[type[Any], str] = {Compact: "compaction"}

_FORMS: dict[type[Any], Callable[[Any], str]] = {
    Range: _range,
    Put: _put,
    DeleteRange: _delete_range,
    Txn: _txn,
    Compact: lambda request: f"revision:{request.revision} ",
    LeaseGrant: lambda request: f"ttl:{request.ttl_s}-second id:{request.id:016x}",
    LeaseRevoke: lambda request: f"id:{request.id:016x}",
}
