"""What pods leave on the node's disk: measured, limited, and what becomes of who takes more."""

import os
from pathlib import Path

import pytest

from agents.kubelet import disk, local_storage, logs, recipe, volumes
from agents.kubelet.local_storage import Used, why_evicted
from agents.kubelet.shim import log
from apiserver.machinery.objects import Object
from tests.support.pods import pod

MIB = 1 << 20


def limited(name: str, amount: str) -> Object:
    return {"name": name, "resources": {"limits": {"ephemeral-storage": amount}}}


def test_what_a_folder_takes_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"x" * MIB)
    os.link(tmp_path / "inner" / "file", tmp_path / "again")
    (tmp_path / "out").symlink_to("/usr")
    (tmp_path / "holes").touch()
    os.truncate(tmp_path / "holes", 1 << 30)
    assert MIB <= disk.used_bytes(tmp_path) < MIB + (64 << 10), "once for each file, nothing behind links, holes are free"
    assert disk.used_bytes(tmp_path / "none") == 0


VOLUMES = [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "free", "emptyDir": {}}, {"name": "fast", "emptyDir": {"medium": "Memory"}}]


@pytest.mark.parametrize(
    ("used", "text"),
    [
        (Used(), None),
        (Used({"a": MIB, "b": MIB}, {"cache": MIB, "fast": 100 * MIB}), None),
        (Used({}, {"cache": MIB + 1}), 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '),
        (Used({"a": 2 * MIB + 1}), 'Container a exceeded its local ephemeral storage limit "2Mi". '),
        (Used({"a": MIB, "b": MIB}, {"free": 3 * MIB + 1}), "Pod ephemeral local storage usage exceeds the total limit of containers 5Mi. "),
    ],
)
def test_who_takes_more_than_he_said(used: Used, text: str | None) -> None:
    assert why_evicted(pod(limited("a", "2Mi"), limited("b", "3Mi"), volumes=VOLUMES), used) == text


def test_without_limits_nothing_is_measured() -> None:
    unlimited = pod({"name": "a"}, volumes=VOLUMES[1:])
    assert not local_storage.is_limited(unlimited) and why_evicted(unlimited, Used({"a": 1 << 40})) is None
    assert local_storage.is_limited(pod({"name": "a"}, volumes=VOLUMES)) and local_storage.is_limited(pod(limited("a", "1Gi")))


def test_a_volume_in_memory_has_a_limit_of_its_own_or_the_pods_or_the_nodes() -> None:
    bounded = pod({"name": "a", "resources": {"limits": {"memory": "32Mi"}}})
    node = {"memory": "1Gi"}
    assert volumes.memory_limit_bytes(pod(), {}, node) == 1 << 30
    assert volumes.memory_limit_bytes(pod(), {"sizeLimit": "16Mi"}, node) == 16 * MIB
    assert volumes.memory_limit_bytes(bounded, {}, node) == 32 * MIB
    assert volumes.memory_limit_bytes(bounded, {"sizeLimit": "1Gi"}, node) == 32 * MIB
    assert volumes.memory_limit_bytes(pod(), {}, {}) == 0


def test_a_pod_is_limited_as_a_whole_where_each_of_its_containers_is() -> None:
    limits = {"cpu": "500m", "memory": "16Mi"}
    both = pod({"name": "a", "resources": {"limits": limits, "requests": limits}}, {"name": "b", "resources": {"limits": {"cpu": "1"}}})
    found = recipe.pod_resources(both, 100)
    assert (found.cpu_limit_milli, found.memory_limit_bytes, found.pids_limit, found.cpu_shares) == (1500, 0, 100, 512)
    assert recipe.pod_resources(pod(), -1) == recipe.Resources(cpu_shares=2)


def test_a_log_is_turned_over_by_who_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "SIZE_BYTES_MAX", 1000)
    path = tmp_path / "0.log"
    written = log.LogFile(str(path))
    for number in range(200):
        written.write("stdout", b"line %d\n" % number)
    written.close()
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == log.TURNED_OVER_MAX + 1 and all(each.stat().st_size < 1100 for each in kept)
    assert b"line 199" in (kept[0].read_bytes() or kept[-1].read_bytes())
    logs.remove(path)
    assert not list(tmp_path.iterdir())
