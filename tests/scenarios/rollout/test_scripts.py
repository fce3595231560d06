"""Every script gives what is recorded in it."""

from pathlib import Path

import pytest

from tests.scenarios.rollout.runner import play, scripts


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.stem)
def test_the_recorded_outcome(path: Path) -> None:
    assert play(path.read_text()) == path.read_text(), "if the new outcome is right: python -m tests.scenarios.rollout.runner --rewrite"


def test_there_are_scripts() -> None:
    assert len(scripts()) >= 6
