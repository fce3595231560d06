"""The report of a soak as one HTML file: sizes over time, what was done, what was found."""

from collections.abc import Callable
from html import escape

from keelson.drills.growth import Size
from keelson.drills.page import STYLE, table
from keelson.drills.plot import AXIS, LEFT, RIGHT, WIDTH, Canvas, axis
from keelson.drills.soak_report import Report, Window

HEIGHT = 120


def render(report: Report) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in {**report.settings, **report.machine}.items())
    verdicts = "".join(
        f"<li>{_kept(verdict.kept)} · {escape(verdict.promise)} <span class=soft>({escape(verdict.detail)})</span></li>"
        for verdict in report.verdicts
    )
    heads = ("from", "done", "answered", "failed", "unknown", "write gap", "promises")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Soak</title>'
        f"<style>{STYLE}</style></head><body><h1>Soak: {escape(report.program)} {escape(report.version)}</h1>"
        f'<p class="soft">{escape(report.date)} · {escape(settings)}</p>'
        f"{f'<p class=bad>{escape(report.error)}</p>' if report.error else ''}<ul>{verdicts}</ul>"
        f"<h3>Memory of each member</h3>{lines(report, lambda size: size.memory_bytes)}"
        f"<h3>Files of each member</h3>{lines(report, lambda size: size.files_bytes)}"
        f"<h3>Of the state's file, in use</h3>{lines(report, lambda size: size.in_use_bytes)}"
        f"<h3>Windows</h3>{table(heads, [_row(window) for window in report.windows])}</body></html>\n"
    )


def lines(report: Report, of: Callable[[Size], int]) -> str:
    """A line a member. A member that did not answer has no point then."""
    points = [(size.member, size.at_s, of(size)) for size in report.sizes if of(size)]
    if not points:
        return '<p class="soft">nothing sampled yet</p>'
    most = 1.1 * max(value for _, _, value in points)
    canvas = Canvas((0.0, max(at_s for _, at_s, _ in points) or 1.0))
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT * (1 - share) + 10
        canvas.line("grid", LEFT, y, WIDTH - RIGHT, y)
        canvas.text("tick", LEFT - 6, y + 4, f"{most * share / 1e6:.0f} MB", "end")
    for number, member in enumerate(sorted({name for name, _, _ in points})):
        own = [(canvas.x(at_s), 10 + HEIGHT * (1 - value / most)) for name, at_s, value in points if name == member]
        canvas.path(f"series leader{number % 4}", own)
        canvas.text(f"name leader{number % 4}", LEFT + 6 + 40 * number, 22, member)
    axis(canvas, HEIGHT + 10)
    height = HEIGHT + 10 + AXIS
    return f'<div class="panel"><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="sizes over time">{"".join(canvas.parts)}</svg></div>'


def _row(window: Window) -> list[str]:
    broken = [verdict for verdict in window.verdicts if not verdict.kept]
    told = "".join(f"<br>{escape(verdict.promise)}: {escape(verdict.detail)}" for verdict in broken)
    return [
        f"{window.began_s:.0f} s",
        escape(", ".join(window.done)),
        str(window.ok),
        str(window.failed),
        str(window.unknown),
        f"{window.gap_s:.2f} s",
        f"{_kept(not broken)}{told}",
    ]


def _kept(kept: bool) -> str:
    return '<span class="good">kept</span>' if kept else '<span class="bad">BROKEN</span>'
