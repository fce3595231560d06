"""The figures as text for a terminal: aligned, and with colour where somebody looks."""

from collections.abc import Sequence

from bench.results import REFERENCE, SUBJECT, Case, Figures, lower_is_better
from keelson.cogs.output import BOLD, GREEN, RED, YELLOW, paint

NEARLY = 0.9


def judged(ratio: float, target: float = 1.0, *, lower: bool = False) -> str:
    """The colour of a ratio: reached, nearly, or not."""
    reached = target / ratio if lower else ratio / target
    return GREEN if reached >= 1 else YELLOW if reached >= NEARLY else RED


def where(case: Case) -> str:
    many = f", {case.connections} connections" if case.connections > 50 else ""
    return f"{case.at}{many}{', TLS' if case.tls else ''}"


def in_flight(case: Case) -> str:
    return f"{case.percent} % open" if case.percent else str(case.in_flight)


def table(figures: Figures, colour: bool = False) -> str:
    """±%: the greatest distance of a round from the median. The ratio is subject to reference; of an open loop, that of the 99th percentiles."""
    peers = figures.peers
    both = SUBJECT in peers and REFERENCE in peers
    head = ["operation", "in flight", "at"]
    for peer in peers:
        head += [f"{peer}/s", "±%", "p50 ms", "p99 ms"]
    rows, colours = [head + ["ratio"] * both], [BOLD]
    for case in figures.cases():
        row = [case.operation, in_flight(case), where(case)]
        for peer in peers:
            rate = figures.median(peer, case)
            if rate is None:
                row += ["failed" if figures.failures(peer, case) else "", "", "", ""]
                continue
            errors = "!" if figures.errors(peer, case) else ""
            row += [f"{rate:,.0f}{errors}", f"{100 * figures.spread(peer, case):.0f}"]
            row += [f"{figures.median(peer, case, field):.2f}" for field in ("p50_ms", "p99_ms")]
        if both:
            ratio = figures.ratio(case, "p99_ms" if case.percent else "per_second")
            row.append("" if ratio is None else f"{ratio:.2f}")
            colours.append("" if ratio is None else judged(ratio, lower=bool(case.percent)))
        rows.append(row)
    return _aligned(rows, (0, 2), colours if colour and both else [])


def facts_table(figures: Figures, colour: bool = False) -> str:
    """The same for figures that are no rates under load; the ratio is that of the figures, whichever way is better."""
    names = figures.fact_names()
    peers = [peer for peer in figures.peers if any(figures.fact(peer, name) is not None for name in names)]
    both = SUBJECT in peers and REFERENCE in peers
    rows, colours = [["", *peers, "", *["ratio"] * both]], [BOLD]
    for name in names:
        told = [figures.fact(peer, name) for peer in peers]
        unit = figures.unit(name)
        rows.append([name, *("" if value is None else f"{value:,.2f}" for value in told), unit])
        if both:
            ratio = figures.fact_ratio(name)
            rows[-1].append("" if ratio is None else f"{ratio:.2f}")
            colours.append("" if ratio is None else judged(ratio, lower=lower_is_better(unit)))
    return _aligned(rows, (0, len(peers) + 1), colours if colour and both else [])


def _aligned(rows: Sequence[Sequence[str]], words: Sequence[int], colours: Sequence[str]) -> str:
    """The columns `words` to the left, numbers to the right; `colours` are those of the last cell of each row."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(widths[at]) if at in words else cell.rjust(widths[at]) for at, cell in enumerate(row)]
        if colours:
            cells[-1] = paint(cells[-1], colours[number], bool(colours[number]))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
