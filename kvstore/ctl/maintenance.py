"""endpoint, alarm, defrag, move-leader."""

import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from kvstore.ctl.command import Command
from kvstore.ctl.durations import written
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, Failure, told
from kvstore.ctl.flags import Flag, Given, integer
from kvstore.ctl.output import Printer, go_json, go_object, human_bytes, quoted, table
from kvstore.errors import PermissionDenied, StoreError

if TYPE_CHECKING:
    from kvstore.client.client import Client

CLUSTER_FLAG = Flag("cluster", False, "use all endpoints from the cluster member list")
HASH_FLAGS = (Flag("rev", 0, "maximum revision to hash (default: latest revision)"),)

OpenClient = Callable[[list[str]], "Client"]

_ALARMS = {0: "NONE", 1: "NOSPACE", 2: "CORRUPT"}


async def _endpoints(client: "Client", given: Given) -> list[str]:
    if not given.flags.get("cluster"):
        return list(given.flags["endpoints"])
    members = await client.members()
    return [url for member in members.members for url in member.clientURLs]


async def _each(client: "Client", given: Given, open_client: OpenClient) -> AsyncIterator[tuple[str, "Client"]]:
    """A client for each endpoint alone."""
    for endpoint in await _endpoints(client, given):
        async with open_client([endpoint]) as single:
            yield endpoint, single


async def health(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    """A linearizable read of the key "health" proves a quorum."""
    found: list[tuple[str, bool, str, str]] = []
    async for endpoint, single in _each(client, given, open_client):
        began = time.perf_counter()
        error_text = ""
        try:
            await single.get(b"health")
            alarms = await single.alarms()
            if alarms.alarms:
                raise Failure(ERROR, "Active Alarm(s): " + ", ".join(_ALARMS.get(raised.alarm, "UNKNOWN") for raised in alarms.alarms))
        except PermissionDenied:
            pass  # It took a quorum to find that out.
        except StoreError as error:
            error_text = told(error)
        except Failure as error:
            error_text = str(error)
        found.append((endpoint, not error_text, written(time.perf_counter() - began), error_text))

    def simple() -> None:
        for endpoint, healthy, took, error in found:
            if healthy:
                printer.line(f"{endpoint} is healthy: successfully committed proposal: took = {took}")
            else:
                print(f"{endpoint} is unhealthy: failed to commit proposal: {error}", file=sys.stderr)

    def fields() -> None:
        for endpoint, healthy, took, error in found:
            printer.line(f'"Endpoint" : {quoted(endpoint)}')
            printer.line(f'"Health" : {"true" if healthy else "false"}')
            printer.line(f'"Took" : {took}')
            printer.line(f'"Error" : {error}')
            printer.line()

    def as_json() -> None:
        answers = []
        for endpoint, healthy, took, error in found:
            answer: dict[str, Any] = {"endpoint": endpoint, "health": healthy, "took": took}
            answers.append(answer | ({"error": error} if error else {}))
        printer.line(go_json(answers))

    def as_table() -> None:
        rows = [(endpoint, "true" if healthy else "false", took, error) for endpoint, healthy, took, error in found]
        printer.write(table(["ENDPOINT", "HEALTH", "TOOK", "ERROR"], rows))

    printer.list({"simple": simple, "fields": fields, "json": as_json, "table": as_table})
    if not all(healthy for _, healthy, _, _ in found):
        raise Failure(ERROR, "unhealthy cluster")


async def status(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    found: list[tuple[str, Any]] = []
    failed: StoreError | None = None
    async for endpoint, single in _each(client, given, open_client):
        try:
            found.append((endpoint, await single.status()))
        except StoreError as error:
            failed = error
            print(f"Failed to get the status of endpoint {endpoint} ({told(error)})", file=sys.stderr)
    headers = ["ENDPOINT", "ID", "VERSION", "DB SIZE", "IS LEADER", "IS LEARNER", "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "ERRORS"]
    rows = [
        [
            endpoint,
            f"{answer.header.member_id:x}",
            answer.version,
            human_bytes(answer.dbSize),
            "true" if answer.leader == answer.header.member_id else "false",
            "true" if answer.isLearner else "false",
            str(answer.raftTerm),
            str(answer.raftIndex),
            str(answer.raftAppliedIndex),
            ", ".join(answer.errors),
        ]
        for endpoint, answer in found
    ]

    def fields() -> None:
        for endpoint, answer in found:
            printer.header_fields(answer.header)
            printer.line(f'"Version" : {quoted(answer.version)}')
            printer.line(f'"DBSize" : {answer.dbSize}')
            printer.line(f'"Leader" : {answer.leader}')
            printer.line(f'"IsLearner" : {"true" if answer.isLearner else "false"}')
            printer.line(f'"RaftIndex" : {answer.raftIndex}')
            printer.line(f'"RaftTerm" : {answer.raftTerm}')
            printer.line(f'"RaftAppliedIndex" : {answer.raftAppliedIndex}')
            printer.line('"Errors" : [' + " ".join(quoted(error) for error in answer.errors) + "]")
            printer.line(f'"Endpoint" : {quoted(endpoint)}')
            printer.line()

    printer.list(
        {
            "simple": lambda: printer.write("".join(", ".join(row) + "\n" for row in rows)),
            "fields": fields,
            "json": lambda: printer.line(go_json([{"Endpoint": endpoint, "Status": go_object(answer)} for endpoint, answer in found])),
            "table": lambda: printer.write(table(headers, rows)),
        }
    )
    if failed is not None:
        raise Failure(ERROR, "")


async def hash_kv(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    found: list[tuple[str, Any]] = []
    failed = False
    async for endpoint, single in _each(client, given, open_client):
        try:
            found.append((endpoint, await single.hash_kv(given.flags["rev"])))
        except StoreError as error:
            failed = True
            print(f"Failed to get the hash of endpoint {endpoint} ({told(error)})", file=sys.stderr)

    def fields() -> None:
        for endpoint, answer in found:
            printer.header_fields(answer.header)
            printer.line(f'"Endpoint" : {quoted(endpoint)}')
            printer.line(f'"Hash" : {answer.hash}')
            printer.line()

    rows = [(endpoint, str(answer.hash)) for endpoint, answer in found]
    printer.list(
        {
            "simple": lambda: printer.write("".join(", ".join(row) + "\n" for row in rows)),
            "fields": fields,
            "json": lambda: printer.line(go_json([{"Endpoint": endpoint, "HashKV": go_object(answer)} for endpoint, answer in found])),
            "table": lambda: printer.write(table(["ENDPOINT", "HASH"], rows)),
        }
    )
    if failed:
        raise Failure(ERROR, "")


async def alarms(client: "Client", _given: Given, printer: Printer) -> None:
    _print_alarms(printer, await client.alarms())


async def disarm(client: "Client", _given: Given, printer: Printer) -> None:
    """Lift each alarm that is raised."""
    from kvstore.wire import messages

    lifted = messages.AlarmResponse()
    for raised in (await client.alarms()).alarms:
        answer = await client.alarms(action=2, member_id=raised.memberID, alarm=raised.alarm)
        lifted.header.CopyFrom(answer.header)
        lifted.alarms.extend(answer.alarms)
    _print_alarms(printer, lifted)


def _print_alarms(printer: Printer, response: Any) -> None:
    def simple() -> None:
        for raised in response.alarms:
            printer.line(f"memberID:{raised.memberID} alarm:{_ALARMS.get(raised.alarm, raised.alarm)} ")

    def fields() -> None:
        printer.header_fields(response.header)
        for raised in response.alarms:
            printer.line(f'"MemberID" : {raised.memberID}')
            printer.line(f'"AlarmType" : {_ALARMS.get(raised.alarm, raised.alarm)}')
            printer.line()

    printer.message(response, simple=simple, fields=fields)


async def defragment(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    failed = False
    async for endpoint, single in _each(client, given, open_client):
        try:
            await single.defragment()
        except StoreError as error:
            failed = True
            print(f"Failed to defragment etcd member[{endpoint}] ({told(error)})", file=sys.stderr)
        else:
            printer.line(f"Finished defragmenting etcd member[{endpoint}]")
    if failed:
        raise Failure(ERROR, "")


async def move_leader(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    """Only the leader can; find it among the endpoints."""
    if len(given.arguments) != 1:
        raise Failure(BAD_ARGUMENTS, "move-leader command needs 1 argument")
    try:
        target = integer(given.arguments[0], 16, signed=False)
    except ValueError as error:
        raise Failure(BAD_ARGUMENTS, str(error)) from None
    async for _endpoint, single in _each(client, given, open_client):
        answer = await single.status()
        if answer.leader == answer.header.member_id:
            await single.move_leader(target)
            printer.line(f"Leadership transferred from {answer.leader:x} to {target:x}")
            return
    raise Failure(BAD_ARGUMENTS, "no leader endpoint given at " + " ".join(["[" + " ".join(given.flags["endpoints"]) + "]"]))


COMMANDS = {
    "alarm disarm": Command(disarm, (), "Disarms all alarms"),
    "alarm list": Command(alarms, (), "Lists all alarms"),
    "defrag": Command(
        defragment, (CLUSTER_FLAG,), "Defragments the storage of the etcd members with given endpoints", endless=True, per_endpoint=True
    ),
    "endpoint hashkv": Command(hash_kv, HASH_FLAGS, "Prints the KV history hash for each endpoint in --endpoints", per_endpoint=True),
    "endpoint health": Command(health, (), "Checks the healthiness of endpoints specified in `--endpoints` flag", per_endpoint=True),
    "endpoint status": Command(status, (), "Prints out the status of endpoints specified in `--endpoints` flag", per_endpoint=True),
    "move-leader": Command(move_leader, (), "Transfers leadership to another etcd cluster member.", per_endpoint=True, use="<transferee-member-id>"),
}
