"""`python -m apiserver.main`: from the command line to the exit code."""

import asyncio
import gc
import logging
import sys

import uvloop
from prometheus_client import disable_created_metrics

from apiserver import config as configuration
from apiserver.config import Config, ConfigurationError
from apiserver.server import Server
from keelson.cogs import logs
from keelson.cogs.readiness import notify_init_daemon
from keelson.cogs.shutdown import stop_on_signals
from kvstore.errors import StoreError

log = logging.getLogger("apiserver")


def main(arguments: list[str] | None = None) -> None:
    """Ends with 0 after SIGTERM, 1 for what cannot be carried out, 2 for flags that do not exist."""
    try:
        config = configuration.load(sys.argv[1:] if arguments is None else arguments)
        logs.configure(config.log_level)
    except (ConfigurationError, ValueError) as error:
        sys.exit(f"apiserver: {error}")
    disable_created_metrics()  # type: ignore[no-untyped-call]  # upstream has none
    # The caches hold many objects that live long: looking through them for cycles again and again is most of what a collection would cost.
    gc.set_threshold(50_000, 50, 100)
    try:
        uvloop.run(run(config))
    except (ConfigurationError, OSError, StoreError, TimeoutError) as error:
        log.critical(f"cannot serve: {error or type(error).__name__}")
        sys.exit(1)


async def run(config: Config) -> None:
    """Until a signal asks to stop."""
    with stop_on_signals() as asked:
        server = Server(config)
        starting = asyncio.current_task()
        assert starting is not None
        await server.start()
        gc.freeze()
        notify_init_daemon()
        await asked.wait()
        await server.stop()


if __name__ == "__main__":
    main()
