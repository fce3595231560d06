"""From samples to the printed table and the page."""

from pathlib import Path

import msgspec
import pytest

from bench import report
from bench.cases import cases, closed_loop_of, common_cases
from bench.load.histogram import Histogram
from bench.load.tally import Measured
from bench.machine import Machine
from bench.page.targets import Verdict, verdicts
from bench.profile import flame_graph, hottest, speedscope
from bench.results import Case, Fact, Figures, PeerInfo, Plan, Results, Sample, merged, read_kept, write_kept
from bench.tables import facts_table, table
from keelson.cogs.output import GREEN, RED

CASE = Case("put", 200, 20, "leader")
OTHER = Case("range", 200, 20, "leader")


def measured(rate: float, errors: dict[str, int] | None = None, mean_ms: float = 1.0) -> Measured:
    percentiles = (1.0, 2.0, 3.0, 3.5)
    return Measured(int(rate), 1.0, rate, mean_ms, *percentiles, 4.0, errors or {}, 0.1, [0.5, 0.25, 0.25], Histogram(100, [int(rate), 1]))


def sample(peer: str, number: int, rate: float, errors: dict[str, int] | None = None, case: Case = CASE) -> Sample:
    return Sample(peer, number, case, measured(rate, errors), [1 << 20] * 3)


def run(samples: list[Sample], facts: list[Fact] | None = None, began: str = "2026-01-01T00:00:00Z") -> Results:
    machine = Machine("a processor", 2, 1 << 30, "Linux", "3.11", "ext4", 0.2, 0.0, "abc")
    peers = {name: PeerInfo("1", "as it comes") for name in ("keelson", "etcd")}
    return Results(began, machine, Plan(["keelson", "etcd"]), peers, 3, 256, samples, facts or [], complete=True)


def both(rate: float, case: Case = CASE) -> list[Sample]:
    return [sample("etcd", 1, 100, case=case), sample("keelson", 1, rate, case=case)]


def test_figures_are_medians_with_their_spread() -> None:
    done = Figures([run([sample("etcd", n, rate) for n, rate in enumerate([100, 200, 150])] + [sample("keelson", n, 75) for n in range(3)])])
    assert done.median("etcd", CASE) == 150
    assert done.spread("etcd", CASE) == 50 / 150
    assert done.cpu_us("keelson", CASE) == 1e6 / 75
    assert done.histogram("etcd", CASE).counts == [450, 3]
    head, row = table(done).splitlines()
    assert head.split()[-1] == "ratio"
    assert row.split()[-1] == "0.50"


@pytest.mark.parametrize(("rate", "colour"), [(120, GREEN), (50, RED)])
def test_colour_says_what_a_ratio_is_worth(rate: float, colour: str) -> None:
    assert table(Figures([run(both(rate))]), colour=True).splitlines()[-1].endswith(f"\x1b[{colour}m{rate / 100:>5.2f}\x1b[0m")


def test_errors_are_told() -> None:
    done = Figures([run([sample("etcd", 1, 10, {"14": 3, "-1": 1})])])
    assert done.errors("etcd", CASE) == 4
    assert "10!" in table(done)


def test_a_case_that_failed_has_no_figure_and_says_so() -> None:
    done = Figures([run([sample("keelson", 1, 10), Sample("etcd", 1, CASE, None, failed="TimeoutError: no answer")])])
    assert done.median("etcd", CASE) is None
    assert done.ratio(CASE) is None
    assert "failed" in table(done)


def test_facts_are_medians_and_a_missing_one_is_left_out() -> None:
    facts = [Fact("keelson", n, "restart", value, "s") for n, value in enumerate([3.0, 1.0, 2.0])]
    done = Figures([run([sample(peer, 1, 10) for peer in ("keelson", "etcd")], [*facts, Fact("etcd", 1, "memory", 5.0, "MiB")])])
    assert done.fact("keelson", "restart") == 2.0
    assert done.fact("etcd", "restart") is None
    assert facts_table(done).splitlines()[1].split() == ["restart", "2.00", "s"]


def test_results_survive_their_file(tmp_path: Path) -> None:
    done = run([*both(75), Sample("etcd", 1, Case("put", 200, 20, "leader", percent=50), measured(5), [1], 5.0)])
    assert msgspec.json.decode(msgspec.json.encode(done), type=Results) == done
    assert read_kept(tmp_path / "kept.json") == []
    write_kept([done, done], tmp_path / "kept.json")
    assert read_kept(tmp_path / "kept.json") == [done, done]


def test_a_newer_run_takes_the_place_of_what_it_measured() -> None:
    first = run([*both(50), *both(60, OTHER), sample("redis", 1, 500)], [Fact("etcd", 1, "restart", 1.0, "s")])
    second = run(both(90), began="2026-01-02T00:00:00Z")
    kept = merged([first], second)
    done = Figures(kept)
    assert done.ratio(CASE) == 0.9
    assert done.ratio(OTHER) == 0.6
    assert done.median("redis", CASE) == 500
    assert done.fact("etcd", "restart") == 1.0
    assert [len(each.samples) for each in kept] == [3, 2]
    third = run([*both(95), *both(95, OTHER), sample("redis", 1, 1)], [Fact("etcd", 1, "restart", 2.0, "s")], began="2026-01-03T00:00:00Z")
    assert merged(kept, third) == [third], "a run of which nothing is left is forgotten"
    assert merged([third], third) == [third]


def test_half_of_a_comparison_is_no_news() -> None:
    first = run(both(50))
    alone = run([sample("keelson", 1, 500), sample("redis", 1, 7)], began="2026-01-02T00:00:00Z")
    done = Figures(merged([first], alone))
    assert done.ratio(CASE) == 0.5
    assert done.median("redis", CASE) == 7


def test_figures_of_different_runs_have_no_ratio() -> None:
    runs = [run([sample("etcd", 1, 100)]), run([sample("keelson", 1, 100)], began="2026-01-02T00:00:00Z")]
    assert Figures(runs).ratio(CASE) is None


def test_targets_are_judged_by_what_is_shown() -> None:
    assert Verdict("", 1.0, 0.996).met is True
    assert Verdict("", 1.0, 0.99).met is False
    assert Verdict("", 1.0, 1.004, lower=True).met is True
    assert Verdict("", 2.0, None).met is None
    facts = [Fact(peer, 1, f"kill -9 to serving again, {keys} keys", 1.0, "s") for peer in ("keelson", "etcd") for keys in (5, 7)]
    done = list(verdicts(Figures([run([*both(75), *both(80, Case("put", 1, 1, "leader"))], facts)])))
    assert [(each.what, each.ratio) for each in done] == [
        ("puts a second, 200 in flight, leader", 0.75),
        ("mean latency of a put, one client", 1.0),
        ("kill -9 to serving again, 7 keys", 1.0),
    ]


def test_no_case_is_measured_twice() -> None:
    listed = cases(tls=True)
    assert len(listed) == len(set(listed))
    assert {case.at for case in listed} == {"leader", "spread"}
    assert set(common_cases()) <= set(listed)
    assert {closed_loop_of(case) for case in listed if case.percent} <= set(listed)


def test_the_page_of_a_run(tmp_path: Path) -> None:
    opened = Case("put", 200, 20, "leader", percent=50)
    samples = [*both(75), *both(80, OTHER), *both(50, opened), sample("redis", 1, 500), Sample("redis", 1, OTHER, None, failed="gone")]
    done = run(samples, [Fact(peer, 1, "restart", 2.0, "s") for peer in ("etcd", "keelson")])
    done = msgspec.structs.replace(done, peers={**done.peers, "redis": PeerInfo("7", "appendfsync always")}, skipped={"zookeeper": "install it"})
    page = report.build([done], tmp_path).read_text()
    for expected in (
        "| put | 200 | leader | 75 |",
        "**0.75**",
        "| restart | s | less | 2.00 | 2.00 | **1.00** |",
        "appendfsync always",
        "install it",
    ):
        assert expected in page
    assert "[1]" in page, "the runs are numbered"
    assert "| put [" not in page, "but rows of a lone run need not say which it was"
    other = msgspec.structs.replace(run(both(90, Case("txn", 200, 20, "leader"))), began="2026-01-02T00:00:00Z")
    page = report.build([done, other], tmp_path).read_text()
    assert "| put [1] | 200 |" in page
    assert "| txn [2] | 200 |" in page
    pictures = sorted(path.name for path in (tmp_path / "bench").iterdir())
    ours = [name for name in pictures if not name.startswith("drill-")]  # those are of the drills that were kept, whatever runs there are
    assert ours == ["latency.svg", "open-loop.svg", "systems.svg", "throughput.svg"]
    assert all(f"(bench/{name})" in page for name in pictures)


def test_profiles_of_collapsed_stacks(tmp_path: Path) -> None:
    raw = tmp_path / "stacks"
    raw.write_text("main (a.py:1);apply (b.py:10) 3\nmain (a.py:2);apply (b.py:11);get <x> (c.py:1) 1\n")
    lines = hottest(raw)
    assert lines[0].startswith("4 samples")
    assert lines[2].split() == ["75.0%", "100.0%", "apply", "(b.py)"]
    speedscope(raw, tmp_path / "scope.json", "title")
    profile = msgspec.json.decode((tmp_path / "scope.json").read_bytes())["profiles"][0]
    assert sum(profile["weights"]) == profile["endValue"] == 4
    flame_graph(raw, tmp_path / "flame.svg", "title")
    assert "get &lt;x&gt; (c.py): 1 samples, 25.0%" in (tmp_path / "flame.svg").read_text()
