"""What one command is: its function, its flags, and what help says about it. Each file of this room lists its own in COMMANDS."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from kvstore.ctl.flags import Flag


class Command(Struct, frozen=True):
    """`run(client, given, printer)`; the client connects when it is first used, so that wrong arguments are told before anything else."""

    run: Callable[..., Awaitable[None] | None]
    flags: Sequence[Flag]
    help: str
    endless: bool = False
    """Runs until interrupted: no time limit."""
    per_endpoint: bool = False
    """Wants to open clients of its own, one an endpoint: `run(client, given, printer, open_client)`."""
    local: bool = False
    """Needs no server: an ordinary function, `run(given, printer)`."""
    use: str = ""
    """What follows the command's name in its usage line."""
    description: str = ""


class Group(Struct, frozen=True):
    """A first word that means nothing without a second: `user` of `user add`."""

    help: str
    use: str = "<subcommand>"
    flags: Sequence[Flag] = ()
    """Flags of each of its commands."""
