"""What is said of a connection that could not be made."""

import asyncio
import socket

import pytest

from agents.kubelet.runtime.base import not_connected


def test_a_refused_connection_is_told_in_the_systems_words() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # taken, and nobody listens
        with pytest.raises(OSError) as refused:
            asyncio.run(_connect(unheard.getsockname()[1]))
    assert not_connected("10.0.0.1:80", refused.value) == "dial tcp 10.0.0.1:80: connect: connection refused"


async def _connect(port: int) -> None:
    await asyncio.open_connection("127.0.0.1", port)


def test_an_error_without_a_number_keeps_its_words() -> None:
    assert not_connected("a:1", OSError("Multiple exceptions"), "tcp4") == "dial tcp4 a:1: connect: multiple exceptions"
