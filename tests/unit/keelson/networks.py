"""Whose a network is: numbers are claimed once, kept while they are held, and never taken from another cluster. On real bridges.

Run by `test_network`.
"""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from keelson.launcher import network
from keelson.launcher.network import Network, Taken, mark_of

NUMBER = 49
"""Its addresses are far from those that clusters on this machine have."""


@pytest.fixture
def prefix() -> Iterator[str]:
    """Bridges of this test alone; whatever it leaves is taken away."""
    name = f"k{os.getpid() % 10_000:04}b"
    yield name
    for each in {mark for bridge, mark in links().items() if bridge.startswith(name[:3]) and mark.startswith("/test/")}:
        network.remove(each, prefix=name)
    assert not [each for each in (*links(), *namespaces()) if each.startswith(name)]


def links() -> dict[str, str]:
    from pyroute2 import IPRoute

    with IPRoute() as host:
        return network._links(host)


def namespaces() -> list[str]:
    return [each.name for each in network.NAMESPACES.iterdir()] if network.NAMESPACES.exists() else []


def test_a_mark_is_the_folder_and_as_long_as_the_kernel_takes(tmp_path: Path) -> None:
    assert mark_of(tmp_path) == str(tmp_path)
    long = [mark_of(Path("/", *["x" * 100] * 5, name)) for name in ("a", "b")]
    assert [len(each) for each in long] == [network.MARK_MAX] * 2
    assert long[0] != long[1]


def test_a_number_is_of_one_cluster_until_it_is_given_back(prefix: str) -> None:
    assert network.claim("/test/a", prefix) == 0
    assert network.claim("/test/b", prefix) == 1
    # A start that was killed before it could write its number down finds it again.
    assert network.claim("/test/a", prefix) == 0
    network.remove("/test/a", Network(0, 1, prefix), prefix)
    assert network.claim("/test/c", prefix) == 0
    with pytest.raises(Taken, match="the cluster in /test/c"):
        network.take(Network(0, 1, prefix), "/test/a")
    assert network.owner(Network(0, 1, prefix)) == "/test/c"
    network.take(Network(2, 1, prefix), "/test/a")
    assert network.owner(Network(2, 1, prefix)) == "/test/a"


def test_what_is_anothers_is_neither_used_nor_taken_away(prefix: str) -> None:
    theirs = Network(NUMBER, 1, prefix)
    network.ensure(theirs, "/test/theirs")
    with pytest.raises(Taken):
        network.ensure(Network(NUMBER, 2, prefix), "/test/ours")
    network.remove("/test/ours", theirs, prefix)
    assert network.owner(theirs) == "/test/theirs"
    assert theirs.namespace(1) in namespaces()
    network.remove("/test/theirs", theirs, prefix)
    assert network.owner(theirs) is None
    assert theirs.namespace(1) not in namespaces()


def test_an_interface_without_a_mark_is_nobodys_to_take(prefix: str) -> None:
    subprocess.run(["ip", "link", "add", f"{prefix}0", "type", "bridge"], check=True)
    try:
        assert network.claim("/test/a", prefix) == 1
        with pytest.raises(Taken, match="not of keelson's making"):
            network.take(Network(0, 1, prefix), "/test/a")
        network.remove("/test/a", Network(0, 1, prefix), prefix)
        assert f"{prefix}0" in links()
    finally:
        subprocess.run(["ip", "link", "del", f"{prefix}0"], check=True)


def test_of_several_that_begin_at_once_each_has_its_own_number(prefix: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(network.claim, [f"/test/{each}" for each in range(6)], [prefix] * 6))
    assert sorted(numbers) == list(range(6))
    for number in range(6):
        assert network.owner(Network(number, 1, prefix)) == f"/test/{numbers.index(number)}"


class Killed(BaseException):
    """The launcher ends here: nothing that comes after this step happens."""


class Steps:
    """Lets so many changes of the machine happen, and no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pyroute2

        self.left = 0
        steps, create = self, pyroute2.netns.create

        class Counted(pyroute2.IPRoute):
            def __getattr__(self, name: str) -> Any:
                found = super().__getattr__(name)
                return steps.counted(found) if name in ("link", "route", "addr") else found

        def half(name: str) -> None:
            if self.left == 0:
                (network.NAMESPACES / name).touch()  # the first half of it
            self.counted(create)("create", name)

        monkeypatch.setattr(pyroute2, "IPRoute", Counted)
        monkeypatch.setattr(pyroute2.netns, "create", half)

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def go(verb: str, *words: Any, **values: Any) -> Any:
            self.left -= verb in ("add", "set", "create")
            if self.left < 0:
                raise Killed
            return call(*words, **values) if verb == "create" else call(verb, *words, **values)

        return go


def test_a_start_that_is_killed_between_any_two_steps_is_gone_on_with_or_taken_back(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, ended, step = Network(NUMBER, 1, prefix), False, -1
    while not ended:
        step += 1
        with monkeypatch.context() as patched:
            Steps(patched).left = step
            try:
                network.ensure(whole, "/test/killed")
                ended = True
            except Killed:
                pass
        if step % 2:  # gone on with
            network.ensure(whole, "/test/killed")
            assert can_reach(whole)
        network.remove("/test/killed", whole, prefix)
        assert not [each for each in (*links(), *namespaces()) if each.startswith((prefix, f"{prefix[:3]}-"))], f"after step {step}"
    assert step > 8, "the steps were not counted"


def can_reach(whole: Network) -> bool:
    """A refusal comes from the node itself: it is there, and its address leads to it."""
    with socket.socket() as made:
        made.settimeout(5.0)
        return made.connect_ex((whole.address(1), 9)) == errno.ECONNREFUSED


def test_a_child_that_is_forked_ends_with_sigterm_whatever_its_parent_does_then() -> None:
    program = """
import os, signal, threading, time
from keelson.launcher import network
signal.signal(signal.SIGTERM, signal.default_int_handler)
def fork():
    heard, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(say, b"1")
            time.sleep(600)
        finally:
            print("the child went on", flush=True)
            os._exit(1)
    os.read(heard, 1)
    os.kill(child, signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
thread = threading.Thread(target=fork)
thread.start()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("-15\n", 0), done.stderr
