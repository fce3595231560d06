"""lease grant, revoke, timetolive, list, keep-alive."""

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, BAD_CONNECTION, ERROR, Failure, told
from kvstore.ctl.flags import Flag, Given, integer
from kvstore.ctl.output import Printer, quoted
from kvstore.errors import LeaseNotFound, StoreError

if TYPE_CHECKING:
    from kvstore.client.client import Client

TIME_TO_LIVE_FLAGS = (Flag("keys", False, "Get keys attached to this lease"),)
KEEP_ALIVE_FLAGS = (Flag("once", False, "Resets the keep-alive time to its original value and exits immediately"),)


def lease_id(text: str) -> int:
    """A lease as users write it, in hexadecimal."""
    try:
        return integer(text, 16)
    except ValueError as error:
        raise Failure(BAD_ARGUMENTS, f"bad lease ID arg ({error}), expecting ID in Hex") from None


def unsigned(number: int) -> int:
    return number & ((1 << 64) - 1)


def _header(response: Any) -> dict[str, Any]:
    """etcdctl flattens the header into these answers."""
    header = response.header
    fields = {
        "cluster_id": header.cluster_id,
        "member_id": header.member_id,
        "revision": header.revision,
        "raft_term": header.raft_term,
    }
    return {name: value for name, value in fields.items() if value}


async def grant(client: "Client", given: Given, printer: Printer) -> None:
    [typed] = given.exactly(1, "lease grant command needs TTL argument")
    try:
        ttl_s = integer(typed)
    except ValueError as error:
        raise Failure(BAD_ARGUMENTS, f"bad TTL ({error})") from None
    try:
        response = await client.lease_grant(ttl_s)
    except StoreError as error:
        raise Failure(ERROR, f"failed to grant lease ({told(error)})") from error

    def fields() -> None:
        printer.header_fields(response.header)
        printer.line(f'"ID" : {response.ID}')
        printer.line(f'"TTL" : {response.TTL}')

    printer.message(
        response,
        simple=lambda: printer.line(f"lease {unsigned(response.ID):016x} granted with TTL({response.TTL}s)"),
        fields=fields,
        as_json=_header(response) | {"ID": response.ID, "TTL": response.TTL, "Error": response.error},
    )


async def revoke(client: "Client", given: Given, printer: Printer) -> None:
    [typed] = given.exactly(1, "lease revoke command needs 1 argument")
    number = lease_id(typed)
    try:
        response = await client.lease_revoke(number)
    except StoreError as error:
        raise Failure(ERROR, f"failed to revoke lease ({told(error)})") from error
    printer.message(
        response,
        simple=lambda: printer.line(f"lease {unsigned(number):016x} revoked"),
        fields=lambda: printer.header_fields(response.header),
    )


async def time_to_live(client: "Client", given: Given, printer: Printer) -> None:
    [typed] = given.exactly(1, "lease timetolive command needs lease ID as argument")
    with_keys = given.flags["keys"]
    number = lease_id(typed)
    try:
        response = await client.lease_time_to_live(number, keys=with_keys)
    except StoreError as error:
        raise Failure(BAD_CONNECTION, told(error)) from error

    def simple() -> None:
        name = f"lease {unsigned(response.ID):016x}"
        if response.grantedTTL == 0 and response.TTL == -1:
            printer.line(f"{name} already expired")
            return
        text = f"{name} granted with TTL({response.grantedTTL}s), remaining({response.TTL}s)"
        if with_keys:
            text += ", attached keys([" + " ".join(key.decode("utf-8", "replace") for key in response.keys) + "])"
        printer.line(text)

    def fields() -> None:
        printer.header_fields(response.header)
        printer.line(f'"ID" : {response.ID}')
        printer.line(f'"TTL" : {response.TTL}')
        printer.line(f'"GrantedTTL" : {response.grantedTTL}')
        for key in response.keys:
            printer.line(f'"Key" : {quoted(key)}')

    keys = [b64encode(key).decode() for key in response.keys]
    as_json = _header(response) | {"id": response.ID, "ttl": response.TTL, "granted-ttl": response.grantedTTL, "keys": keys or None}
    printer.message(response, simple=simple, fields=fields, as_json=as_json)


async def leases(client: "Client", _given: Given, printer: Printer) -> None:
    response = await client.leases()

    def simple() -> None:
        printer.line(f"found {len(response.leases)} leases")
        for status in response.leases:
            printer.line(f"{unsigned(status.ID):016x}")

    def fields() -> None:
        printer.header_fields(response.header)
        for status in response.leases:
            printer.line(f'"ID" : {status.ID}')

    as_json = _header(response) | {"leases": [{"id": status.ID} for status in response.leases]}
    printer.message(response, simple=simple, fields=fields, as_json=as_json)


async def keep_alive(client: "Client", given: Given, printer: Printer) -> None:
    [typed] = given.exactly(1, "lease keep-alive command needs lease ID as argument")
    number = lease_id(typed)
    if given.flags["once"]:
        response = await client.keep_alive_once(number)
        if response.TTL <= 0:
            raise Failure(BAD_CONNECTION, LeaseNotFound.text)
        _print_renewal(printer, response)
        return
    try:
        async for response in client.keep_alive(number):
            _print_renewal(printer, response)
    except LeaseNotFound:
        printer.line(f"lease {unsigned(number):016x} expired or revoked.")


def _print_renewal(printer: Printer, response: Any) -> None:
    def fields() -> None:
        printer.header_fields(response.header)
        printer.line(f'"ID" : {response.ID}')
        printer.line(f'"TTL" : {response.TTL}')

    printer.message(
        response,
        simple=lambda: printer.line(f"lease {unsigned(response.ID):016x} keepalived with TTL({response.TTL})"),
        fields=fields,
        as_json=_header(response) | {"ID": response.ID, "TTL": response.TTL},
    )


COMMANDS = {
    "lease grant": Command(grant, (), "Creates leases", use="<ttl>"),
    "lease keep-alive": Command(keep_alive, KEEP_ALIVE_FLAGS, "Keeps leases alive (renew)", endless=True, use="[options] <leaseID>"),
    "lease list": Command(leases, (), "List all active leases"),
    "lease revoke": Command(revoke, (), "Revokes leases", use="<leaseID>"),
    "lease timetolive": Command(time_to_live, TIME_TO_LIVE_FLAGS, "Get lease information", use="<leaseID> [options]"),
}
