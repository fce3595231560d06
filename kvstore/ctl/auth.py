"""auth enable, disable, status."""

from typing import TYPE_CHECKING

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, Failure
from kvstore.ctl.flags import Given
from kvstore.ctl.output import Printer

if TYPE_CHECKING:
    from kvstore.client.client import Client


def _no_arguments(given: Given) -> None:
    if given.arguments:
        raise Failure(BAD_ARGUMENTS, f"{given.command} command does not accept any arguments")


async def enable(client: "Client", given: Given, printer: Printer) -> None:
    """When user root lacks role root, make that so first, as etcdctl does."""
    from kvstore.errors import RootRoleNotExist

    _no_arguments(given)
    while True:
        try:
            await client.auth("AuthEnable")
            break
        except RootRoleNotExist:
            await client.auth("RoleAdd", name="root")
            await client.auth("UserGrantRole", user="root", role="root")
    printer.line("Authentication Enabled")


async def disable(client: "Client", given: Given, printer: Printer) -> None:
    _no_arguments(given)
    await client.auth("AuthDisable")
    printer.line("Authentication Disabled")


async def status(client: "Client", given: Given, printer: Printer) -> None:
    _no_arguments(given)
    response = await client.auth("AuthStatus", is_read=True)

    def simple() -> None:
        printer.line(f"Authentication Status: {'true' if response.enabled else 'false'}")
        printer.line(f"AuthRevision: {response.authRevision}")

    printer.message(response, simple=simple, fields=None)


COMMANDS = {
    "auth disable": Command(disable, (), "Disables authentication"),
    "auth enable": Command(enable, (), "Enables authentication"),
    "auth status": Command(status, (), "Returns authentication status"),
}
