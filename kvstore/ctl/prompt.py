"""Asking for a password: on the terminal without an echo, or a line of standard input where there is no terminal."""

import sys

from kvstore.ctl.failure import BAD_ARGUMENTS, Failure


def ask(prompt: str) -> str:
    """The line typed, without its end; empty at the end of the input."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    try:
        line = _read_silently() if sys.stdin.isatty() else sys.stdin.readline()
    finally:
        sys.stdout.write("\n")
        sys.stdout.flush()
    return line.rstrip("\r\n")


def _read_silently() -> str:
    import termios

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
    try:
        return sys.stdin.readline()
    finally:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


def ask_twice(user: str) -> str:
    """A new password for `user`, typed twice. Raises Failure."""
    password = ask(f"Password of {user}: ")
    if not password:
        raise Failure(BAD_ARGUMENTS, "empty password")
    if ask(f"Type password of {user} again for confirmation: ") != password:
        raise Failure(BAD_ARGUMENTS, "given passwords are different")
    return password


def read_word() -> str:
    """For --interactive=false: the first word of a line of standard input, as Go's Scanf reads it."""
    words = sys.stdin.readline().split()
    return words[0] if words else ""
