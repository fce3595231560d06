"""downgrade validate, enable, cancel: what the servers make of them. Keelson has no older release to go back to and says so."""

from typing import TYPE_CHECKING

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, Failure
from kvstore.ctl.flags import Given
from kvstore.ctl.output import Printer

if TYPE_CHECKING:
    from kvstore.client.client import Client

VALIDATE, ENABLE, CANCEL = 0, 1, 2


def _target(given: Given) -> str:
    if not given.arguments:
        raise Failure(BAD_ARGUMENTS, "TARGET_VERSION not provided")
    if len(given.arguments) > 1:
        raise Failure(BAD_ARGUMENTS, "too many arguments")
    if not given.arguments[0]:
        raise Failure(BAD_ARGUMENTS, "target version not provided")
    return given.arguments[0]


async def _ask(client: "Client", printer: Printer, action: int, verb: str, target: str) -> None:
    response = await client.downgrade(action, target)
    printer.message(response, simple=lambda: printer.line(f"Downgrade {verb} success, cluster version {response.version}"), fields=None)


async def validate(client: "Client", given: Given, printer: Printer) -> None:
    await _ask(client, printer, VALIDATE, "validate", _target(given))


async def enable(client: "Client", given: Given, printer: Printer) -> None:
    await _ask(client, printer, ENABLE, "enable", _target(given))


async def cancel(client: "Client", _given: Given, printer: Printer) -> None:
    await _ask(client, printer, CANCEL, "cancel", "")


COMMANDS = {
    "downgrade cancel": Command(cancel, (), "Cancel the ongoing downgrade action to cluster"),
    "downgrade enable": Command(enable, (), "Start a downgrade action to cluster", use="<TARGET_VERSION>"),
    "downgrade validate": Command(validate, (), "Validate downgrade capability before starting downgrade", use="<TARGET_VERSION>"),
}
