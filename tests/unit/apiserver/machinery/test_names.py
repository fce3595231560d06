"""Names, labels and times."""

from datetime import UTC, datetime

import pytest

from apiserver.machinery import names
from apiserver.machinery.timestamps import age, human_duration, parse, parse_duration, shown, shown_micro


def test_names() -> None:
    assert names.dns1123_label("web-1") == []
    assert names.dns1123_label("a.b") == ["must not contain dots"]
    assert names.dns1123_label("a" * 64) == ["must be no more than 63 bytes"]
    assert names.dns1123_subdomain("Web") == [
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric "
        "character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ]
    assert names.dns1035_label("1a") != []
    assert names.generated(names.dns1123_subdomain, "web-") == []
    assert names.dns1123_subdomain("web\n") != []


def test_labels() -> None:
    assert names.label_key("app.kubernetes.io/name") == []
    assert names.label_key("/name") == ["prefix part must be non-empty"]
    assert names.label_key("a/b/c")[0].startswith("a qualified name must consist of")
    assert names.label_key("")[0] == "name part must be non-empty"
    assert names.label_value("") == []
    assert names.label_value("-x") != []
    assert names.config_key("..") == ["must not be '..'"]
    assert names.label_faults({"a": "b c"})[0][0] == "b c"


def test_times() -> None:
    moment = datetime(2026, 11, 21, 14, 3, 5, 120, UTC)
    assert shown(moment) == "2026-11-21T14:03:05Z"
    assert shown_micro(moment) == "2026-11-21T14:03:05.000120Z"
    assert parse(shown_micro(moment)) == moment
    assert parse("2026-11-21T16:03:05.00012+02:00") == moment
    for wrong in ("2026-11-21", "2026-13-21T00:00:00Z", "now"):
        with pytest.raises(ValueError):
            parse(wrong)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (192, "3m12s"),
        (3600, "60m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 120, "5h2m"),
        (9 * 3600 + 120, "9h"),
        (51 * 3600, "2d3h"),
        (90 * 86400, "90d"),
        (3 * 365 * 86400 + 12 * 86400, "3y12d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_age_and_durations() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    assert age("2026-11-20T23:59:15Z", now) == "45s"
    assert age("", now) == "<unknown>"
    assert parse_duration("1h30m") == 5400.0
    assert parse_duration("1.5s") == 1.5
    with pytest.raises(ValueError):
        parse_duration("5")
