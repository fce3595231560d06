"""What the supervisor runs: one command line each, whatever program it is."""

from msgspec import Struct

AGENTS, API, STORE = range(3)
"""The stages in which a cluster stops: agents give back leases through the API, which writes to the store."""


class Program(Struct, frozen=True):
    """`mark`: a word of its command line that no other process has; by it a process is found when nothing else is known of it.

    `namespace`: the network namespace it runs in; empty for the host's. `first_start_s`: how long its first start waits, so that those which others
    wait for have the processor to themselves. `stop_stage`: it is asked to stop once all programs of the stages before have ended.
    """

    name: str
    command: tuple[str, ...]
    mark: str
    namespace: str = ""
    first_start_s: float = 0.0
    stop_stage: int = 0
