"""member add, list, promote, remove, update."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from kvstore.ctl.command import Command
from kvstore.ctl.failure import BAD_ARGUMENTS, BAD_FEATURE, ERROR, Failure
from kvstore.ctl.flags import Flag, Given, integer
from kvstore.ctl.output import Printer, go_json, go_object, quoted, table

if TYPE_CHECKING:
    from kvstore.client.client import Client

ADD_FLAGS = (
    Flag("learner", False, "indicates if the new member is raft learner"),
    Flag("peer-urls", "", "comma separated peer URLs for the new member."),
)
UPDATE_FLAGS = (Flag("peer-urls", "", "comma separated peer URLs for the updated member."),)
LIST_FLAGS = (Flag("consistency", "l", "Linearizable(l) or Serializable(s)"),)

_LISTED = """When --write-out is set to simple, this command prints out comma-separated member lists for each endpoint.
The items in the lists are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner."""


def _member_id(given: Given) -> int:
    [typed] = given.exactly(1, "member ID is not provided")
    try:
        return integer(typed, 16, signed=False)
    except ValueError as error:
        raise Failure(BAD_ARGUMENTS, f"bad member ID arg ({error}), expecting ID in Hex") from None


def _peer_urls(given: Given) -> list[str]:
    if not given.flags["peer-urls"]:
        raise Failure(BAD_ARGUMENTS, "member peer urls not provided")
    return list(given.flags["peer-urls"].split(","))


def _check_urls(urls: list[str]) -> None:
    """What Go's client refuses before it asks a server (client/pkg/types: NewURLs), word for word."""
    for url in urls:
        scheme, separator, _rest = url.strip().partition("://")
        if not separator and ":" in url.strip().partition("/")[0]:
            raise Failure(ERROR, f'parse "{url.strip()}": first path segment in URL cannot contain colon')
        if scheme not in ("http", "https", "unix", "unixs") or not separator:
            raise Failure(ERROR, f"URL scheme must be http, https, unix, or unixs: {url.strip()}")
        try:
            parts = urlsplit(url.strip())
        except ValueError as error:
            raise Failure(ERROR, f'parse "{url.strip()}": {error}') from error
        if scheme in ("http", "https"):
            host, colon, port = parts.netloc.rpartition(":")
            if not colon or not port or host.endswith(":"):
                raise Failure(ERROR, f'URL address does not have the form "host:port": {url.strip()}')
            if not port.isdigit():
                raise Failure(ERROR, f'parse "{url.strip()}": invalid port ":{port}" after host')
            if parts.path:
                raise Failure(ERROR, f"URL must not contain a path: {url.strip()}")


async def add(client: "Client", given: Given, printer: Printer) -> None:
    """Ends with the settings that the new member is to be started with."""
    if not given.arguments:
        raise Failure(BAD_ARGUMENTS, "member name not provided")
    if len(given.arguments) > 1:
        raise Failure(BAD_ARGUMENTS, "too many arguments")
    name = given.arguments[0]
    urls = _peer_urls(given)
    learner = given.flags["learner"]
    await client.ready()
    _check_urls(urls)
    response = await client.member_add(urls, learner=learner)
    cluster_id, added = response.header.cluster_id, response.member

    def simple() -> None:
        role = " as learner" if learner and printer.version >= (3, 6) else ""
        printer.line(f"Member {added.ID:16x} added{role} to cluster {cluster_id:16x}")
        initial = [f"{name if member.ID == added.ID else member.name}={url}" for member in response.members for url in member.peerURLs]
        printer.line()
        printer.line(f'ETCD_NAME="{name}"')
        printer.line(f'ETCD_INITIAL_CLUSTER="{",".join(initial)}"')
        printer.line(f'ETCD_INITIAL_ADVERTISE_PEER_URLS="{",".join(urls)}"')
        printer.line('ETCD_INITIAL_CLUSTER_STATE="existing"')

    _print(printer, response, simple)


async def remove(client: "Client", given: Given, printer: Printer) -> None:
    number = _member_id(given)
    response = await client.member_remove(number)
    _print(printer, response, lambda: printer.line(f"Member {number:16x} removed from cluster {response.header.cluster_id:16x}"))


async def update(client: "Client", given: Given, printer: Printer) -> None:
    number, urls = _member_id(given), _peer_urls(given)
    await client.ready()
    _check_urls(urls)
    response = await client.member_update(number, urls)
    _print(printer, response, lambda: printer.line(f"Member {number:16x} updated in cluster {response.header.cluster_id:16x}"))


async def promote(client: "Client", given: Given, printer: Printer) -> None:
    number = _member_id(given)
    response = await client.member_promote(number)
    _print(printer, response, lambda: printer.line(f"Member {number:16x} promoted in cluster {response.header.cluster_id:16x}"))


def _print(printer: Printer, response: Any, simple: Callable[[], None], fields: Callable[[], None] | None = None) -> None:
    if printer.form == "json" and printer.hex and (printer.version >= (3, 6) or fields is not None):
        shown = _with_hex_ids(response)
        if printer.version < (3, 6):  # Which does it for lists alone, with a record of its own.
            names = {"ID": "ID", "name": "name", "peerURLs": "peerURLs", "clientURLS": "clientURLs"}
            empty = {"name": ""}
            shown["members"] = [{to: one.get(name, empty.get(name)) for to, name in names.items()} for one in shown["members"]]
        printer.line(go_json(shown))
    else:
        printer.message(response, simple=simple, fields=fields)


def _with_hex_ids(response: Any) -> dict[str, Any]:
    """--hex turns the ids of members into text here, and only here."""

    def member(found: dict[str, Any]) -> dict[str, Any]:
        return {"ID": f"{found.get('ID', 0):x}", **{name: value for name, value in found.items() if name != "ID"}}

    whole = go_object(response)
    header = whole["header"]
    whole["header"] = {**header, "cluster_id": f"{header.get('cluster_id', 0):x}", "member_id": f"{header.get('member_id', 0):x}"}
    if "member" in whole:
        whole["member"] = member(whole["member"])
    whole["members"] = [member(found) for found in whole.get("members", [])]
    return whole


async def members(client: "Client", given: Given, printer: Printer) -> None:
    if given.flags["consistency"] not in ("l", "s"):
        raise Failure(BAD_FEATURE, f'unknown consistency flag "{given.flags["consistency"]}"')
    response = await client.members(linearizable=given.flags["consistency"] == "l")
    rows = [
        [
            f"{member.ID:x}",
            "started" if member.name else "unstarted",
            member.name,
            ",".join(member.peerURLs),
            ",".join(member.clientURLs),
            "true" if member.isLearner else "false",
        ]
        for member in response.members
    ]
    if printer.form == "table":
        printer.write(table(["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"], rows))
        return

    def fields() -> None:
        printer.header_fields(response.header)
        for member in response.members:
            printer.line(f'"ID" : {member.ID}')
            printer.line(f'"Name" : {quoted(member.name)}')
            for url in member.peerURLs:
                printer.line(f'"PeerURL" : {quoted(url)}')
            for url in member.clientURLs:
                printer.line(f'"ClientURL" : {quoted(url)}')
            printer.line(f'"IsLearner" : {"true" if member.isLearner else "false"}')
            printer.line()

    _print(printer, response, lambda: printer.write("".join(", ".join(row) + "\n" for row in rows)), fields)


COMMANDS = {
    "member add": Command(add, ADD_FLAGS, "Adds a member into the cluster", use="<memberName> [options]"),
    "member list": Command(members, LIST_FLAGS, "Lists all members in the cluster", description=_LISTED),
    "member promote": Command(
        promote,
        (),
        "Promotes a non-voting member in the cluster",
        use="<memberID>",
        description="Promotes a non-voting learner member to a voting one in the cluster.",
    ),
    "member remove": Command(remove, (), "Removes a member from the cluster", use="<memberID>"),
    "member update": Command(update, UPDATE_FLAGS, "Updates a member in the cluster", use="<memberID> [options]"),
}
