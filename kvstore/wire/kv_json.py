"""The gateway's JSON for the four calls about keys, without protobuf in between: a put takes 2 us to read and to answer, by way of protobuf 10.

Requests are read by msgspec into records with the names of the .proto files. It is as strict as protojson about types and base64, but takes the
last of a field that comes twice, and passes over what it does not know. So the quotation marks are counted: a record accounts for two of each name
and two of each text that it holds, and whatever has more was not understood in whole. That, and every form that msgspec refuses (names in
lowerCamelCase, null, 1e3, a name of an enum that there is not), is for `gateway.parse_request`, which knows what it means or what is wrong with it.

Answers are written from results. Nothing in them needs escaping: numbers, base64, and the names of fields.
"""

from binascii import b2a_base64
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import astuple

from kvstore.model import (
    Compare,
    CompareTarget,
    DeleteRange,
    DeleteRangeResult,
    EncodedKeyValue,
    Header,
    Put,
    PutResult,
    Range,
    RangeResult,
    Txn,
    TxnResult,
)
from kvstore.wire import messages
from kvstore.wire.gateway import write_json

_KeyValue = messages.KeyValue

Bytes = bytes | UnsetType
Number = int | str | UnsetType
Flag = bool | UnsetType

# --- requests ---------------------------------------------------------------------------------------------------------------------


class _Put(Struct, gc=False):
    key: Bytes = UNSET
    value: Bytes = UNSET
    lease: Number = UNSET
    prev_kv: Flag = UNSET
    ignore_value: Flag = UNSET
    ignore_lease: Flag = UNSET


class _Range(Struct, gc=False):
    key: Bytes = UNSET
    range_end: Bytes = UNSET
    limit: Number = UNSET
    revision: Number = UNSET
    sort_order: Number = UNSET
    sort_target: Number = UNSET
    serializable: Flag = UNSET
    keys_only: Flag = UNSET
    count_only: Flag = UNSET
    min_mod_revision: Number = UNSET
    max_mod_revision: Number = UNSET
    min_create_revision: Number = UNSET
    max_create_revision: Number = UNSET


class _DeleteRange(Struct, gc=False):
    key: Bytes = UNSET
    range_end: Bytes = UNSET
    prev_kv: Flag = UNSET


class _Compare(Struct, gc=False):
    result: Number = UNSET
    target: Number = UNSET
    key: Bytes = UNSET
    range_end: Bytes = UNSET
    version: Number = UNSET
    create_revision: Number = UNSET
    mod_revision: Number = UNSET
    value: Bytes = UNSET
    lease: Number = UNSET


class _Operation(Struct):
    request_range: _Range | UnsetType = UNSET
    request_put: _Put | UnsetType = UNSET
    request_delete_range: _DeleteRange | UnsetType = UNSET
    request_txn: "_Txn | UnsetType" = UNSET


class _Txn(Struct):
    compare: list[_Compare] | UnsetType = UNSET
    success: list[_Operation] | UnsetType = UNSET
    failure: list[_Operation] | UnsetType = UNSET


class _NotPlain(Exception):
    """For `parse_request` to look at."""


_INT64 = 1 << 63


def _number(text: str) -> int:
    if not text.isascii() or not text.removeprefix("-").isdigit():
        raise _NotPlain
    return int(text)


def _names(message: Any, field: str) -> dict[str, int]:
    return {name: value.number for name, value in message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_name.items()}


_Fields = list[tuple[Any, dict[str, int] | None]]


def _fields(kind: type[Struct], **enums: dict[str, int]) -> _Fields:
    """The default of each field, and the names of its values if it is an enum."""
    hints = kind.__annotations__
    return [(b"" if hints[name] is Bytes else False if hints[name] is Flag else 0, enums.get(name)) for name in kind.__struct_fields__]


_PUT, _DELETE_RANGE = _fields(_Put), _fields(_DeleteRange)
_RANGE = _fields(_Range, sort_order=_names(messages.RangeRequest, "sort_order"), sort_target=_names(messages.RangeRequest, "sort_target"))
_COMPARE = _fields(_Compare, result=_names(messages.Compare, "result"), target=_names(messages.Compare, "target"))


class _Reader:
    """Makes requests of records, and counts the quotation marks that they account for."""

    __slots__ = ("quotes",)

    def __init__(self) -> None:
        self.quotes = 0

    def put(self, record: _Put) -> Put:
        return Put(*self._values(record, _PUT))

    def range(self, record: _Range) -> Range:
        return Range(*self._values(record, _RANGE))

    def delete_range(self, record: _DeleteRange) -> DeleteRange:
        return DeleteRange(*self._values(record, _DELETE_RANGE))

    def txn(self, record: _Txn) -> Txn:
        compare = [self._compare(each) for each in self._list(record.compare)]
        success = [self._operation(each) for each in self._list(record.success)]
        return Txn(tuple(compare), tuple(success), tuple([self._operation(each) for each in self._list(record.failure)]))

    def _values(self, record: Struct, fields: _Fields) -> list[Any]:
        values = []
        for value, (default, names) in zip(astuple(record), fields, strict=True):
            kind = type(value)
            if kind is UnsetType:
                values.append(default)
                continue
            self.quotes += 2
            if kind is bytes:
                self.quotes += 2
            elif kind is str:
                self.quotes += 2
                value = _number(value) if names is None else names.get(value)
                if value is None or not -_INT64 <= value < _INT64:
                    raise _NotPlain
            elif kind is int and (names is not None or not -_INT64 <= value < _INT64):
                raise _NotPlain
            values.append(value)
        return values

    def _list(self, records: Any) -> Any:
        if records is UNSET:
            return ()
        self.quotes += 2
        return records

    def _compare(self, record: _Compare) -> Compare:
        result, target, key, range_end, *operands = self._values(record, _COMPARE)
        if sum(operand is not UNSET for operand in astuple(record)[4:]) > 1:
            raise _NotPlain  # they are one of a union
        version, create_revision, mod_revision, value, lease = operands
        operand = {
            int(CompareTarget.VERSION): version,
            int(CompareTarget.CREATE): create_revision,
            int(CompareTarget.MOD): mod_revision,
            int(CompareTarget.VALUE): value,
            int(CompareTarget.LEASE): lease,
        }[target]
        return Compare(result, target, key, operand, range_end)

    def _operation(self, record: _Operation) -> Any:
        given = [(number, value) for number, value in enumerate(astuple(record)) if value is not UNSET]
        if len(given) > 1:
            raise _NotPlain
        if not given:
            return None
        self.quotes += 2
        number, value = given[0]
        return (self.range, self.put, self.delete_range, self.txn)[number](value)


def _reading(kind: type[Struct], convert: Callable[[_Reader, Any], Any]) -> Callable[[bytes], Any]:
    decode = msgspec.json.Decoder(kind).decode

    def read(data: bytes) -> Any:
        try:
            record = decode(data)
            reader = _Reader()
            request = convert(reader, record)
        except (msgspec.DecodeError, ValueError, _NotPlain, RecursionError):
            return None
        return request if reader.quotes == data.count(b'"') else None

    return read


read_put: Callable[[bytes], Put | None] = _reading(_Put, _Reader.put)
read_range: Callable[[bytes], Range | None] = _reading(_Range, _Reader.range)
read_delete_range: Callable[[bytes], DeleteRange | None] = _reading(_DeleteRange, _Reader.delete_range)
read_txn: Callable[[bytes], Txn | None] = _reading(_Txn, _Reader.txn)
"""None for what is not plain."""


# --- answers ----------------------------------------------------------------------------------------------------------------------


class HeaderText:
    """`"header":{...}` as the beginning of an answer, its brace included. All but the revision stays the same."""

    def __init__(self, header: Header) -> None:
        self._ids = b'{"header":{"cluster_id":"%d","member_id":"%d"' % (header.cluster_id, header.member_id)
        self._term = -1
        self._end = b""

    def write(self, revision: int, term: int) -> bytes:
        if term != self._term:
            self._term, self._end = term, (b',"raft_term":"%d"}' % term if term else b"}")
        return b'%b,"revision":"%d"%b' % (self._ids, revision, self._end) if revision else self._ids + self._end


def _inner_header(revision: int) -> bytes:
    return b'{"header":{"revision":"%d"}' % revision if revision else b'{"header":{}'


def _key_value(encoded: EncodedKeyValue) -> bytes:
    kv = _KeyValue.FromString(encoded)
    create, mod, version, value, lease = kv.create_revision, kv.mod_revision, kv.version, kv.value, kv.lease
    if not (create and mod and version and kv.key):
        return write_json(kv)  # none that we store is so
    return b'{"key":"%b","create_revision":"%d","mod_revision":"%d","version":"%d"%b%b}' % (
        b2a_base64(kv.key, newline=False),
        create,
        mod,
        version,
        b',"value":"%b"' % b2a_base64(value, newline=False) if value else b"",
        b',"lease":"%d"' % lease if lease else b"",
    )


def _key_values(name: bytes, kvs: Iterable[EncodedKeyValue]) -> bytes:
    text = b",".join(map(_key_value, kvs))
    return b',"%b":[%b]' % (name, text) if text else b""


def range_text(header: bytes, result: RangeResult) -> bytes:
    more = b',"more":true' if result.more else b""
    count = b',"count":"%d"' % result.count if result.count else b""
    return b"%b%b%b%b}" % (header, _key_values(b"kvs", result.kvs), more, count)


def put_text(header: bytes, result: PutResult) -> bytes:
    return header + b"}" if result.prev_kv is None else b'%b,"prev_kv":%b}' % (header, _key_value(result.prev_kv))


def delete_range_text(header: bytes, result: DeleteRangeResult) -> bytes:
    deleted = b',"deleted":"%d"' % result.deleted if result.deleted else b""
    return b"%b%b%b}" % (header, deleted, _key_values(b"prev_kvs", result.prev_kvs))


def txn_text(header: bytes, result: TxnResult) -> bytes:
    succeeded = b',"succeeded":true' if result.succeeded else b""
    responses = b",".join(map(_inner, result.responses))
    return b"%b%b%b}" % (header, succeeded, b',"responses":[%b]' % responses if responses else b"")


def _inner(result: RangeResult | PutResult | DeleteRangeResult | TxnResult) -> bytes:
    if isinstance(result, RangeResult):
        return b'{"response_range":%b}' % range_text(_inner_header(result.revision), result)
    if isinstance(result, PutResult):
        return b'{"response_put":%b}' % put_text(_inner_header(result.revision), result)
    if isinstance(result, DeleteRangeResult):
        return b'{"response_delete_range":%b}' % delete_range_text(_inner_header(result.revision), result)
    return b'{"response_txn":%b}' % txn_text(b'{"header":{}', result)
