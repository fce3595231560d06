"""Help, the table of commands, and what a shell completes from it."""

import shutil
import subprocess

import pytest

from kvstore.ctl import commands, main, usage
from kvstore.ctl.about import of_words
from kvstore.ctl.completion import SHELLS, script


def test_every_command_is_where_the_table_says_and_has_its_usage() -> None:
    everything = commands.everything()
    assert {name.split()[0] for name in everything} == set(commands.FILES)
    assert {name.split()[0] for name in everything if " " in name} == set(commands.GROUPS)
    for name, command in everything.items():
        shown = of_words(name.split())
        assert shown.startswith(f"NAME:\n\t{name} - {command.help}\n\nUSAGE:\n\tkvctl {name}")
        assert all(f"--{flag.name}" in shown for flag in command.flags)
    for group in commands.GROUPS:
        assert f"\n\t{next(name.split()[1] for name in sorted(everything) if name.startswith(group + ' '))}\t" in of_words([group])


def test_columns_are_gos() -> None:
    assert usage.aligned("\ta\tx\n\tlonger name\ty\n\nz\tw") == "\ta\t\tx\n\tlonger name\ty\n\nz\tw"


def test_similar_commands_are_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["gt"]) == 1
    told = 'Error: unknown command "gt" for "kvctl"\n\nDid you mean this?\n\tget\n\tput\n\n'
    assert capsys.readouterr().err == f"{told}Run 'kvctl --help' for usage.\n{told}"


def test_a_wrong_flag_is_told_around_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["get", "a", "--nonsense"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "Error: unknown flag: --nonsense\n\nError: unknown flag: --nonsense\n"
    assert captured.out == of_words(["get"])


def test_a_group_alone_shows_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["user"], ["user", "nonsense"], ["user", "--help"], ["help", "user"]):
        assert (main.run(line), capsys.readouterr().out) == (0, of_words(["user"]))


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_knows_every_command_and_flag(shell: str) -> None:
    everything = commands.everything()
    text = script(shell, everything)
    for name in everything:
        assert name.split()[-1] in text
        assert all(flag in text for flag in commands.flags_of(name))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("us", {"user"}),
        ("user gr", {"grant-role"}),
        ("--hex user add --no", {"--no-password"}),
        ("role grant-permission --fr", {"--from-key"}),
        ("get --consis", {"--consistency"}),
    ],
)
def test_bash_completes(typed: str, offered: set[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    words = ["kvctl", *typed.split(" ")]
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f'COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _kvctl; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run([bash, "--norc", "-c", script("bash", commands.everything()) + ask], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered
