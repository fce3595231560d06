"""Endpoints out of SRV records."""

import pytest

from kvstore.client.discovery import LookupFailed, discover

RECORDS = {
    "_etcd-client-ssl._tcp.example.com": [("one.example.com.", 2379), ("two.example.com.", 2379)],
    "_etcd-client._tcp.example.com": [("three.example.com.", 12379)],
    "_etcd-client-blue._tcp.example.com": [("blue.example.com.", 2379)],
}


def lookup(record: str) -> list[tuple[str, int]]:
    if record not in RECORDS:
        raise LookupFailed("no such host")
    return RECORDS[record]


def test_records_become_urls_those_with_tls_first() -> None:
    assert discover("example.com", lookup=lookup) == [
        "https://one.example.com:2379",
        "https://two.example.com:2379",
        "http://three.example.com:12379",
    ]
    assert discover("example.com", "blue", lookup) == ["http://blue.example.com:2379"]


def test_no_records_are_an_error_that_names_both() -> None:
    with pytest.raises(
        LookupFailed, match=r"^dns lookup errors: lookup _etcd-client-ssl\._tcp\.nowhere: .* and lookup _etcd-client\._tcp\.nowhere: "
    ):
        discover("nowhere", lookup=lookup)
