"""docs/operating/kvctl.md lists what `kvctl help` lists, and nothing else."""

import re
from pathlib import Path

import pytest

from kvstore.ctl import main
from kvstore.ctl.flags import VARIABLES

PAGE = (Path(__file__).parents[3] / "docs/operating/kvctl.md").read_text()


def test_the_page_has_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["help"]) == 0
    helped = re.search(r"\nCOMMANDS:\n(.*?)\n\n", capsys.readouterr().out, re.S)
    assert helped is not None
    listed = [line.strip().split("\t")[0] for line in helped[1].splitlines()]
    section = PAGE.split("\n## ")[1]
    assert re.findall(r"^\| `([a-z -]+)` \|", section, re.M) == listed


def test_the_page_names_the_variables() -> None:
    assert all(f"{begin}ENDPOINTS" in PAGE for begin in VARIABLES)
