"""`kvstore`: from the command line to the exit code."""

import asyncio
import gc
import logging
import sys

import uvloop

from keelson.cogs import logs
from keelson.cogs.logs import fields
from keelson.cogs.shutdown import die_of
from kvstore.member.effects import REMOVED
from kvstore.raft.log import LogLost
from kvstore.server import config as configuration
from kvstore.server import flags
from kvstore.server.bootstrap import ConfigurationError, Removed
from kvstore.server.config import Config
from kvstore.server.flags import FlagError
from kvstore.server.log_outputs import open_access_log, open_output
from kvstore.server.node import Fatal, run
from kvstore.storage.engine import EngineError
from kvstore.version import ETCD_VERSION, KEELSON_VERSION

log = logging.getLogger("kvstore.server")


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Ends with etcd's exit codes: 0, 1 for what does not fit, 2 for flags that do not exist."""
    given = sys.argv[1:] if arguments is None else arguments
    if not __debug__:
        sys.exit("kvstore relies on its assertions: run it without -O and without PYTHONOPTIMIZE")
    if {"-h", "-help", "--help"} & set(given):
        print(flags.usage())
        sys.exit(0)
    try:
        if flags.is_true(flags.parse_arguments(given).get("version", "false")):
            print(_version())
            sys.exit(0)
        config = configuration.load(given)
    except FlagError as error:
        print(f"{error}\n\n{flags.usage()}" if error.usage else f"error verifying flags, {error}. See 'kvstore --help'.", file=sys.stderr)
        sys.exit(error.exit_code)
    except ConfigurationError as error:
        print(f"error verifying flags, {error}. See 'kvstore --help'.", file=sys.stderr)
        sys.exit(1)
    _open_logs(config)
    _run(config)


def _run(config: Config) -> None:
    # Requests make garbage by reference counts, not by cycles: looking for cycles every 700 objects is a tenth of a put.
    gc.set_threshold(50_000, 50, 100)
    try:
        number = uvloop.run(run(config))
    except Removed:
        # etcd's words and its exit status: whoever supervises it is not to start it again.
        log.warning("server error", extra=fields(error=REMOVED))
        log.warning("data-dir used by this member must be removed")
        return
    except (Fatal, ConfigurationError, EngineError, LogLost, OSError) as error:
        log.critical(str(error))
        sys.exit(1)
    except asyncio.CancelledError:
        sys.exit(1)
    if number is not None:
        die_of(number)


def _open_logs(config: Config) -> None:
    try:
        handlers = [open_output(output, config.log_format, config.log_rotation) for output in config.log_outputs]
        logs.configure(config.log_level, config.log_format, handlers=handlers)
        if config.access_log:
            open_access_log(config.access_log)
    except OSError as error:
        print(f"cannot open the log: {error}", file=sys.stderr)
        sys.exit(1)


def _version() -> str:
    import platform

    return (
        f"etcd Version: {ETCD_VERSION}\nGit SHA: keelson-{KEELSON_VERSION}\n"
        f"Go Version: none (Python {platform.python_version()})\nGo OS/Arch: {platform.system().lower()}/{platform.machine()}"
    )


if __name__ == "__main__":
    main()
