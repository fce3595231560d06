"""Whom the keeper of the proxy's sockets speaks with."""

import os
import socket
import subprocess
import sys

import pytest

from agents.proxy import keeper


def connected() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_a_process_of_the_node_is_welcome():
    ours, theirs = connected()
    with ours, theirs:
        assert keeper.is_of_the_node(ours)


IN_A_POD = """
import os, socket, sys
from agents.kubelet.shim import kernel
kernel.unshare(kernel.CLONE_NEWPID)
if os.fork() == 0:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(sys.argv[1].replace("@", chr(0)))
        connection.recv(1)
    os._exit(0)
os.wait()
"""
"""A program of its own: to fork a process that has gRPC's threads is to lose it."""


@pytest.mark.skipif(os.geteuid() != 0, reason="process namespaces need root")
def test_a_process_of_a_pod_is_not():
    name = f"keelson-test-keeper-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(f"\0{name}")
        listening.listen(1)
        listening.settimeout(10)
        with subprocess.Popen([sys.executable, "-c", IN_A_POD, f"@{name}"]) as pod:
            accepted, _ = listening.accept()
            with accepted:
                assert not keeper.is_of_the_node(accepted)
        assert pod.returncode == 0
