"""A cluster out of SRV records, by etcd's rules: whose record is ours, what the others are called, which schemes."""

import pytest

from kvstore.client.discovery import LookupFailed
from kvstore.server.bootstrap import ConfigurationError
from kvstore.server.discovery import cluster_from_dns

ADDRESSES = {"m1.example.com": "10.0.0.1", "m2.example.com": "10.0.0.2", "10.0.0.1": "10.0.0.1", "m1.internal": "10.0.0.1"}
RECORDS = {
    "_etcd-server._tcp.example.com": [("m2.example.com.", 2380), ("m1.example.com.", 2380)],
    "_etcd-server-ssl-blue._tcp.example.com": [("m1.example.com.", 2380), ("m2.example.com.", 2380)],
    "_etcd-server._tcp.partly.com": [("gone.example.com.", 2380), ("m1.example.com.", 2380)],
    "_etcd-server._tcp.mixed.com": [("m2.example.com.", 2380)],
    "_etcd-server-ssl._tcp.mixed.com": [("m1.example.com.", 2380)],
}


def lookup(record: str) -> list[tuple[str, int]]:
    if record not in RECORDS:
        raise LookupFailed("no such host")
    return RECORDS[record]


def resolve(host: str, port: int) -> str:
    if host not in ADDRESSES:
        raise OSError("Name or service not known")
    return ADDRESSES[host]


def discover(domain: str, url: str, service_name: str = "") -> dict[str, list[str]]:
    return cluster_from_dns(domain, service_name, "one", [url], lookup, resolve)


@pytest.mark.parametrize("url", ["http://10.0.0.1:2380", "http://m1.internal:2380", "http://m1.example.com:2380"])
def test_our_record_is_the_one_that_leads_to_our_address(url: str) -> None:
    assert discover("example.com", url) == {"0": ["http://m2.example.com:2380"], "one": ["http://m1.example.com:2380"]}


def test_a_service_name_is_a_suffix_and_ssl_means_https() -> None:
    assert discover("example.com", "https://10.0.0.1:2380", "blue") == {
        "one": ["https://m1.example.com:2380"],
        "0": ["https://m2.example.com:2380"],
    }


def test_both_kinds_of_records_count() -> None:
    assert discover("mixed.com", "https://10.0.0.1:2380") == {"one": ["https://m1.example.com:2380"], "0": ["http://m2.example.com:2380"]}


def test_what_does_not_resolve_is_left_out() -> None:
    assert discover("partly.com", "http://10.0.0.1:2380") == {"one": ["http://m1.example.com:2380"]}


@pytest.mark.parametrize(
    ("domain", "url", "text"),
    [
        ("nowhere.com", "http://10.0.0.1:2380", "error querying DNS SRV records for _etcd-server._tcp.nowhere.com: no such host"),
        ("example.com", "http://10.0.0.1:9999", 'cannot find local etcd member "one" in SRV records'),
        ("partly.com", "https://10.0.0.1:2380", "scheme mismatch with expected peer https"),
        ("example.com", "http://unknown:2380", "cannot resolve http://unknown:2380"),
    ],
)
def test_what_ends_the_start(domain: str, url: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        discover(domain, url)
