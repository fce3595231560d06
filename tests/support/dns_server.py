"""A name server on loopback that knows a few SRV records, and the line that makes a program ask it."""

import socket
import threading
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

PRELUDE = """
import dns.resolver
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.port = ["127.0.0.1"], {port}
dns.resolver.default_resolver = resolver
"""
"""Python that puts this server in the place of the system's."""


class DnsServer:
    """`records`: name without the last dot to (target, port) pairs. Answers until left."""

    def __init__(self, records: dict[str, list[tuple[str, int]]]) -> None:
        self.records = records
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="dns server")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, client = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            question = query.question[0]
            name = question.name.to_text(omit_final_dot=True)
            self.asked.append(name)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.AA
            found = self.records.get(name) if question.rdtype == dns.rdatatype.SRV else None
            if found is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            else:
                texts = [f"10 5 {port} {target}." for target, port in found]
                answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", "SRV", texts))
            self._socket.sendto(answer.to_wire(), client)
