"""Profiles as OCI runtimes have them (LinuxSeccomp of the runtime specification), and the program that a profile becomes. Pure.

Of several entries for a system call the first whose conditions hold decides. Where nothing is said the profile's default action is taken; but a call
newer than all that an EPERM-by-default profile names gets ENOSYS, so that programs fall back to what they did before there was that call (as runc
does it). Calls in another architecture's numbers than the profile's end the process.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

import msgspec
from msgspec import Struct

from agents.kubelet.seccomp import syscalls
from agents.kubelet.seccomp.bpf import AND, AT_LEAST, EQUAL, GREATER, LOAD, RETURN, Branch, Goto, Item, Label, Plain, assemble

EPERM, ENOSYS = 1, 38
X32 = 0x40000000
"""Set in numbers of calls of the x32 kind, which share their architecture with the 64-bit ones. No table has them: they are refused."""
_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
KILL_PROCESS, ERRNO = _ACTIONS["SCMP_ACT_KILL_PROCESS"], _ACTIONS["SCMP_ACT_ERRNO"]
_NATIVE = {"x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86"), "aarch64": ("SCMP_ARCH_AARCH64",)}
"""What the processor understands, the machine's own first (linux/audit.h has the numbers)."""
_ARCHITECTURES: dict[str, tuple[int, Mapping[str, int]]] = {
    "SCMP_ARCH_X86_64": (0xC000003E, syscalls.X86_64),
    "SCMP_ARCH_X86": (0x40000003, syscalls.X86),
    "SCMP_ARCH_AARCH64": (0xC00000B7, syscalls.AARCH64),
}
NUMBER_AT, ARCHITECTURE_AT, ARGUMENTS_AT = 0, 4, 16
"""Offsets in struct seccomp_data: int nr, u32 arch, u64 instruction_pointer, u64 args[6]."""
LARGEST = 0xFFFFFFFF


class BadProfile(ValueError):
    """It says something that we do not understand, or cannot do."""


class Condition(Struct, frozen=True, rename="camel"):
    index: int
    value: int
    op: str
    value_two: int = 0


class Rule(Struct, frozen=True, rename="camel"):
    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[Condition, ...] | None = None


class Profile(Struct, frozen=True, rename="camel"):
    """Fields and words of LinuxSeccomp."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] | None = None
    syscalls: tuple[Rule, ...] | None = None
    flags: tuple[str, ...] | None = None
    listener_path: str = ""


def parse(text: bytes) -> Profile:
    """Raises BadProfile."""
    try:
        return msgspec.json.decode(text, type=Profile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadProfile(str(error)) from None


def compiled(profile: Profile, machine: str) -> bytes:
    """The program for a `machine` as uname names it. Raises BadProfile."""
    native = _NATIVE.get(machine)
    if native is None:
        raise BadProfile(f"system calls of {machine} are not known")
    if profile.flags and set(profile.flags) - {"SECCOMP_FILTER_FLAG_TSYNC"}:
        raise BadProfile(f"flags {', '.join(profile.flags)} are not supported")
    wanted = [name for name in native if name == native[0] or name in (profile.architectures or ())]
    items: list[Item] = [Plain(LOAD, ARCHITECTURE_AT)]
    names = (f"label{number}" for number in count())
    for name in wanted:
        audit, _ = _ARCHITECTURES[name]
        found, other = next(names), next(names)
        items += [Branch(EQUAL, audit, found, other), Label(found)]
        items += _of_architecture(profile, name, names)
        items.append(Label(other))
    items.append(Plain(RETURN, KILL_PROCESS))
    try:
        return assemble(items)
    except ValueError as error:
        raise BadProfile(str(error)) from None


def _of_architecture(profile: Profile, name: str, names: Iterator[str]) -> list[Item]:
    numbers = _ARCHITECTURES[name][1]
    by_number: dict[int, list[Rule]] = {}
    for rule in profile.syscalls or ():
        for each in rule.names:
            if each in numbers:
                by_number.setdefault(numbers[each], []).append(rule)
    default = _action(profile.default_action, profile.default_errno_ret)
    plain: dict[int, int] = {}
    blocks: list[Item] = []
    labels: dict[int, str] = {}
    for number, rules in sorted(by_number.items()):
        if rules[0].args:
            labels[number] = next(names)
            blocks += [Label(labels[number]), *_decision(rules, default, names)]
        else:
            plain[number] = _action(rules[0].action, rules[0].errno_ret)
    unknown = ERRNO | ENOSYS if default == ERRNO | EPERM and by_number else default
    ranges = _ranges(plain, labels, default, unknown)
    return [Plain(LOAD, NUMBER_AT), *_search(ranges, names), *blocks]


def _action(name: str, errno: int | None) -> int:
    if name not in _ACTIONS:
        raise BadProfile(f"action {name} is not supported")
    if name not in _WITH_ERRNO:
        return _ACTIONS[name]
    value = EPERM if errno is None else errno
    if not 0 <= value <= 0xFFFF:
        raise BadProfile(f"errnoRet {value} must be between 0 and 65535")
    return _ACTIONS[name] | value


def _ranges(plain: Mapping[int, int], labels: Mapping[int, str], default: int, unknown: int) -> list[tuple[int, int | str]]:
    """Where a range of numbers begins, and what is done there: an action, or a label to go to. Together they cover all numbers."""
    known: dict[int, int | str] = {**plain, **labels}
    found: list[tuple[int, int | str]] = []

    def begin(number: int, what: int | str) -> None:
        if not found or found[-1][1] != what:
            found.append((number, what))

    after = 0
    for number in sorted(known):
        if number > after:
            begin(after, default)
        begin(number, known[number])
        after = number + 1
    begin(after, unknown)
    begin(X32, ERRNO | ENOSYS)
    return found


def _search(ranges: Sequence[tuple[int, int | str]], names: Iterator[str]) -> list[Item]:
    """A binary search for the range that the loaded number is in."""
    if len(ranges) == 1:
        what = ranges[0][1]
        return [Goto(what)] if isinstance(what, str) else [Plain(RETURN, what)]
    middle = len(ranges) // 2
    upper, lower = next(names), next(names)
    head: list[Item] = [Branch(AT_LEAST, ranges[middle][0], upper, lower), Label(lower)]
    return [*head, *_search(ranges[:middle], names), Label(upper), *_search(ranges[middle:], names)]


def _decision(rules: Sequence[Rule], default: int, names: Iterator[str]) -> list[Item]:
    """Of a system call whose arguments matter."""
    items: list[Item] = []
    for rule in rules:
        action = _action(rule.action, rule.errno_ret)
        for conditions in _alternatives(rule.args or ()):
            fails = next(names)
            for condition in conditions:
                holds = next(names)
                items += [*_compare(condition, holds, fails, names), Label(holds)]
            items += [Plain(RETURN, action), Label(fails)]
    return [*items, Plain(RETURN, default)]


def _alternatives(conditions: Sequence[Condition]) -> list[tuple[Condition, ...]]:
    """All of them together; each alone where two are about the same argument (as runc reads profiles)."""
    indexes = [each.index for each in conditions]
    if len(set(indexes)) < len(indexes):
        return [(each,) for each in conditions]
    return [tuple(conditions)]


def _compare(condition: Condition, yes: str, no: str, names: Iterator[str]) -> list[Item]:
    """Arguments are 64 bits, registers 32: the upper half first."""
    if not 0 <= condition.index < 6 or not all(0 <= value < 1 << 64 for value in (condition.value, condition.value_two)):
        raise BadProfile(f"argument {condition.index} or its value is out of range")
    low = ARGUMENTS_AT + 8 * condition.index
    high = low + 4
    value, more = condition.value, next(names)
    match condition.op:
        case "SCMP_CMP_EQ":
            return [
                *(Plain(LOAD, high), Branch(EQUAL, value >> 32, more, no), Label(more)),
                *(Plain(LOAD, low), Branch(EQUAL, value & LARGEST, yes, no)),
            ]
        case "SCMP_CMP_NE":
            return _compare(_with(condition, "SCMP_CMP_EQ"), no, yes, names)
        case "SCMP_CMP_GT" | "SCMP_CMP_GE":
            last, same = (GREATER if condition.op == "SCMP_CMP_GT" else AT_LEAST), next(names)
            return [
                *(Plain(LOAD, high), Branch(GREATER, value >> 32, yes, more), Label(more)),
                *(Branch(EQUAL, value >> 32, same, no), Label(same)),
                *(Plain(LOAD, low), Branch(last, value & LARGEST, yes, no)),
            ]
        case "SCMP_CMP_LE":
            return _compare(_with(condition, "SCMP_CMP_GT"), no, yes, names)
        case "SCMP_CMP_LT":
            return _compare(_with(condition, "SCMP_CMP_GE"), no, yes, names)
        case "SCMP_CMP_MASKED_EQ":
            mask, wanted = value, condition.value_two & value
            return [
                *(Plain(LOAD, high), Plain(AND, mask >> 32), Branch(EQUAL, wanted >> 32, more, no), Label(more)),
                *(Plain(LOAD, low), Plain(AND, mask & LARGEST), Branch(EQUAL, wanted & LARGEST, yes, no)),
            ]
    raise BadProfile(f"operator {condition.op} is not supported")


def _with(condition: Condition, op: str) -> Condition:
    return Condition(condition.index, condition.value, op, condition.value_two)
