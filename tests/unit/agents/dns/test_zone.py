"""The answers that kubernetes/dns' specification wants, name by name."""

import pytest

from agents.dns.zone import NOTHING, Records
from tests.unit.agents.dns.world import zone

EMPTY = Records(True)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.shop.svc", "A", ("10.96.0.7",)),
        ("web.shop.svc", "SRV", ("0 100 80 web.shop.svc.cluster.local.",)),
        ("_http._tcp.web.shop.svc", "SRV", ("0 100 80 web.shop.svc.cluster.local.",)),
        ("db.shop.svc", "A", ("10.244.1.2", "10.244.2.2")),
        ("db-0.db.shop.svc", "A", ("10.244.1.2",)),
        ("10-244-2-2.db.shop.svc", "A", ("10.244.2.2",)),
        ("_http._tcp.db.shop.svc", "SRV", ("0 50 8080 db-0.db.shop.svc.cluster.local.", "0 50 8080 10-244-2-2.db.shop.svc.cluster.local.")),
        ("all.shop.svc", "A", ("10.244.3.2",)),
        ("outside.shop.svc", "A", ("example.org.",)),
        ("10-244-1-2.shop.pod", "A", ("10.244.1.2",)),
        ("dns-version", "TXT", ('"1.1.0"',)),
    ],
)
def test_names_that_have_something(name: str, kind: str, expected: tuple[str, ...]) -> None:
    assert zone().look_up(f"{name}.cluster.local", kind).values == expected


@pytest.mark.parametrize(
    ("name", "kind"),
    [("web.shop.svc", "AAAA"), ("web.shop.svc", "TXT"), ("shop.svc", "A"), ("svc", "A"), ("_http._tcp.web.shop.svc", "A"), ("empty.shop.svc", "A")],
)
def test_names_that_exist_without_such_a_record(name: str, kind: str) -> None:
    assert zone().look_up(f"{name}.cluster.local", kind) == EMPTY


@pytest.mark.parametrize(
    "name",
    [
        "nobody.shop.svc",
        "web.nowhere.svc",
        "nowhere.svc",
        "_ftp._tcp.web.shop.svc",
        "_http._udp.web.shop.svc",
        "db-9.db.shop.svc",
        "10-244-3-2.db.shop.svc",
        "x.web.shop.svc",
        "a.b.c.web.shop.svc",
        "x.outside.shop.svc",
        "10-9-9-9.shop.pod",
        "x.shop.pod",
        "a.b.shop.pod",
        "anything",
    ],
)
def test_names_that_do_not_exist(name: str) -> None:
    assert zone().look_up(f"{name}.cluster.local", "A") == NOTHING


def test_services_by_their_targets_have_the_addresses_along() -> None:
    found = zone().look_up("_http._tcp.db.shop.svc.cluster.local", "SRV")
    assert found.extra[0] == ("db-0.db.shop.svc.cluster.local.", "A", "10.244.1.2")


def test_addresses_backwards() -> None:
    assert zone().reverse("10.96.0.7") == ("web.shop.svc.cluster.local.",)
    assert zone().reverse("10.244.1.2") == ("db-0.db.shop.svc.cluster.local.",)
    assert zone().reverse("10.9.9.9") == ()


def test_what_is_ours_to_answer() -> None:
    assert zone().answers_for("cluster.local")
    assert zone().answers_for("a.cluster.local")
    assert not zone().answers_for("acluster.local")
    assert not zone().answers_for("example.org")
