"""From samples to the printed table and the page."""

from pathlib import Path

import msgspec

from bench.cases import cases
from bench.compare import facts_table, table
from bench.load.tally import Measured
from bench.machine import Machine
from bench.profile import flame_graph, hottest, speedscope
from bench.results import Case, Fact, Results, Sample

CASE = Case("put", 200, 20, "leader")


def sample(peer: str, number: int, rate: float, errors: dict[str, int] | None = None) -> Sample:
    measured = Measured(int(rate), 1.0, rate, 1.0, 2.0, 3.0, 4.0, errors or {}, 0.1, [0.5, 0.25, 0.25])
    return Sample(peer, number, CASE, measured, [1 << 20] * 3)


def results(samples: list[Sample]) -> Results:
    machine = Machine("a processor", 2, 1 << 30, "Linux", "3.11", "ext4", 0.2, 0.0, "abc")
    return Results("2026-01-01T00:00:00Z", machine, {"keelson": "1", "etcd": "3.5"}, 3, False, 256, 1.0, 0.0, 3, samples)


def test_figures_are_medians_with_their_spread() -> None:
    done = results([sample("etcd", n, rate) for n, rate in enumerate([100, 200, 150])] + [sample("keelson", n, 75) for n in range(3)])
    assert done.median("etcd", CASE, "per_second") == 150
    assert done.spread("etcd", CASE) == 50 / 150
    assert done.cpu_us("keelson", CASE) == 1e6 / 75
    head, row = table(done).splitlines()
    assert head.split()[-1] == "ratio"
    assert row.split()[-1] == "0.50"


def test_errors_are_told() -> None:
    assert results([sample("etcd", 1, 10, {"14": 3, "-1": 1})]).errors("etcd", CASE) == 4


def test_facts_are_medians_and_a_missing_one_is_left_out() -> None:
    facts = [Fact("keelson", n, "restart", value, "s") for n, value in enumerate([3.0, 1.0, 2.0])]
    done = msgspec.structs.replace(results([sample(peer, 1, 10) for peer in ("keelson", "etcd")]), facts=facts)
    assert done.fact("keelson", "restart") == 2.0
    assert done.fact("etcd", "restart") is None
    assert facts_table(done).splitlines()[1].split() == ["restart", "2.00", "s"]


def test_results_survive_their_file() -> None:
    done = results([sample("etcd", 1, 10)])
    assert msgspec.json.decode(msgspec.json.encode(done), type=Results) == done


def test_no_case_is_measured_twice() -> None:
    assert len(cases()) == len(set(cases()))
    assert {case.at for case in cases()} == {"leader", "spread"}


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
