"""What the shell measures for the metrics: filled where it happens, read by `metrics.py`."""

from collections.abc import Callable

Seconds = float


class Observed:
    """Each attribute is called with a duration in seconds; the default forgets it."""

    def __init__(self) -> None:
        nothing: Callable[[Seconds], None] = lambda _: None  # noqa: E731
        self.log_synced = nothing
        self.state_committed = nothing
        self.state_exported = nothing
