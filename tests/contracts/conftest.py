"""Images, a network and cgroups of the tests' own, for those that start containers."""

import os
from collections.abc import Iterator

import pytest

from agents.kubelet.oci import toolbox
from agents.kubelet.oci.store import Store
from agents.kubelet.runtime.cgroups import Cgroups
from agents.kubelet.shim import kernel
from tests.support.sandboxes import CGROUP


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(tmp_path_factory.mktemp("images"))
    toolbox.build_toolbox(made)
    return made


@pytest.fixture(scope="module")
def own_network() -> Iterator[None]:
    """A network namespace of the test's own: its bridge and its addresses end with it."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    kernel.unshare(kernel.CLONE_NEWNET)
    try:
        yield
    finally:
        kernel.setns(before, kernel.CLONE_NEWNET)
        os.close(before)


@pytest.fixture(scope="module")
def own_cgroups() -> Iterator[None]:
    yield
    Cgroups(CGROUP).remove("")
