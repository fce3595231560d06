"""`keelson status`: what every member says of itself, and what its process says of it.

`rows` is the pure part: from answers to what is shown. A member's lag is how far what it has applied is behind the newest entry that any member has.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from keelson.cogs import output
from keelson.launcher import processes, supervisor
from keelson.launcher.calls import Caller, NoAnswer, Status
from keelson.launcher.cluster import Cluster

if TYPE_CHECKING:
    from rich.table import Table

HEADERS = ("MEMBER", "ROLE", "TERM", "INDEX", "REVISION", "DB SIZE", "LAG", "UP", "RESTARTS", "CLIENT URL")
RIGHT = ("TERM", "INDEX", "REVISION", "DB SIZE", "LAG", "UP", "RESTARTS")


class Process(Struct, frozen=True):
    """What is known of a member from outside; `up_s` None: it does not run."""

    pid: int | None = None
    up_s: float | None = None
    restarts: int = 0


class Row(Struct, frozen=True):
    """One member as it is shown; None for what only a member that answers can tell. `role`: leader, follower, learner, no leader, no answer, down."""

    name: str
    role: str
    client_url: str
    pid: int | None
    up_s: float | None
    restarts: int
    term: int | None = None
    index: int | None = None
    applied_index: int | None = None
    lag: int | None = None
    revision: int | None = None
    db_size_bytes: int | None = None
    version: str | None = None
    problem: str | None = None

    @property
    def healthy(self) -> bool:
        return self.role in ("leader", "follower", "learner")


def rows(answers: Mapping[str, Status | NoAnswer], known: Mapping[str, Process], urls: Mapping[str, str]) -> list[Row]:
    newest = max((answer.raft_index for answer in answers.values() if isinstance(answer, Status)), default=0)
    shown = []
    for name, answer in answers.items():
        process = known[name]
        base: dict[str, Any] = {
            "name": name,
            "client_url": urls[name],
            "pid": process.pid,
            "up_s": process.up_s,
            "restarts": process.restarts,
        }
        if isinstance(answer, NoAnswer):
            shown.append(Row(role="down" if process.pid is None else "no answer", problem=str(answer), **base))
            continue
        shown.append(
            Row(
                role=role_of(answer),
                term=answer.raft_term,
                index=answer.raft_index,
                applied_index=answer.applied_index,
                lag=max(newest - answer.applied_index, 0),
                revision=answer.revision,
                db_size_bytes=answer.db_size_bytes,
                version=answer.version,
                **base,
            )
        )
    return shown


def role_of(status: Status) -> str:
    if status.is_learner:
        return "learner"
    if status.leader == 0:
        return "no leader"
    return "leader" if status.leader == status.member_id else "follower"


def programs(cluster: Cluster) -> list[tuple[str, Process]]:
    """What runs besides the members."""
    members = {member.name for member in cluster.members}
    return [(program.name, _process(cluster, program.name)) for program in cluster.programs() if program.name not in members]


def programs_as_text(shown: list[tuple[str, Process]], colour: bool) -> str:
    rows = [
        [
            name,
            "running" if process.pid else output.paint("down", output.RED, colour),
            process.pid or "-",
            "-" if process.up_s is None else output.duration(process.up_s),
            process.restarts,
        ]
        for name, process in shown
    ]
    return output.table(("PROGRAM", "STATE", "PID", "UP", "RESTARTS"), rows, ("PID", "UP", "RESTARTS"), colour)


def observe(cluster: Cluster, caller: Caller) -> list[Row]:
    known = {member.name: _process(cluster, member.name) for member in cluster.members}
    return rows(caller.statuses(), known, {member.name: cluster.client_url(member) for member in cluster.members})


def _process(cluster: Cluster, name: str) -> Process:
    record = processes.read_record(cluster.folder, name)
    restarts = 0 if record is None else record.restarts
    identity = processes.running(cluster.folder, name)
    return Process(restarts=restarts) if identity is None else Process(identity.pid, processes.running_for_s(identity), restarts)


def cells(row: Row) -> list[str]:
    """In the order of HEADERS."""

    def told(value: object) -> str:
        return "-" if value is None else str(value)

    return [
        row.name,
        row.role,
        told(row.term),
        told(row.index),
        told(row.revision),
        "-" if row.db_size_bytes is None else output.size(row.db_size_bytes),
        told(row.lag),
        "-" if row.up_s is None else output.duration(row.up_s),
        str(row.restarts),
        row.client_url,
    ]


def as_text(shown: list[Row], colour: bool) -> str:
    return output.table(HEADERS, [cells(row) for row in shown], RIGHT, colour)


def as_data(cluster: Cluster, shown: list[Row]) -> dict[str, Any]:
    """For -o json."""
    supervised = processes.running(cluster.folder, supervisor.NAME)
    members = [{field: getattr(row, field) for field in row.__struct_fields__} for row in shown]
    others = [{"name": name, **{field: getattr(process, field) for field in process.__struct_fields__}} for name, process in programs(cluster)]
    return {"folder": str(cluster.folder), "supervisor_pid": supervised.pid if supervised else None, "members": members, "programs": others}


def watch(cluster: Cluster, interval_s: float) -> None:
    """A live table until Ctrl-C."""
    from rich.live import Live  # only here: rich takes longer to import than `status` to answer

    caller = Caller(cluster)
    with Live(_live_table(observe(cluster, caller)), auto_refresh=False, screen=False) as live:
        while True:
            time.sleep(interval_s)
            live.update(_live_table(observe(cluster, caller)), refresh=True)


def _live_table(shown: list[Row]) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, caption="Ctrl-C ends", caption_justify="left")
    for header in HEADERS[:-1]:  # without the URL it fits a terminal of 80 columns
        table.add_column(header, justify="right" if header in RIGHT else "left", no_wrap=True)
    for row in shown:
        style = {"leader": "green", "no leader": "yellow", "no answer": "yellow", "down": "red"}.get(row.role)
        table.add_row(*cells(row)[:-1], style=style)
    return table
