"""An API server over the store in memory, in a loop of its own."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support.api_server import ApiServer


@pytest.fixture
def served() -> Callable[[Callable[[ApiServer], Coroutine[Any, Any, None]]], None]:
    """Run a test's coroutine with a server."""

    def run(test: Callable[[ApiServer], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            # Socket names have a hundred characters at most, fewer than pytest's folders.
            with TemporaryDirectory() as folder:
                async with asyncio.timeout(30), ApiServer(str(Path(folder) / "api")) as api:
                    await test(api)

        asyncio.run(whole())

    return run
