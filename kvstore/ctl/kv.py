"""get, put, del, txn, compaction."""

import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, BAD_FEATURE, ERROR, INVALID_INPUT, Failure
from kvstore.ctl.flags import BadFlag, Flag, Given, integer, read_flags
from kvstore.ctl.output import Printer, quoted

if TYPE_CHECKING:
    from kvstore.client.client import Client

_PREFIX = Flag("prefix", False, "keys with matching prefix")
_FROM_KEY = Flag("from-key", False, "keys that are greater than or equal to the given key using byte compare")

GET_FLAGS = (
    Flag("consistency", "l", "Linearizable(l) or Serializable(s)"),
    Flag("count-only", False, "Get only the count"),
    _FROM_KEY,
    Flag("keys-only", False, "Get only the keys"),
    Flag("limit", 0, "Maximum number of results"),
    Flag("max-create-rev", 0, "Maximum create revision"),
    Flag("max-mod-rev", 0, "Maximum modification revision"),
    Flag("min-create-rev", 0, "Minimum create revision"),
    Flag("min-mod-rev", 0, "Minimum modification revision"),
    Flag("order", "", "Order of results; ASCEND or DESCEND (ASCEND by default)"),
    _PREFIX,
    Flag("print-value-only", False, 'Only write values when using the "simple" output format'),
    Flag("rev", 0, "Specify the kv revision"),
    Flag("sort-by", "", "Sort target; CREATE, KEY, MODIFY, VALUE, or VERSION"),
)
PUT_FLAGS = (
    Flag("ignore-lease", False, "updates the key using its current lease"),
    Flag("ignore-value", False, "updates the key using its current value"),
    Flag("lease", "0", "lease ID (in hexadecimal) to attach to the key"),
    Flag("prev-kv", False, "return the previous key-value pair before modification"),
)
DEL_FLAGS = (_FROM_KEY, _PREFIX, Flag("prev-kv", False, "return deleted key-value pairs"), Flag("range", False, "delete range of keys"))
TXN_FLAGS = (Flag("interactive", False, "Input transaction in interactive mode", "i"),)
COMPACTION_FLAGS = (Flag("physical", False, "'true' to wait for compaction to physically remove all old revisions"),)

_TARGETS = {"": 0, "KEY": 0, "VERSION": 1, "CREATE": 2, "MODIFY": 3, "VALUE": 4}
_ORDERS = {"": 0, "ASCEND": 1, "DESCEND": 2}


def _choice(text: str, choices: dict[str, int], what: str) -> int:
    if text.upper() not in choices:
        raise Failure(BAD_FEATURE, f"bad sort {what} {text}")
    return choices[text.upper()]


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that begin with `prefix`; `kvstore.client.client` has it for others, here it must not cost an import."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b"\x00"


def key_range(arguments: list[str], flags: dict[str, Any]) -> tuple[bytes, bytes]:
    """The key and range end that the arguments and --prefix or --from-key mean; no key at all with one of those is every key."""
    key = arguments[0].encode("utf-8", "surrogateescape") if arguments else b""
    end = arguments[1].encode("utf-8", "surrogateescape") if len(arguments) > 1 else b""
    if flags["prefix"]:
        return (key, prefix_end(key)) if key else (b"\x00", b"\x00")
    if flags["from-key"]:
        return key or b"\x00", b"\x00"
    return key, end


async def get(client: "Client", given: Given, printer: Printer) -> None:
    flags, arguments = given.flags, given.words
    if flags["prefix"] and flags["from-key"]:
        raise Failure(BAD_ARGUMENTS, "`--prefix` and `--from-key` cannot be set at the same time, choose one")
    if flags["keys-only"] and flags["count-only"]:
        raise Failure(BAD_ARGUMENTS, "`--keys-only` and `--count-only` cannot be set at the same time, choose one")
    if flags["print-value-only"] and printer.form != "simple":
        raise Failure(BAD_ARGUMENTS, "print-value-only is only for `--write-out=simple`")
    if flags["count-only"] and printer.form != "fields":
        raise Failure(BAD_ARGUMENTS, "--count-only is only for `--write-out=fields`")
    if not arguments and not (flags["prefix"] or flags["from-key"]):
        raise Failure(BAD_ARGUMENTS, "get command needs one argument as key and an optional argument as range_end")
    if len(arguments) > 1 and (flags["prefix"] or flags["from-key"]):
        raise Failure(BAD_ARGUMENTS, "too many arguments, only accept one argument when `--prefix` or `--from-key` is set")
    if flags["consistency"] not in ("l", "s"):
        raise Failure(BAD_FEATURE, f"unknown consistency flag {flags['consistency']!r}".replace("'", '"'))
    key, end = key_range(arguments, flags)
    order, target = _choice(flags["order"], _ORDERS, "order"), _choice(flags["sort-by"], _TARGETS, "target")
    response = await client.get(
        key,
        end,
        limit=flags["limit"],
        revision=flags["rev"],
        sort_order=order or (1 if flags["sort-by"] else 0),
        sort_target=target,
        serializable=flags["consistency"] == "s",
        keys_only=flags["keys-only"],
        count_only=flags["count-only"],
        min_mod_revision=flags["min-mod-rev"],
        max_mod_revision=flags["max-mod-rev"],
        min_create_revision=flags["min-create-rev"],
        max_create_revision=flags["max-create-rev"],
    )
    print_range(printer, response, value_only=flags["print-value-only"])


def print_range(printer: Printer, response: Any, *, value_only: bool = False) -> None:
    def simple() -> None:
        for kv in response.kvs:
            printer.key_value(kv, value_only=value_only)

    def fields() -> None:
        printer.header_fields(response.header)
        for kv in response.kvs:
            printer.key_value_fields("", kv)
        printer.line(f'"More" : {"true" if response.more else "false"}')
        printer.line(f'"Count" : {response.count}')

    printer.message(response, simple=simple, fields=fields)


async def put(client: "Client", given: Given, printer: Printer) -> None:
    flags = given.flags
    arguments = given.words
    if not arguments:
        raise Failure(BAD_ARGUMENTS, "put command needs 1 argument and input from stdin or 2 arguments")
    if flags["ignore-value"] and len(arguments) > 1:
        raise Failure(BAD_ARGUMENTS, "put command needs only 1 argument when 'ignore-value' is set")
    try:
        lease = integer(flags["lease"], 16)
    except ValueError as error:
        raise Failure(BAD_ARGUMENTS, f"bad lease ID ({error}), expecting ID in Hex") from None
    key = arguments[0].encode("utf-8", "surrogateescape")
    if flags["ignore-value"]:
        value = b""
    elif len(arguments) > 1:
        value = arguments[1].encode("utf-8", "surrogateescape")
    else:
        value = sys.stdin.buffer.read()
        if not value:
            raise Failure(BAD_ARGUMENTS, "put command needs 1 argument and input from stdin or 2 arguments")
    response = await client.put(
        key, value, lease=lease, prev_kv=flags["prev-kv"], ignore_value=flags["ignore-value"], ignore_lease=flags["ignore-lease"]
    )
    _print_put(printer, response)


def _print_put(printer: Printer, response: Any) -> None:
    def simple() -> None:
        printer.line("OK")
        if response.HasField("prev_kv"):
            printer.key_value(response.prev_kv)

    def fields() -> None:
        printer.header_fields(response.header)
        if response.HasField("prev_kv"):
            printer.key_value_fields("Prev", response.prev_kv)

    printer.message(response, simple=simple, fields=fields)


async def delete(client: "Client", given: Given, printer: Printer) -> None:
    flags, arguments = given.flags, given.words
    if flags["prefix"] and flags["from-key"]:
        raise Failure(BAD_ARGUMENTS, "`--prefix` and `--from-key` cannot be set at the same time, choose one")
    if not arguments or len(arguments) > 2:
        raise Failure(BAD_ARGUMENTS, "del command needs one argument as key and an optional argument as range_end")
    if len(arguments) > 1 and (flags["prefix"] or flags["from-key"]):
        raise Failure(BAD_ARGUMENTS, "too many arguments, only accept one argument when `--prefix` or `--from-key` is set")
    key, end = key_range(arguments, flags)
    response = await client.delete(key, end, prev_kv=flags["prev-kv"])
    _print_delete(printer, response)


def _print_delete(printer: Printer, response: Any) -> None:
    def simple() -> None:
        printer.line(str(response.deleted))
        for kv in response.prev_kvs:
            printer.key_value(kv)

    def fields() -> None:
        printer.header_fields(response.header)
        printer.line(f'"Deleted" : {response.deleted}')
        for kv in response.prev_kvs:
            printer.key_value_fields("Prev", kv)

    printer.message(response, simple=simple, fields=fields)


async def compaction(client: "Client", given: Given, printer: Printer) -> None:
    [typed] = given.exactly(1, "compaction command needs 1 argument")
    try:
        revision = integer(typed)
    except ValueError as error:
        raise Failure(ERROR, str(error)) from None
    await client.compact(revision, physical=given.flags["physical"])
    printer.line(f"compacted revision {revision}")


# --- transactions -----------------------------------------------------------------------------------------------------------


async def txn(client: "Client", given: Given, printer: Printer) -> None:
    """Three blocks on standard input, each ended by an empty line: compares, then, else."""
    if given.arguments:
        raise Failure(BAD_ARGUMENTS, "txn command does not accept argument")
    from kvstore.wire import messages

    interactive = given.flags["interactive"]
    request = messages.TxnRequest()
    lines = iter(sys.stdin.readline, "")
    for title, parse_line, into in (
        ("compares:", _compare, request.compare),
        ("success requests (get, put, del):", _operation, request.success),
        ("failure requests (get, put, del):", _operation, request.failure),
    ):
        if interactive:
            printer.line(title)
        _read_block(lines, parse_line, into)
    response = await client.txn(request)
    _print_txn(printer, response)


def _read_block(lines: Iterator[str], parse_line: Callable[[str], Any], into: Any) -> None:
    for line in lines:
        if not line.endswith("\n"):
            break
        if not line.strip():
            return
        into.append(parse_line(line.strip()))
    raise Failure(INVALID_INPUT, "EOF")


_QUOTED = re.compile(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`)', re.DOTALL)
_WORD = re.compile(r"\s*(\S+)")
_RESULTS = {"=": 0, ">": 1, "<": 2, "!=": 3}
_COMPARE_TARGETS = {
    "ver": (0, "version"),
    "version": (0, "version"),
    "c": (1, "create_revision"),
    "create": (1, "create_revision"),
    "m": (2, "mod_revision"),
    "mod": (2, "mod_revision"),
    "val": (3, "value"),
    "value": (3, "value"),
    "lease": (4, "lease"),
}


def _compare(line: str) -> Any:
    from kvstore.wire import messages

    name, bracket, rest = line.partition("(")
    if not bracket:
        raise Failure(INVALID_INPUT, f"malformed comparison: {line}")
    key, result, given = _comparison(rest)
    if given is None:
        raise Failure(INVALID_INPUT, f'malformed comparison: {line}; got {name}({quoted(key)}) {result} ""')
    if name not in _COMPARE_TARGETS:
        raise Failure(INVALID_INPUT, f"malformed comparison: {line} (unknown target {name})")
    if result not in _RESULTS:
        raise Failure(INVALID_INPUT, f"malformed comparison: {line} (unknown operator {result})")
    target, field = _COMPARE_TARGETS[name]
    value: Any = given.encode("utf-8", "surrogateescape")
    if field != "value":
        try:
            value = integer(given, 16 if field == "lease" else 10)
        except ValueError as error:
            raise Failure(INVALID_INPUT, f"invalid txn compare request: {line} ({error})") from None
    return messages.Compare(target=target, result=_RESULTS[result], key=key.encode("utf-8", "surrogateescape"), **{field: value})


def _comparison(text: str) -> tuple[str, str, str | None]:
    """Key, operator and value of `"key") op "value"`, as far as they are there: Go's Sscanf."""
    key = _QUOTED.match(text)
    if key is None:
        return "", "", None
    after = text[key.end() :]
    operator = _WORD.match(after[1:]) if after.startswith(")") else None
    if operator is None:
        return _unquoted(key[1]), "", None
    value = _QUOTED.match(after[1:], operator.end())
    return _unquoted(key[1]), operator[1], None if value is None else _unquoted(value[1])


def _unquoted(text: str) -> str:
    """A Go string literal, or the text as it stands."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return text[1:-1].encode("latin-1", "backslashreplace").decode("unicode_escape") if "\\" in text else text[1:-1]
        except UnicodeDecodeError:
            return text  # no literal: as it stands
    if len(text) >= 2 and text[0] == text[-1] == "'":
        return text[1:-1]
    return text


def split_words(line: str) -> list[str]:
    """Words of a command typed inside a transaction or a watch; quotes keep blanks together."""
    words = re.findall(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|\S+', line)
    return [_unquoted(word) for word in words]


def _operation(line: str) -> Any:
    from kvstore.wire import messages

    commands = {"get": GET_FLAGS, "put": PUT_FLAGS, "del": DEL_FLAGS}
    words = split_words(line)
    if len(words) < 2:
        raise Failure(INVALID_INPUT, f"invalid txn compare request: {line}")
    if words[0] not in commands:
        raise Failure(INVALID_INPUT, f"invalid txn request: {line}")
    try:
        given = read_flags(words[0], words[1:], {flag.name: flag for flag in commands[words[0]]}, with_global=False)
    except BadFlag:
        raise Failure(INVALID_INPUT, f"invalid txn request: {line}") from None
    flags, arguments = given.flags, given.words
    if words[0] == "put":
        if len(arguments) != 2 and not (flags["ignore-value"] and len(arguments) == 1):
            raise Failure(INVALID_INPUT, f"invalid txn request: {line}")
        value = arguments[1].encode("utf-8", "surrogateescape") if len(arguments) > 1 else b""
        put_request = messages.PutRequest(
            key=arguments[0].encode("utf-8", "surrogateescape"),
            value=value,
            lease=int(flags["lease"], 16),
            prev_kv=flags["prev-kv"],
            ignore_value=flags["ignore-value"],
            ignore_lease=flags["ignore-lease"],
        )
        return messages.RequestOp(request_put=put_request)
    if not arguments or len(arguments) > 2:
        raise Failure(INVALID_INPUT, f"invalid txn request: {line}")
    key, end = key_range(arguments, flags)
    if words[0] == "del":
        return messages.RequestOp(request_delete_range=messages.DeleteRangeRequest(key=key, range_end=end, prev_kv=flags["prev-kv"]))
    return messages.RequestOp(
        request_range=messages.RangeRequest(
            key=key,
            range_end=end,
            limit=flags["limit"],
            revision=flags["rev"],
            sort_order=_choice(flags["order"], _ORDERS, "order"),
            sort_target=_choice(flags["sort-by"], _TARGETS, "target"),
            serializable=flags["consistency"] == "s",
            keys_only=flags["keys-only"],
            count_only=flags["count-only"],
        )
    )


_PRINTERS: dict[str, Callable[[Printer, Any], None]] = {
    "response_put": _print_put,
    "response_range": print_range,
    "response_delete_range": _print_delete,
}


def _print_txn(printer: Printer, response: Any) -> None:
    def each() -> None:
        for operation in response.responses:
            which = operation.WhichOneof("response")
            if printer.form == "simple":
                printer.line()
            if which == "response_txn":
                _print_txn(printer, operation.response_txn)
            elif which is not None:
                _PRINTERS[which](printer, getattr(operation, which))

    def simple() -> None:
        printer.line("SUCCESS" if response.succeeded else "FAILURE")
        each()

    def fields() -> None:
        printer.header_fields(response.header)
        printer.line(f'"Succeeded" : {"true" if response.succeeded else "false"}')
        each()

    printer.message(response, simple=simple, fields=fields)


COMMANDS = {
    "compaction": Command(compaction, COMPACTION_FLAGS, "Compacts the event history in etcd", use="[options] <revision>"),
    "del": Command(delete, DEL_FLAGS, "Removes the specified key or range of keys [key, range_end)", use="[options] <key> [range_end]"),
    "get": Command(get, GET_FLAGS, "Gets the key or a range of keys", use="[options] <key> [range_end]"),
    "put": Command(
        put,
        PUT_FLAGS,
        "Puts the given key into the store",
        use="[options] <key> <value> (<value> can also be given from stdin)",
        description="A value that begins with '-' is taken for a flag: write `put <key> -- <value>`.\n"
        "Without a value (and without --ignore-value) it is read from standard input: `cat file | kvctl put <key>`.",
    ),
    "txn": Command(
        txn,
        TXN_FLAGS,
        "Txn processes all the requests in one transaction",
        use="[options]",
        description="Reads three blocks from standard input, each ended by an empty line:\n"
        'conditions, such as mod("key1") > "0", what to do if all of them hold, and what to do otherwise (get, put, del).',
    ),
}
