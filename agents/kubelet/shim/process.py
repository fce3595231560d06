"""From a freshly forked child to the container's program: user, groups, capabilities, limits, environment, and exec.

Whatever fails before the program runs is told to the shim through a socket that a successful exec closes.
"""

import fcntl
import os
import resource
import signal
import socket
import stat
import struct
import sys
import termios
from collections.abc import Callable
from typing import Any, NoReturn

from agents.kubelet.shim import kernel, spawning

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER = 0x80045430, 0x40045431, 0x5441
PTMX = os.makedev(5, 2)
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)


def run(
    enter: Callable[[], None], config: dict[str, Any], argv: list[str], environment: dict[str, str], stdio: tuple[int, ...], tty: bool, told: int
) -> NoReturn:
    """In the child, never to return. `enter` brings it into its namespaces and root; `told`, a socket, takes the text of a failure, and for a
    terminal (then `stdio` is not looked at) its other side. `config["joins"]`: it goes where somebody is already."""
    try:
        signal.set_wakeup_fd(-1)
        for number in IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        kernel.leave_keyring()
        enter()
        os.umask(0o022)
        if tty:
            stdio = _terminal(told)
        told = _keep_stdio(stdio, told)
        uid, gid, groups, home = credentials(config)
        for fd in range(3):
            _give_to(fd, uid)
        environment = dict(environment)
        environment.setdefault("PATH", DEFAULT_PATH)
        environment.setdefault("HOME", home)
        if tty:
            environment.setdefault("TERM", "xterm")
        _chdir(config["cwd"] or "/")
        become(config, uid, gid, groups)
        if config["joins"]:
            spawning.hand_over(told)
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # Changing credentials clears it: therefore last. A container must not outlive the shim that knows of it.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        _exec(argv, environment)
    except BaseException as error:
        text = getattr(error, "told", None) or f"{error.strerror or error}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        os.write(told, spawning.FAILED + text.encode(errors="replace")[:4000])
    finally:
        os._exit(128)


def seal() -> None:
    """From here on the files are the container's: a module that was loaded now would be one of the container's, and run with all rights."""
    sys.meta_path[:] = [each for each in sys.meta_path if getattr(each, "__name__", "") != "PathFinder"]


def _keep_stdio(stdio: tuple[int, ...], told: int) -> int:
    """0, 1 and 2, and where to tell; every other descriptor of the node is closed, not just marked to be. The new number of `told`."""
    # Held above 2, so that no dup2 overwrites one that is still needed.
    held = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (*stdio, told)]
    for target, fd in enumerate(held[:-1]):
        os.dup2(fd, target, inheritable=True)
    kernel.close_all_but([0, 1, 2, held[-1]])
    return held[-1]


def _give_to(fd: int, uid: int) -> None:
    """So that the program may open /dev/stdout. /dev/null is everybody's."""
    found = os.fstat(fd)
    if found.st_uid != uid and not (stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3)):
        os.fchown(fd, uid, -1)


def _terminal(told: int) -> tuple[int, int, int]:
    """A terminal of the container's own /dev/pts, so that it has a name there. Its other side goes to the shim."""
    ours = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    found = os.fstat(ours)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != PTMX:
        raise Refused("/dev/ptmx of the container is no terminal multiplexer")
    fcntl.ioctl(ours, TIOCSPTLCK, struct.pack("i", 0))
    theirs = fcntl.ioctl(ours, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    with socket.socket(fileno=os.dup(told)) as channel:
        socket.send_fds(channel, [spawning.TERMINAL], [ours])
    os.close(ours)
    return theirs, theirs, theirs


class Refused(OSError):
    def __init__(self, text: str) -> None:
        super().__init__(22, text)


def _chdir(cwd: str) -> None:
    try:
        os.chdir(cwd)
        os.getcwd()
    except OSError as error:
        raise Refused(f'chdir to cwd ("{cwd}") set in config.json failed: {(error.strerror or "").lower()}') from None


def _exec(argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Looks a bare name up in the container's PATH."""
    name = argv[0]
    candidates = [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in environment["PATH"].split(":")]
    denied = False
    for path in candidates:
        if os.path.isdir(path):
            continue
        try:
            os.execve(path, argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError:
            denied = True
    if denied:
        raise Refused(f'exec: "{name}": permission denied')
    if "/" in name:
        raise Refused(f'exec: "{name}": stat {name}: no such file or directory')
    raise Refused(f'exec: "{name}": executable file not found in $PATH')


def become(config: dict[str, Any], uid: int, gid: int, groups: list[int]) -> None:
    """Rights only ever go: what is needed for a later step is kept until then.

    A filter of system calls wants CAP_SYS_ADMIN or no_new_privs. What is called after it has to be allowed by it: capset, prctl, clone and setsid
    (where somebody is inside already), execve, and what tells of a failure.
    """
    for name, soft, hard in config.get("rlimits") or ():
        resource.setrlimit(getattr(resource, name), (soft, hard))
    kept = config["capabilities"]
    kernel.drop_from_bounding_set(kept)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    kernel.prctl(kernel.PR_SET_KEEPCAPS, 1)
    os.setresuid(uid, uid, uid)
    if config["no_new_privs"]:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # Nobody looks into this process before it is the program, unless he may trace every process anyway.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    final = kept if uid == 0 else []
    if config["seccomp"]:
        kernel.set_capabilities(sorted({*final, kernel.CAP_SYS_ADMIN}))
        kernel.filter_system_calls(bytes.fromhex(config["seccomp"]))
    kernel.set_capabilities(final)


def credentials(config: dict[str, Any]) -> tuple[int, int, list[int], str]:
    """User, group, further groups and home folder, with the names of the image's own /etc/passwd and /etc/group.

    `config["user"]` is what Docker takes: user, uid, user:group, uid:gid. `config["image_groups"]`: whether groups to which the image adds the user
    count. Raises Refused for a name that the image does not know.
    """
    user, _, group = str(config["user"] or "0").partition(":")
    accounts = [line.split(":") for line in _lines("/etc/passwd")]
    known = [line.split(":") for line in _lines("/etc/group")]
    account = next((each for each in accounts if len(each) > 5 and user in ((each[2],) if user.isdigit() else (each[0],))), None)
    if account is None and not user.isdigit():
        raise Refused(f"unable to find user {user}: no matching entries in passwd file")
    uid = int(account[2]) if account else int(user)
    gid = int(account[3]) if account else 0
    if group:
        found = next((each for each in known if len(each) > 2 and each[0] == group), None)
        if found is None and not group.isdigit():
            raise Refused(f"unable to find group {group}: no matching entries in group file")
        gid = int(found[2]) if found else int(group)
    members = [int(each[2]) for each in known if account and config["image_groups"] and len(each) > 3 and account[0] in each[3].split(",")]
    groups = list(dict.fromkeys([gid, *members, *config["groups"]]))
    return uid, gid, groups, account[5] if account else "/"


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.strip() for line in file.readlines(1 << 20) if not line.startswith("#")]
    except OSError:
        return []
