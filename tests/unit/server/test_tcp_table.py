"""The machine's table of connections, over both families."""

import socket

import pytest

from kvstore.server.tcp_table import is_connected


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_is_there_until_its_client_closes_it(family: socket.AddressFamily, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listener:
        server = listener.getsockname()[:2]
        with socket.create_connection(server) as connection:
            client = connection.getsockname()[:2]
            accepted, _ = listener.accept()
            assert is_connected(client, server)
            assert not is_connected(client, (host, server[1] ^ 1))
        assert not is_connected(client, server)
        accepted.close()
        assert not is_connected(client, server)


def test_what_is_no_tcp_counts_as_connected() -> None:
    assert is_connected(("", 0), ("", 0))
    assert is_connected(("/run/keelson.sock", 0), ("/run/keelson.sock", 0))
