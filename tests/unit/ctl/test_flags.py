"""etcdctl's command line: flags anywhere, prefixes of commands, environment."""

import pytest

from kvstore.ctl.failure import Failure
from kvstore.ctl.flags import parse
from kvstore.ctl.main import COMMANDS
from kvstore.ctl.output import go_json, human_bytes, quoted, table

FLAGS = {name: {flag.name: flag for flag in command.flags} for name, command in COMMANDS.items()}


def read(*argv: str, **environment: str):
    return parse(argv, FLAGS, environment)


def test_flags_stand_anywhere():
    given = read("--endpoints", "a:1,b:2", "get", "--prefix", "key", "-w", "json", "--limit=5")
    assert given.command == "get"
    assert given.arguments == ["key"]
    assert given.flags["endpoints"] == ["a:1", "b:2"]
    assert (given.flags["prefix"], given.flags["write-out"], given.flags["limit"]) == (True, "json", 5)


def test_beginnings_of_commands_will_do():
    assert read("mem", "li").command == "member list"
    assert read("lease", "time", "12").command == "lease timetolive"
    with pytest.raises(Failure, match="unknown command"):
        read("bogus")
    with pytest.raises(Failure, match="unknown command"):
        read("d")


def test_dashes_end_the_flags():
    assert read("put", "k", "--", "-value").after_dashes == ["-value"]


def test_the_environment_and_its_conflict_with_a_flag():
    assert read("get", "a", ETCDCTL_ENDPOINTS="x:1").flags["endpoints"] == ["x:1"]
    with pytest.raises(Failure, match="is shadowed by") as caught:
        read("get", "a", "--endpoints=y:1", ETCDCTL_ENDPOINTS="x:1")
    assert caught.value.exit_code == 128


def test_gos_forms_of_text():
    assert quoted(b'a"b\\\n\x01\xff') == '"a\\"b\\\\\\n\\x01\\xff"'
    assert go_json({"a": "<&>"}) == '{"a":"\\u003c\\u0026\\u003e"}'
    assert [human_bytes(size) for size in (5, 20_480, 2_097_152, 34_000_000)] == ["5 B", "20 kB", "2.1 MB", "34 MB"]


def test_a_table_is_gos():
    assert table(["ID", "NAME"], [["1", "long name"]]) == (
        "+----+-----------+\n| ID |   NAME    |\n+----+-----------+\n|  1 | long name |\n+----+-----------+\n"
    )
