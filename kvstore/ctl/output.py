"""etcdctl's output formats, byte for byte: simple, fields, json (Go's encoding/json of the protobuf structs), table (Go's tablewriter), protobuf."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from google.protobuf.descriptor import FieldDescriptor

from kvstore.ctl.failure import BAD_FEATURE, Failure

FORMS = ("simple", "json", "fields", "table", "protobuf")

_INTEGERS = {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_UINT32}


def go_object(message: Any) -> dict[str, Any]:
    """A message as Go's encoding/json writes its struct: numbers as numbers, bytes in base64, enums by number, defaults left out, a oneof's member
    inside a field named for the union."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        name = field.name
        if field.is_repeated:
            values = getattr(message, name)
            if len(values):
                found[name] = [_go_value(field, value) for value in values]
        elif field.containing_oneof is not None:
            if message.WhichOneof(field.containing_oneof.name) == name:
                found[field.containing_oneof.name.title().replace("_", "")] = {name: _go_value(field, getattr(message, name))}
        elif field.message_type is not None:
            if message.HasField(name):
                found[name] = _go_value(field, getattr(message, name))
        elif getattr(message, name) not in (0, False, b"", ""):
            found[name] = _go_value(field, getattr(message, name))
    return found


def _go_value(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return go_object(value)
    return b64encode(value).decode() if isinstance(value, bytes) else value


def go_json(content: Any) -> str:
    """Compact, and with the three characters escaped that Go escapes for HTML."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def quoted(text: str | bytes) -> str:
    """Go's %q."""
    characters = text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text
    out = []
    for character in characters:
        code = ord(character)
        if character in '"\\':
            out.append("\\" + character)
        elif character in "\a\b\f\n\r\t\v":
            out.append("\\" + "abfnrtv"["\a\b\f\n\r\t\v".index(character)])
        elif 0xDC80 <= code <= 0xDCFF:
            out.append(f"\\x{code - 0xDC00:02x}")
        elif code < 0x20 or code == 0x7F:
            out.append(f"\\x{code:02x}")
        elif character.isprintable():
            out.append(character)
        else:
            out.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Go's tablewriter: headers in the middle, numbers and words to the right unless any of the column is neither."""
    widths = [max(len(header), *(len(row[at]) for row in rows), 0) if rows else len(header) for at, header in enumerate(headers)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [rule, "|" + "|".join(f" {_middle(header, width)} " for header, width in zip(headers, widths, strict=True)) + "|", rule]
    lines += ["|" + "|".join(f" {cell.rjust(width)} " for cell, width in zip(row, widths, strict=True)) + "|" for row in rows]
    if rows:
        lines.append(rule)
    return "\n".join(lines) + "\n"


def _middle(text: str, width: int) -> str:
    left = (width - len(text)) // 2
    return " " * left + text + " " * (width - len(text) - left)


def human_bytes(size: int) -> str:
    """go-humanize's Bytes: 20 kB, 2.1 MB."""
    if size < 10:
        return f"{size} B"
    units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"]
    power, value = 0, float(size)
    while value >= 1000 and power < len(units) - 1:
        value /= 1000
        power += 1
    value = int(value * 10 + 0.5) / 10
    return f"{value:.1f} {units[power]}" if value < 10 else f"{value:.0f} {units[power]}"


def output_version(environment: Mapping[str, str]) -> tuple[int, int]:
    """KVCTL_OUTPUT_VERSION=3.5 is for scripts that read what etcdctl 3.5 prints. Raises Failure."""
    wanted = environment.get("KVCTL_OUTPUT_VERSION", "") or "3.6"
    if wanted not in ("3.5", "3.6"):
        raise Failure(BAD_FEATURE, f"KVCTL_OUTPUT_VERSION={wanted}: expected 3.5 or 3.6")
    return (3, int(wanted[2:]))


class Printer:
    """Writes answers in one format. `hex`: keys and values as \\x61 (simple), ids in hexadecimal (member commands in json)."""

    def __init__(self, form: str, hexadecimal: bool, out: TextIO, version: tuple[int, int] = (3, 6)) -> None:
        self.form = form
        self.hex = hexadecimal
        self.version = version
        """Whose output is asked for where etcdctl 3.5 and 3.6 differ."""
        self._out = out

    def write(self, text: str) -> None:
        self._out.write(text)

    def line(self, text: str = "") -> None:
        self._out.write(text + "\n")

    def raw(self, data: bytes) -> None:
        self._out.flush()
        self._out.buffer.write(data)
        self._out.buffer.flush()

    def message(self, message: Any, *, simple: Callable[[], None], fields: Callable[[], None] | None, as_json: Any = None) -> None:
        """One answer, in whichever format; `as_json` replaces Go's form of the message where etcdctl has its own, and no `fields` says that etcdctl
        does not print this one so."""
        if self.form == "simple":
            simple()
        elif self.form == "fields" and fields is not None:
            fields()
        elif self.form == "json":
            self.line(go_json(go_object(message) if as_json is None else as_json))
        elif self.form == "protobuf":
            self.raw(message.SerializeToString())
        else:
            raise Failure(BAD_FEATURE, f"{self.form} not supported as output format")

    def list(self, form_of: dict[str, Callable[[], None]]) -> None:
        """Answers of several endpoints: only the formats given exist."""
        action = form_of.get(self.form)
        if action is None:
            raise Failure(BAD_FEATURE, f"{self.form} not supported as output format")
        action()

    # --- pieces of answers --------------------------------------------------------------------------------------------------

    def data(self, value: bytes) -> None:
        """A key or a value on a line of its own, as it is."""
        if self.hex:
            self.line("".join(f"\\x{byte:02x}" for byte in value))
        else:
            self.raw(value + b"\n")

    def key_value(self, kv: Any, *, value_only: bool = False) -> None:
        if not value_only:
            self.data(kv.key)
        self.data(kv.value)

    def header_fields(self, header: Any) -> None:
        self.line(f'"ClusterID" : {header.cluster_id}')
        self.line(f'"MemberID" : {header.member_id}')
        if header.revision or self.version < (3, 6):  # What has nothing to do with keys has none.
            self.line(f'"Revision" : {header.revision}')
        self.line(f'"RaftTerm" : {header.raft_term}')

    def key_value_fields(self, prefix: str, kv: Any) -> None:
        self.line(f'"{prefix}Key" : {quoted(kv.key)}')
        self.line(f'"{prefix}CreateRevision" : {kv.create_revision}')
        self.line(f'"{prefix}ModRevision" : {kv.mod_revision}')
        self.line(f'"{prefix}Version" : {kv.version}')
        self.line(f'"{prefix}Value" : {quoted(kv.value)}')
        self.line(f'"{prefix}Lease" : {kv.lease}')
