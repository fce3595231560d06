"""user add, delete, get, list, passwd, grant-role, revoke-role."""

from typing import TYPE_CHECKING

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, Failure
from kvstore.ctl.flags import Flag, Given
from kvstore.ctl.output import Printer
from kvstore.ctl.prompt import ask_twice, read_word
from kvstore.ctl.role import print_role

if TYPE_CHECKING:
    from kvstore.client.client import Client

ADD_FLAGS = (
    Flag("interactive", True, "Read password from stdin instead of interactive terminal"),
    Flag("new-user-password", "", "Supply password from the command line flag"),
    Flag("no-password", False, "Create a user without password (CN based auth only)"),
)
GET_FLAGS = (Flag("detail", False, "Show permissions of roles granted to the user"),)
PASSWD_FLAGS = (Flag("interactive", True, "If true, read password from stdin instead of interactive terminal"),)


async def add(client: "Client", given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "user add command requires user name as its argument")
    password = ""
    if given.flags["new-user-password"] and not given.flags["no-password"]:
        password = given.flags["new-user-password"]
    elif not given.flags["no-password"]:
        whole = name
        name, colon, password = whole.partition(":")
        if colon and not name:
            raise Failure(BAD_ARGUMENTS, "empty user name is not allowed")
        if not colon:
            password = ask_twice(name) if given.flags["interactive"] else read_word()
    options = {"no_password": given.flags["no-password"]}
    response = await client.auth("UserAdd", name=name, password=password, options=options)
    printer.message(response, simple=lambda: printer.line(f"User {name} created"), fields=lambda: printer.header_fields(response.header))


async def delete(client: "Client", given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "user delete command requires user name as its argument")
    response = await client.auth("UserDelete", name=name)
    printer.message(response, simple=lambda: printer.line(f"User {name} deleted"), fields=lambda: printer.header_fields(response.header))


async def get(client: "Client", given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "user get command requires user name as its argument")
    response = await client.auth("UserGet", is_read=True, name=name)
    if given.flags["detail"]:
        printer.line(f"User: {name}")
        for role in response.roles:
            printer.line()
            print_role(printer, role, await client.auth("RoleGet", is_read=True, role=role))
        return

    def simple() -> None:
        printer.line(f"User: {name}")
        printer.line("Roles:" + "".join(f" {role}" for role in response.roles))

    printer.message(response, simple=simple, fields=None)


async def users(client: "Client", given: Given, printer: Printer) -> None:
    given.exactly(0, "user list command requires no arguments")
    response = await client.auth("UserList", is_read=True)

    def simple() -> None:
        for name in response.users:
            printer.line(name)

    printer.message(response, simple=simple, fields=None)


async def change_password(client: "Client", given: Given, printer: Printer) -> None:
    [name] = given.exactly(1, "user passwd command requires user name as its argument")
    password = ask_twice(name) if given.flags["interactive"] else read_word()
    response = await client.auth("UserChangePassword", name=name, password=password)
    printer.message(response, simple=lambda: printer.line("Password updated"), fields=lambda: printer.header_fields(response.header))


async def grant_role(client: "Client", given: Given, printer: Printer) -> None:
    name, role = given.exactly(2, "user grant command requires user name and role name as its argument")
    response = await client.auth("UserGrantRole", user=name, role=role)
    text = f"Role {role} is granted to user {name}"
    printer.message(response, simple=lambda: printer.line(text), fields=lambda: printer.header_fields(response.header))


async def revoke_role(client: "Client", given: Given, printer: Printer) -> None:
    name, role = given.exactly(2, "user revoke-role requires user name and role name as its argument")
    response = await client.auth("UserRevokeRole", name=name, role=role)
    text = f"Role {role} is revoked from user {name}"
    printer.message(response, simple=lambda: printer.line(text), fields=lambda: printer.header_fields(response.header))


COMMANDS = {
    "user add": Command(add, ADD_FLAGS, "Adds a new user", use="<user name or user:password> [options]"),
    "user delete": Command(delete, (), "Deletes a user", use="<user name>"),
    "user get": Command(get, GET_FLAGS, "Gets detailed information of a user", use="<user name> [options]"),
    "user grant-role": Command(grant_role, (), "Grants a role to a user", use="<user name> <role name>"),
    "user list": Command(users, (), "Lists all users"),
    "user passwd": Command(change_password, PASSWD_FLAGS, "Changes password of user", use="<user name> [options]"),
    "user revoke-role": Command(revoke_role, (), "Revokes a role from a user", use="<user name> <role name>"),
}
