"""What is typed wrong ends in a sentence, never in a traceback."""

import pytest

from kvstore.ctl.main import run
from tests.unit.api.served import Served


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["member", "add", "m", "--peer-urls", "http://[::1"], 'parse "http://[::1": Invalid IPv6 URL'),
        (["user", "add", "x\udcff:p"], "string field contains invalid UTF-8"),
        (["role", "add", "x\udcff"], "string field contains invalid UTF-8"),
    ],
)
def test_words_that_are_none(served: Served, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--endpoints", f"127.0.0.1:{served.port}", *words]) == 1
    assert said in capsys.readouterr().err
