"""Programs of BPF against system calls, run by an interpreter of our own; the kernel's judgement is in tests/contracts/test_isolation.py."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.kubelet.seccomp import default, syscalls
from agents.kubelet.seccomp.bpf import AT_LEAST, EQUAL, LOAD, RETURN, Branch, Label, Plain, TooLong, assemble
from agents.kubelet.seccomp.profile import BadProfile, Condition, Profile, Rule, compiled, parse

X86_64, X86, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOW, ERRNO, KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
EPERM, ENOSYS = ERRNO | 1, ERRNO | 38


def judged(program: bytes, number: int, *arguments: int, architecture: int = X86_64) -> int:
    """What the program returns for a call, as the kernel runs it (seccomp_data: nr, arch, instruction pointer, six arguments)."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *(value & (1 << 64) - 1 for value in padded))
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = int.from_bytes(data[value : value + 4], "little")
            case 0x06:
                return int(value)
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x15 | 0x25 | 0x35:
                holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[operation]
                at += yes if holds else no
            case _:
                raise AssertionError(f"operation {operation:#x}")


def of(*rules: Rule, action: str = "SCMP_ACT_ERRNO", machine: str = "x86_64", **settings: object) -> bytes:
    return compiled(Profile(action, syscalls=rules, **settings), machine)  # type: ignore[arg-type]


def allow(*names: str, args: tuple[Condition, ...] = ()) -> Rule:
    return Rule(names, "SCMP_ACT_ALLOW", args=args)


def test_named_calls_are_allowed_the_others_refused_and_newer_ones_unknown() -> None:
    program = of(allow("read", "write", "exit_group", "no_such_call"))
    assert [judged(program, number) for number in (0, 1, 231)] == [ALLOW] * 3
    assert [judged(program, number) for number in (2, 100, 230)] == [EPERM] * 3
    assert [judged(program, number) for number in (232, 435, 100_000)] == [ENOSYS] * 3, "newer than all that the profile knows"


def test_other_numbers_of_the_processor_are_no_way_around() -> None:
    program = of(Rule(("mkdir",), "SCMP_ACT_ERRNO"), action="SCMP_ACT_ALLOW")
    assert (judged(program, syscalls.X86_64["mkdir"]), judged(program, 0)) == (EPERM, ALLOW)
    assert judged(program, syscalls.X86_64["mkdir"] | 0x40000000) == ENOSYS, "x32"
    assert judged(program, -1) == ENOSYS
    assert judged(program, syscalls.X86["mkdir"], architecture=X86) == KILL_PROCESS
    both = of(Rule(("mkdir",), "SCMP_ACT_ERRNO"), action="SCMP_ACT_ALLOW", architectures=("SCMP_ARCH_X86", "SCMP_ARCH_ARM"))
    assert (judged(both, syscalls.X86["mkdir"], architecture=X86), judged(both, 3, architecture=X86)) == (EPERM, ALLOW)
    assert judged(both, 0, architecture=AARCH64) == KILL_PROCESS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_PROCESS", KILL_PROCESS),
        ("SCMP_ACT_TRAP", 0x30000),
        ("SCMP_ACT_LOG", 0x7FFC0000),
        ("SCMP_ACT_ALLOW", ALLOW),
        ("SCMP_ACT_TRACE", 0x7FF00007),
        ("SCMP_ACT_ERRNO", ERRNO | 7),
    ],
)
def test_actions(name: str, value: int) -> None:
    assert judged(of(Rule(("read",), name, 7), action="SCMP_ACT_ALLOW"), 0) == value
    assert judged(of(action=name, default_errno_ret=7), 0) == value, "a profile without entries"


WORD = st.one_of(st.integers(0, (1 << 64) - 1), st.sampled_from([0, 1, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 64) - 1]))
MEANING = {
    "SCMP_CMP_EQ": lambda found, value, _: found == value,
    "SCMP_CMP_NE": lambda found, value, _: found != value,
    "SCMP_CMP_LT": lambda found, value, _: found < value,
    "SCMP_CMP_LE": lambda found, value, _: found <= value,
    "SCMP_CMP_GE": lambda found, value, _: found >= value,
    "SCMP_CMP_GT": lambda found, value, _: found > value,
    "SCMP_CMP_MASKED_EQ": lambda found, mask, value: found & mask == value & mask,
}


@given(st.sampled_from(sorted(MEANING)), st.integers(0, 5), WORD, WORD, WORD, st.booleans())
def test_conditions_on_arguments(op: str, index: int, value: int, second: int, found: int, same: bool) -> None:
    found = value if same else found
    program = of(allow("read", args=(Condition(index, value, op, second),)))
    arguments = [0] * 6
    arguments[index] = found
    assert judged(program, 0, *arguments) == (ALLOW if MEANING[op](found, value, second) else EPERM)


def test_conditions_of_one_entry_hold_together_unless_they_are_about_the_same_argument() -> None:
    both = of(allow("read", args=(Condition(0, 1, "SCMP_CMP_EQ"), Condition(1, 2, "SCMP_CMP_EQ"))))
    assert [judged(both, 0, *each) for each in ((1, 2), (1, 3), (0, 2))] == [ALLOW, EPERM, EPERM]
    either = of(allow("read", args=(Condition(0, 1, "SCMP_CMP_EQ"), Condition(0, 2, "SCMP_CMP_EQ"))))
    assert [judged(either, 0, each) for each in (1, 2, 3)] == [ALLOW, ALLOW, EPERM]


@given(st.dictionaries(st.sampled_from(sorted(syscalls.X86_64)), st.integers(0, 30), max_size=400))
def test_every_call_gets_what_its_entry_says(wanted: dict[str, int]) -> None:
    program = of(*(Rule((name,), "SCMP_ACT_ERRNO", 100 + errno) for name, errno in wanted.items()), action="SCMP_ACT_ALLOW")
    for name, number in syscalls.X86_64.items():
        assert judged(program, number) == (ERRNO | 100 + wanted[name] if name in wanted else ALLOW)


def test_the_default_profile() -> None:
    program = compiled(default.profile(()), "x86_64")
    number = syscalls.X86_64
    for name in ("read", "openat", "execve", "futex", "clone3", "ptrace", "landlock_restrict_self", "fchmodat2", "mseal"):
        assert judged(program, number[name]) == (ENOSYS if name == "clone3" else ALLOW), name
    for name in ("mount", "unshare", "setns", "bpf", "kexec_load", "keyctl", "reboot", "init_module", "io_uring_setup", "userfaultfd", "chroot"):
        assert judged(program, number[name]) == EPERM, name
    assert judged(program, number["clone"], 0x11) == ALLOW and judged(program, number["clone"], 0x10000000 | 0x11) == EPERM
    assert judged(program, number["personality"], 0) == ALLOW and judged(program, number["personality"], 0x40000) == EPERM
    assert judged(program, number["socket"], 2) == ALLOW and judged(program, number["socket"], 40) == EPERM
    assert judged(program, number["socket"], 40 | 1 << 32) == EPERM, "the kernel looks at the lower half alone"
    assert judged(program, syscalls.X86["mount"], architecture=X86) == EPERM and judged(program, syscalls.X86["read"], architecture=X86) == ALLOW
    assert judged(program, 5000) == ENOSYS
    arm = compiled(default.profile(()), "aarch64")
    for name, answer in (("openat", ALLOW), ("mount", EPERM), ("newfstatat", ALLOW), ("unshare", EPERM)):
        assert judged(arm, syscalls.AARCH64[name], architecture=AARCH64) == answer
    assert judged(arm, 0, architecture=X86_64) == KILL_PROCESS


def test_the_default_profile_gives_with_capabilities() -> None:
    number = syscalls.X86_64
    for capability, names in (("SYS_ADMIN", ("mount", "unshare", "clone3", "bpf")), ("SYS_CHROOT", ("chroot",)), ("SYS_TIME", ("settimeofday",))):
        program = compiled(default.profile((capability,)), "x86_64")
        assert all(judged(program, number[name]) == ALLOW for name in names)
    assert judged(compiled(default.profile(("SYS_ADMIN",)), "x86_64"), number["clone"], 0x10000000) == ALLOW


def test_names_of_the_default_profile_are_calls() -> None:
    known = set(syscalls.X86_64) | set(syscalls.X86) | set(syscalls.AARCH64)
    assert {*default._NEVER.split(), *(name for given in default._GIVEN_BY.values() for name in given.split())} <= known
    assert len(syscalls.X86_64) > 370 and (syscalls.X86_64["file_setattr"], syscalls.AARCH64["openat"], syscalls.X86["openat"]) == (469, 56, 295)


def test_far_jumps() -> None:
    filler = [Plain(LOAD, 0)] * 300
    program = assemble([Plain(LOAD, 0), Branch(EQUAL, 7, "yes", "no"), Label("no"), *filler, Plain(RETURN, 1), Label("yes"), Plain(RETURN, 2)])
    assert (judged(program, 7), judged(program, 8)) == (2, 1)
    both = [Plain(LOAD, 0), Branch(AT_LEAST, 7, "yes", "no"), *filler, Label("no"), Plain(RETURN, 1), *filler, Label("yes"), Plain(RETURN, 2)]
    assert (judged(assemble(both), 7), judged(assemble(both), 6)) == (2, 1)
    with pytest.raises(TooLong):
        assemble([Plain(LOAD, 0)] * 5000)


ARGUMENT = b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{"value": 1, %b}]}]}'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "truncated"),
        (b"{}", "defaultAction"),
        (b'{"defaultAction": "SCMP_ACT_NOTIFY"}', "SCMP_ACT_NOTIFY is not supported"),
        (b'{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}', "flags"),
        (b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "X"}]}', "action X"),
        (b'{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}', "errnoRet"),
        (ARGUMENT % b'"index": 6, "op": "SCMP_CMP_EQ"', "out of range"),
        (ARGUMENT % b'"index": 0, "op": "IS"', "operator IS"),
    ],
)
def test_what_is_not_understood_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(BadProfile, match=why):
        compiled(parse(text), "x86_64")


def test_a_machine_without_a_table() -> None:
    with pytest.raises(BadProfile, match="riscv64"):
        of(machine="riscv64")
