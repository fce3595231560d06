"""Whom the keeper of the proxy's sockets speaks with."""

import os
import socket

import pytest

from agents.kubelet.shim import kernel
from agents.proxy import keeper


def connected() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_a_process_of_the_node_is_welcome():
    ours, theirs = connected()
    with ours, theirs:
        assert keeper.is_of_the_node(ours)


@pytest.mark.skipif(os.geteuid() != 0, reason="process namespaces need root")
def test_a_process_of_a_pod_is_not():
    address = f"\0keelson-test-keeper-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(address)
        listening.listen(1)
        before = os.open("/proc/self/ns/pid", os.O_RDONLY)
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            child = os.fork()
            if child == 0:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
                    connection.connect(address)
                    connection.recv(1)
                os._exit(0)
        finally:
            kernel.setns(before, kernel.CLONE_NEWPID)
            os.close(before)
        accepted, _ = listening.accept()
        with accepted:
            assert not keeper.is_of_the_node(accepted)
        os.waitpid(child, 0)
