"""Why no node would do, in Kubernetes' words (framework.FitError)."""

from collections.abc import Mapping

from agents.scheduler.framework import Status


def fit_error(total: int, statuses: Mapping[str, Status], absent: Status, for_all: str = "") -> str:
    """FitError: each reason with the number of nodes that it is true of, in the order of the text."""
    if for_all:
        return f"0/{total} nodes are available: {for_all}."
    counts: dict[str, int] = {}
    for status in statuses.values():
        for reason in status.reasons:
            counts[reason] = counts.get(reason, 0) + 1
    if len(statuses) < total:
        for reason in absent.reasons:
            counts[reason] = counts.get(reason, 0) + total - len(statuses)
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{total} nodes are available: {told}." if told else f"0/{total} nodes are available:"
