"""role add, delete, get, list, grant-permission, revoke-permission."""

from typing import TYPE_CHECKING, Any

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, Failure
from kvstore.ctl.flags import Flag, Given
from kvstore.ctl.kv import prefix_end
from kvstore.ctl.output import Printer, quoted

if TYPE_CHECKING:
    from kvstore.client.client import Client

GRANT_FLAGS = (
    Flag("from-key", False, "grant a permission of keys that are greater than or equal to the given key using byte compare"),
    Flag("prefix", False, "grant a prefix permission"),
)
REVOKE_FLAGS = (
    Flag("from-key", False, "revoke a permission of keys that are greater than or equal to the given key using byte compare"),
    Flag("prefix", False, "revoke a prefix permission"),
)

READ, WRITE, READWRITE = 0, 1, 2
_TYPES = {"READ": READ, "WRITE": WRITE, "READWRITE": READWRITE}
_OPEN_ENDED = b"\x00"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def permission_range(arguments: list[str], flags: dict[str, Any]) -> tuple[bytes, bytes]:
    """The key and range end that a permission names. An empty key is the smallest one there is, and open-ended with --prefix or --from-key."""
    prefix, from_key = flags["prefix"], flags["from-key"]
    if prefix and from_key:
        raise Failure(BAD_ARGUMENTS, "--from-key and --prefix flags are mutually exclusive")
    key = _bytes(arguments[0])
    if not key:
        return b"\x00", _OPEN_ENDED if prefix or from_key else b""
    if len(arguments) > 1:
        if prefix or from_key:
            raise Failure(BAD_ARGUMENTS, f"unexpected endkey argument with --{'prefix' if prefix else 'from-key'} flag")
        return key, _bytes(arguments[1])
    return key, prefix_end(key) if prefix else _OPEN_ENDED if from_key else b""


async def add(client: "Client", given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "role add command requires role name as its argument")
    response = await client.auth("RoleAdd", name=name)
    printer.message(response, simple=lambda: printer.line(f"Role {name} created"), fields=lambda: printer.header_fields(response.header))


async def delete(client: "Client", given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "role delete command requires role name as its argument")
    response = await client.auth("RoleDelete", role=name)
    printer.message(response, simple=lambda: printer.line(f"Role {name} deleted"), fields=lambda: printer.header_fields(response.header))


async def get(client: "Client", given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "role get command requires role name as its argument")
    print_role(printer, name, await client.auth("RoleGet", is_read=True, role=name))


async def roles(client: "Client", given: Given, printer: Printer) -> None:
    given.exactly(0, "role list command requires no arguments")
    response = await client.auth("RoleList", is_read=True)

    def simple() -> None:
        for name in response.roles:
            printer.line(name)

    def fields() -> None:
        printer.header_fields(response.header)
        printer.line('"Roles" :' + "".join(f" {quoted(name)}" for name in response.roles))

    printer.message(response, simple=simple, fields=fields)


async def grant_permission(client: "Client", given: Given, printer: Printer) -> None:
    if len(given.arguments) < 3:
        raise Failure(BAD_ARGUMENTS, "role grant command requires role name, permission type, and key [endkey] as its argument")
    name, word, *rest = given.arguments
    if word.upper() not in _TYPES:
        raise Failure(BAD_ARGUMENTS, f"invalid permission type: {word}")
    key, end = permission_range(rest, given.flags)
    response = await client.auth("RoleGrantPermission", name=name, perm={"permType": _TYPES[word.upper()], "key": key, "range_end": end})
    printer.message(response, simple=lambda: printer.line(f"Role {name} updated"), fields=lambda: printer.header_fields(response.header))


async def revoke_permission(client: "Client", given: Given, printer: Printer) -> None:
    if len(given.arguments) < 2:
        raise Failure(BAD_ARGUMENTS, "role revoke-permission command requires role name and key [endkey] as its argument")
    name, *rest = given.arguments
    key, end = permission_range(rest, given.flags)
    response = await client.auth("RoleRevokePermission", role=name, key=key, range_end=end)

    def simple() -> None:
        named = _bytes(rest[0])  # As it was typed: an empty key stands for the smallest.
        what = b"key " + named if not end else b"range " + _shown_range(named, end)
        printer.raw(b"Permission of " + what + b" is revoked from role " + _bytes(name) + b"\n")

    printer.message(response, simple=simple, fields=lambda: printer.header_fields(response.header))


def _shown_range(key: bytes, end: bytes) -> bytes:
    return b"[" + key + (b", <open ended>" if end == _OPEN_ENDED else b", " + end + b")")


def print_role(printer: Printer, name: str, response: Any) -> None:
    def permissions(*types: int) -> None:
        for permission in response.perm:
            if permission.permType in types:
                key, end = permission.key, permission.range_end
                prefixed = b" (prefix " + key + b")" if end and prefix_end(key) == end else b""
                printer.raw(b"\t" + (_shown_range(key, end) + prefixed if end else key) + b"\n")

    def simple() -> None:
        everything = name == "root" and not response.perm and printer.version >= (3, 6)
        printer.line(f"Role {name}")
        for title, types in (("KV Read:", (READ, READWRITE)), ("KV Write:", (WRITE, READWRITE))):
            printer.line(title)
            if everything:
                printer.line("\t[, <open ended>")
            permissions(*types)

    def fields() -> None:
        printer.header_fields(response.header)
        for permission in response.perm:
            printer.line(f'"PermType" :  {["READ", "WRITE", "READWRITE"][permission.permType]}')
            printer.line(f'"Key" : {quoted(permission.key)}')
            printer.line(f'"RangeEnd" : {quoted(permission.range_end)}')

    printer.message(response, simple=simple, fields=fields)


COMMANDS = {
    "role add": Command(add, (), "Adds a new role", use="<role name>"),
    "role delete": Command(delete, (), "Deletes a role", use="<role name>"),
    "role get": Command(get, (), "Gets detailed information of a role", use="<role name>"),
    "role grant-permission": Command(
        grant_permission, GRANT_FLAGS, "Grants a key to a role", use="[options] <role name> <permission type> <key> [endkey]"
    ),
    "role list": Command(roles, (), "Lists all roles"),
    "role revoke-permission": Command(revoke_permission, REVOKE_FLAGS, "Revokes a key from a role", use="<role name> <key> [endkey]"),
}
