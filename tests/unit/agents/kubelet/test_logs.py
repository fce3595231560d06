"""Logs as they are read, probes as they are judged, pulls as they are worded."""

import asyncio
from pathlib import Path

import pytest

from agents.kubelet import logs, static_pods
from agents.kubelet.images import ImageProblem, Images
from agents.kubelet.probes import Target, Verdict, port_number
from agents.kubelet.runtime.base import Image, ImageMissing
from agents.kubelet.shim.log import PART_BYTES_MAX, LogFile
from apiserver.machinery.objects import Object

LINES = "".join(f"2026-11-21T14:00:0{second}.000000000Z {stream} F line {second}\n" for second, stream in enumerate(("stdout", "stderr", "stdout")))


def told(path: Path, wanted: logs.Wanted) -> str:
    async def collect() -> str:
        return b"".join([piece async for piece in logs.read(path, wanted, lambda: False)]).decode()

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (logs.Wanted(), "line 0\nline 1\nline 2\n"),
        (logs.Wanted(tail_lines=1), "line 2\n"),
        (logs.Wanted(tail_lines=0), ""),
        (logs.Wanted(tail_lines=9), "line 0\nline 1\nline 2\n"),
        (logs.Wanted(limit_bytes=9), "line 0\nli"),
        (logs.Wanted(stream="Stderr"), "line 1\n"),
        (logs.Wanted(timestamps=True, tail_lines=1), "2026-11-21T14:00:02.000000000Z line 2\n"),
        (logs.Wanted(since_s=logs.to_seconds("2026-11-21T14:00:01Z")), "line 1\nline 2\n"),
        (logs.Wanted(since_s=logs.to_seconds("2026-11-21T14:00:01Z"), tail_lines=1), "line 2\n"),
    ],
)
def test_reading(tmp_path: Path, wanted: logs.Wanted, text: str) -> None:
    (tmp_path / "0.log").write_text(LINES)
    assert told(tmp_path / "0.log", wanted) == text


def test_long_lines_are_written_in_parts_and_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    writer = LogFile(str(path))
    text = "x" * (2 * PART_BYTES_MAX + 5)
    writer.write("stdout", text.encode() + b"\nnext")
    writer.close()
    assert [line.split(" ")[2] for line in path.read_text().splitlines()] == ["P", "P", "F", "P"]
    assert told(path, logs.Wanted()) == f"{text}\nnext"


def test_a_log_that_is_turned_over_is_followed_into_the_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SIZE_BYTES_MAX", 1)
    monkeypatch.setattr(logs, "FOLLOW_S", 0)
    path = tmp_path / "0.log"
    writer = LogFile(str(path))
    writer.write("stdout", b"old\n")
    answers = iter([True] * 6 + [False] * 6)

    async def follow() -> list[bytes]:
        found = []
        async for piece in logs.read(path, logs.Wanted(follow=True), lambda: next(answers)):
            found.append(piece)
            if len(found) == 1:
                assert logs.turn_over(path)
                writer.reopen()
                writer.write("stdout", b"new\n")
        return found

    assert asyncio.run(follow()) == [b"old\n", b"new\n"]
    writer.close()


def test_turned_over_logs_are_compressed_and_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    monkeypatch.setattr(logs, "SIZE_BYTES_MAX", 10)
    path = tmp_path / "0.log"
    for second in range(8):
        path.write_text("long enough\n")
        assert logs.turn_over(path, datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC))
    kept = sorted(each.name for each in tmp_path.iterdir())
    assert len(kept) == logs.FILES_MAX - 1 and kept[-1] == "0.log.20260101-000007" and all(name.endswith(".gz") for name in kept[:-1])


def test_verdicts_need_their_thresholds() -> None:
    verdict = Verdict(success_threshold=2, failure_threshold=3)
    assert [verdict.note(each) for each in (True, True, True)] == [False, True, False]
    assert [verdict.note(each) for each in (False, False, True, False, False, False)] == [False, False, False, False, False, True]
    assert verdict.good is False


def test_ports_by_name() -> None:
    target = Target("c", {"http": 8080}, "10.0.0.2")
    assert [port_number(each, target) for each in (80, "81", "http")] == [80, 81, 8080]
    with pytest.raises(ValueError, match="couldn't find port: other"):
        port_number("other", target)


class Registry:
    """A runtime's images and nothing else."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    async def image(self, reference: str) -> Image | None:
        return Image(f"id of {reference}", (reference,), (), 7, 0) if reference in self.names or reference.startswith("id of") else None

    async def pull_image(self, reference: str) -> str:
        if reference not in self.names:
            raise ImageMissing("not found in the local image store")
        return f"id of {reference}"


def asked(images: Images, name: str, policy: str) -> tuple[str, list[str]]:
    events: list[str] = []
    try:
        asyncio.run(images.ensure({"image": name, "imagePullPolicy": policy}, lambda _, reason, message: events.append(f"{reason}: {message}")))
        return "", events
    except ImageProblem as problem:
        return problem.reason, events


def test_pull_policies() -> None:
    now = [0.0]
    registry = Registry("here")
    images = Images(registry, lambda: now[0])  # type: ignore[arg-type]
    present = 'Pulled: Container image "here" already present on machine'
    assert asked(images, "here", "IfNotPresent") == ("", [present])
    assert asked(images, "here", "Never") == ("", [present])
    assert asked(images, "here", "Always")[1][0] == 'Pulling: Pulling image "here"'
    assert asked(images, "gone", "Never")[0] == "ErrImageNeverPull"
    assert [asked(images, "gone", "Always")[0] for _ in range(3)] == ["ErrImagePull", "ImagePullBackOff", "ImagePullBackOff"]
    now[0] = 11.0
    assert asked(images, "gone", "IfNotPresent")[0] == "ErrImagePull"
    now[0] = 25.0
    assert asked(images, "gone", "IfNotPresent") == ("ImagePullBackOff", ['BackOff: Back-off pulling image "gone"'])
    registry.names.add("gone")
    assert asked(images, "gone", "IfNotPresent")[0] == ""


def test_static_pods(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: i}]}\n")
    (tmp_path / "bad.yaml").write_text("kind: [")
    (tmp_path / "other.yaml").write_text("kind: Service\nmetadata: {name: x}\n")
    (only,) = static_pods.read(tmp_path, "node1")
    assert (only["metadata"]["name"], only["metadata"]["namespace"], only["spec"]["nodeName"]) == ("web-node1", "default", "node1")
    assert static_pods.read(tmp_path, "node1")[0]["metadata"]["uid"] == only["metadata"]["uid"]
    mirror = static_pods.mirror_of(only, None)
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] == only["metadata"]["uid"] and "uid" not in mirror["metadata"]


ENDED, BEFORE = {"terminated": {"containerID": "x://2"}}, {"terminated": {"containerID": "x://1"}}
NEVER_SEEN = {"terminated": {"reason": "ContainerStatusUnknown"}}


@pytest.mark.parametrize(
    ("state", "last", "previous", "found"),
    [
        ({"running": {}}, BEFORE, False, "x://3"),
        ({"running": {}}, BEFORE, True, "x://1"),
        ({"running": {}}, {}, True, 'previous terminated container "a" in pod "web" not found'),
        (ENDED, BEFORE, False, "x://2"),
        (ENDED, BEFORE, True, "x://1"),
        (NEVER_SEEN, BEFORE, False, "x://1"),
        (NEVER_SEEN, {}, False, 'container "a" in pod "web" is terminated'),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, BEFORE, False, "x://1"),
        ({"waiting": {"reason": "ContainerCreating"}}, {}, False, 'container "a" in pod "web" is waiting to start: ContainerCreating'),
        ({"waiting": {"reason": "ErrImagePull"}}, {}, False, 'container "a" in pod "web" is waiting to start: image can\'t be pulled'),
        ({"waiting": {"reason": "ImagePullBackOff"}}, {}, False, 'container "a" in pod "web" is waiting to start: trying and failing to pull image'),
        ({}, {}, False, 'container "a" in pod "web" is waiting to start - no logs yet'),
    ],
)
def test_which_containers_log_is_meant(state: Object, last: Object, previous: bool, found: str) -> None:
    status = {"initContainerStatuses": [{"name": "a", "state": state, "lastState": last, "containerID": "x://3"}]}
    try:
        assert logs.logged_container(status, "web", "a", previous) == found
    except logs.NoLog as error:
        assert str(error) == found


def test_a_container_of_which_nothing_was_told_has_no_log() -> None:
    with pytest.raises(logs.NoLog, match='container "a" in pod "web" is not available'):
        logs.logged_container({}, "web", "a", False)
