"""From a freshly forked child to the container's program: user, groups, capabilities, limits, environment, and exec.

Whatever fails before the program runs is told to the shim through a pipe that a successful exec closes.
"""

import fcntl
import os
import resource
import signal
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any, NoReturn

from agents.kubelet.shim import kernel

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIOCGPTN, TIOCSPTLCK = 0x80045430, 0x40045431
TERMINAL = b"\0"
"""What comes with a terminal's other side; the text of a failure never begins so."""
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP)


def run(prepare: Callable[[], None], config: dict[str, Any], argv: list[str], cwd: str, stdio: tuple[int, ...], tty: bool, told: int) -> NoReturn:
    """In the child, never to return. `prepare` brings it into its namespaces and root; `told`, a socket, takes the text of a failure, and for a
    terminal (then `stdio` is not looked at) its other side."""
    try:
        signal.set_wakeup_fd(-1)
        for number in IGNORED_BY_PYTHON:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        prepare()
        if tty:
            stdio = _terminal(told)
        # Held above 2, so that no dup2 overwrites one that is still needed.
        held = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in stdio]
        for target, fd in enumerate(held):
            os.dup2(fd, target, inheritable=True)
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        uid, gid, groups, home = credentials(config)
        if tty:
            os.fchown(0, uid, -1)
        environment = dict(pair.split("=", 1) for pair in config["env"])
        environment.setdefault("PATH", DEFAULT_PATH)
        environment.setdefault("HOME", home)
        if tty:
            environment.setdefault("TERM", "xterm")
        if config.get("makes_cwd"):
            os.makedirs(cwd or "/", exist_ok=True)
        _chdir(cwd or "/")
        become(config, uid, gid, groups)
        _exec(argv, environment)
    except BaseException as error:
        text = getattr(error, "told", None) or f"{error.strerror or error}" if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        os.write(told, text.encode()[:4000] or b"failed")
    finally:
        os._exit(128)


def _terminal(told: int) -> tuple[int, int, int]:
    """A terminal of the container's own /dev/pts, so that it has a name there. Its other side goes to the shim."""
    ours = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(ours, TIOCSPTLCK, struct.pack("i", 0))
    number = struct.unpack("I", fcntl.ioctl(ours, TIOCGPTN, b"\0" * 4))[0]
    theirs = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    with socket.socket(fileno=os.dup(told)) as channel:
        socket.send_fds(channel, [TERMINAL], [ours])
    os.close(ours)
    return theirs, theirs, theirs


class Refused(OSError):
    def __init__(self, text: str) -> None:
        super().__init__(22, text)


def _chdir(cwd: str) -> None:
    try:
        os.chdir(cwd)
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
    for name, soft, hard in config.get("rlimits") or ():
        resource.setrlimit(getattr(resource, name), (soft, hard))
    kept = config["capabilities"]
    if not config["privileged"]:
        kernel.drop_from_bounding_set(kept)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if uid == 0 and not config["privileged"]:
        kernel.set_capabilities(kept)
    if config["no_new_privs"]:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # Changing credentials clears it: therefore last. A container must not outlive the shim that knows of it.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def credentials(config: dict[str, Any]) -> tuple[int, int, list[int], str]:
    """User, group, further groups and home folder, with the names of the image's own /etc/passwd and /etc/group.

    `config["user"]` is what Docker takes: user, uid, user:group, uid:gid. Raises Refused for a name that the image does not know.
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
    members = [int(each[2]) for each in known if account and len(each) > 3 and account[0] in each[3].split(",")]
    groups = list(dict.fromkeys([gid, *members, *config["groups"]]))
    return uid, gid, groups, account[5] if account else "/"


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.strip() for line in file.readlines(1 << 20) if not line.startswith("#")]
    except OSError:
        return []
