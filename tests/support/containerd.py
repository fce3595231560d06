"""A containerd of the test's own: own folders and socket, no registry, images out of our store, pods on a bridge of the current namespace."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from agents.kubelet.oci import export, toolbox
from agents.kubelet.oci.store import Store
from agents.kubelet.shim import link

CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/keelson/pause:1"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
"""
START_S = 30.0


@contextlib.contextmanager
def running(folder: Path, store: Store, pod_range: str) -> Iterator[str]:
    """The endpoint. What it started is ended by the tests, which remove their pods."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        link.bring_up("lo", control)
    (folder / "cni").mkdir(exist_ok=True)
    ipam = {"type": "host-local", "dataDir": str(folder / "ipam"), "ranges": [[{"subnet": pod_range}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {"type": "bridge", "bridge": "cnitest", "isGateway": True, "ipMasq": False, "ipam": ipam}
    plugins = [bridge, *([{"type": "portmap", "capabilities": {"portMappings": True}}] if _has_portmap() else [])]
    (folder / "cni" / "10-test.conflist").write_text(json.dumps({"cniVersion": "0.4.0", "name": "test", "plugins": plugins}))
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(["containerd", "--config", str(folder / "config.toml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        address = folder / "containerd.sock"
        _wait(folder, address, process)
        if not (folder / "loaded").exists():
            for name in (toolbox.TOOLBOX, toolbox.PAUSE):
                archive = folder / "image.tar"
                export.save(store, name, archive)
                subprocess.run(["ctr", "-a", str(address), "-n", "k8s.io", "images", "import", str(archive)], check=True, capture_output=True)
                archive.unlink()
            (folder / "loaded").touch()
        yield f"unix://{address}"
    finally:
        process.terminate()
        process.wait(20)


def _wait(folder: Path, address: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(address))
            done = subprocess.run(["ctr", "-a", str(address), "version"], capture_output=True)
            if done.returncode == 0:
                return
        time.sleep(0.02)
    raise AssertionError(f"containerd did not start: {(folder / 'log').read_text()[-2000:]}")


def _has_portmap() -> bool:
    """It calls iptables."""
    return Path("/usr/lib/cni/portmap").exists() and shutil.which("iptables") is not None
