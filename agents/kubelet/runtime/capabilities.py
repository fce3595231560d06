"""Names and numbers of capabilities (capabilities(7)), and the set that containers have unless told otherwise."""

from collections.abc import Collection, Sequence
from pathlib import Path

_ALL = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK
IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
AUDIT_WRITE
AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_DEFAULT = """
CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE
"""
NAMES = tuple(_ALL.split())
"""The place is the number."""
DEFAULT = set(_DEFAULT.split())


def effective(added: Sequence[str], dropped: Sequence[str], *, privileged: bool = False, own: Collection[int] | None = None) -> list[int]:
    """Numbers. First ALL of either, then what is added by name, then what is dropped by name (as containerd does it). ALL, like a privileged
    container's set, is what this process has itself (`own`; None: look). Raises ValueError for an unknown name."""
    add, drop = {_plain(name) for name in added}, {_plain(name) for name in dropped}
    for name in sorted((add | drop) - {"ALL"}):
        if name not in NAMES:
            raise ValueError(f"unknown capability {name}")
    everything = {NAMES[number] for number in (current() if own is None else own) if number < len(NAMES)}
    kept = everything if privileged or "ALL" in add else DEFAULT
    if not privileged:
        kept = set() if "ALL" in drop else kept
        kept = (kept | (add - {"ALL"})) - drop
    return sorted(NAMES.index(name) for name in kept)


def current() -> list[int]:
    """What this process has, and a child of its can have."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            bits = int(line.split()[1], 16)
            return [number for number in range(bits.bit_length()) if bits >> number & 1]
    return []


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")
