"""A question in bytes to an answer in bytes, over a zone. Pure; dnspython does the wire format.

Nothing that comes in raises: what is no DNS message gets no answer (it may be somebody else's answer, sent to start a loop), what is one but makes no
sense gets an error code.
"""

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from msgspec import Struct

from agents.dns.zone import TTL_S, Answer, Code, Zone

UDP_BYTES = 512
"""For clients that do not say what they can take (RFC 1035)."""
EDNS_BYTES = 1232
"""The most that goes into one datagram: below every path's limit, so that nothing is fragmented (DNS flag day 2020)."""
TCP_BYTES = 65535
HEADER_BYTES = 12


class Question(Struct, frozen=True):
    """A message that can be answered. `name` is in lower case without the dot at its end, `bytes_max` what its client takes."""

    message: dns.message.Message
    name: str
    type: str
    bytes_max: int


def parse(data: bytes, *, tcp: bool) -> Question | bytes | None:
    """The question; or the bytes of a refusal; or None: no answer at all."""
    if len(data) < HEADER_BYTES or data[2] & 0x80:
        return None
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, IndexError, UnicodeError, AssertionError):
        return _bare(data, dns.rcode.FORMERR)
    if message.opcode() != dns.opcode.QUERY:
        return _bare(data, dns.rcode.NOTIMP)
    if len(message.question) != 1:
        return _bare(data, dns.rcode.FORMERR)
    asked = message.question[0]
    if message.edns > 0:
        refusal = dns.message.make_response(message)
        refusal.set_rcode(dns.rcode.BADVERS)
        return refusal.to_wire()
    if asked.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
        return _bare(data, dns.rcode.REFUSED)
    if asked.rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
        return _bare(data, dns.rcode.REFUSED)
    limit = TCP_BYTES if tcp else max(UDP_BYTES, min(message.payload, EDNS_BYTES)) if message.edns >= 0 else UDP_BYTES
    name = asked.name.to_text(omit_final_dot=True).lower()
    return Question(message, name, dns.rdatatype.to_text(asked.rdtype), limit)


def reply(question: Question, zone: Zone, answer: Answer) -> bytes:
    """What the zone says, in as many bytes as the client takes; if it does not fit, cut off and marked as such."""
    message = _response(question)
    message.flags |= dns.flags.AA
    message.set_rcode(dns.rcode.NXDOMAIN if answer.code is Code.NXDOMAIN else dns.rcode.NOERROR)
    asked = question.message.question[0].name
    message.answer = _rrsets(answer.records, {question.name: asked})
    if not answer.records:
        message.authority = [dns.rrset.from_text(f"{zone.zone}.", TTL_S, "IN", "SOA", zone.soa)]
    message.additional = _rrsets(zone.additional(answer), {})
    return _bytes(message, question)


def renamed(question: Question, name: str) -> Question:
    """The same question about another name, whose answer may be of any size."""
    message = dns.message.make_query(f"{name}.", question.type, use_edns=0, payload=EDNS_BYTES)
    return Question(message, name, question.type, TCP_BYTES)


def reply_with(question: Question, answer: Answer, there: bytes) -> bytes:
    """The zone's CNAME, and what another server says of the name it leads to."""
    message = _response(question)
    message.flags |= dns.flags.AA
    message.answer = _rrsets(answer.records, {question.name: question.message.question[0].name})
    try:
        message.answer += dns.message.from_wire(there, ignore_trailing=True).answer
    except dns.exception.DNSException:
        message.set_rcode(dns.rcode.SERVFAIL)
    return _bytes(message, question)


def failure(question: Question, code: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> bytes:
    message = _response(question)
    message.set_rcode(code)
    return _bytes(message, question)


def forwarded(data: bytes, question: Question, asked: bytes) -> bytes | None:
    """Another server's answer, as ours to this question: with the client's id, and short enough. None if it is no answer to what we `asked`."""
    if len(data) < HEADER_BYTES or not data[2] & 0x80 or data[:2] != asked[:2]:
        return None
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, IndexError, UnicodeError, AssertionError):
        return None
    if len(message.question) != 1 or message.question[0].name != question.message.question[0].name:
        return None
    if message.question[0].rdtype != question.message.question[0].rdtype:
        return None
    message.id = question.message.id
    message.flags |= dns.flags.RA
    return _bytes(message, question)


def query(question: Question, identity: int) -> bytes:
    """The same question, as we ask it: with an id of our own, which nobody can guess."""
    message = dns.message.make_query(
        question.message.question[0].name, question.message.question[0].rdtype, use_edns=0, payload=EDNS_BYTES, want_dnssec=_wants_dnssec(question)
    )
    message.id = identity
    return message.to_wire()


def _wants_dnssec(question: Question) -> bool:
    return question.message.edns >= 0 and bool(question.message.ednsflags & dns.flags.DO)


def _response(question: Question) -> dns.message.Message:
    message = dns.message.make_response(question.message, recursion_available=True, our_payload=EDNS_BYTES)
    message.flags &= ~dns.flags.AD
    return message


def _rrsets(records: tuple[tuple[str, str, str], ...], spelled: dict[str, dns.name.Name]) -> list[dns.rrset.RRset]:
    """Records of the same name and type together. A name is spelled as the client spelled it, who may check that (0x20)."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, type_, text in records:
        grouped.setdefault((name, type_), []).append(text)
    return [dns.rrset.from_text(spelled.get(name) or f"{name}.", TTL_S, "IN", type_, *texts) for (name, type_), texts in grouped.items()]


def _bytes(message: dns.message.Message, question: Question) -> bytes:
    try:
        return message.to_wire(max_size=question.bytes_max, prefer_truncation=True)
    except dns.exception.TooBig:
        for section in (message.answer, message.authority, message.additional):
            section.clear()
        message.flags |= dns.flags.TC
        return message.to_wire()


def _bare(data: bytes, code: dns.rcode.Rcode) -> bytes:
    """A header alone: the id and the opcode of the question, and what is wrong with it."""
    return data[:2] + bytes((0x80 | data[2] & 0x79, 0x80 | int(code))) + bytes(8)
