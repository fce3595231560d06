"""Names that are not the cluster's: passed on as they came, to the resolvers in the machine's resolv.conf."""

import asyncio
import ipaddress
import secrets
from pathlib import Path

TIMEOUT_S = 2.0
IN_FLIGHT_MAX = 1000
PORT = 53


def resolvers(path: Path = Path("/etc/resolv.conf"), besides: str = "") -> tuple[str, ...]:
    """The addresses named there, without our own: who asks himself asks for ever."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                address = str(ipaddress.ip_address(words[1].partition("%")[0]))
            except ValueError:
                continue
            if address != besides:
                found.append(address)
    return tuple(found)


class Upstream:
    """`ask` tries the resolvers in turn."""

    def __init__(self, addresses: tuple[str, ...], port: int = PORT) -> None:
        self.addresses = addresses
        self._port = port
        self._under_way = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def ask(self, packet: bytes, tcp: bool) -> bytes | None:
        """The answer with the question's own id; None if nobody answered."""
        if self._under_way.locked():
            return None
        async with self._under_way:
            for address in self.addresses:
                try:
                    async with asyncio.timeout(TIMEOUT_S):
                        return await (self._tcp(address, packet) if tcp else self._udp(address, packet))
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    continue
        return None

    async def _udp(self, address: str, packet: bytes) -> bytes:
        # An id of our own for each question: whoever would forge an answer must guess it and the port.
        number = secrets.token_bytes(2)
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_datagram_endpoint(lambda: _One(number), remote_addr=(address, self._port))
        try:
            transport.sendto(number + packet[2:])
            answer = await protocol.answer
        finally:
            transport.close()
        return packet[:2] + answer[2:]

    async def _tcp(self, address: str, packet: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(address, self._port)
        try:
            writer.write(len(packet).to_bytes(2) + packet)
            size = int.from_bytes(await reader.readexactly(2))
            return await reader.readexactly(size)
        finally:
            writer.close()


class _One(asyncio.DatagramProtocol):
    """Waits for the one datagram that answers."""

    def __init__(self, number: bytes) -> None:
        self._number = number
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == self._number and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)
