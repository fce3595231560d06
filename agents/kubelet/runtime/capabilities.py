"""Names and numbers of capabilities (capabilities(7)), and the set that containers have unless told otherwise. Pure."""

from collections.abc import Sequence

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


def effective(added: Sequence[str], dropped: Sequence[str]) -> list[int]:
    """Numbers; ALL means all of them, and what is added wins over what is dropped by ALL. Raises ValueError for an unknown name."""
    add, drop = {_plain(name) for name in added}, {_plain(name) for name in dropped}
    for name in (add | drop) - {"ALL"}:
        if name not in NAMES:
            raise ValueError(f"unknown capability {name}")
    if "ALL" in add:
        kept = set(NAMES) - drop
    elif "ALL" in drop:
        kept = add
    else:
        kept = (DEFAULT - drop) | (add - drop)
    return sorted(NAMES.index(name) for name in kept)


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")
