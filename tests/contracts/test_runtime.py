"""What a container runtime owes the kubelet (agents.kubelet.runtime.base), with real processes in real namespaces."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.kubelet.oci import toolbox
from agents.kubelet.oci.store import Store
from agents.kubelet.runtime import base
from agents.kubelet.runtime.base import ContainerConfig, ExecResult, Mount, PortMapping, Resources, Runtime, RuntimeRefused, SandboxConfig, Security
from agents.kubelet.runtime.cgroups import Cgroups
from agents.kubelet.runtime.cri import CriRuntime
from agents.kubelet.runtime.embedded import EmbeddedRuntime
from tests.support import containerd
from tests.support.sandboxes import CGROUP, POD_RANGE, Opened, ended, lines, needs_root, pod, run, seen, shell, started, until

pytestmark = [needs_root, pytest.mark.usefixtures("own_network", "own_cgroups")]


@pytest.fixture(params=["embedded", "containerd"])
def opened(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Iterator[Opened]:
    if request.param == "embedded":
        yield lambda: EmbeddedRuntime(
            tmp_path / "runtime", store, pod_range=POD_RANGE, cgroup_root=CGROUP, bridge="cnikeelson", host_ports=tmp_path / "host-ports.json"
        )
        return
    missing = [program for program in ("containerd", "ctr", "runc") if shutil.which(program) is None]
    if missing or not Path("/usr/lib/cni/bridge").exists():
        pytest.skip("containerd, runc and containernetworking-plugins (Debian) are not installed")
    endpoint = request.getfixturevalue("containerd_endpoint")
    yield lambda: CriRuntime(endpoint, cgroup_root=CGROUP, look_s=0.1)


@pytest.fixture(scope="module")
def containerd_endpoint(own_network: None, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with containerd.running(tmp_path_factory.mktemp("containerd"), store, "10.250.78.0/24") as endpoint:
        yield endpoint


def test_a_container_runs_writes_its_log_and_its_end_is_told(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await runtime.create_container(sandbox, shell("echo out; echo err >&2; printf rest; exit 7"))
            assert (await seen(runtime, container)).state == base.CREATED
            await runtime.start_container(container)
            found = await ended(runtime, container)
            assert (found.exit_code, found.reason) == (7, "Error")
            assert 0 < found.created_ns <= found.started_ns <= found.finished_ns
            assert sorted(lines(tmp_path)) == [("stderr", "F", "err"), ("stdout", "F", "out"), ("stdout", "P", "rest")]

    run(opened, body)


def test_a_port_of_the_node_is_led_to_the_pod_or_told_to_who_leads(opened: Opened, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    embedded = request.node.callspec.params["opened"] == "embedded"
    if not embedded and (shutil.which("iptables") is None or not Path("/usr/lib/cni/portmap").exists()):
        pytest.skip("CNI's portmap, and the iptables that it calls, are not installed")

    def led() -> set[tuple[str, int, str, str]]:
        """Address, port, protocol and where to."""
        if embedded:
            told = json.loads((tmp_path / "host-ports.json").read_text())
            assert all(each["pod"] == "default/web" for each in told)
            return {(each["hostIP"], each["hostPort"], each["protocol"], f"{each['ip']}:{each['port']}") for each in told}
        rules = subprocess.run(["iptables", "-t", "nat", "-S"], check=True, capture_output=True, text=True).stdout
        found = re.findall(r"(?:-d (\S+)/32 )?-p (\w+) .*--dport (\d+) -j DNAT --to-destination (\S+)", rules)
        return {(address, int(port), protocol.upper(), target) for address, protocol, port, target in found}

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path, ports=(PortMapping(18080, 8080), PortMapping(18053, 53, "UDP", "10.250.78.1"))):
            (sandbox,) = await runtime.sandboxes()
            assert led() == {("", 18080, "TCP", f"{sandbox.ip}:8080"), ("10.250.78.1", 18053, "UDP", f"{sandbox.ip}:53")}
        assert led() == set()

    run(opened, body)


def test_a_container_sees_its_own_world(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path, hostname="web-0", dns_servers=("10.96.0.10",), dns_searches=("svc",)) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60", env=(("GREETING", "hello world"),), working_dir="/made/here"))

            async def said(words: str) -> str:
                result = await runtime.exec_sync(container, ["sh", "-c", words], 10)
                return result.stdout.decode().strip()

            assert await said("hostname") == "web-0"
            assert await said("echo $GREETING; pwd") == "hello world\n/made/here"
            assert await said("cat /etc/resolv.conf") == "search svc\nnameserver 10.96.0.10"
            assert await said("tr '\\0' ' ' < /proc/1/cmdline") == "sh -c sleep 60"
            assert await said("ls /proc | grep -c '^[0-9]'") in ("4", "5", "6"), "only its own processes"
            assert await said("echo x > /proc/sys/kernel/hostname; echo $?") != "0"
            assert await said("ls /root /home") != "" and str(tmp_path) not in await said("cat /proc/self/mounts | grep -v overlay | cut -d' ' -f2")
            address = next(each.ip for each in await runtime.sandboxes())
            assert address in await said("ip -4 addr show eth0")
            assert await said("id -u; grep CapEff /proc/self/status") == "0\nCapEff:\t00000000a80425fb"

    run(opened, body)


def test_what_a_container_may_not(opened: Opened, tmp_path: Path) -> None:
    security = Security(user="1000:1000", groups=(2000,), dropped=("ALL",), no_new_privs=True, readonly_root=True)

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60", security=security))
            result = await runtime.exec_sync(
                container,
                ["sh", "-c", "id -u; id -G; touch /x 2>&1; grep -E 'CapBnd|NoNewPrivs' /proc/self/status; echo > /dev/null && echo dev"],
                10,
            )
            text = result.stdout.decode()
            assert text.startswith("1000\n1000 2000\n")
            assert "Read-only file system" in text
            assert "CapBnd:\t0000000000000000" in text and "NoNewPrivs:\t1" in text and text.endswith("dev\n")
            made = await started(runtime, sandbox, shell("mknod /tmp/disk b 8 0 && cat /tmp/disk; echo $?", "root"))
            await ended(runtime, made)
            assert lines(tmp_path, "root")[-1][2] != "0", "device nodes of one's own open nothing"

    run(opened, body)


@pytest.mark.parametrize("user", ["0", "1000"])
@pytest.mark.parametrize("no_new_privs", [False, True])
def test_seccomp(opened: Opened, tmp_path: Path, user: str, no_new_privs: bool) -> None:
    profile = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    security = Security(user=user, no_new_privs=no_new_privs, seccomp=f"{base.LOCALHOST}{profile}")
    words = "mkdir /tmp/x 2>&1 | sed 's/.*: //'; grep -E '^(Seccomp|NoNewPrivs|CapEff)' /proc/self/status | tr '\\n' ' '"

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell(f"{words}; sleep 60", security=security))
            result = await runtime.exec_sync(container, ["sh", "-c", words], 10)
            refused, *status = result.stdout.decode().split("\n")
            assert refused == "No space left on device"
            given = "00000000a80425fb" if user == "0" else "0" * 16
            assert status[0].split()[:6] == ["CapEff:", given, "NoNewPrivs:", str(int(no_new_privs)), "Seccomp:", "2"]
            if user == "0" and no_new_privs:
                return
            plain = await started(runtime, sandbox, shell("sleep 60", "default", security=replace(security, seccomp=base.RUNTIME_DEFAULT)))
            result = await runtime.exec_sync(plain, ["sh", "-c", f"{words}; unshare -r true && echo unshared"], 10)
            assert b"Seccomp:\t2" in result.stdout and b"unshared" not in result.stdout

    run(opened, body)


def test_a_volume_at_dev_uncovers_nothing(opened: Opened, tmp_path: Path) -> None:
    if isinstance(opened(), CriRuntime):
        pytest.skip("runc before 1.2.8 has this fault (CVE-2025-31133)")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "null").symlink_to("/proc/sys/kernel/core_pattern")
    mounts = (Mount(str(tmp_path / "volume"), "/dev"),)

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await runtime.create_container(sandbox, shell("cat /proc/keys; echo read; touch /proc/sys/x 2>&1", mounts=mounts))
            await runtime.start_container(container)
            await ended(runtime, container)
            assert lines(tmp_path)[0][2] == "read", "a setting of the node instead of nothing"

    run(opened, body)


def test_mounts(opened: Opened, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    (volume / "inner").mkdir(parents=True)
    (volume / "file").write_text("content")
    (volume / "trap").symlink_to("/etc")
    mounts = (
        Mount(str(volume), "/data"),
        Mount(str(volume), "/fixed", readonly=True),
        Mount(str(volume / "file"), "/etc/one"),
        Mount(str(volume), "/data/inner", subpath="inner"),
    )

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60", mounts=mounts))
            words = "cat /etc/one /data/file; echo new > /data/inner/made; touch /fixed/x 2>&1"
            result = await runtime.exec_sync(container, ["sh", "-c", words], 10)
            assert result.stdout.startswith(b"contentcontent") and b"Read-only file system" in result.stdout
            assert (volume / "inner" / "made").read_text() == "new\n"
            with pytest.raises(RuntimeRefused, match="openat2"):
                await started(runtime, sandbox, shell("ls /stolen", "trap", mounts=(Mount(str(volume), "/stolen", subpath="trap"),)))

    run(opened, body)


def test_exec(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60"))
            assert await runtime.exec_sync(container, ["sh", "-c", "echo a; echo b >&2; exit 3"], 10) == ExecResult(3, b"a\n", b"b\n")
            with pytest.raises(base.TimedOut):
                await runtime.exec_sync(container, ["sleep", "60"], 0.1)
            with pytest.raises(RuntimeRefused, match=r'exec: "nope": executable file not found in \$PATH'):
                await runtime.exec_sync(container, ["nope"], 10)
            terminal = await runtime.exec(container, ["sh", "-c", "tty; stty -a | head -1"], stdin=True, tty=True)
            assert b"/dev/pts/" in await everything(terminal)
            await terminal.close()

    run(opened, body)


def test_exec_with_input(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("sleep 60"))
            session = await runtime.exec(container, ["sh", "-c", "read line; echo $line; exit 4"], stdin=True, tty=False)
            await session.write(b"through\n")
            assert await session.read() == (base.STDOUT, b"through\n")
            assert await session.read() is None and await session.wait() == 4
            await session.close()
            if isinstance(runtime, CriRuntime):
                return  # the end of the input alone cannot be told in the runtime's streaming protocol
            session = await runtime.exec(container, ["cat"], stdin=True, tty=False)
            await session.write(b"all of it")
            await session.end_input()
            assert await everything(session) == b"all of it" and await session.wait() == 0
            await session.close()

    run(opened, body)


async def everything(session: base.Session) -> bytes:
    found = b""
    while (chunk := await session.read()) is not None:
        found += chunk[1]
    return found


def test_attach(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("read line; echo got $line", stdin=True, stdin_once=True))
            session = await runtime.attach(container, stdin=True)
            await session.write(b"words\n")
            assert await everything(session) == b"got words\n"
            await session.close()
            assert lines(tmp_path) == [("stdout", "F", "got words")]

    run(opened, body)


def test_a_runtime_opened_again_finds_what_runs(opened: Opened, tmp_path: Path) -> None:
    async def whole() -> None:
        first = opened()
        await first.open()
        sandbox = await first.run_sandbox(SandboxConfig("web", "default", "uid-1", log_folder=str(tmp_path / "logs"), cgroup="pod1"))
        stays = await started(first, sandbox, shell("sleep 60"))
        ends = await started(first, sandbox, shell("sleep 0.3; exit 5", "ends"))
        address = next(each.ip for each in await first.sandboxes())
        await first.close()
        second = opened()
        await second.open()
        try:
            found = next(iter(await second.sandboxes()))
            assert (found.state, found.ip, found.config.name) == (base.SANDBOX_READY, address, "web")
            assert (await seen(second, stays)).state == base.RUNNING
            over = await seen(second, ends)
            if over.state != base.EXITED:
                over = await ended(second, ends)
            assert over.exit_code == 5
        finally:
            await second.remove_sandbox(sandbox)
            assert not await second.sandboxes() and not await second.containers()
            await second.close()

    asyncio.run(whole())


def test_what_a_kubelet_left_that_was_killed_on_the_way(opened: Opened, tmp_path: Path) -> None:
    """A container that was created only is gone without a trace once it is removed; one of whose start nobody heard runs, and can be stopped."""

    async def whole() -> None:
        first = opened()
        await first.open()
        sandbox = await first.run_sandbox(SandboxConfig("web", "default", "uid-1", log_folder=str(tmp_path / "logs"), cgroup="pod1"))
        created = await first.create_container(sandbox, shell("sleep 60"))
        unheard = await first.create_container(sandbox, shell("sleep 60", "unheard"))
        second = opened()
        await second.open()
        await first.start_container(unheard)
        await first.close()
        try:
            assert (await seen(second, created)).state == base.CREATED
            await second.remove_container(created)
            assert [each.id for each in await second.containers()] == [unheard]
            await second.stop_container(unheard, 0)
            assert (await seen(second, unheard)).state == base.EXITED
        finally:
            await second.remove_sandbox(sandbox)
            await second.close()

    asyncio.run(whole())


def test_a_sandbox_whose_network_never_came_is_not_ready(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def runtime() -> EmbeddedRuntime:
        return EmbeddedRuntime(tmp_path / "runtime", store, pod_range=POD_RANGE, cgroup_root=CGROUP, bridge="cnikeelson")

    async def killed(*_: object) -> str:
        raise KeyboardInterrupt

    async def whole() -> None:
        first = runtime()
        await first.open()
        monkeypatch.setattr(first, "_connect_network", killed)
        monkeypatch.setattr(first, "_discard", killed)  # a process that is killed cleans nothing up
        with pytest.raises(KeyboardInterrupt):
            await first.run_sandbox(SandboxConfig("web", "default", "uid-1", log_folder=str(tmp_path / "logs"), cgroup="pod1"))
        await first.close()
        second = runtime()
        await second.open()
        try:
            (left,) = await second.sandboxes()
            assert left.state == base.SANDBOX_NOT_READY
            await second.remove_sandbox(left.id)
            assert not await second.sandboxes()
        finally:
            await second.close()

    asyncio.run(whole())


def test_stopping(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            polite = await started(runtime, sandbox, shell("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done", "polite"))
            deaf = await started(runtime, sandbox, shell("trap '' TERM; while :; do sleep 1; done", "deaf"))
            await until(lambda: bool(lines(tmp_path, "polite")))
            await runtime.stop_container(polite, 10)
            await runtime.stop_container(deaf, 0.1)
            await runtime.stop_container(deaf, 0.1)
            assert [(await seen(runtime, each)).exit_code for each in (polite, deaf)] == [0, 137]
            assert lines(tmp_path, "polite")[-1] == ("stdout", "F", "bye")
            await runtime.stop_sandbox(sandbox)
            await runtime.stop_sandbox(sandbox)
            assert next(iter(await runtime.sandboxes())).state == base.SANDBOX_NOT_READY

    run(opened, body)


def test_a_pod_that_was_stopped_holds_no_memory(opened: Opened, tmp_path: Path) -> None:
    def mounted(sandbox: str) -> bool:
        return f"{sandbox}/shm" in Path("/proc/self/mountinfo").read_text()

    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            container = await started(runtime, sandbox, shell("echo much >/dev/shm/file; sleep 1000"))
            assert mounted(sandbox)
            await runtime.stop_sandbox(sandbox)
            assert not mounted(sandbox) and (await seen(runtime, container)).state == base.EXITED

    run(opened, body)


def test_what_cannot_start_says_why(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            with pytest.raises(base.ImageMissing):
                await runtime.create_container(sandbox, ContainerConfig("x", "keelson/none:1", command=("true",)))
            container = await runtime.create_container(sandbox, ContainerConfig("x", toolbox.TOOLBOX, command=("/no/such",)))
            with pytest.raises(RuntimeRefused, match="no such file or directory"):
                await runtime.start_container(container)
            found = await seen(runtime, container)
            assert (found.state, found.exit_code, found.reason) == (base.EXITED, 128, "StartError")

    run(opened, body)


def test_memory_limit(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            config = shell("tail /dev/zero; exit $?", resources=Resources(memory_limit_bytes=16 << 20, cpu_limit_milli=2000, pids_limit=100))
            container = await started(runtime, sandbox, config)
            if getattr(runtime, "cgroups", None) is not None and not runtime.cgroups.available:  # type: ignore[attr-defined]
                pytest.skip("no cgroup controllers here")
            found = await ended(runtime, container)
            assert (found.exit_code, found.reason) == (137, "OOMKilled")

    run(opened, body)


def test_a_pod_has_a_limit_of_processes(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        if not Cgroups(CGROUP).available:
            pytest.skip("no cgroup controllers here")
        async with pod(runtime, tmp_path, resources=Resources(pids_limit=20)) as sandbox:
            words = "for each in $(seq 40); do sleep 60 & done; wait"
            await started(runtime, sandbox, shell(words))
            await until(lambda: any("fork" in text.lower() for _, _, text in lines(tmp_path)))

    run(opened, body)


def test_pods_reach_each_other(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as one, pod(runtime, tmp_path, "two") as two:
            addresses = {each.id: each.ip for each in await runtime.sandboxes()}
            assert len(set(addresses.values())) == 2
            container = await started(runtime, one, shell("sleep 60"))
            await started(runtime, two, shell("sleep 60", "other"))
            result = await runtime.exec_sync(container, ["sh", "-c", f"ip route get {addresses[two]}"], 10)
            assert b"eth0" in result.stdout

    run(opened, body)


def test_a_container_may_look_into_another(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path) as sandbox:
            looked_at = await started(runtime, sandbox, shell("sleep 71", "one"))
            looking = await started(runtime, sandbox, shell("sleep 72", "two", target=looked_at))
            result = await runtime.exec_sync(looking, ["sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline"], 10)
            assert result.stdout.strip() == b"sh -c sleep 71"
            await runtime.stop_container(looking, 0)
            assert (await seen(runtime, looked_at)).state == base.RUNNING

    run(opened, body)


def test_pod_shares_processes_where_asked(opened: Opened, tmp_path: Path) -> None:
    async def body(runtime: Runtime) -> None:
        async with pod(runtime, tmp_path, share_pids=True) as sandbox:
            one = await started(runtime, sandbox, shell("sleep 61", "one"))
            await started(runtime, sandbox, shell("sleep 62", "two"))
            result = await runtime.exec_sync(one, ["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"], 10)
            assert b"sleep 61" in result.stdout and b"sleep 62" in result.stdout
            await runtime.stop_container(one, 0)
            assert (await seen(runtime, one)).exit_code == 137

    run(opened, body)
