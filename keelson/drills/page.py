"""The report as one HTML file that needs nothing else: for each drill the targets under each other on one axis of time."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from keelson.drills import plot
from keelson.drills.summary import HEADERS, milliseconds, seconds
from keelson.drills.trial import Phase, Result, Target, representative

STYLE = Path(__file__).with_name("page.css").read_text()

KEY = (
    '<p class="key soft"><i style="background:var(--write)"></i>writes<i style="background:var(--read)"></i>reads'
    '<i style="background:var(--bad)"></i>failed, or nobody leads<i style="background:var(--warm)"></i>slowest answer in 100 ms'
    '<i style="background:var(--during)"></i>fault<i style="background:var(--healing)"></i>until all members are healthy</p>'
)

OVERVIEW = tuple(name.lower() for name in HEADERS)

WORDS = """<details><summary>What the columns say</summary><p class="soft">Medians over the trials. <b>First write</b>: from the fault to the first
acknowledged write that was called after it. <b>No leader</b>: the longest time in which no member said that it leads while a majority named it.
<b>Write gap</b>: the longest time without any acknowledged write; <b>endpoint gap</b>: the same for the clients of one endpoint, the worst.
<b>Failed</b>: requests that ended with an error, those included of which nobody knows whether they were done. <b>Retried</b>: tries that clients
repeated by themselves. <b>p99</b>: of writes that ended before the fault, and of those that it met. Drawn is the
trial in the middle.</p></details>"""


_TITLES = re.compile(r"<title>.*?</title>")
"""What a picture shows nobody: it is no page to point at."""


def render(results: Sequence[Result], title: str = "Failover drills") -> str:
    first = results[0]
    settings = ", ".join(f"{name} {value}" for name, value in first.settings.items())
    machine = ", ".join(f"{name} {value}" for name, value in first.machine.items())
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(first.date)} · {escape(machine)}</p><p class="soft">{escape(settings)}</p>',
        _overview(results),
        WORDS,
        *(_drill(result) for result in results),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def picture(result: Result) -> str:
    """The timelines alone, under each other on one axis, as an SVG for a page of one's own; empty if nothing was drilled."""
    drilled = [target for target in result.targets if target.trials]
    if not drilled:
        return ""
    chosen = [representative(target.trials) for target in drilled]
    shown, most = plot.span(chosen), plot.most_in_a_bin(drilled)
    parts, top = [], 6
    for target, trial in zip(drilled, chosen, strict=True):
        parts.append(f'<text class="title" x="2" y="{top + 12}">{escape(target.program)} {escape(target.version)}</text>')
        parts.append(f'<g transform="translate(0 {top + 18})">{_TITLES.sub("", plot.drawn(trial, shown, most))}</g>')
        top += 18 + plot.HEIGHT + 12
    style = STYLE + "svg { background: var(--paper) } svg .title { font-weight: 600; font-size: 13px; fill: var(--ink) }"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {plot.WIDTH} {top}"><style>{style}</style>{"".join(parts)}</svg>\n'


def _overview(results: Sequence[Result]) -> str:
    rows = [_overview_row(result, target) for result in results for target in result.targets]
    return table(OVERVIEW, rows)


def _overview_row(result: Result, target: Target) -> list[str]:
    link, name = f'<a href="#{escape(result.drill)}">{escape(result.drill)}</a>', escape(f"{target.program} {target.version}")
    found = target.medians
    if found is None:
        return [link, name, "0", *["–"] * 8, '<span class="bad">failed</span>' if target.failed else f"skipped: {escape(target.skipped)}"]
    verdicts = [verdict for trial in target.trials for verdict in trial.verdicts]
    lost = sum(not verdict.kept for verdict in verdicts) + bool(target.failed)
    return [
        link,
        name,
        str(len(target.trials)),
        seconds(found.first_write_s),
        seconds(found.no_leader_s),
        seconds(found.write_gap_s),
        seconds(found.endpoint_gap_s),
        f"{found.failed:.0f}",
        f"{found.retried:.0f}",
        milliseconds(found.calm_write_p99_ms),
        milliseconds(found.around_write_p99_ms),
        f'<span class="bad">{lost} broken</span>' if lost else f'<span class="good">all {len(verdicts)} kept</span>',
    ]


def _drill(result: Result) -> str:
    parts = [f'<h2 id="{escape(result.drill)}">{escape(result.drill)}</h2><p>{escape(result.what)}</p>']
    drilled = [target for target in result.targets if target.trials]
    if drilled:
        chosen = [representative(target.trials) for target in drilled]
        shown, most = plot.span(chosen), plot.most_in_a_bin(drilled)
        for target, trial in zip(drilled, chosen, strict=True):
            parts.append(f'<h3>{escape(target.program)} <span class="soft">{escape(target.version)}</span></h3>')
            parts.append(f'<div class="panel">{plot.timeline(trial, shown, most)}</div>')
        parts.append(KEY)
        if any(len(target.trials) > 1 for target in drilled):
            parts.append(f'<h3>First write after the fault, each trial</h3><div class="panel">{plot.trials(drilled)}</div>')
        parts += [_details(target) for target in drilled]
    skipped = [f'<p class="soft">{escape(target.program)} skipped: {escape(target.skipped)}</p>' for target in result.targets if target.skipped]
    failed = [f'<p class="bad">{escape(target.program)} failed: {escape(target.failed)}</p>' for target in result.targets if target.failed]
    return "".join(parts + skipped + failed)


def _details(target: Target) -> str:
    trial = representative(target.trials)
    phases = [
        [name, *_phase(phase)]
        for name, phase in (("before the fault", trial.before), ("met by it", trial.around), ("after all were healthy", trial.after))
    ]
    heads = ("requests", "answered", "failed", "unknown", "retried", "writes p50", "p99", "max", "reads p50", "p99", "max")
    promises = "".join(
        f"<li>{'<span class=good>kept</span>' if verdict.kept else '<span class=bad>BROKEN</span>'} · {escape(verdict.promise)}"
        f' <span class="soft">({escape(verdict.detail)})</span></li>'
        for each in ([trial] if all(other.kept for other in target.trials) else target.trials)
        for verdict in each.verdicts
    )
    errors = "".join(f"<li>{count} × {escape(text)}</li>" for text, count in trial.errors.items())
    marks = "".join(f"<li>{at_s:.2f} s: {escape(text)}</li>" for at_s, text in trial.marks)
    return (
        f"<details open><summary>{escape(target.program)}: requests, promises, errors of the trial drawn</summary>{table(heads, phases)}"
        f"<ul>{promises}</ul>{f'<p>Errors that clients saw:</p><ul>{errors}</ul>' if errors else ''}<p>What was done:</p><ul>{marks}</ul></details>"
    )


def _phase(phase: Phase) -> list[str]:
    counts = [str(number) for number in (phase.ok, phase.failed, phase.unknown, phase.retried)]
    return counts + [milliseconds(value) for each in (phase.writes, phase.reads) for value in (each.p50_ms, each.p99_ms, each.max_ms)]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
