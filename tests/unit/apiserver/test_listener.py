"""Heads of requests: long ones work, too long ones are refused in words that clients can read."""

import asyncio
import contextlib
import json
import socket
from urllib.parse import quote

import pytest

from apiserver.listener import HEAD_BYTES_MAX

CM = "/api/v1/namespaces/default/configmaps"


def test_a_long_selector_works(served):
    async def test(api):
        await api.post(CM, {"metadata": {"name": "a", "labels": {"name": "n3999"}}})
        values = ",".join(f"n{number}" for number in range(4000))
        code, listed = await api.get(f"{CM}?labelSelector={quote(f'name in ({values})')}")
        assert (code, [each["metadata"]["name"] for each in listed["items"]]) == (200, ["a"])

    served(test)


async def answered(api, *sent):
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        await loop.sock_connect(client, api.path)
        with contextlib.suppress(ConnectionError):  # it hangs up before it has read everything
            for each in sent:
                await loop.sock_sendall(client, each)
        head, _, body = (await loop.sock_recv(client, 1 << 16)).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


LONG = b"x" * (HEAD_BYTES_MAX + 1)


@pytest.mark.parametrize(
    "sent",
    [
        (b"GET /" + LONG,),
        (b"GET /version HTTP/1.1\r\nHost: api\r\nX: " + LONG + b"\r\n\r\n",),
        (b"GET /version HTTP/1.1\r\nHost: api\r\n", *[b"X: " + b"x" * 30_000 + b"\r\n"] * 40),
    ],
    ids=["line", "header", "all of them"],
)
def test_what_is_too_long_is_refused_with_a_status(served, sent):
    async def test(api):
        code, status = await answered(api, *sent)
        assert (code, status["kind"], status["code"]) == (431, "Status", 431)

    served(test)


def test_what_is_no_request_is_refused_with_a_status(served):
    async def test(api):
        code, status = await answered(api, b"GET /version HTTP/1.1\r\nNo colon\r\n\r\n")
        assert (code, status["kind"], status["reason"]) == (400, "Status", "BadRequest")

    served(test)


def test_a_large_body_is_no_large_head(served):
    async def test(api):
        code, status = await api.post(CM, b"x" * (4 << 20))
        assert (code, status["reason"]) == (413, "RequestEntityTooLarge")
        assert (await api.get("/version"))[0] == 200

    served(test)


def test_a_head_has_its_bound_while_another_request_is_answered(served):
    async def test(api):
        reader, writer = await asyncio.open_unix_connection(api.path)
        writer.write(f"GET {CM}?watch=true HTTP/1.1\r\nHost: api\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            writer.write(b"GET /version HTTP/1.1\r\nHost: api\r\n")
            for _ in range(60):
                writer.write(b"X: " + b"x" * 30_000 + b"\r\n")
                await writer.drain()
            async with asyncio.timeout(20):
                assert await reader.read() == b""
        writer.transport.abort()

    served(test)
