"""Sections of the page that are made of files beside the runs."""

from pathlib import Path

import msgspec

from bench.budget import Budget, Part
from bench.load.calibrate import Calibration, Row
from bench.page import extras, plots
from bench.results import Case
from keelson.drills.fault import Verdict
from keelson.drills.trial import Latency, Phase, Result, Target, Timeline, Trial, medians


def trial(first_write_s: float, *, kept: bool = True) -> Trial:
    latency = Latency(1.0, 2.0, 3.0)
    phase = Phase(10, 1, 0, 2, latency, latency)
    line = Timeline(-1.0, 0.5, [5, 5, 0, 5], [1, 1, 0, 1], [0, 0, 3, 0], [1.0, 1.0, None, 1.0], [1.0, 1.0, None, 1.0], [0, 0, 0, 0])
    return Trial(
        heal_s=0.5,
        healthy_s=0.6,
        end_s=1.0,
        no_leader_s=0.4,
        first_write_s=first_write_s,
        write_gap_s=0.5,
        calm_gap_s=0.1,
        endpoint_gap_s=0.6,
        resumed=1,
        before=phase,
        around=phase,
        after=phase,
        errors={},
        marks=[(0.0, "m1 killed")],
        leaders=[(-1.0, "m1"), (0.0, None), (0.4, "m2")],
        timeline=line,
        verdicts=[Verdict("linearizable", kept)],
    )


def drill() -> Result:
    trials = [trial(0.5), trial(0.7), trial(0.6, kept=False)]
    targets = [Target("keelson", "1", trials, medians(trials)), Target("etcd", "3.5", [], skipped="not installed")]
    return Result("leader-kill", "the leader is killed", "2026-01-01", {}, {}, targets)


def test_drills_are_read_told_and_drawn(tmp_path: Path) -> None:
    (tmp_path / "leader-kill.json").write_bytes(msgspec.json.encode(drill()))
    found = extras.drills(tmp_path)
    pictures = plots.timelines(found, tmp_path / "bench")
    assert [path.name for path in pictures] == ["drill-leader-kill.svg"]
    text = "\n".join(extras.failover(found, [path.relative_to(tmp_path) for path in pictures]))
    assert "![drill-leader-kill](bench/drill-leader-kill.svg)" in text
    assert "| leader-kill | keelson | 3 | 0.40 | 0.60 | 0.50 | 3 | 6 | 2 | linearizable |" in text
    assert "not installed" in text
    assert extras.failover([], []) == []


def test_drills_of_both_systems_are_kept_once_and_lean(tmp_path: Path) -> None:
    kept, reports = tmp_path / "kept", tmp_path / "reports"
    reports.mkdir()
    alone = drill()
    both = msgspec.structs.replace(alone, drill="partition", targets=[alone.targets[0], Target("etcd", "3.5", [trial(0.3)])])
    for result in (alone, both):
        (reports / f"{result.drill}.json").write_bytes(msgspec.json.encode(result))
    extras.keep_drills(reports, kept)
    [found] = extras.drills(kept)
    assert found.drill == "partition"
    assert [(each.first_write_s, bool(each.timeline.ok)) for each in found.targets[0].trials] == [(0.5, False), (0.7, False), (0.6, True)]
    (reports / "partition.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(both, what="the same date")))
    extras.keep_drills(reports, kept)
    assert extras.drills(kept) == [found]


def test_calibration_and_budgets(tmp_path: Path) -> None:
    assert extras.calibration(tmp_path / "none") == []
    assert extras.budgets(tmp_path / "none") == []
    made = Calibration("2026-01-01T00:00:00Z", "abc", 3, 3, [Row("put", "h2load", 1000.0, 1100.0)])
    (tmp_path / "calibration").write_bytes(msgspec.json.encode(made))
    assert "| put | h2load | 1,000 | 1,100 | **1.10** |" in extras.calibration(tmp_path / "calibration")
    parts = [Part("leader", {"log": 10.0, "apply": 5.0}), Part("follower", {"log": 4.0})]
    (tmp_path / "budgets").write_bytes(msgspec.json.encode([Budget(Case("put", 200, 20, "leader"), "2026-01-01T00:00:00Z", "abc", 1.0, parts)]))
    lines = extras.budgets(tmp_path / "budgets")
    assert "| put | 200 | leader | 10.0 | 5.0 | **15** |" in lines
    assert "| put | 200 | follower | 4.0 |  | **4** |" in lines
