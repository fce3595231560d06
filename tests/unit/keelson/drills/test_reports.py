"""A result as JSON, page, table and progress line."""

import io
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from keelson.drills import page, plot, summary
from keelson.drills.fault import Verdict
from keelson.drills.growth import Size, judge, slope_per_hour
from keelson.drills.progress import Progress
from keelson.drills.trial import Latency, Phase, Result, Target, Timeline, Trial, medians, representative

NOTHING = Latency(None, None, None)
PHASE = Phase(10, 1, 2, 3, Latency(1.0, 2.0, 3.0), NOTHING)
LINE = Timeline(-0.1, 0.1, [3, 0, 4], [1, 0, 2], [0, 1, 0], [1.0, None, 2.0], [2.0, None, 900.0], [1, 0, 2])


def trial(first_write_s: float | None = 1.5, kept: bool = True) -> Trial:
    times: dict[str, Any] = {"heal_s": 0.05, "healthy_s": 0.1, "end_s": 0.2, "no_leader_s": 1.0, "first_write_s": first_write_s, "write_gap_s": 1.0}
    return Trial(
        **times,
        calm_gap_s=0.01,
        endpoint_gap_s=2.0,
        resumed=1,
        before=PHASE,
        around=PHASE,
        after=PHASE,
        errors={"<gone>": 2},
        marks=[(0.0, "m1 & all killed")],
        leaders=[(-0.1, "m1"), (0.0, None), (0.1, "m2")],
        timeline=LINE,
        verdicts=[Verdict("nothing is lost", kept, "<it was>")],
    )


def result(*targets: Target) -> Result:
    for target in targets:
        target.medians = medians(target.trials)
    return Result("leader-kill", "kill -9", "2026-01-01", {"members": 3}, {"cpu": "one"}, list(targets))


def test_a_result_survives_its_json() -> None:
    told = result(Target("keelson", "1", [trial()]), Target("etcd", "2", [], skipped="none here"))
    assert msgspec.json.decode(msgspec.json.encode(told), type=Result) == told
    assert told.form == 1


def test_the_page_stands_alone_and_escapes_what_it_is_told() -> None:
    text = page.render([result(Target("keelson", "1", [trial(), trial(2.0)]), Target("etcd", "2", [], skipped="<none>"))])
    assert text.count("<svg") == 2  # the timeline, and the dots of the trials
    assert "m1 &amp; all killed" in text
    assert "&lt;gone&gt;" in text
    assert "skipped: &lt;none&gt;" in text
    assert not any(word in text for word in ("src=", "<link", "<script", "@import", "url("))


def test_the_picture_is_xml_of_its_own() -> None:
    found = ElementTree.fromstring(page.picture(result(Target("keelson", "1", [trial()]), Target("etcd", "<2>", [trial()]))))
    assert [title.text for title in found.iter("{http://www.w3.org/2000/svg}text") if title.get("class") == "title"] == ["keelson 1", "etcd <2>"]
    assert page.picture(result(Target("keelson", "1", [], skipped="none"))) == ""


def test_both_targets_are_drawn_on_one_axis() -> None:
    late = trial()
    late.end_s = 9.0
    assert plot.span([trial(), late]) == (-0.1, 9.0)


def test_a_broken_promise_and_a_trial_that_failed_are_not_passed() -> None:
    good, bad, failed = (
        result(Target("a", "", [trial()])),
        result(Target("a", "", [trial(kept=False)])),
        result(Target("a", "", [], failed="m1 is gone")),
    )
    assert (good.kept, bad.kept, failed.kept) == (True, False, False)
    assert summary.broken([good]) == []
    assert "nothing is lost" in summary.broken([bad])[0]
    assert "m1 is gone" in summary.broken([failed])[0]
    table = summary.table([good, bad, failed], colour=False).splitlines()
    assert [line.split("  ")[-1].strip() for line in table[1:]] == ["all 1 kept", "1 BROKEN", "FAILED"]


def test_the_trial_in_the_middle_is_drawn_and_one_without_a_write_is_the_worst() -> None:
    trials = [trial(None), trial(3.0), trial(1.0)]
    assert representative(trials).first_write_s == 3.0
    found = medians(trials)
    assert found is not None
    assert found.first_write_s is None, "a median over those that came back would hide the one that did not"


def test_without_a_terminal_progress_is_a_line_for_each_thing() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.begin("leader-kill  keelson")
        progress.phase("fault")
        progress.tell("m1 killed")
    assert stream.getvalue().endswith("m1 killed\n")
    assert "\x1b" not in stream.getvalue()


def test_growth_without_bound_is_noticed_once_the_run_was_long_enough() -> None:
    def sizes(per_sample: int, length_s: float) -> list[Size]:
        return [Size(length_s * at / 99, "m1", 100_000_000 + per_sample * at, 50_000_000, 1) for at in range(100)]

    assert [verdict.kept for verdict in judge(sizes(0, 1000), 1000)] == [True, True]
    assert [verdict.kept for verdict in judge(sizes(5_000_000, 1000), 1000)] == [False, True]
    (memory, _) = judge(sizes(5_000_000, 60), 60)
    assert memory.kept
    assert "too short" in memory.detail
    assert slope_per_hour([(0, 0), (3600, 7)]) == pytest.approx(7)
