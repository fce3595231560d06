"""From calls to a verdict, a table and a page."""

import pytest

from keelson.drills.whole import report
from keelson.drills.whole.caller import Call
from keelson.drills.whole.drill import Settings, outcome
from keelson.drills.whole.faults import FAULTS

CALM = [Call(number / 10, 0.004) for number in range(20)]
MARKS = [(2.0, "apiserver-1 killed")]


def test_calls_that_all_succeed_keep_every_promise() -> None:
    made = outcome(FAULTS["api-server-kill"], Settings(), [*CALM, Call(2.5, 0.9)], MARKS, {"healthy again": 1.2345}, [], [])
    assert made.kept
    assert made.marks == [(0.0, "apiserver-1 killed")]
    assert (made.at_s[0], made.at_s[-1], made.took_ms[-1]) == (-2.0, 0.5, 900.0)
    assert made.measures == {"healthy again": 1.234}


@pytest.mark.parametrize(
    ("name", "calls", "lost", "twins", "promise"),
    [
        ("api-server-kill", [*CALM, Call(2.1, 5, "no answer within 5 s"), *(Call(8 + n, 0.1) for n in range(10))], [], [], "no caller notices"),
        ("node-kill", [*CALM, *(Call(2 + n, 0.1, "refused") for n in range(10))], [], [], "the service answers afterwards"),
        ("node-kill", [Call(0.0, 0.1, "refused"), *CALM], [], [], "the service answered before the fault"),
        ("node-kill", CALM, ["configmaps /a"], [], "no object is lost"),
        ("node-partition", CALM, [], ["db-0 on node1 and node3"], "no two pods of one name ran at once"),
    ],
)
def test_each_promise_can_be_broken(name: str, calls: list[Call], lost: list[str], twins: list[str], promise: str) -> None:
    made = outcome(FAULTS[name], Settings(), calls, MARKS, {}, lost, twins)
    assert [verdict.promise for verdict in made.verdicts if not verdict.kept] == [promise]
    assert report.broken([made]) == [f"{name}: {promise}: {next(v.detail for v in made.verdicts if not v.kept)}"]


def test_page_and_table_show_what_failed() -> None:
    made = outcome(FAULTS["node-kill"], Settings(), [*CALM, Call(2.1, 5, "<refused>")], MARKS, {"healthy again": 1.0}, [], [])
    page = report.render([made], "Drill: node-kill")
    assert "1 × &lt;refused&gt;, called from 0.10 s to 0.10 s, after: apiserver-1 killed" in page
    assert page.count("<circle") == 21
    assert "node-kill" in report.table([made], colour=False)
