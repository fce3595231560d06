"""Attacks from inside of containers of the embedded runtime: each has to fail, whatever the image, a volume or a process in the pod does."""

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agents.kubelet.oci.store import Store
from agents.kubelet.runtime import base, capabilities, shims
from agents.kubelet.runtime.base import Mount, Resources, Runtime, RuntimeRefused, Security
from agents.kubelet.runtime.cgroups import Cgroups
from agents.kubelet.runtime.embedded import EmbeddedRuntime
from tests.support.sandboxes import CGROUP, POD_RANGE, Opened, ended, lines, needs_root, pod, run, seen, shell, started, until

pytestmark = [needs_root, pytest.mark.usefixtures("own_network", "own_cgroups")]

DEFAULT_CAPABILITIES = sum(1 << number for number in capabilities.effective((), ()))


@pytest.fixture
def opened(store: Store, tmp_path: Path) -> Opened:
    return lambda: EmbeddedRuntime(tmp_path / "runtime", store, pod_range=POD_RANGE, cgroup_root=CGROUP, bridge="cniisolation")


async def said(runtime: Runtime, container: str, words: str) -> str:
    result = await runtime.exec_sync(container, ["sh", "-c", words], 10)
    return (result.stdout + result.stderr).decode().strip()


def script(path: Path, words: str) -> None:
    path.write_text(words)
    path.chmod(0o755)


# --- the node's interpreter --------------------------------------------------------------------------------------------


def test_nothing_leads_to_the_interpreter_of_the_node(opened: Opened, tmp_path: Path) -> None:
    """CVE-2019-5736: whoever makes the runtime start itself inside gets a handle on its program."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "link").symlink_to("/proc/self/exe")
    script(volume / "script", "#!/proc/self/exe\nprint('the node speaks')\n")
    script(volume / "nested", "#!/v/script\n")
    mounts = (Mount(str(volume), "/v"),)
    ways = (["/proc/self/exe", "-c", "print(1)"], ["/v/link", "-c", "print(1)"], ["/v/script"], ["/v/nested"], ["/proc/thread-self/exe"])

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60", mounts=mounts))
            for way in ways:
                with pytest.raises(RuntimeRefused, match="permission denied"):
                    await runtime.exec_sync(container, way, 10)
            for number, way in enumerate(ways[::2]):
                config = base.ContainerConfig(f"first{number}", "keelson/toolbox:1", command=tuple(way), log_path=f"{number}.log", mounts=mounts)
                with pytest.raises(RuntimeRefused, match="permission denied"):
                    await started(runtime, sandbox, config)
            assert await said(runtime, container, "/proc/self/exe -c 'echo own program'") == "own program", "a container's own way to itself stays"

    run(opened, body)


class Hunter:
    """Looks, as fast as it can, at all that comes into the process namespace of a container, before it has become a program there."""

    def __init__(self, pid: int) -> None:
        self.proc = Path(f"/proc/{pid}/root/proc")
        self.root = Path(f"/proc/{pid}/root").stat().st_dev
        self.caught: list[dict[str, object]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._hunt, name="hunter")

    def __enter__(self) -> "Hunter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _hunt(self) -> None:
        known = {each for each in os.listdir(self.proc) if each.isdigit()}  # noqa: PTH208
        while not self._over.is_set():
            for name in {each for each in os.listdir(self.proc) if each.isdigit()} - known:  # noqa: PTH208
                try:
                    if "python" in (self.proc / name / "cmdline").read_text():
                        self.caught.append(_described(self.proc / name))
                except OSError:
                    continue  # it has become a program, or has ended


def _described(place: Path) -> dict[str, object]:
    status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
    found = {
        "CapPrm": int(status["CapPrm"], 16),
        "CapBnd": int(status["CapBnd"], 16),
        "Uid": status["Uid"].split()[0],
        "NoNewPrivs": status["NoNewPrivs"],
        "flags": os.statvfs(place / "exe").f_flag,
        "fds": len(os.listdir(place / "fd")),  # noqa: PTH208
        "root": (place / "root").stat().st_dev,
        "owner": (place / "fd").stat().st_uid,
    }
    if "python" not in (place / "cmdline").read_text():
        raise ProcessLookupError("it was a program meanwhile")
    return found


def test_who_comes_into_a_container_has_nothing_that_the_container_has_not(opened: Opened, tmp_path: Path) -> None:
    """CVE-2016-9962: a container with CAP_SYS_PTRACE may take over whatever is in its process namespace, at any moment."""
    # What takes long is the search for the program: plenty of time to be caught.
    path = ":".join(f"/none{number}" for number in range(4000)) + ":/bin"
    security = Security(user="1000:1000", no_new_privs=True)

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("exec /bin/sleep 60", env=(("PATH", path),), security=security))
            pid = _pid_of(tmp_path, container)
            with Hunter(pid) as hunter:
                for _ in range(20):
                    assert (await runtime.exec_sync(container, ["true"], 10)).code == 0
                    if hunter.caught:
                        break
            assert hunter.caught, "nobody was seen on the way in"
            for each in hunter.caught:
                assert each["CapPrm"] == 0 and int(str(each["CapBnd"])) & ~DEFAULT_CAPABILITIES == 0
                assert (each["Uid"], each["NoNewPrivs"]) == ("1000", "1")
                assert int(str(each["flags"])) & (os.ST_NOEXEC | os.ST_RDONLY) == os.ST_NOEXEC | os.ST_RDONLY
                assert each["fds"] in (3, 4), "its streams, and where it tells of a failure"
                assert each["owner"] == 0, "non-dumpable: what it has is root's to see"
                assert each["root"] == hunter.root

    run(opened, body)


def _pid_of(tmp_path: Path, container: str) -> int:
    import json

    state = next((tmp_path / "runtime" / "sandboxes").glob(f"*/containers/{container}/state.json"))
    return int(json.loads(state.read_text())["pid"])


# --- descriptors and folders of the node -------------------------------------------------------------------------------


def test_no_descriptor_of_the_node_comes_along(opened: Opened, tmp_path: Path) -> None:
    """CVE-2024-21626: a working directory, or a program, by way of a descriptor that was left open."""

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("ls /proc/self/fd; sleep 60"))
            assert await said(runtime, container, "ls /proc/self/fd | tr '\\n' ' '") == "0 1 2 3"  # 3 is ls's own look at the folder
            assert await said(runtime, container, "readlink /proc/1/fd/* | grep -v ^pipe: | grep -v ^/dev/null") == ""
            for number in (0, 3, 5, 8, 10, 201):
                config = shell("pwd; ls ..", f"leak{number}", working_dir=f"/proc/self/fd/{number}")
                try:
                    made = await started(runtime, sandbox, config)
                except RuntimeRefused:
                    continue
                await ended(runtime, made)
                raise AssertionError(lines(tmp_path, f"leak{number}"))

    run(opened, body)


def test_a_container_brings_no_module_into_the_way_in(tmp_path: Path) -> None:
    """What runs with all rights in the container's files must not load code from them."""
    (tmp_path / "colorsys.py").write_text("print('taken')")
    words = f"""
import json, sys
from agents.kubelet.shim import process
sys.path.insert(0, {str(tmp_path)!r})
process.seal()
for name in ("colorsys", "json.tool", "encodings.punycode"):
    try:
        __import__(name)
    except ImportError:
        print("refused")
"""
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["refused"] * 3


def test_a_false_terminal_is_refused(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60"))
            assert await said(runtime, container, "ln -sf /etc/passwd /dev/ptmx && echo done") == "done"
            with pytest.raises(RuntimeRefused, match="no terminal multiplexer"):
                await runtime.exec(container, ["sh"], stdin=True, tty=True)

    run(opened, body)


# --- processes that several containers share ---------------------------------------------------------------------------


def test_the_first_process_of_a_shared_namespace_has_nothing_to_take(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path, share_pids=True) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60", security=Security(added=("SYS_PTRACE",))))
            text = await said(
                runtime, container, "grep -E '^(Uid|CapPrm|CapBnd|NoNewPrivs)' /proc/1/status; ls -a /proc/1/root/; ls /proc/1/fd | wc -l"
            )
            zero = "0" * 16
            assert text.split() == ["Uid:", *["65535"] * 4, "CapPrm:", zero, "CapBnd:", zero, "NoNewPrivs:", "1", ".", "..", "proc", "0"]
            looking = await started(runtime, sandbox, shell("sleep 61", "two"))
            assert "sleep 60" in await said(runtime, looking, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
            assert await said(runtime, looking, "cat /proc/keys | wc -c") == "0", "a /proc that was taken over is masked, too"

    run(opened, body)


def test_a_debugger_joins_without_bringing_anything(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            looked_at = await started(runtime, sandbox, shell("sleep 71", "one", security=Security(added=("SYS_PTRACE",))))
            with Hunter(_pid_of(tmp_path, looked_at)) as hunter:
                for number in range(3):
                    looking = await started(runtime, sandbox, shell("sleep 72", f"two{number}", target=looked_at))
            for each in hunter.caught:
                assert int(str(each["CapPrm"])) & ~DEFAULT_CAPABILITIES == 0
            assert await said(runtime, looking, "tr '\\0' ' ' < /proc/1/cmdline") == "sh -c sleep 71"

    run(opened, body)


# --- system calls and files of the whole machine ------------------------------------------------------------------------


def test_profiles_that_are_none_are_refused(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"defaultAction": "SCMP_ACT_NOTIFY"}')

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            for name, why in (("none.json", "no such file"), ("bad.json", "SCMP_ACT_NOTIFY is not supported")):
                with pytest.raises(RuntimeRefused, match=f"cannot load seccomp profile .*{why}"):
                    await runtime.create_container(sandbox, shell("true", security=Security(seccomp=f"{base.LOCALHOST}{tmp_path}/{name}")))
            container = await started(runtime, sandbox, shell("sleep 60", security=Security(privileged=True, seccomp=base.RUNTIME_DEFAULT)))
            assert "Seccomp:\t0" in await said(runtime, container, "cat /proc/self/status"), "a privileged container is never confined"

    run(opened, body)


def test_what_is_the_whole_machines_is_covered(opened: Opened, tmp_path: Path) -> None:
    words = "cat /proc/keys /proc/interrupts /proc/timer_list 2>/dev/null | wc -c; ls /sys/firmware | wc -l"
    words += "; echo x 2>&1 > /proc/sysrq-trigger || echo no"
    words += "; grep -c ' /proc/sys .*nosuid,nodev,noexec' /proc/self/mounts"

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60", security=Security(added=("SYS_ADMIN",))))
            assert (await said(runtime, container, words)).splitlines()[:2] == ["0", "0"]
            assert (await said(runtime, container, words)).splitlines()[-2:] == ["no", "1"]
            bare = await started(runtime, sandbox, shell("sleep 60", "bare", security=Security(unmasked=True)))
            assert (await said(runtime, bare, "wc -c < /proc/interrupts")) != "0"
            fixed = shell("pwd; touch x", "fixed", working_dir="/made/for/it", security=Security(readonly_root=True))
            assert (await ended(runtime, await started(runtime, sandbox, fixed))).exit_code != 0
            assert lines(tmp_path, "fixed")[0][2] == "/made/for/it" and "Read-only" in lines(tmp_path, "fixed")[1][2]

    run(opened, body)


# --- what a pod may take of the node -----------------------------------------------------------------------------------


def test_a_fork_bomb_fills_its_pod_and_nothing_else(opened: Opened, tmp_path: Path) -> None:
    bomb = "bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done"

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path, "bomb", resources=Resources(pids_limit=60)) as sandbox, pod(runtime, tmp_path, "other") as other:
            if "pids" not in Cgroups(CGROUP).v1 and Cgroups(CGROUP).v2 is None:
                pytest.skip("no controller for numbers of processes here")
            neighbour = await started(runtime, other, shell("sleep 60", "neighbour"))
            bombs = [await started(runtime, sandbox, shell(bomb, f"bomb{number}")) for number in range(2)]
            async with asyncio.timeout(60):
                while not any("fork" in each[2] for each in lines(tmp_path, "bomb0") + lines(tmp_path, "bomb1")):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            counters = [folder / "pids.current" for folder in Cgroups(CGROUP).folders("podbomb") if (folder / "pids.current").exists()]
            # Both containers together. The kernel counts a fork before it refuses it, so that a single look may find one too many.
            await until(lambda: 0 < int(counters[0].read_text()) <= 60)
            assert await said(runtime, neighbour, "for i in 1 2 3; do sh -c 'echo lives'; done") == "lives\nlives\nlives"
            for each in bombs:
                await runtime.stop_container(each, 0)
                assert (await seen(runtime, each)).state == base.EXITED

    run(opened, body)


def test_nothing_outlives_its_shim(opened: Opened, tmp_path: Path) -> None:
    """The kernel forgets whom a process shall die with when the process changes its user, as servers do that begin as root."""

    changer = shutil.which("chroot")
    assert changer is not None, "coreutils are everywhere"
    mounts = (Mount(str(Path(changer).resolve()), "/bin/chroot", readonly=True),)

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            words = "exec /bin/chroot --userspec=1000:1000 / sh -c 'echo up; exec sleep 600'"
            container = await started(runtime, sandbox, shell(words, mounts=mounts))
            async with asyncio.timeout(20):
                while not lines(tmp_path):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert lines(tmp_path)[0][2] == "up"
            pid = _pid_of(tmp_path, container)
            os.kill(shims.running_pid(tmp_path / "runtime" / "sandboxes" / sandbox), signal.SIGKILL)
            assert (await ended(runtime, container)).exit_code == 137
            async with asyncio.timeout(20):
                while _alive(pid):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    run(opened, body)


def _alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_shared_memory_is_limited_and_goes_with_its_pod(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            first = await started(runtime, sandbox, shell("echo told > /dev/shm/word; sleep 60", "one"))
            second = await started(runtime, sandbox, shell("sleep 61", "two"))
            assert "No space left" in await said(runtime, first, "head -c 70000000 /dev/zero > /dev/shm/big")
            assert await said(runtime, second, "cat /dev/shm/word; grep ' /dev/shm ' /proc/self/mounts | grep -c nosuid,nodev,noexec") == "told\n1"

    run(opened, body)
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def test_what_a_container_wrote_is_counted(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60"))
            before = await runtime.disk_usage(container)
            await said(runtime, container, "head -c 3000000 /dev/zero > /root/file; sync")
            assert 3_000_000 <= await runtime.disk_usage(container) - before < 3_500_000

    run(opened, body)


# --- streams and users -------------------------------------------------------------------------------------------------


def test_a_user_may_open_his_own_streams(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            words = "echo one > /dev/stdout; echo two > /dev/stderr"
            container = await started(runtime, sandbox, shell(words, security=Security(user="1000")))
            assert (await ended(runtime, container)).exit_code == 0
            assert sorted(each[2] for each in lines(tmp_path)) == ["one", "two"]

    run(opened, body)
    null = Path("/dev/null").stat()
    assert (stat.S_IMODE(null.st_mode), null.st_uid) == (0o666, 0)
