"""Questions in, answers out: what fits, what is cut, what is refused, and what gets no answer at all."""

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.dns import wire
from agents.dns.zone import Zone, records_of
from tests.unit.agents.dns.test_zone import DOMAIN, headless, service, slice_of, zone


def ask(there, name, type_="A", *, tcp=False, **options):
    question = wire.parse(dns.message.make_query(name, type_, **options).to_wire(), tcp=tcp)
    assert isinstance(question, wire.Question)
    return dns.message.from_wire(wire.reply(question, there, there.answer(question.name, question.type)))


def big(count=200):
    made = Zone(DOMAIN)
    made.replace("h", records_of(headless(), [slice_of(*((f"10.244.{n // 250}.{n % 250}", None, True) for n in range(count)))], DOMAIN))
    return made


def test_an_answer_is_authoritative_short_lived_and_spelled_as_asked():
    said = ask(zone(service()), f"S.d.SVC.{DOMAIN}.")
    assert said.flags & dns.flags.AA
    assert said.flags & dns.flags.RA
    assert said.answer[0].to_text() == f"S.d.SVC.{DOMAIN}. 5 IN A 10.96.0.7"


def test_what_is_not_there_says_so_with_the_soa():
    nothing, no_data = ask(zone(service()), f"x.d.svc.{DOMAIN}"), ask(zone(service()), f"s.d.svc.{DOMAIN}", "AAAA")
    assert (nothing.rcode(), no_data.rcode()) == (dns.rcode.NXDOMAIN, dns.rcode.NOERROR)
    for said in (nothing, no_data):
        assert not said.answer
        assert said.authority[0].rdtype == dns.rdatatype.SOA


def test_what_does_not_fit_is_cut_and_marked():
    for said, limit in ((ask(big(), f"h.d.svc.{DOMAIN}"), 512), (ask(big(), f"h.d.svc.{DOMAIN}", use_edns=0, payload=4096), 1232)):
        assert said.flags & dns.flags.TC
        assert len(said.to_wire()) <= limit
    whole = ask(big(), f"h.d.svc.{DOMAIN}", tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 200


def test_srv_brings_the_addresses_along():
    assert ask(zone(service()), f"_web._tcp.s.d.svc.{DOMAIN}", "SRV").additional[0].to_text() == f"s.d.svc.{DOMAIN}. 5 IN A 10.96.0.7"


def refused(data):
    said = wire.parse(data, tcp=False)
    assert isinstance(said, bytes)
    return dns.message.from_wire(said).rcode()


def test_what_makes_no_sense_gets_a_code():
    query = dns.message.make_query("s.", "A")
    raw = bytearray(query.to_wire())
    assert refused(bytes(raw[:4] + b"\x00\x02" + raw[6:])) == dns.rcode.FORMERR
    assert refused(bytes(raw[:12]) + b"\xc0\x0c\x00\x01\x00\x01") == dns.rcode.FORMERR
    raw[2] = dns.opcode.STATUS << 3
    assert refused(bytes(raw)) == dns.rcode.NOTIMP
    assert refused(dns.message.make_query("s.", "AXFR").to_wire()) == dns.rcode.REFUSED
    assert refused(dns.message.make_query("s.", "A", "CH").to_wire()) == dns.rcode.REFUSED
    assert refused(dns.message.make_query("s.", "A", use_edns=1).to_wire()) == dns.rcode.BADVERS


@pytest.mark.parametrize("data", [b"", b"x" * 11, dns.message.make_response(dns.message.make_query("s.", "A", id=1)).to_wire()])
def test_what_is_no_question_gets_no_answer(data):
    assert wire.parse(data, tcp=False) is None


@given(st.binary(max_size=100))
def test_nothing_that_comes_in_raises(data):
    said = wire.parse(data, tcp=False)
    if isinstance(said, wire.Question):
        there = zone(service())
        wire.reply(said, there, there.answer(said.name, said.type))


@given(st.binary(min_size=1, max_size=60), st.integers(0, 40))
def test_a_question_with_bytes_changed_never_raises(noise, at):
    raw = bytearray(dns.message.make_query(f"s.d.svc.{DOMAIN}", "A", use_edns=0).to_wire())
    raw[at : at + len(noise)] = noise
    said = wire.parse(bytes(raw), tcp=False)
    if isinstance(said, wire.Question):
        there = zone(service())
        wire.reply(said, there, there.answer(said.name, said.type))


def test_answers_of_others_are_checked_before_they_are_passed_on():
    question = wire.parse(dns.message.make_query("Example.org.", "A", id=7).to_wire(), tcp=False)
    asked = wire.query(question, 4711)
    theirs = dns.message.make_response(dns.message.from_wire(asked))
    assert dns.message.from_wire(wire.forwarded(theirs.to_wire(), question, asked)).id == 7
    for wrong in (
        b"short",
        asked,
        b"\x00\x00" + theirs.to_wire()[2:],
        dns.message.make_response(dns.message.make_query("other.", "A", id=4711)).to_wire(),
    ):
        assert wire.forwarded(wrong, question, asked) is None
