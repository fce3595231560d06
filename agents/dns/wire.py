"""A query's bytes to an answer's bytes (RFC 1035, 2308 for denials, 6891 for sizes). What is no query is dropped: it may be meant to make us talk."""

from collections.abc import Iterable

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from agents.dns.zone import TTL_S, Zone, is_alias

UDP_BYTES_MAX = 1232
"""What a client that says nothing better may be sent without danger of fragments (DNS flag day 2020)."""
PLAIN_BYTES_MAX = 512
PTR_ZONES = (dns.name.from_text("in-addr.arpa."), dns.name.from_text("ip6.arpa."))


class Elsewhere(Exception):
    """The question is about a name that is not ours; it is for an upstream."""


def parsed(packet: bytes) -> dns.message.Message | None:
    """The query; None for what deserves no answer."""
    try:
        query = dns.message.from_wire(packet)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    if query.flags & dns.flags.QR or len(query.question) != 1:
        return None
    return query


def answer(query: dns.message.Message, zone: Zone, serial: int) -> dns.message.Message:
    """Raises Elsewhere. `serial` goes into the SOA of denials."""
    made = dns.message.make_response(query)
    if query.opcode() != dns.opcode.QUERY:
        made.set_rcode(dns.rcode.NOTIMP)
        return made
    question = query.question[0]
    if question.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
        made.set_rcode(dns.rcode.REFUSED)
        return made
    name = question.name.to_text().rstrip(".").lower()
    kind = dns.rdatatype.to_text(question.rdtype)
    if zone.answers_for(name):
        _fill(made, zone, question.name, name, kind, serial)
        return made
    if kind == "PTR" and any(question.name.is_subdomain(each) for each in PTR_ZONES):
        names = zone.reverse(_address(question.name))
        if names:
            made.flags |= dns.flags.AA
            made.answer.append(_rrset(question.name, "PTR", names))
            return made
    raise Elsewhere


def _fill(made: dns.message.Message, zone: Zone, asked: dns.name.Name, name: str, kind: str, serial: int) -> None:
    made.flags |= dns.flags.AA
    records = zone.look_up(name, kind)
    if name == zone.domain and kind == "SOA":
        made.answer.append(_soa(zone, serial))
        return
    if records.values:
        if is_alias(records):
            made.answer.append(_rrset(asked, "CNAME", records.values))
            return
        made.answer.append(_rrset(asked, kind, records.values))
        for extra_name, extra_kind, text in records.extra:
            made.additional.append(_rrset(dns.name.from_text(extra_name), extra_kind, [text]))
        return
    if not records.exists:
        made.set_rcode(dns.rcode.NXDOMAIN)
    made.authority.append(_soa(zone, serial))


def _soa(zone: Zone, serial: int) -> dns.rrset.RRset:
    origin = dns.name.from_text(zone.domain + ".")
    return _rrset(origin, "SOA", [f"ns.dns.{zone.domain}. hostmaster.{zone.domain}. {serial} 7200 1800 86400 {TTL_S}"])


def _rrset(name: dns.name.Name, kind: str, texts: Iterable[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(name, TTL_S, "IN", kind, list(texts))


def _address(name: dns.name.Name) -> str:
    try:
        return dns.reversename.to_address(name)
    except (dns.exception.DNSException, ValueError):
        return ""


def failure(query: dns.message.Message, code: dns.rcode.Rcode) -> bytes:
    made = dns.message.make_response(query)
    made.set_rcode(code)
    return made.to_wire()


def size_max(query: dns.message.Message) -> int:
    """What the client takes over UDP."""
    return min(max(query.payload, PLAIN_BYTES_MAX), UDP_BYTES_MAX) if query.edns >= 0 else PLAIN_BYTES_MAX


def to_wire(made: dns.message.Message, bytes_max: int) -> bytes:
    """What does not fit is cut and marked so: the client comes again over TCP."""
    try:
        return made.to_wire(max_size=bytes_max)
    except dns.exception.TooBig:
        made.flags |= dns.flags.TC
        made.answer, made.additional, made.authority = [], [], []
        return made.to_wire(max_size=65535)
