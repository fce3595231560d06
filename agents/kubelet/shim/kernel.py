"""System calls that Python 3.11 has no functions for, through ctypes. Failures are OSError with the call's name."""

import contextlib
import ctypes
import errno
import os
import platform
import signal
import struct

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18, 1 << 19
MNT_DETACH = 2

MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC = 1, 2, 4, 8

AT_FDCWD, AT_EMPTY_PATH, AT_RECURSIVE = -100, 0x1000, 0x8000
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_SYMLINKS = 0x4, 0x10
RESOLVE_NO_MAGICLINKS, RESOLVE_IN_ROOT = 0x2, 0x10

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 8, 22, 24, 38
SECCOMP_MODE_FILTER = 2
CLONE_PARENT = 0x8000
KEYCTL_JOIN_SESSION_KEYRING = 1

SYS_OPEN_TREE, SYS_MOVE_MOUNT, SYS_CLOSE_RANGE, SYS_OPENAT2, SYS_MOUNT_SETATTR = 428, 429, 436, 437, 442
"""The same numbers on every architecture."""
_NUMBERS = {"x86_64": (155, 126, 56, 250), "aarch64": (41, 91, 220, 219)}
SYS_PIVOT_ROOT, SYS_CAPSET, SYS_CLONE, SYS_KEYCTL = _NUMBERS.get(platform.machine(), (0, 0, 0, 0))

CAPABILITY_VERSION_3 = 0x20080522
CAP_SYS_ADMIN = 21
CAPABILITIES_MAX = 64
FD_MAX = 0xFFFFFFFF
PROC_MAGIC = 0x9FA0

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(name: str, result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _syscall(name: str, number: int, *arguments: object) -> int:
    if number == 0:
        raise OSError(38, f"{name}: not known on {platform.machine()}")
    longs = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(name, _libc.syscall(ctypes.c_long(number), *longs))


def unshare(flags: int) -> None:
    _checked("unshare", _libc.unshare(ctypes.c_int(flags)))


def setns(fd: int, kind: int = 0) -> None:
    _checked("setns", _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    data = options.encode() if options else None
    result = _libc.mount(source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data)
    _checked(f"mount {kind or source} on {target}", result)


def unmount(target: str, flags: int = MNT_DETACH) -> None:
    _checked(f"umount {target}", _libc.umount2(target.encode(), ctypes.c_int(flags)))


def pivot_root(new: str, old: str) -> None:
    _syscall("pivot_root", SYS_PIVOT_ROOT, new.encode(), old.encode())


def open_tree(fd: int, path: str) -> int:
    """A detached copy of the mounts at `path` below the folder `fd` (or of `fd` itself if `path` is empty), to be attached elsewhere."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_RECURSIVE | (0 if path else AT_EMPTY_PATH)
    return _syscall(f"open_tree {path}", SYS_OPEN_TREE, fd, path.encode(), flags)


def move_mount(fd: int, target: str) -> None:
    _syscall(f"move_mount {target}", SYS_MOVE_MOUNT, fd, b"", AT_FDCWD, target.encode(), MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS)


def set_attributes(fd: int, attributes: int) -> None:
    """Of a detached tree of mounts, all of it."""
    packed = struct.pack("QQQQ", attributes, 0, 0, 0)
    _syscall("mount_setattr", SYS_MOUNT_SETATTR, fd, b"", AT_EMPTY_PATH | AT_RECURSIVE, packed, len(packed))


def open_inside(folder: int, path: str) -> int:
    """`path` below `folder`, which no symbolic link on the way can lead out of. For naming only (O_PATH)."""
    packed = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    return _syscall(f"openat2 {path}", SYS_OPENAT2, folder, path.encode(), packed, len(packed))


def kind_of_files(fd: int) -> int:
    """The magic number of the file system that `fd` is in."""
    found = ctypes.create_string_buffer(256)  # struct statfs: f_type comes first, a long
    _checked("fstatfs", _libc.fstatfs(ctypes.c_int(fd), found))
    return int.from_bytes(found.raw[: ctypes.sizeof(ctypes.c_long)], "little")


def prctl(option: int, value: int) -> None:
    _checked("prctl", _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def set_hostname(name: str) -> None:
    encoded = name.encode()
    _checked("sethostname", _libc.sethostname(encoded, ctypes.c_size_t(len(encoded))))


def set_capabilities(numbers: list[int]) -> None:
    """Effective and permitted: these; inheritable: none."""
    bits = sum(1 << number for number in numbers)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    _syscall("capset", SYS_CAPSET, header, struct.pack("IIIIII", low, low, 0, high, high, 0))


def drop_from_bounding_set(kept: list[int]) -> None:
    """Also those that this kernel knows and we do not."""
    for number in range(CAPABILITIES_MAX):
        if number not in kept:
            try:
                prctl(PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno == errno.EINVAL:  # the first that the kernel does not know
                    return
                raise


def close_all_but(kept: list[int]) -> None:
    """Every other open descriptor of this process."""
    first = 0
    for fd in [*sorted(set(kept)), FD_MAX]:
        if fd > first:
            _syscall("close_range", SYS_CLOSE_RANGE, first, fd - 1 if fd != FD_MAX else FD_MAX, 0)
        first = fd + 1


def clone_sibling() -> int:
    """Fork, but the new process is a child of this one's parent. 0 in the new process. Only for a process of one thread."""
    return _syscall("clone", SYS_CLONE, CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)


def leave_keyring() -> None:
    """A session keyring of its own and empty, where the kernel has keyrings."""
    with contextlib.suppress(OSError):
        _syscall("keyctl", SYS_KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)


def filter_system_calls(program: bytes) -> None:
    """`program`: instructions of classic BPF, 8 bytes each (struct sock_filter). Wants CAP_SYS_ADMIN or no_new_privs, holds for all descendants."""
    held = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a count, and behind the padding a pointer
    described = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(held))
    arguments = (ctypes.c_int(PR_SET_SECCOMP), ctypes.c_ulong(SECCOMP_MODE_FILTER), described)
    _checked("prctl PR_SET_SECCOMP", _libc.prctl(*arguments))
