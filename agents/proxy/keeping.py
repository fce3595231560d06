"""The proxy's side of its keeper: sockets are handed to it as they are opened, and taken back by the next proxy."""

import asyncio
import contextlib
import logging
import select
import socket
import subprocess
import sys
import time

from agents.proxy import keeper
from agents.proxy.rules import Listener
from keelson.cogs.logs import fields

log = logging.getLogger(__name__)

START_S = 5.0
"""For a keeper to start."""
ANSWER_S = 2.0
CHECK_S = 1.0


class Keeping:
    """Without a keeper (it could not be started) all goes on as if there were none."""

    def __init__(self, address: str = keeper.ADDRESS) -> None:
        self._address = address
        self._connection: socket.socket | None = None
        self._kept: dict[Listener, socket.socket] = {}
        self._started: subprocess.Popen[bytes] | None = None
        self._dropped = False
        self._reading = asyncio.Lock()

    async def take(self) -> dict[Listener, socket.socket]:
        """What the proxy before has left; starts the keeper if there is none."""
        return await asyncio.to_thread(self._take)

    def keep(self, listener: Listener, bound: socket.socket) -> None:
        self._kept[listener] = bound
        self._say(b"+" + _key(listener), bound.fileno())

    def drop(self, listener: Listener) -> None:
        """Nothing is taken there any more, from this moment. To be called before the socket is closed."""
        if (bound := self._kept.pop(listener, None)) is not None:
            with contextlib.suppress(OSError):
                bound.shutdown(socket.SHUT_RDWR)  # for all who hold it: the keeper lets go a moment later
            self._say(b"-" + _key(listener))
            self._dropped = True

    async def settle(self) -> None:
        """Until the keeper has let go of what was dropped. Nobody can bind a UDP port before: a shutdown does not free it, as it does for TCP."""
        if self._dropped:
            self._dropped = False
            async with self._reading:
                await asyncio.to_thread(self._settle)

    async def watch(self) -> None:
        """Until cancelled: a keeper that was killed is replaced, and given everything."""
        while True:
            await asyncio.sleep(CHECK_S)
            async with self._reading:
                if not self._is_lost():
                    continue
                log.info("the keeper of the sockets is gone: another one is started")
                await asyncio.to_thread(self._connect)
                self._say(b"*")  # one that is there after all may have missed what was dropped
                for listener, bound in list(self._kept.items()):
                    self._say(b"+" + _key(listener), bound.fileno())

    def leave(self) -> None:
        """The proxy ends; the keeper stays, for the next one."""
        self._close()

    def end(self) -> None:
        """Nobody comes after us."""
        self._say(b"!")
        self._close()
        if self._started is not None:
            self._started.wait(ANSWER_S)

    # --- parts ------------------------------------------------------------------------------------------------------------

    def _take(self) -> dict[Listener, socket.socket]:
        self._connect()
        found: dict[Listener, socket.socket] = {}
        connection = self._connection
        if connection is None:
            return found
        try:
            keeper.send(connection, b"?")
            while (said := keeper.receive(connection))[0] not in (b".", b""):
                message, number = said
                if number is not None:
                    found[_listener(message[1:])] = self._kept[_listener(message[1:])] = _adopted(number)
        except (OSError, ValueError) as error:
            log.warning("the sockets of the proxy before cannot be taken over", extra=fields(error=str(error)))
            self._close()
        return found

    def _settle(self) -> None:
        if (connection := self._connection) is None:
            return
        try:
            keeper.send(connection, b"=")
            keeper.receive(connection)
        except OSError as error:
            log.warning("the keeper of the sockets does not answer", extra=fields(error=str(error)))
            self._close()

    def _connect(self) -> None:
        self._close()
        deadline_s = time.monotonic() + START_S
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            connection.settimeout(ANSWER_S)
            try:
                connection.connect(self._address)
                if not keeper.is_of_the_node(connection):
                    raise PermissionError("a process of a pod has the keeper's address")
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline_s:
                    log.warning("no keeper of the sockets: a restart will refuse connections for a moment", extra=fields(error=str(error)))
                    return
                self._start()
                time.sleep(0.02)
                continue
            self._connection = connection
            return

    def _start(self) -> None:
        """In a session of its own: what ends the proxy must not end it."""
        if self._started is not None and self._started.poll() is None:
            return
        words = [sys.executable, "-m", "agents.proxy.keeper", self._address.replace("\0", "@")]
        null = subprocess.DEVNULL
        self._started = subprocess.Popen(words, stdin=null, stdout=null, stderr=null, start_new_session=True)

    def _say(self, message: bytes, number: int | None = None) -> None:
        if self._connection is not None:
            try:
                keeper.send(self._connection, message, number)
            except OSError:
                self._close()

    def _is_lost(self) -> bool:
        if self._connection is None:
            return True
        # It says nothing unasked: if there is something to read, it is its end. (poll: a busy proxy has descriptors that select does not take.)
        look = select.poll()
        look.register(self._connection, select.POLLIN)
        return bool(look.poll(0))

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


def _key(listener: Listener) -> bytes:
    return f"{listener.protocol} {listener.port} {listener.address}".encode()


def _listener(key: bytes) -> Listener:
    protocol, port, address = key.decode().split(" ")
    return Listener(address, int(port), protocol)


def _adopted(number: int) -> socket.socket:
    adopted = socket.socket(fileno=number)
    adopted.setblocking(False)
    return adopted
