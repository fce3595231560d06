"""The pictures: SVG without a background, in colours that can be read on white and on black."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter

from bench.cases import CONCURRENCY
from bench.load.histogram import Histogram
from bench.load.requests import PUT, RANGE, SERIALIZABLE_RANGE
from bench.results import Case, Figures
from keelson.drills.trial import Result, representative

GREY = "#7d8590"
COLOURS = {
    "keelson": "#2f81f7",
    "etcd": "#e0823d",
    "etcd-3.4": "#b59a2d",
    "raft-core": "#58a6c9",
    "redis": "#d6455a",
    "zookeeper": "#3fa34d",
    "pysyncobj": "#9b6dd6",
    "pysyncobj-tuned": "#c86fc9",
}
DASHED = {"spread": "--", "leader": "-"}
PERCENTILES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999)

plt.rcParams.update({
    "svg.hashsalt": "keelson", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color"), GREY),
    "grid.alpha": 0.25, "axes.grid": True, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.transparent": True,
    "legend.frameon": False, "lines.linewidth": 1.6, "lines.markersize": 4, "font.family": "sans-serif",
})  # fmt: skip


def file_name(title: str) -> str:
    return f"{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}.svg"


def _panels(count: int, height: float = 3.0) -> tuple[Any, list[Axes]]:
    figure, axes = plt.subplots(1, count, figsize=(4.4 * count, height), layout="constrained", squeeze=False)
    return figure, list(axes[0])


def _save(figure: Any, folder: Path, title: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(title)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def _thousands(value: float, _: object) -> str:
    return f"{value:,.0f}"


def _logarithmic(axes: Axes) -> None:
    """With plain numbers, those between the powers of ten too where less than one of these would show."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_plain_number)
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def _plain_number(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _legend(figure: Any, axes: Iterable[Axes]) -> None:
    """One for all panels, below them."""
    known: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    if known:
        figure.legend(known.values(), known.keys(), loc="outside lower center", ncols=4, fontsize=8)


def _plain(figures: Figures, peer: str, operation: str, at: str) -> list[Case]:
    return sorted(
        (
            case
            for case in figures.cases(peer)
            if case.operation == operation and case.at == at and not case.tls and not case.percent and case.connections < 1000
            if case.in_flight in CONCURRENCY and figures.median(peer, case) is not None
        ),
        key=lambda case: case.in_flight,
    )


def _concurrency_axis(axes: Axes, title: str) -> None:
    axes.set_xscale("log")
    axes.set_xticks(CONCURRENCY, [f"{number:,}" for number in CONCURRENCY])
    axes.minorticks_off()
    axes.set_xlabel("requests in flight")
    axes.set_title(title, loc="left", fontsize=10)


def concurrency(figures: Figures, peers: list[str], folder: Path) -> Path | None:
    """Rates of subject and reference, whiskers from the worst to the best round."""
    figure, panels = _panels(3, 3.2)
    shown = False
    for axes, operation in zip(panels, (PUT, RANGE, SERIALIZABLE_RANGE), strict=True):
        for peer in peers:
            for at, style in DASHED.items():
                found = _plain(figures, peer, operation.name, at)
                rates = [[each.per_second for each in figures.of(peer, case)] for case in found]
                middles = [figures.median(peer, case) or 0.0 for case in found]
                whiskers = [[m - min(r) for m, r in zip(middles, rates, strict=True)], [max(r) - m for m, r in zip(middles, rates, strict=True)]]
                if found:
                    shown = True
                    label = f"{peer}, {'at the leader' if at == 'leader' else 'all members'}"
                    numbers = [case.in_flight for case in found]
                    axes.errorbar(numbers, middles, whiskers, marker="o", ls=style, color=COLOURS.get(peer), label=label, elinewidth=0.8)
        _concurrency_axis(axes, f"{operation.name}, requests a second")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(_thousands)
    _legend(figure, panels)
    path = _save(figure, folder, "throughput")
    return path if shown else _none(path)


def systems(figures: Figures, folder: Path) -> Path | None:
    """All systems at the one that leads; rates on a logarithmic scale."""
    figure, panels = _panels(3, 3.2)
    several = False
    for axes, operation in zip(panels, (PUT, RANGE, SERIALIZABLE_RANGE), strict=True):
        for peer in figures.peers:
            found = _plain(figures, peer, operation.name, "leader")
            if found:
                several |= peer not in ("keelson", "etcd")
                middles = [figures.median(peer, case) or 0.0 for case in found]
                axes.plot([case.in_flight for case in found], middles, marker="o", color=COLOURS.get(peer), label=peer)
        _concurrency_axis(axes, f"{operation.name}, requests a second")
        _logarithmic(axes)
    _legend(figure, panels)
    path = _save(figure, folder, "systems")
    return path if several else _none(path)


def _percentile_line(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Shares as distance from the worst on a logarithmic scale, so that each nine is as wide as the one before."""
    shares = [share for share in PERCENTILES if histogram.total * (1 - share) >= 1]
    return [1 / (1 - share) for share in shares], [max(histogram.percentile_ms(share), 0.001) for share in shares]


def latencies(figures: Figures, peers: list[str], folder: Path) -> Path | None:
    """Latency by percentile of a lone client and of many."""
    wanted = [(PUT.name, 1), (PUT.name, 200), (RANGE.name, 1), (RANGE.name, 200)]
    figure, panels = _panels(4)
    shown = False
    for axes, (operation, number) in zip(panels, wanted, strict=True):
        for peer in peers:
            for case in _plain(figures, peer, operation, "leader"):
                if case.in_flight == number:
                    shown = True
                    axes.plot(*_percentile_line(figures.histogram(peer, case)), color=COLOURS.get(peer), label=peer)
        axes.set_xscale("log")
        axes.set_xticks([2, 10, 100, 1000, 10000], ["50", "90", "99", "99.9", "99.99"])
        axes.minorticks_off()
        _logarithmic(axes)
        axes.set_xlabel("percentile")
        axes.set_title(f"{operation}, {number} in flight, ms", loc="left", fontsize=10)
    _legend(figure, panels)
    path = _save(figure, folder, "latency")
    return path if shown else _none(path)


def open_loop(figures: Figures, peers: list[str], folder: Path) -> Path | None:
    """Latency against the rate that is asked for, the same rates for all: medians solid, 99th percentiles dashed."""
    figure, panels = _panels(2, 3.2)
    shown = False
    for axes, operation in zip(panels, (PUT, RANGE), strict=True):
        for peer in peers:
            found = [case for case in figures.cases(peer) if case.operation == operation.name and case.percent and figures.of(peer, case)]
            for share, style in ((0.5, "-"), (0.99, "--")):
                if found:
                    shown = True
                    rates = [figures.rate(peer, case) for case in found]
                    told = [max(figures.histogram(peer, case).percentile_ms(share), 0.001) for case in found]
                    axes.plot(rates, told, marker="o", ls=style, color=COLOURS.get(peer), label=f"{peer}, {share:.0%} of requests")
        _logarithmic(axes)
        axes.xaxis.set_major_formatter(_thousands)
        axes.set_xlabel("requests a second asked for")
        axes.set_title(f"{operation.name}: latency in an open loop, ms", loc="left", fontsize=10)
    _legend(figure, panels)
    path = _save(figure, folder, "open loop")
    return path if shown else _none(path)


def timelines(results: Sequence[Result], folder: Path) -> list[Path]:
    """One picture a drill: answers in each bin of time, failures below zero; the fault is at 0."""
    made = []
    for result in results:
        shown = [(target.program, representative(target.trials)) for target in result.targets if target.trials]
        if not shown:
            continue
        figure, panels = _panels(len(shown), 2.4)
        most = max(max(trial.timeline.ok, default=1) for _, trial in shown)
        begin = min(trial.timeline.begin_s for _, trial in shown)
        end = max(trial.timeline.begin_s + len(trial.timeline.ok) * trial.timeline.bin_s for _, trial in shown)
        for axes, (program, trial) in zip(panels, shown, strict=True):
            line = trial.timeline
            at = [line.begin_s + (number + 0.5) * line.bin_s for number in range(len(line.ok))]
            axes.bar(at, line.ok, line.bin_s, color=COLOURS.get(program, GREY), lw=0)
            axes.bar(at, [-count for count in line.failed], line.bin_s, color=COLOURS["redis"], lw=0)
            axes.axvline(0, color=GREY, lw=1, ls=":")
            axes.set_xlim(begin, end)
            axes.set_ylim(top=1.05 * most)
            axes.set_xlabel("seconds from the fault")
            axes.set_title(f"{result.drill}, {program}", loc="left", fontsize=10)
        made.append(_save(figure, folder, f"drill {result.drill}"))
    return made


def _none(path: Path) -> None:
    """A picture without anything in it is none."""
    path.unlink()
