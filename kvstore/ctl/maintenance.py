"""endpoint, alarm, defrag, move-leader."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kvstore.ctl.command import Command
from kvstore.ctl.durations import written
from kvstore.ctl.failure import BAD_ARGUMENTS, ERROR, Failure, told
from kvstore.ctl.flags import Flag, Given, integer
from kvstore.ctl.output import Printer, go_json, go_object, human_bytes, quoted, table
from kvstore.errors import PermissionDenied, StoreError

if TYPE_CHECKING:
    from kvstore.client.client import Client

CLUSTER_FLAG = Flag("cluster", False, "use all endpoints from the cluster member list")
DATA_DIR_FLAG = Flag("data-dir", "", "Optional. If present, defragments a data directory not in use by etcd.")
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


class Health(Struct, frozen=True):
    """`took`: nothing, if nothing was asked because it could not log in."""

    endpoint: str
    took: str
    error: str = ""

    @property
    def is_good(self) -> bool:
        return not self.error


async def _health_of(endpoint: str, open_client: OpenClient) -> Health:
    """A linearizable read of the key "health" proves a quorum."""
    from kvstore.client.authentication import LoginFailed

    began = time.perf_counter()
    error_text = ""
    async with open_client([endpoint]) as client:
        try:
            await client.get(b"health")
            if raised := (await client.alarms()).alarms:
                error_text = "Active Alarm(s): " + ", ".join(_ALARMS.get(alarm.alarm, "UNKNOWN") for alarm in raised)
        except PermissionDenied:
            pass  # It took a quorum to find that out.
        except LoginFailed as error:
            return Health(endpoint, "", str(error))
        except StoreError as error:
            error_text = told(error)
    return Health(endpoint, written(time.perf_counter() - began), error_text)


async def health(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    """All endpoints at once: one that is away costs the time limit."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_health_of(endpoint, open_client), name=endpoint) for endpoint in await _endpoints(client, given)]
    found = [task.result() for task in tasks]

    def simple() -> None:
        for one in found:
            if one.is_good:
                printer.line(f"{one.endpoint} is healthy: successfully committed proposal: took = {one.took}")
            else:
                print(f"{one.endpoint} is unhealthy: failed to commit proposal: {one.error}", file=sys.stderr)

    def fields() -> None:
        for one in found:
            printer.line(f'"Endpoint" : {quoted(one.endpoint)}')
            printer.line(f'"Health" : {_shown(one.is_good)}')
            printer.line(f'"Took" : {one.took}')
            printer.line(f'"Error" : {one.error}')
            printer.line()

    def as_json() -> None:
        answers = []
        for one in found:
            answer: dict[str, Any] = {"endpoint": one.endpoint, "health": one.is_good, "took": one.took}
            answers.append(answer | ({"error": one.error} if one.error else {}))
        printer.line(go_json(answers))

    def as_table() -> None:
        rows = [(one.endpoint, _shown(one.is_good), one.took, one.error) for one in found]
        printer.write(table(["ENDPOINT", "HEALTH", "TOOK", "ERROR"], rows))

    printer.list({"simple": simple, "fields": fields, "json": as_json, "table": as_table})
    if not all(one.is_good for one in found):
        raise Failure(ERROR, "unhealthy cluster")


_STATUS_COLUMNS = [
    "ENDPOINT",
    "ID",
    "VERSION",
    "STORAGE VERSION",
    "DB SIZE",
    "IN USE",
    "PERCENTAGE NOT IN USE",
    "QUOTA",
    "IS LEADER",
    "IS LEARNER",
    "RAFT TERM",
    "RAFT INDEX",
    "RAFT APPLIED INDEX",
    "ERRORS",
    "DOWNGRADE TARGET VERSION",
    "DOWNGRADE ENABLED",
]
_NEW_STATUS_COLUMNS = {"STORAGE VERSION", "IN USE", "PERCENTAGE NOT IN USE", "QUOTA", "DOWNGRADE TARGET VERSION", "DOWNGRADE ENABLED"}
"""Those that etcdctl has since 3.6."""


def _shown(value: bool) -> str:
    return "true" if value else "false"


def _status_row(endpoint: str, answer: Any) -> list[str]:
    in_use = answer.dbSizeInUse * 100 // answer.dbSize if answer.dbSize else 100
    return [
        endpoint,
        f"{answer.header.member_id:x}",
        answer.version,
        answer.storageVersion,
        human_bytes(answer.dbSize),
        human_bytes(answer.dbSizeInUse),
        f"{100 - in_use}%",
        human_bytes(answer.dbSizeQuota),
        _shown(answer.leader == answer.header.member_id),
        _shown(answer.isLearner),
        str(answer.raftTerm),
        str(answer.raftIndex),
        str(answer.raftAppliedIndex),
        ", ".join(answer.errors),
        answer.downgradeInfo.targetVersion,
        _shown(answer.downgradeInfo.enabled),
    ]


async def status(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    found: list[tuple[str, Any]] = []
    failed: StoreError | None = None
    await client.ready()
    async for endpoint, single in _each(client, given, open_client):
        try:
            found.append((endpoint, await single.status()))
        except StoreError as error:
            failed = error
            print(f"Failed to get the status of endpoint {endpoint} ({told(error)})", file=sys.stderr)
    columns = _STATUS_COLUMNS if printer.version >= (3, 6) else [column for column in _STATUS_COLUMNS if column not in _NEW_STATUS_COLUMNS]
    rows = []
    for endpoint, answer in found:
        shown = dict(zip(_STATUS_COLUMNS, _status_row(endpoint, answer), strict=True))
        rows.append([shown[column] for column in columns])
    newer = printer.version >= (3, 6)

    def fields() -> None:
        for endpoint, answer in found:
            printer.header_fields(answer.header)
            printer.line(f'"Version" : {quoted(answer.version)}')
            if newer:
                printer.line(f'"StorageVersion" : {quoted(answer.storageVersion)}')
            printer.line(f'"DBSize" : {answer.dbSize}')
            if newer:
                printer.line(f'"DBSizeInUse" : {answer.dbSizeInUse}')
                printer.line(f'"DBSizeQuota" : {answer.dbSizeQuota}')
            printer.line(f'"Leader" : {answer.leader}')
            printer.line(f'"IsLearner" : {"true" if answer.isLearner else "false"}')
            printer.line(f'"RaftIndex" : {answer.raftIndex}')
            printer.line(f'"RaftTerm" : {answer.raftTerm}')
            printer.line(f'"RaftAppliedIndex" : {answer.raftAppliedIndex}')
            printer.line('"Errors" : [' + " ".join(answer.errors) + "]")
            printer.line(f'"Endpoint" : {quoted(endpoint)}')
            if newer:
                printer.line(f'"DowngradeTargetVersion" : {quoted(answer.downgradeInfo.targetVersion)}')
                printer.line(f'"DowngradeEnabled" : {_shown(answer.downgradeInfo.enabled)}')
            printer.line()

    printer.list(
        {
            "simple": lambda: printer.write("".join(", ".join(row) + "\n" for row in rows)),
            "fields": fields,
            "json": lambda: printer.line(go_json([{"Endpoint": endpoint, "Status": go_object(answer)} for endpoint, answer in found])),
            "table": lambda: printer.write(table(columns, rows)),
        }
    )
    if failed is not None:
        raise Failure(ERROR, "")


async def hash_kv(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    found: list[tuple[str, Any]] = []
    failed: StoreError | None = None
    newer = printer.version >= (3, 6)
    await client.ready()
    async for endpoint, single in _each(client, given, open_client):
        try:
            found.append((endpoint, await single.hash_kv(given.flags["rev"])))
        except StoreError as error:
            failed = error
            print(f"Failed to get the hash of endpoint {endpoint} ({told(error)})", file=sys.stderr)

    def fields() -> None:
        for endpoint, answer in found:
            printer.header_fields(answer.header)
            printer.line(f'"Endpoint" : {quoted(endpoint)}')
            printer.line(f'"Hash" : {answer.hash}')
            if newer:
                printer.line(f'"HashRevision" : {answer.hash_revision}')
            printer.line()

    columns = ["ENDPOINT", "HASH", "HASH REVISION"][: 3 if newer else 2]
    rows = [(endpoint, str(answer.hash), str(answer.hash_revision))[: len(columns)] for endpoint, answer in found]
    printer.list(
        {
            "simple": lambda: printer.write("".join(", ".join(row) + "\n" for row in rows)),
            "fields": fields,
            "json": lambda: printer.line(go_json([{"Endpoint": endpoint, "HashKV": go_object(answer)} for endpoint, answer in found])),
            "table": lambda: printer.write(table(columns, rows)),
        }
    )
    if failed is not None:
        raise Failure(ERROR, told(failed))


def _no_arguments(given: Given) -> None:
    if given.arguments:
        raise Failure(BAD_ARGUMENTS, f"{given.command} command accepts no arguments")


async def alarms(client: "Client", given: Given, printer: Printer) -> None:
    _no_arguments(given)
    _print_alarms(printer, await client.alarms())


async def disarm(client: "Client", given: Given, printer: Printer) -> None:
    """Lift each alarm that is raised."""
    _no_arguments(given)
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
    if given.flags["data-dir"]:
        from kvstore.ctl import offline

        offline.defragment(given.flags["data-dir"], printer)
        return
    failed = False
    await client.ready()
    async for endpoint, single in _each(client, given, open_client):
        began = time.perf_counter()
        took, problem = "", ""
        try:
            await single.defragment()
        except StoreError as error:
            failed, problem = True, f" ({told(error)})"
        if printer.version >= (3, 6):
            took = ". took " + written(time.perf_counter() - began)
        if problem:
            print(f"Failed to defragment etcd member[{endpoint}]{took + '.' if took else ''}{problem}", file=sys.stderr)
        else:
            printer.line(f"Finished defragmenting etcd member[{endpoint}]{took}")
    if failed:
        raise Failure(ERROR, "")


async def _move(client: "Client", leader: int, target: int, printer: Printer) -> None:
    response = await client.move_leader(target)
    printer.message(response, simple=lambda: printer.line(f"Leadership transferred from {leader:x} to {target:x}"), fields=None)


async def move_leader(client: "Client", given: Given, printer: Printer, open_client: OpenClient) -> None:
    """Only the leader can; find it among the endpoints."""
    [typed] = given.exactly(1, "move-leader command needs 1 argument")
    try:
        target = integer(typed, 16, signed=False)
    except ValueError as error:
        raise Failure(BAD_ARGUMENTS, str(error)) from None
    async for _endpoint, single in _each(client, given, open_client):
        answer = await single.status()
        if answer.leader == answer.header.member_id:
            await _move(single, answer.leader, target, printer)
            return
    raise Failure(BAD_ARGUMENTS, "no leader endpoint given at " + " ".join(["[" + " ".join(given.flags["endpoints"]) + "]"]))


COMMANDS = {
    "alarm disarm": Command(disarm, (), "Disarms all alarms"),
    "alarm list": Command(alarms, (), "Lists all alarms"),
    "defrag": Command(
        defragment, (CLUSTER_FLAG, DATA_DIR_FLAG), "Defragments the storage of the etcd members with given endpoints", endless=True, per_endpoint=True
    ),
    "endpoint hashkv": Command(hash_kv, HASH_FLAGS, "Prints the KV history hash for each endpoint in --endpoints", per_endpoint=True),
    "endpoint health": Command(health, (), "Checks the healthiness of endpoints specified in `--endpoints` flag", per_endpoint=True),
    "endpoint status": Command(status, (), "Prints out the status of endpoints specified in `--endpoints` flag", per_endpoint=True),
    "move-leader": Command(move_leader, (), "Transfers leadership to another etcd cluster member.", per_endpoint=True, use="<transferee-member-id>"),
}
