"""A password typed on a terminal is not shown, and the terminal is as it was afterwards."""

import os
import sys
import termios
from collections.abc import Callable, Iterator
from io import StringIO
from typing import TextIO

import pytest

from kvstore.ctl.failure import BAD_ARGUMENTS, Failure
from kvstore.ctl.prompt import ask, ask_twice, read_word


class Terminal:
    """Standard input that is a terminal, at which somebody types the next line whenever one is read."""

    def __init__(self, program: TextIO, person: int, lines: list[str]) -> None:
        self._program, self._person, self._lines = program, person, lines
        self.isatty, self.fileno = program.isatty, program.fileno

    def readline(self) -> str:
        assert not self.echoes(), "what is typed now would be seen"
        os.write(self._person, self._lines.pop(0).encode())
        return self._program.readline()

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._program)[3] & termios.ECHO)

    def shown(self) -> bytes:
        """What the terminal has echoed so far."""
        os.set_blocking(self._person, False)
        try:
            return os.read(self._person, 100)
        except BlockingIOError:
            return b""


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    person, program = os.openpty()
    with os.fdopen(program, "r") as stdin:

        def make(*lines: str) -> Terminal:
            made = Terminal(stdin, person, list(lines))
            monkeypatch.setattr(sys, "stdin", made)
            return made

        yield make
    os.close(person)


def test_what_is_typed_is_read_and_not_shown(terminal: Callable[..., Terminal], capsys: pytest.CaptureFixture[str]) -> None:
    at = terminal("secret\n")
    assert ask("Password: ") == "secret"
    assert capsys.readouterr().out == "Password: \n"
    assert at.shown() == b""
    assert at.echoes()


def test_a_new_password_is_asked_for_twice(terminal: Callable[..., Terminal]) -> None:
    terminal("one\n", "one\n")
    assert ask_twice("root") == "one"
    for lines, text in ((("one\n", "other\n"), "given passwords are different"), (("\n",), "empty password")):
        at = terminal(*lines)
        with pytest.raises(Failure, match=text) as caught:
            ask_twice("root")
        assert caught.value.exit_code == BAD_ARGUMENTS
        assert at.echoes()


@pytest.mark.parametrize(("typed", "word"), [("word\n", "word"), ("two words\n", "two"), ("\n", ""), ("", "")])
def test_without_interaction_a_word_of_standard_input_counts(typed: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO(typed))
    assert read_word() == word
