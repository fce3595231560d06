"""Run a command that dies with the process that started it: `python -I -S leash.py PARENT_PID COMMAND...`.

A drill or a test run that is killed must leave no servers behind. The kernel's parent-death signal does that, but has to be asked for between
fork and exec, where a process with threads (gRPC has some) may run hardly any Python; so this small program asks for it and then becomes the
command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit("the parent is gone already")  # it died before the request above could see it
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
