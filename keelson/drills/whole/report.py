"""What drills of a whole cluster gave: a table for the terminal, a page with a timeline for people, JSON for programs."""

from collections.abc import Sequence
from html import escape
from statistics import quantiles

from keelson.cogs import output
from keelson.drills import page, plot
from keelson.drills.whole.drill import Outcome

HEADERS = ("DRILL", "CALLS", "FAILED", "P50", "P99", "SLOWEST", "LOST", "MEASURED", "PROMISES")
RIGHT = HEADERS[1:7]
BIN_S = 0.2
HEIGHT = 130


def table(outcomes: Sequence[Outcome], colour: bool) -> str:
    rows = []
    for each in outcomes:
        broken = sum(not verdict.kept for verdict in each.verdicts)
        promises = (
            output.paint(f"{broken} BROKEN", output.RED, colour) if broken else output.paint(f"all {len(each.verdicts)} kept", output.GREEN, colour)
        )
        rows.append([*_figures(each), promises])
    return output.table(HEADERS, rows, right=RIGHT, colour=colour)


def broken(outcomes: Sequence[Outcome]) -> list[str]:
    return [f"{each.drill}: {verdict.promise}: {verdict.detail}" for each in outcomes for verdict in each.verdicts if not verdict.kept]


def _figures(each: Outcome) -> list[object]:
    p50, p99 = percentiles(each.took_ms)
    measured = ", ".join(f"{name} {value:.1f} s" for name, value in each.measures.items())
    return [each.drill, len(each.at_s), len(each.failed), f"{p50:.1f} ms", f"{p99:.1f} ms", f"{max(each.took_ms):.0f} ms", len(each.lost), measured]


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    cut = quantiles(values, n=100, method="inclusive")
    return cut[49], cut[98]


def render(outcomes: Sequence[Outcome], title: str) -> str:
    """One HTML file that needs nothing else."""
    first = outcomes[0]
    machine = ", ".join(f"{name} {value}" for name, value in first.machine.items())
    rows = [[escape(str(cell)) for cell in _figures(each)] + [_promises(each)] for each in outcomes]
    parts = [
        f'<h1>{escape(title)}</h1><p class="soft">{escape(first.date)} · {escape(machine)}</p>',
        f'<p class="soft">{first.settings.rate_per_s:g} calls a second to a service, each on a connection of its own; one fails that has no answer'
        f" of 200 within {first.settings.patience_s:g} s.</p>",
        page.table([name.lower() for name in HEADERS], rows),
        *(_drill(each) for each in outcomes),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{page.STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _promises(each: Outcome) -> str:
    lost = sum(not verdict.kept for verdict in each.verdicts)
    return f'<span class="bad">{lost} broken</span>' if lost else f'<span class="good">all {len(each.verdicts)} kept</span>'


def _drill(each: Outcome) -> str:
    promises = "".join(
        f"<li>{'<span class=good>kept</span>' if verdict.kept else '<span class=bad>BROKEN</span>'} · {escape(verdict.promise)}"
        f' <span class="soft">({escape(verdict.detail)})</span></li>'
        for verdict in each.verdicts
    )
    measures = "".join(f"<li>{escape(name)}: {value:.2f} s</li>" for name, value in each.measures.items())
    errors = "".join(
        f"<li>{one.count} × {escape(one.error)}, called from {one.first_s:.2f} s to {one.last_s:.2f} s, after: {escape(one.after)}</li>"
        for one in each.failures
    )
    marks = "".join(f"<li>{at_s:.2f} s: {escape(text)}</li>" for at_s, text in each.marks)
    return (
        f'<h2 id="{escape(each.drill)}">{escape(each.drill)}</h2><p>{escape(each.what)}</p><div class="panel">{timeline(each)}</div>'
        f"<ul>{promises}</ul><p>Measured from the blow:</p><ul>{measures}</ul>"
        f"{f'<p>Errors that callers saw:</p><ul>{errors}</ul>' if errors else ''}"
        f"<details><summary>What was done</summary><ul>{marks}</ul></details>"
    )


def timeline(each: Outcome) -> str:
    """Every call as a dot at its time and how long it took (to the logarithm); failed ones red, at the top."""
    from math import log10

    canvas = plot.Canvas((each.at_s[0], each.at_s[-1] + BIN_S))
    top, base = plot.MARKS, plot.MARKS + HEIGHT
    low, high = -0.5, 3.7  # 0.3 ms to 5 s

    def y(took_ms: float) -> float:
        return base - HEIGHT * min(max((log10(max(took_ms, 0.001)) - low) / (high - low), 0), 1)

    for value_ms in (1, 10, 100, 1000):
        canvas.line("grid", plot.LEFT, y(value_ms), plot.WIDTH - plot.RIGHT, y(value_ms))
        canvas.text("tick", plot.LEFT - 6, y(value_ms) + 4, f"{value_ms} ms" if value_ms < 1000 else "1 s", "end")
    failed = set(each.failed)
    for number, (at_s, took_ms) in enumerate(zip(each.at_s, each.took_ms, strict=True)):
        style = ' style="fill:var(--bad)"' if number in failed else ' style="fill:var(--write);opacity:.55"'
        radius = 3 if number in failed else 1.5
        canvas.parts.append(f'<circle{style} cx="{canvas.x(at_s):.1f}" cy="{y(took_ms):.1f}" r="{radius}"/>')
    free_x = 0.0
    for at_s, text in each.marks:
        x = canvas.x(at_s)
        canvas.line("mark", x, top - 4, x, base)
        if x >= free_x and x < plot.WIDTH - 60:
            canvas.text("marktext", x + 3, top - 6, text)
            free_x = x + 3 + 6.2 * len(text) + 8
    plot.axis(canvas, base)
    return f'<svg viewBox="0 0 {plot.WIDTH} {base + plot.AXIS}" role="img" aria-label="calls over time">{"".join(canvas.parts)}</svg>'
