"""The timeline of a trial as SVG: requests and latency over time, who led, what was done. No colours here: classes, which the page paints."""

import math
from collections.abc import Sequence
from html import escape

from keelson.drills.trial import Target, Trial

WIDTH, LEFT, RIGHT = 960, 66, 12
MARKS, REQUESTS, LATENCY, LEADERS, AXIS, GAP = 20, 110, 90, 16, 24, 10
LATENCY_MS = (0.5, 10_000.0)
"""The ends of its scale, which is logarithmic."""

HEIGHT = MARKS + REQUESTS + GAP + LATENCY + GAP + LEADERS + AXIS
"""Of a timeline."""

Span = tuple[float, float]
"""The seconds that are shown, from and to."""


def span(trials: Sequence[Trial]) -> Span:
    """That shows all of every trial: side by side they need one axis."""
    return min(trial.timeline.begin_s for trial in trials), max(trial.end_s for trial in trials)


class Canvas:
    def __init__(self, shown: Span) -> None:
        self.shown = shown
        self.parts: list[str] = []

    def x(self, time_s: float) -> float:
        begin_s, end_s = self.shown
        return LEFT + (WIDTH - LEFT - RIGHT) * (min(max(time_s, begin_s), end_s) - begin_s) / (end_s - begin_s)

    def box(self, kind: str, from_s: float, to_s: float, top: float, height: float, title: str = "") -> None:
        left = self.x(from_s)
        width = max(self.x(to_s) - left, 0.5)
        inner = f"<title>{escape(title)}</title>" if title else ""
        self.parts.append(f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}">{inner}</rect>')

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self.parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def text(self, kind: str, x: float, y: float, text: str, anchor: str = "start") -> None:
        self.parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def path(self, kind: str, points: Sequence[tuple[float, float]]) -> None:
        self.parts.append(f'<path class="{kind}" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + '"/>')


def timeline(trial: Trial, shown: Span, most: int) -> str:
    """`most`: requests in 100 ms at the top of the scale, the same for all that stand side by side."""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="requests over time">{drawn(trial, shown, most)}</svg>'


def drawn(trial: Trial, shown: Span, most: int) -> str:
    """What is in it."""
    canvas = Canvas(shown)
    top, bottom = MARKS, HEIGHT - AXIS
    canvas.box("during", 0, trial.heal_s, top, bottom - top)
    canvas.box("healing", trial.heal_s, trial.healthy_s, top, bottom - top)
    _requests(canvas, trial, top, most)
    _latency(canvas, trial, top + REQUESTS + GAP)
    _leaders(canvas, trial, top + REQUESTS + GAP + LATENCY + GAP)
    _marks(canvas, trial, top, bottom)
    axis(canvas, bottom)
    return "".join(canvas.parts)


def _requests(canvas: Canvas, trial: Trial, top: float, most: int) -> None:
    line, base = trial.timeline, top + REQUESTS
    for share in (0.5, 1.0):
        y = base - REQUESTS * share
        canvas.line("grid", LEFT, y, WIDTH - RIGHT, y)
        canvas.text("tick", LEFT - 6, y + 4, f"{most * share / line.bin_s:.0f}/s", "end")
    canvas.text("name", 2, base - 2, "requests")
    for number, ok in enumerate(line.ok):
        failed, writes = line.failed[number], line.writes[number]
        if not ok and not failed:
            continue
        from_s = line.begin_s + number * line.bin_s
        scale = REQUESTS / most
        title = f"{from_s:.1f} s: {writes} writes, {ok - writes} reads, {failed} failed"
        y = base
        for kind, count in (("writes", writes), ("reads", ok - writes), ("failed", failed)):
            if count:
                rise = min(count * scale, y - top)
                y -= rise
                canvas.box(kind, from_s, from_s + line.bin_s * 0.9, y, rise, title)


def _latency(canvas: Canvas, trial: Trial, top: float) -> None:
    line, base = trial.timeline, top + LATENCY
    low, high = (math.log10(end) for end in LATENCY_MS)

    def y(value_ms: float) -> float:
        return base - LATENCY * min(max((math.log10(max(value_ms, 1e-3)) - low) / (high - low), 0), 1)

    for value_ms in (1, 10, 100, 1000, 10_000):
        canvas.line("grid", LEFT, y(value_ms), WIDTH - RIGHT, y(value_ms))
        canvas.text("tick", LEFT - 6, y(value_ms) + 4, f"{value_ms} ms" if value_ms < 1000 else f"{value_ms // 1000} s", "end")
    run: list[tuple[float, float]] = []
    for number, (middle, worst) in enumerate(zip(line.p50_ms, line.max_ms, strict=True)):
        at_s = line.begin_s + (number + 0.5) * line.bin_s
        if middle is None or worst is None:
            if len(run) > 1:
                canvas.path("p50", run)
            run = []
            continue
        run.append((canvas.x(at_s), y(middle)))
        canvas.parts.append(
            f'<circle class="worst" cx="{canvas.x(at_s):.1f}" cy="{y(worst):.1f}" r="2"><title>{at_s:.1f} s: {worst:.1f} ms</title></circle>'
        )
    if len(run) > 1:
        canvas.path("p50", run)


def _leaders(canvas: Canvas, trial: Trial, top: float) -> None:
    canvas.text("name", 2, top + LEADERS - 4, "leader")
    names = sorted({name for _, name in trial.leaders if name})
    for number, (from_s, name) in enumerate(trial.leaders):
        to_s = trial.leaders[number + 1][0] if number + 1 < len(trial.leaders) else trial.end_s
        kind = "nobody" if name is None else f"leader{names.index(name) % 4}"
        canvas.box(kind, from_s, to_s, top, LEADERS, f"{name or 'nobody'}: {from_s:.2f} s to {to_s:.2f} s")
        if canvas.x(to_s) - canvas.x(from_s) > 26:
            canvas.text("inbar", (canvas.x(from_s) + canvas.x(to_s)) / 2, top + LEADERS - 4, name or "none", "middle")


def _marks(canvas: Canvas, trial: Trial, top: float, bottom: float) -> None:
    free_x = 0.0
    for at_s, text in trial.marks:
        x = canvas.x(at_s)
        canvas.line("mark", x, top - 4, x, bottom)
        if x >= free_x and x < WIDTH - 60:
            canvas.text("marktext", x + 3, top - 6, text)
            free_x = x + 3 + 6.2 * len(text) + 8


def axis(canvas: Canvas, bottom: float) -> None:
    begin_s, end_s = canvas.shown
    step = next(step for step in (0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800) if (end_s - begin_s) / step <= 20 or step == 1800)
    canvas.line("axis", LEFT, bottom, WIDTH - RIGHT, bottom)
    for number in range(math.ceil(begin_s / step), math.floor(end_s / step) + 1):
        x = canvas.x(number * step)
        canvas.line("axis", x, bottom, x, bottom + 4)
        canvas.text("tick", x, bottom + 17, f"{number * step:g} s", "middle")


def trials(targets: Sequence[Target]) -> str:
    """A dot for each trial's time to the first write, a row a target, on one axis; the bar is the median."""
    rows = [(target, [trial.first_write_s for trial in target.trials if trial.first_write_s is not None]) for target in targets if target.trials]
    most_s = max((value for _, values in rows for value in values), default=1.0) * 1.08
    canvas = Canvas((0.0, most_s))
    for number, (target, values) in enumerate(rows):
        y = 14 + 22 * number
        canvas.text("name", 2, y + 4, target.program)
        canvas.line("grid", LEFT, y, WIDTH - RIGHT, y)
        for value in values:
            canvas.parts.append(f'<circle class="dot" cx="{canvas.x(value):.1f}" cy="{y}" r="4"><title>{value:.2f} s</title></circle>')
        if target.medians is not None and target.medians.first_write_s is not None:
            x = canvas.x(target.medians.first_write_s)
            canvas.line("median", x, y - 8, x, y + 8)
    bottom = 14 + 22 * len(rows)
    axis(canvas, bottom)
    return f'<svg viewBox="0 0 {WIDTH} {bottom + AXIS}" role="img" aria-label="time to the first write, by trial">{"".join(canvas.parts)}</svg>'


def most_in_a_bin(targets: Sequence[Target]) -> int:
    """The top of the scale of requests: that of ordinary times; a burst of what had waited is cut."""
    rates = sorted(
        ok + failed for target in targets for trial in target.trials for ok, failed in zip(trial.timeline.ok, trial.timeline.failed, strict=True)
    )
    return max(2 * rates[len(rates) // 2], 10) if rates else 10
