"""JSON to protobuf and back for what clients usually send: each message type is looked up once and becomes a table of conversions.

protobuf's own `json_format` is exact about every corner and takes ten times as long (a put: 45 us to parse, 25 us to write). Here only plain forms
are taken: padded base64 of the usual alphabet, integers as numbers or digits, names of enum values, no null, at most one member of a oneof.
Whatever else comes is left to `json_format`, which knows what it means or what is wrong with it.
"""

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

_BYTES, _STRING, _BOOL, _ENUM, _MESSAGE = (
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_MESSAGE,
)
_NUMBERS_AS_TEXT = frozenset([FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT64])
_NUMBERS = _NUMBERS_AS_TEXT | {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32}

Convert = Callable[[Any], Any]


class NotPlain(Exception):
    """A form that `json_format` must look at."""


def _same(value: Any) -> Any:
    return value


# --- JSON to protobuf ------------------------------------------------------------------------------------------------------


def _bytes(value: Any) -> bytes:
    return a2b_base64(value, strict_mode=True)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise NotPlain
    return value


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise NotPlain
    return value


def _number(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    raise NotPlain


def _enum(descriptor: Any) -> Convert:
    numbers: dict[str, int] = {name: value.number for name, value in descriptor.values_by_name.items()}

    def convert(value: Any) -> int:
        return numbers[value]

    return convert


def _each(convert: Convert) -> Convert:
    def convert_all(value: Any) -> list[Any]:
        if type(value) is not list:
            raise NotPlain
        return [convert(item) for item in value]

    return convert_all


def _map(_value: Any) -> Any:
    """No request has one: not worth a converter."""
    raise NotPlain


class _Reader:
    """What a message type's fields are called in JSON, and how each is read."""

    def __init__(self, descriptor: Any) -> None:
        _readers[descriptor.full_name] = self  # before its fields: messages may hold themselves
        self._fields: dict[str, tuple[str, str, Convert]] = {}
        for field in descriptor.fields:
            oneof = "" if field.containing_oneof is None else field.containing_oneof.name
            entry = (field.name, oneof, _reading(field))
            self._fields[field.json_name] = self._fields[field.name] = entry

    def __call__(self, content: Any) -> dict[str, Any]:
        if type(content) is not dict:
            raise NotPlain
        fields = self._fields
        found: dict[str, Any] = {}
        one_of = ""
        for name, value in content.items():
            entry = fields.get(name)
            if entry is None:
                if not name.isascii():
                    raise NotPlain
                continue
            field, oneof, convert = entry
            if field in found or (oneof and oneof == one_of):
                raise NotPlain
            one_of = oneof or one_of
            found[field] = convert(value)
        return found


_readers: dict[str, _Reader] = {}


def _reading(field: Any) -> Convert:
    if field.type == _MESSAGE:
        known = field.message_type
        if known.GetOptions().map_entry:
            return _map
        convert: Convert = _readers.get(known.full_name) or _Reader(known)
    elif field.type == _ENUM:
        convert = _enum(field.enum_type)
    else:
        convert = _number if field.type in _NUMBERS else {_BYTES: _bytes, _STRING: _text, _BOOL: _flag}[field.type]
    return _each(convert) if field.is_repeated else convert


def read(kind: Any, content: Any) -> Any:
    """A message of class `kind` from parsed JSON. Raises NotPlain."""
    descriptor = kind.DESCRIPTOR
    reader = _readers.get(descriptor.full_name) or _Reader(descriptor)
    try:
        return kind(**reader(content))
    except (Base64Error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise NotPlain from error


# --- protobuf to JSON ------------------------------------------------------------------------------------------------------


def _base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode("ascii")


class _Writer:
    """A message as an object that any JSON writer takes: fields by number, as `json_format` has them."""

    def __init__(self, descriptor: Any) -> None:
        _writers[descriptor.full_name] = self
        self._fields = {field.number: (field.name, _writing(field)) for field in descriptor.fields}

    def __call__(self, message: Any) -> dict[str, Any]:
        fields = self._fields
        found = {}
        for field, value in message.ListFields():
            name, convert = fields[field.number]
            found[name] = convert(value)
        return found


_writers: dict[str, _Writer] = {}


def _writing(field: Any) -> Convert:
    if field.type == _MESSAGE:
        if field.message_type.GetOptions().map_entry:
            return _maps(field)
        convert: Convert = _writers.get(field.message_type.full_name) or _Writer(field.message_type)
    elif field.type == _ENUM:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        convert = lambda value: names.get(value, value)  # noqa: E731
    elif field.type == _BYTES:
        convert = _base64
    else:
        convert = str if field.type in _NUMBERS_AS_TEXT else _same
    if not field.is_repeated:
        return convert
    return lambda values: [convert(value) for value in values]


def _maps(field: Any) -> Convert:
    write = _writing(field.message_type.fields_by_name["value"])
    return lambda values: {str(key): write(value) for key, value in values.items()}


def write(message: Any) -> dict[str, Any]:
    """Field names as in the .proto files, 64-bit integers as text, bytes as base64, enums by name, defaults left out."""
    descriptor = message.DESCRIPTOR
    return (_writers.get(descriptor.full_name) or _Writer(descriptor))(message)
