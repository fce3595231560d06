"""The server over real sockets on loopback: both protocols, other servers' names, and hostile datagrams in between."""

import asyncio
import struct

import dns.asyncquery
import dns.message
import dns.rcode

from agents.dns import wire
from agents.dns.forward import Forwarder, servers_of
from agents.dns.server import Server
from agents.dns.zone import Zone, records_of
from tests.unit.agents.dns.test_wire import big
from tests.unit.agents.dns.test_zone import DOMAIN, service, zone


def upstream():
    """A server that knows outside.example."""
    made = Zone("outside.example")
    made.replace("x", {"db.outside.example": {"A": ("192.0.2.5",)}})
    return Server(made, Forwarder([]))


def scene(play, there):
    """Runs `play(ask, server, port)` against a server for `there`, which forwards to `upstream`."""

    async def run():
        other = upstream()
        other_port = await other.open("127.0.0.1", 0)
        server = Server(there, Forwarder([f"127.0.0.1:{other_port}"]))
        port = await server.open("127.0.0.1", 0)

        async def ask(name, type_="A", tcp=False):
            query = dns.message.make_query(name, type_)
            return await (dns.asyncquery.tcp if tcp else dns.asyncquery.udp)(query, "127.0.0.1", timeout=3, port=port)

        try:
            await asyncio.wait_for(play(ask, server, port), 10)
        finally:
            await server.close()
            await other.close()

    asyncio.run(run())


def test_both_protocols_answer():
    async def play(ask, server, port):
        for tcp in (False, True):
            assert (await ask(f"s.d.svc.{DOMAIN}", tcp=tcp)).answer[0][0].to_text() == "10.96.0.7"
        assert len((await ask(f"h.d.svc.{DOMAIN}", tcp=True)).answer) == 0

    scene(play, zone(service()))


def test_a_cut_answer_is_whole_over_tcp():
    async def play(ask, server, port):
        assert (await ask(f"h.d.svc.{DOMAIN}")).flags & 0x0200
        assert len((await ask(f"h.d.svc.{DOMAIN}", tcp=True)).answer[0]) == 200

    scene(play, big())


def test_other_names_are_asked_of_others():
    async def play(ask, server, port):
        for tcp in (False, True):
            assert (await ask("db.outside.example", tcp=tcp)).answer[0][0].to_text() == "192.0.2.5"
            assert (await ask("nothing.outside.example", tcp=tcp)).rcode() == dns.rcode.NXDOMAIN
        assert (await ask("nobody.knows")).rcode() == dns.rcode.SERVFAIL

    scene(play, zone())


def test_a_server_that_does_not_answer_is_left_alone_for_a_while():
    async def run():
        refusing = Forwarder(["127.0.0.1:1"])
        question = wire.parse(dns.message.make_query("x.example.", "A").to_wire(), tcp=False)
        for _ in range(3):
            assert dns.message.from_wire(await refusing.ask(question, tcp=False)).rcode() == dns.rcode.SERVFAIL
        assert (refusing.asked, refusing.failed) == (1, 3)

    asyncio.run(run())


def test_an_external_name_comes_with_what_it_leads_to():
    async def play(ask, server, port):
        said = await ask(f"s.d.svc.{DOMAIN}")
        assert [each.to_text().split()[-1] for each in said.answer] == ["db.outside.example.", "192.0.2.5"]

    scene(play, zone(service(type="ExternalName", externalName="db.outside.example", clusterIP="")))


def test_hostile_datagrams_do_not_stop_it():
    async def play(ask, server, port):
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", port))
        for data in (b"", b"\xff" * 500, b"\x00" * 12, bytes(range(256)), b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\xc0\x0c" * 100):
            transport.sendto(data)
        transport.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(struct.pack(">H", 20) + b"\xff" * 20)
        assert await reader.read() == b""
        writer.close()
        assert (await ask(f"s.d.svc.{DOMAIN}")).answer

    scene(play, zone(service()))


def test_several_questions_on_one_connection():
    async def play(ask, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in range(3):
            raw = dns.message.make_query(f"s.d.svc.{DOMAIN}", "A", id=number).to_wire()
            writer.write(struct.pack(">H", len(raw)) + raw)
        for number in range(3):
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            assert dns.message.from_wire(await reader.readexactly(length)).id == number
        writer.close()

    scene(play, zone(service()))


def test_servers_of_a_resolv_conf():
    text = "search x\nnameserver 172.30.0.11\n# nameserver 9.9.9.9\nnameserver 10.0.0.2\nnameserver\nnameserver 10.0.0.3\nnameserver fe80::1%eth0\n"
    assert servers_of(text, ["172.30.0.11"]) == ["10.0.0.2", "10.0.0.3", "fe80::1%eth0"]


def test_records_of_an_unknown_kind_are_none():
    assert records_of({"metadata": {"name": "s", "namespace": "d"}, "spec": {}}, (), DOMAIN) == {}
