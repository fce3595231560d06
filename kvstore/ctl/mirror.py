"""make-mirror: etcdctl's, between any two of Keelson and etcd."""

import asyncio
import contextlib
import os
import sys
from typing import TYPE_CHECKING

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, Failure
from kvstore.ctl.flags import Flag, Given
from kvstore.ctl.output import Printer
from kvstore.ctl.prompt import ask
from kvstore.errors import StoreError

if TYPE_CHECKING:
    from kvstore.client.client import Client
    from kvstore.client.mirror import Mirror

REPORT_EVERY_S = 30.0

FLAGS = (
    Flag("dest-cacert", "", "Verify certificates of TLS enabled secure servers using this CA bundle"),
    Flag("dest-cert", "", "Identify secure client using this TLS certificate file for the destination cluster"),
    Flag("dest-insecure-transport", True, "Disable transport security for client connections"),
    Flag("dest-key", "", "Identify secure client using this TLS key file"),
    Flag("dest-password", "", "Destination password for authentication (if this option is used, --user option shouldn't include password)"),
    Flag("dest-prefix", "", "destination prefix to mirror a prefix to a different prefix in the destination cluster"),
    Flag("dest-user", "", "Destination username[:password] for authentication (prompt if password is not supplied)"),
    Flag("max-txn-ops", 128, "Maximum number of operations permitted in a transaction during syncing updates"),
    Flag("no-dest-prefix", False, "mirror key-values to the root of the destination cluster"),
    Flag("prefix", "", "Key-value prefix to mirror"),
    Flag("rev", 0, "Specify the kv revision to start to mirror"),
)


async def make_mirror(client: "Client", given: Given, printer: Printer) -> None:
    """Prints how many keys were copied, every half minute, until it is interrupted or cannot go on."""
    flags = given.flags
    given.exactly(1, "make-mirror takes one destination argument")
    if flags["no-dest-prefix"] and flags["dest-prefix"]:
        raise Failure(BAD_ARGUMENTS, "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one")
    if flags["max-txn-ops"] < 1:
        raise Failure(BAD_ARGUMENTS, "--max-txn-ops must be at least 1")
    from kvstore.client.mirror import Mirror
    from kvstore.ctl.connection import Connector

    prefix, other = os.fsencode(flags["prefix"]), os.fsencode(flags["dest-prefix"])
    to_prefix = b"" if flags["no-dest-prefix"] else other or prefix
    # No variables of the environment: they speak of the source.
    async with Connector(_destination(given), {}).open() as destination:
        mirror = Mirror(client, destination, prefix, to_prefix, operations_max=flags["max-txn-ops"], retrying=_tell)
        try:
            async with asyncio.TaskGroup() as group:
                reports = group.create_task(_report(mirror, printer), name="report")
                try:
                    await mirror.run(flags["rev"])
                finally:
                    reports.cancel()
        finally:
            if mirror.revision:
                with contextlib.suppress(BrokenPipeError):
                    print(f"mirrored up to revision {mirror.revision}; to go on from there: --rev {mirror.revision + 1}", file=sys.stderr)


def _destination(given: Given) -> Given:
    """The command line as it would be for the destination alone: its flags under the names that connections go by."""
    named = {name: f"dest-{name}" for name in ("cacert", "cert", "key", "insecure-transport", "user", "password")}
    flags = given.flags | {name: given.flags[long] for name, long in named.items()}
    if flags["user"] and not flags["password"] and ":" not in flags["user"]:
        flags["password"] = ask("Destination Password: ")
    flags |= {"endpoints": given.arguments[0].split(","), "discovery-srv": "", "auth-jwt-token": "", "insecure-skip-tls-verify": False}
    return Given(given.command, [], flags, None, {name for name, long in named.items() if long in given.changed})


def _tell(error: StoreError) -> None:
    print(f"waiting for a server: {error}", file=sys.stderr)


async def _report(mirror: "Mirror", printer: Printer) -> None:
    while True:
        await asyncio.sleep(REPORT_EVERY_S)
        printer.line(str(mirror.copied))
        sys.stdout.flush()


COMMANDS = {
    "make-mirror": Command(make_mirror, FLAGS, "Makes a mirror at the destination etcd cluster", endless=True, use="[options] <destination>"),
}
