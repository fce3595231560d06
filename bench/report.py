"""Raw results to docs/BENCHMARKS.md and its plots: `python -m bench.report [FILE]`, the newest results if none is named."""

import argparse
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from bench import results
from bench.results import Case, Results

DOCS = Path(__file__).parent.parent / "docs"
PLOTS = DOCS / "bench"
SUBJECT, REFERENCE = "keelson", "etcd"
COLOURS = {SUBJECT: "#2563a8", REFERENCE: "#c9733c"}

plt.rcParams.update({"svg.hashsalt": "keelson", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def label(case: Case) -> str:
    return f"{case.in_flight} at {'the leader' if case.at == 'leader' else 'all members'}"


def plot(done: Results, operation: str) -> Path:
    """Rates of one operation, the peers side by side, whiskers from the worst to the best round."""
    shown = [case for case in done.cases() if case.operation == operation]
    figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    width = 0.8 / len(done.peers)
    for number, peer in enumerate(done.peers):
        rates = [[sample.measured.per_second for sample in done.of(peer, case)] for case in shown]
        middles = [done.median(peer, case, "per_second") for case in shown]
        whiskers = [[m - min(r) for m, r in zip(middles, rates, strict=True)], [max(r) - m for m, r in zip(middles, rates, strict=True)]]
        at = [place + number * width for place in range(len(shown))]
        axes.bar(at, middles, width * 0.95, yerr=whiskers, label=peer, color=COLOURS.get(peer), error_kw={"lw": 0.8})
    axes.set_xticks([place + width * (len(done.peers) - 1) / 2 for place in range(len(shown))], [label(case) for case in shown])
    axes.set_title(f"{operation}: requests a second, by number in flight", loc="left", fontsize=10)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(frameon=False)
    PLOTS.mkdir(parents=True, exist_ok=True)
    path = PLOTS / f"{re.sub('[^a-z0-9]+', '-', operation.lower())}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def rows(done: Results) -> list[str]:
    peers = list(done.peers)
    both = SUBJECT in peers and REFERENCE in peers
    head = ["operation", "in flight", "at"]
    for peer in peers:
        head += [f"{peer} /s", "±", "p50 ms", "p99 ms", "cpu us"]
    if both:
        head.append("ratio")
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" + " ---: |" + " --- |" + " ---: |" * (len(head) - 3)]
    for case in done.cases():
        cells = [case.operation, str(case.in_flight), case.at]
        for peer in peers:
            errors = done.errors(peer, case)
            mark = f" ({errors} errors)" if errors else ""
            cells += [f"{done.median(peer, case, 'per_second'):,.0f}{mark}", f"{done.spread(peer, case):.0%}"]
            cells += [f"{done.median(peer, case, field):.2f}" for field in ("p50_ms", "p99_ms")]
            cells.append(f"{done.cpu_us(peer, case):.0f}")
        if both:
            cells.append(f"**{done.median(SUBJECT, case, 'per_second') / done.median(REFERENCE, case, 'per_second'):.2f}**")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def fact_rows(done: Results) -> list[str]:
    peers = list(done.peers)
    both = SUBJECT in peers and REFERENCE in peers
    lines = [
        "| | " + " | ".join([*peers, "unit", *(["ratio"] if both else [])]) + " |",
        "| --- |" + " ---: |" * len(peers) + " --- |" + " ---: |" * both,
    ]
    for name in done.fact_names():
        told = {peer: done.fact(peer, name) for peer in peers}
        cells = [name, *("" if value is None else f"{value:,.2f}" for value in told.values()), done.unit(name)]
        if both:
            ours, theirs = told[SUBJECT], told[REFERENCE]
            cells.append(f"**{ours / theirs:.2f}**" if ours is not None and theirs else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def resident(done: Results, peer: str) -> int:
    """Most memory that a member of the peer held at the end of a case."""
    return max(max(sample.members_resident_bytes) for sample in done.samples if sample.peer == peer)


def page(done: Results, plots: list[Path]) -> str:
    machine = done.machine
    quiet = "" if machine.load_before <= 0.5 else " **(others were at work: figures scatter)**"
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m bench.report` from the raw results of `make bench`; do not edit.",
        "",
        f"Both systems ran in the same run on the same machine, one after the other in {done.rounds} alternating round(s), each round on a fresh "
        f"{done.members}-member cluster on one machine. Load comes from `bench/load/generator.py`: a closed loop with so many requests in "
        f"flight, {done.value_bytes}-byte values, puts of distinct keys, reads of random ones out of 10,000, {done.seconds:g} s a case after "
        f"{done.warm_up_s:g} s of warm-up, {'mutual TLS' if done.tls else 'clear text'}. Figures are medians over the rounds, ± is the "
        "greatest distance of a round from the median, cpu is the processor time of all members together for one request, ratio is "
        f"{SUBJECT} divided by {REFERENCE}. Members and generator share the processors: a system that burns more gets less done.",
        "",
        "| | |",
        "| --- | --- |",
        f"| begun | {done.began} |",
        f"| commit | {machine.commit} |",
        f"| processor | {machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB |",
        f"| system | {machine.system}, Python {machine.python} |",
        f"| disk | {machine.file_system}, append and sync {machine.sync_ms:.2f} ms |",
        f"| load average before | {machine.load_before:.2f}{quiet} |",
        *(f"| {peer} | {told}; most memory of a member {resident(done, peer) / 2**20:.0f} MiB |" for peer, told in done.peers.items()),
        "",
        *rows(done),
        "",
        *(f"![{path.stem}]({path.relative_to(DOCS)})" for path in plots),
        "",
    ]
    if done.facts:
        lines += ["## Starting, growing, restarting, backing up", "", *fact_rows(done), ""]
    if done.commands:
        lines += [
            "## Replicated commands of libraries, without any client protocol",
            "",
            "| library and settings | commands a second |",
            "| --- | ---: |",
        ]
        lines += [f"| {name} | {rate:,.0f} |" for name, rate in done.commands.items()]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    options = parser.parse_args()
    try:
        done = results.read(options.file or results.newest())
    except FileNotFoundError as missing:
        sys.exit(str(missing))
    plots = [plot(done, operation) for operation in dict.fromkeys(case.operation for case in done.cases())]
    DOCS.mkdir(exist_ok=True)
    path = DOCS / "BENCHMARKS.md"
    path.write_text(page(done, plots))
    print(f"{path} and {len(plots)} plots")


if __name__ == "__main__":
    main()
