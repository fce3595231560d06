"""etcdctl's command line: flags anywhere, prefixes of commands, environment."""

import pytest

from kvstore.ctl import commands
from kvstore.ctl.failure import Failure
from kvstore.ctl.flags import BadFlag, NoSuchCommand, integer, parse
from kvstore.ctl.output import go_json, human_bytes, quoted, table

FLAGS = {name: commands.flags_of(name) for name in commands.everything()}


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
    for typed in ("bogus", "d"):  # no such command; two of them
        with pytest.raises(NoSuchCommand) as caught:
            read(typed)
        assert (caught.value.words, caught.value.typed) == ([], typed)
    with pytest.raises(NoSuchCommand) as caught:
        read("lease", "bogus")
    assert (caught.value.words, caught.value.typed) == (["lease"], "bogus")


def test_dashes_end_the_flags():
    assert read("put", "k", "--", "-value").after_dashes == ["-value"]


def test_the_environment_and_its_conflict_with_a_flag():
    assert read("get", "a", ETCDCTL_ENDPOINTS="x:1").flags["endpoints"] == ["x:1"]
    with pytest.raises(Failure, match="is shadowed by") as caught:
        read("get", "a", "--endpoints=y:1", ETCDCTL_ENDPOINTS="x:1")
    assert caught.value.exit_code == 1
    assert read("get", "a", KVCTL_ENDPOINTS="x:1", ETCDCTL_ENDPOINTS="y:1").flags["endpoints"] == ["x:1"]
    with pytest.raises(Failure, match="KVCTL_HEX"):
        read("get", "a", KVCTL_HEX="perhaps")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("get --foo", "unknown flag: --foo"),
        ("get --limit=x", 'invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        ("get --limit=99999999999999999999", 'invalid argument "99999999999999999999" for "--limit" flag: .*: value out of range'),
        ("get --limit", "flag needs an argument: --limit"),
        ("get -w", "flag needs an argument: 'w' in -w"),
        ("get -x", "unknown shorthand flag: 'x' in -x"),
        ("get --prefix=zz", 'invalid argument "zz" for "--prefix" flag: strconv.ParseBool: parsing "zz": invalid syntax'),
        ("watch -i=zz", 'invalid argument "zz" for "-i, --interactive" flag: strconv.ParseBool: parsing "zz": invalid syntax'),
        ("get --dial-timeout=5", 'invalid argument "5" for "--dial-timeout" flag: time: missing unit in duration "5"'),
        ("get --=x", "bad flag syntax: --=x"),
    ],
)
def test_wrong_flags_are_told_in_pflags_words(line: str, text: str) -> None:
    with pytest.raises(BadFlag, match=f"^{text}$"):
        read(*line.split())


def test_forms_of_flags():
    assert read("watch", "-iw", "json").flags["interactive"] is True
    assert read("get", "-wjson").flags["write-out"] == read("get", "-w=json").flags["write-out"] == "json"
    assert read("get", "--endpoints=a", "--endpoints=b,c").flags["endpoints"] == ["a", "b", "c"]
    assert read("get", "--limit=0x10").flags["limit"] == 16
    assert read("get", "--command-timeout=1m30s").flags["command-timeout"] == 90
    assert read("endpoint", "health", "--cluster").flags["cluster"] is True


def test_numbers_as_go_reads_them():
    assert integer("ff", 16) == 255
    assert integer("ffffffffffffffff", 16, signed=False) == (1 << 64) - 1
    for text, base, signed in (("zz", 16, False), ("-1", 16, False), ("0x1", 16, True), (" 1", 10, True), ("1_0", 10, True), ("", 10, True)):
        with pytest.raises(ValueError, match="invalid syntax"):
            integer(text, base, signed=signed)
    with pytest.raises(ValueError, match="value out of range"):
        integer("ffffffffffffffff", 16)


def test_gos_forms_of_text():
    assert quoted(b'a"b\\\n\x01\xff') == '"a\\"b\\\\\\n\\x01\\xff"'
    assert go_json({"a": "<&>"}) == '{"a":"\\u003c\\u0026\\u003e"}'
    assert [human_bytes(size) for size in (5, 20_480, 2_097_152, 34_000_000)] == ["5 B", "20 kB", "2.1 MB", "34 MB"]


def test_a_table_is_gos():
    assert table(["ID", "NAME"], [["1", "long name"]]) == (
        "+----+-----------+\n| ID |   NAME    |\n+----+-----------+\n|  1 | long name |\n+----+-----------+\n"
    )
