"""The words and tables of docs/BENCHMARKS.md."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bench.page.targets import Verdict, verdicts
from bench.results import REFERENCE, SUBJECT, Case, Figures, Results, lower_is_better
from bench.tables import where

MET = {True: "yes", False: "**no**", None: "not measured"}

HEAD = """# Benchmarks

Made by `python -m bench.report` from what `make bench-full` measured (bench/results/kept.json); do not edit.

All systems run in the same run on the same machine, one after the other in alternating rounds, each round on a fresh three-member cluster with
empty data directories. Load comes from `bench/load/generator.py`. Closed loop: so many requests in flight, the next one sent when an answer came;
open loop: so many a second whatever the answers do, each latency counted from when its request was due. Values have 256 bytes unless said
otherwise, puts write distinct keys, reads choose at random among 10,000. Members and generator share the processors, so a system that burns more
gets less done. Figures are medians over the rounds, ± is the greatest distance of a round from the median, cpu the processor time of all
members together for one request, ratio is keelson divided by etcd 3.5.1 in the same run. Latencies are of all rounds together, from histograms
whose buckets are 3 % wide, and hold the wait for a processor that servers and generator share.
"""

REPRODUCE = """## How to reproduce

    make bench          # a look: one short round, at most five minutes
    make bench-full     # all of this page: at most 40 minutes; nothing else should run on the machine
    python -m bench.compare --continue         # go on with a run that was ended
    python -m bench.compare --only put         # measure a part again; python -m bench.report then renews that part of the page
    python -m bench.load.calibrate             # is the generator the limit?
    python -m bench.budget                     # where the microseconds go
    make drill ARGS="--target both --trials 5" # failover

The other systems are measured where they are installed: `apt-get install etcd-server redis-server zookeeper` (Debian 12); their services need
not and should not run. `apt-get install nghttp2-client wrk` for the calibration.
"""

NOTES = """## What to keep in mind

* Everything runs on one machine over loopback: three members that have machines of their own have more processors and a real network between them.
* With few requests in flight latency is what counts, and it hangs on how quickly the kernel wakes processes up. With many, it is
  processor time: the column "cpu us" scatters less than the rates.
* Serializable reads are answered by the member that was asked, without a word to the others; for ZooKeeper that is what a plain read is.
* Redis and pysyncobj promise less than the others: what each acknowledges stands in the table of settings. Redis and ZooKeeper are loaded by small
  clients of our own; at several hundred thousand reads a second these take as much of the machine as the server does.
* Consul is in no registry that this was built from (Debian 12 has none), so it was not measured.
* The disk of a virtual machine may acknowledge a sync before it is on the medium; all systems are measured on the same one.
"""


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> list[str]:
    """Markdown; the first `words` columns to the left, the others to the right."""
    return [_row(head), "|" + " --- |" * words + " ---: |" * (len(head) - words), *map(_row, rows), ""]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"**{value:.2f}**"


def _origin(figures: Figures, runs: Iterable[Results | None]) -> str:
    """Which of several runs a row comes from, as the last table numbers them."""
    if len(figures.runs) < 2:
        return ""
    numbers = dict.fromkeys(at for run in runs for at, known in enumerate(figures.runs, 1) if known is run)
    return f" [{', '.join(map(str, numbers))}]"


def _named(figures: Figures, case: Case, peers: Sequence[str]) -> str:
    return case.operation + _origin(figures, [figures.run(peer, case) for peer in peers])


def target_rows(found: Iterable[Verdict]) -> list[list[str]]:
    return [[each.what, f"at {'most' if each.lower else 'least'} {_figure(each.target, 1)}", _told(each.ratio), MET[each.met]] for each in found]


def _figure(value: float, digits: int) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.{digits}f}"


def _told(value: float | None) -> str:
    return "" if value is None else f"**{_figure(value, 2)}**"


def _cells(figures: Figures, peer: str, case: Case, *, cpu: bool = True) -> list[str]:
    rate = figures.median(peer, case)
    if rate is None:
        return [" ".join(dict.fromkeys(figures.failures(peer, case))) or "", *[""] * (3 + cpu)]
    errors = figures.errors(peer, case)
    histogram = figures.histogram(peer, case)
    cells = [f"{rate:,.0f}{f' ({errors} errors)' if errors else ''}", f"{figures.spread(peer, case):.0%}"]
    cells += [f"{histogram.percentile_ms(share):.2f}" for share in (0.5, 0.99)]
    spent = figures.cpu_us(peer, case) if cpu else None
    return [*cells, *([f"{spent:.0f}" if spent is not None else ""] if cpu else [])]


def closed_rows(figures: Figures, peers: Sequence[str], *, tls: bool) -> list[str]:
    head = ["operation", "in flight", "at"]
    for peer in peers:
        head += [f"{peer} /s", "±", "p50 ms", "p99 ms", "cpu us"]
    rows = []
    for case in [case for case in figures.cases() if not case.percent and case.tls == tls]:
        row = [_named(figures, case, peers), f"{case.in_flight:,}", where(case).removesuffix(", TLS")]
        for peer in peers:
            row += _cells(figures, peer, case)
        rows.append([*row, _ratio(figures.ratio(case))])
    return table([*head, "ratio"], rows, 1) if rows else []


def open_rows(figures: Figures, peers: Sequence[str]) -> list[str]:
    head = ["operation", "of etcd's", "asked /s"]
    for peer in peers:
        head += [f"{peer} /s", "p50 ms", "p99 ms", "p99.9 ms"]
    rows = []
    for case in [case for case in figures.cases() if case.percent]:
        row = [_named(figures, case, peers), f"{case.percent} %", f"{max(figures.rate(peer, case) for peer in peers):,.0f}"]
        for peer in peers:
            rate, histogram = figures.median(peer, case), figures.histogram(peer, case)
            if rate is None:
                row += [" ".join(dict.fromkeys(figures.failures(peer, case))), "", "", ""]
            else:
                row += [f"{rate:,.0f}", *(f"{histogram.percentile_ms(share):.2f}" for share in (0.5, 0.99, 0.999))]
        rows.append(row)
    return table(head, rows, 1) if rows else []


def fact_rows(figures: Figures, peers: Sequence[str]) -> list[str]:
    rows = []
    for name in figures.fact_names():
        told, unit = [figures.fact(peer, name) for peer in peers], figures.unit(name)
        better = "less" if lower_is_better(unit) else "more"
        origin = _origin(figures, [figures.run_of_fact(peer, name) for peer in peers])
        rows.append([name + origin, unit, better, *("" if value is None else f"{value:,.2f}" for value in told), _ratio(figures.fact_ratio(name))])
    return table(["", "unit", "better is", *peers, "ratio"], rows, 3) if rows else []


def other_systems(figures: Figures) -> list[str]:
    """Rates at the leader of all that were measured, with how each was started."""
    if not set(figures.peers) - {SUBJECT, REFERENCE}:
        return []
    shown = [case for case in figures.cases() if any(figures.of(peer, case) for peer in figures.peers if peer not in (SUBJECT, REFERENCE))]
    rows = []
    for case in shown:
        rates = [figures.median(peer, case) for peer in figures.peers]
        failed = ["failed" if figures.failures(peer, case) else "" for peer in figures.peers]
        cells = [why if rate is None else f"{rate:,.0f}" for rate, why in zip(rates, failed, strict=True)]
        rows.append([_named(figures, case, figures.peers), f"{case.in_flight:,}", *cells])
    infos = {name: info for run in figures.runs for name, info in run.peers.items()}
    return [
        *table(["operation, requests a second", "in flight", *figures.peers], rows, 1),
        *table(["", "version", "settings, and when a write is acknowledged"], [[p, infos[p].version, infos[p].settings] for p in figures.peers], 3),
    ]


def run_rows(figures: Figures) -> list[str]:
    rows = []
    for number, run in enumerate(figures.runs, 1):
        busy = " (others were at work: figures scatter)" if run.machine.load_before > 0.5 else ""
        what = f"{len(run.samples)} samples, {len(run.facts)} other figures"
        look = " a look, not a measurement;" if run.plan.look else ""
        rows.append(
            [
                f"[{number}]",
                run.began,
                run.machine.commit,
                ", ".join(run.peers),
                f"{look}{run.plan.rounds} round(s) of {run.plan.seconds:g} s after {run.plan.warm_up_s:g} s; {what}".strip(),
                f"{run.machine.load_before:.2f}{busy}",
            ]
        )
    return table(["", "begun", "commit", "systems", "what", "load average before"], rows, 6)


def machine_rows(run: Results) -> list[str]:
    machine = run.machine
    rows = [
        ["processor", f"{machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB of memory"],
        ["system", f"{machine.system}, Python {machine.python}"],
        ["disk", f"{machine.file_system}, append of 4 KiB and fdatasync {machine.sync_ms:.2f} ms (median)"],
        *([name, info.version] for name, info in run.peers.items()),
    ]
    return table(["", ""], rows, 2)


def page(figures: Figures, pictures: Mapping[str, Path], more: Sequence[str] = ()) -> str:
    """`pictures` by their names; `more`: sections that do not come from runs."""

    def picture(name: str, told: str) -> list[str]:
        return [f"![{told}]({pictures[name]})", ""] if name in pictures else []

    main = [peer for peer in (SUBJECT, REFERENCE) if peer in figures.peers]
    lines = [
        HEAD,
        *machine_rows(figures.runs[-1]),
        "## Targets",
        "",
        *table(["", "target", "measured", "met"], target_rows(verdicts(figures)), 1),
        "## Throughput",
        "",
        *picture("throughput", "Requests a second by number in flight"),
        *closed_rows(figures, main, tls=False),
        "## Latency",
        "",
        *picture("latency", "Latency by percentile"),
        *picture("open-loop", "Latency against the rate asked for"),
    ]
    opened = open_rows(figures, main)
    if opened:
        lines += [
            "In an open loop, at shares of what etcd did in the closed one (200 in flight, at the leader), the same rates for both:",
            "",
            *opened,
        ]
    secured = closed_rows(figures, main, tls=True)
    if secured:
        lines += ["## With mutual TLS on both ports", "", *secured]
    facts = fact_rows(figures, main)
    if facts:
        lines += ["## Starting, growing, restarting, backing up", "", *facts]
    others = other_systems(figures)
    if others:
        lines += ["## Other systems", "", *picture("systems", "Requests a second of all systems"), *others]
    skipped = {name: why for run in figures.runs for name, why in run.skipped.items()}
    lines += [f"{name} was left out: {why}." for name, why in skipped.items()]
    return "\n".join([*lines, *more, NOTES, REPRODUCE, "## Where the figures come from", "", *run_rows(figures)])
