"""Assembler of classic BPF, as far as filters of system calls need it (linux/filter.h, Documentation/userspace-api/seccomp_filter.rst). Pure.

A program is a list of instructions and labels; jumps name labels and only lead forward. A conditional jump reaches 255 instructions; one that leads
farther gets an unconditional one beside it.
"""

import struct

from msgspec import Struct

LOAD, RETURN, AND, GOTO = 0x20, 0x06, 0x54, 0x05
EQUAL, GREATER, AT_LEAST = 0x15, 0x25, 0x35
"""BPF_LD|W|ABS, BPF_RET|K, BPF_ALU|AND|K, BPF_JMP|JA; BPF_JMP with JEQ, JGT, JGE and a constant (unsigned)."""
INSTRUCTIONS_MAX = 4096
"""BPF_MAXINSNS: the kernel takes no more."""
REACH = 255


class Plain(Struct, frozen=True):
    code: int
    value: int


class Branch(Struct, frozen=True):
    """To `yes` or `no`, labels."""

    code: int
    value: int
    yes: str
    no: str


class Goto(Struct, frozen=True):
    to: str


class Label(Struct, frozen=True):
    name: str


Item = Plain | Branch | Goto | Label


class TooLong(ValueError):
    """More instructions than the kernel takes."""


def assemble(items: list[Item]) -> bytes:
    """Instructions of 8 bytes, in this machine's byte order. Raises TooLong."""
    far: set[int] = set()
    while True:
        places, starts = _places(items, far)
        grown = {
            index
            for index, item in enumerate(items)
            if isinstance(item, Branch) and index not in far and max(places[item.yes], places[item.no]) - starts[index] - 1 > REACH
        }
        if not grown:
            break
        far |= grown
    code = b"".join(_encoded(item, starts[index], places, index in far) for index, item in enumerate(items))
    if len(code) // 8 > INSTRUCTIONS_MAX:
        raise TooLong(f"it takes {len(code) // 8} instructions; {INSTRUCTIONS_MAX} is the most")
    return code


def _places(items: list[Item], far: set[int]) -> tuple[dict[str, int], list[int]]:
    """Where labels are, and where each item begins."""
    places: dict[str, int] = {}
    starts, at = [], 0
    for index, item in enumerate(items):
        starts.append(at)
        if isinstance(item, Label):
            assert item.name not in places, f"label {item.name} is there twice"
            places[item.name] = at
        else:
            at += 3 if index in far else 1
    return places, starts


def _encoded(item: Item, at: int, places: dict[str, int], far: bool) -> bytes:
    match item:
        case Label():
            return b""
        case Plain(code, value):
            return _instruction(code, 0, 0, value)
        case Goto(to):
            return _instruction(GOTO, 0, 0, _ahead(places[to], at))
        case Branch(code, value, yes, no):
            if not far:
                return _instruction(code, _ahead(places[yes], at), _ahead(places[no], at), value)
            longs = (_instruction(GOTO, 0, 0, _ahead(places[yes], at + 1)), _instruction(GOTO, 0, 0, _ahead(places[no], at + 2)))
            return _instruction(code, 0, 1, value) + b"".join(longs)


def _ahead(place: int, at: int) -> int:
    assert place > at, "jumps only lead forward"
    return place - at - 1


def _instruction(code: int, yes: int, no: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)
