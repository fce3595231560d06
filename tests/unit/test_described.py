"""Requests in words: keys yes, values, passwords and whatever has no form never."""

import msgspec
import pytest

from kvstore import accounts, model
from kvstore.described import described, described_command
from kvstore.model import Compact, Compare, DeleteRange, LeaseGrant, Put, Range, Txn

SECRET = b"the-secret"


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (Put(b"a", SECRET), 'key:"a" value_size:10 '),
        (Put(b"a", b"", lease=7), 'key:"a" value_size:0 lease:7 '),
        (Range(b"a", b"z", revision=99), 'key:"a" range_end:"z" revision:99 '),
        (DeleteRange(b"a"), 'key:"a" '),
        (
            Txn((Compare(0, 3, b"a", SECRET),), (Put(b"b", SECRET), Range(b"b"), None)),
            'compare:<result:EQUAL target:VALUE key:"a" value_size:10 > '
            'success:<request_put:<key:"b" value_size:10 > request_range:<key:"b" > request:<> > failure:<>',
        ),
        (Put(b'\x00"\\\n\xff', b""), 'key:"\\000\\"\\\\\\n\\377" value_size:0 '),
    ],
)
def test_as_etcd_prints_them(request_: object, text: str) -> None:
    assert described(request_) == text


def test_commands_have_their_name() -> None:
    assert described_command(Put(b"a", SECRET)) == 'put:<key:"a" value_size:10 >'
    assert described_command(LeaseGrant(0x10, 100)) == "lease_grant:<ttl:100-second id:0000000000000010>"
    assert described_command(Compact(2)) == "compaction:<revision:2 >"


def test_long_keys_and_long_transactions_are_cut() -> None:
    assert len(described(Put(b"k" * 10_000, b""))) < 400
    assert "and 112 more" in described(Txn((), tuple(Put(b"k", b"v") for _ in range(128))))


def test_what_has_no_form_is_only_named() -> None:
    """New kinds of requests begin without a form: nothing of them is told before somebody decided what may be."""
    secrets = {"password", "password_hash", "token", "value"}
    found = 0
    for kind in [*vars(model).values(), *vars(accounts).values()]:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and secrets & set(kind.__struct_fields__):
            values = {field: SECRET if field in secrets else b"k" if field == "key" else 0 for field in kind.__struct_fields__}
            assert SECRET.decode() not in described_command(kind(**values)), kind
            found += 1
    assert found > 4
