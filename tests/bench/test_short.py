"""Every case of the measurements for a moment, on both peers: nothing fails, nothing is refused, the page is made of it. Times prove nothing here."""

from pathlib import Path

import msgspec
import pytest

from bench import lifecycle, report, results
from bench.cases import Scale, cases
from bench.compare import begin, measured, options_of, turns
from bench.results import Figures, Results
from keelson.cogs import descriptors
from tests.support import kinds

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SMALL = Scale(watchers=40, leases=200)


def short(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Results:
    kinds.find(kinds.ETCD)
    descriptors.raise_limit()
    monkeypatch.setattr(results, "FOLDER", folder)
    monkeypatch.setattr("bench.compare.DATA", folder)
    run, peers = begin(options_of(["--rounds", "1", "--seconds", "0.05", "--warm-up", "0", *arguments]))
    return measured(run, peers, SMALL)


def check(run: Results) -> None:
    assert [(sample.peer, sample.case, sample.failed) for sample in run.samples if sample.measured is None] == []
    assert [(sample.peer, sample.case) for sample in run.samples if sample.measured is not None and sample.measured.errors] == []
    assert run.complete
    assert run.plan.look


def test_every_case_and_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = short(tmp_path, monkeypatch, "--keys", "0")
    check(run)
    assert {(sample.peer, sample.case) for sample in run.samples} == {(peer, case) for peer in ("etcd", "keelson") for case in cases()}
    assert results.read(results.path_of(run)) == run
    page = report.build([run], tmp_path / "docs").read_text()
    assert "| put | 1,000 | spread, 1000 connections |" in page


def test_a_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keelson's alone: what this shows is that the steps follow each other."""
    facts = list(lifecycle.measure(kinds.find(kinds.KEELSON), tmp_path, 3, [300], 0.05, 1))
    assert all(fact.value > 0 for fact in facts)
    names = [fact.name for fact in facts]
    assert names[0] == "start of an empty cluster"
    assert "kill -9 to serving again, 300 keys" in names


def test_with_tls_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.compare.MEMBERS", 1)
    run = short(tmp_path, monkeypatch, "--keys", "0", "--peers", "keelson", "--tls", "--only", "serializable")
    check(run)
    assert {sample.case.tls for sample in run.samples} == {False, True}
    ended = msgspec.structs.replace(run, samples=run.samples[:-1], complete=False)
    again = measured(ended, turns(ended.plan)[0])
    assert again.complete
    assert again.samples[:-1] == ended.samples
    assert [(sample.peer, sample.case) for sample in again.samples] == [(sample.peer, sample.case) for sample in run.samples]
    assert Figures([again]).ratio(run.samples[0].case) is None
