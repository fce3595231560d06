"""Heads of HTTP/1.1, rule by rule (RFC 9112, 2 to 6 and 9; RFC 9110, 5, 7.2 and 10.1.1)."""

import pytest

from kvstore.http.http1_head import Head, Refusal, parse, refuse_early


def head(first: str, *fields: str) -> Head:
    return parse("\r\n".join([first, *fields, "", ""]).encode("latin-1"))


def status(first: str, *fields: str) -> int:
    with pytest.raises(Refusal) as refused:
        head(first, *fields)
    return refused.value.status


def test_a_request() -> None:
    found = head("POST /v3/kv/put?x=1%20 HTTP/1.1", "Host: a:2379", "X-Two:\t two words \t", "CONTENT-LENGTH: 07")
    assert (found.method, found.path, found.raw_path, found.query, found.version) == ("POST", "/v3/kv/put", b"/v3/kv/put", b"x=1%20", "1.1")
    assert found.headers == ((b"host", b"a:2379"), (b"x-two", b"two words"), (b"content-length", b"07"))
    assert (found.content_length, found.chunked, found.keep_alive, found.expects_continue) == (7, False, True, False)


def test_paths_are_decoded() -> None:
    assert head("GET /a%2Fb%C3%BC%zz HTTP/1.1", "Host: a").path == "/a/bü%zz"
    assert head("GET /a%2Fb?c=%2F HTTP/1.1", "Host: a").raw_path == b"/a%2Fb"


def test_targets() -> None:
    """RFC 9112, 3.2."""
    absolute = head("GET http://b:1/x?y HTTP/1.1", "Host: a")
    assert (absolute.path, absolute.query, absolute.headers) == ("/x", b"y", ((b"host", b"b:1"),))
    assert head("GET HTTP://b HTTP/1.1", "Host: a").path == "/"
    assert head("OPTIONS * HTTP/1.1", "Host: a").path == "*"
    assert status("GET * HTTP/1.1", "Host: a") == 400
    assert status("CONNECT a:1 HTTP/1.1", "Host: a") == 400
    assert status("GET ftp://b/x HTTP/1.1", "Host: a") == 400


@pytest.mark.parametrize(
    "line",
    ["GET / HTTP/1.1 ", " GET / HTTP/1.1", "GET  / HTTP/1.1", "GET / http/1.1", "GET /", "GET\t/ HTTP/1.1", "G(T / HTTP/1.1", "GET /\xfc HTTP/1.1"],
)
def test_malformed_request_lines(line: str) -> None:
    assert status(line, "Host: a") == 400


def test_versions() -> None:
    assert head("GET / HTTP/1.0").version == "1.0"
    assert head("GET / HTTP/1.7", "Host: a").version == "1.1", "a higher minor version is served as the highest known one (RFC 9110, 2.5)"
    assert status("GET / HTTP/2.0", "Host: a") == status("GET / HTTP/0.9") == 505


def test_there_is_one_host() -> None:
    """RFC 9112, 3.2; HTTP/1.0 may go without."""
    assert status("GET / HTTP/1.1") == status("GET / HTTP/1.1", "Host: a", "Host: a") == status("GET / HTTP/1.0", "Host: a", "Host: b") == 400
    assert status("GET / HTTP/1.1", "Host: a/b") == status("GET / HTTP/1.1", "Host: a b") == 400
    assert head("GET / HTTP/1.1", "Host:").headers == ((b"host", b""),)
    assert head("GET / HTTP/1.1", "Host: [::1]:2379").headers == ((b"host", b"[::1]:2379"),)


@pytest.mark.parametrize(
    "field",
    ["Name : value", " folded", "\tfolded", "no colon", ": no name", "Na me: x", "a: \0", "a: b\rc", "a: b\x7f", "(a): b", "a: \x01", "\xfc: a"],
)
def test_malformed_fields(field: str) -> None:
    """RFC 9112, 5.1 and 5.2; RFC 9110, 5.5."""
    assert status("GET / HTTP/1.1", "Host: a", field) == 400


def test_values_may_have_bytes_beyond_ascii() -> None:
    assert head("GET / HTTP/1.1", "Host: a", "X: \xe9").headers[1] == (b"x", b"\xe9")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["Content-Length: 3", "Content-Length: 3"], 400),
        (["Content-Length: 3", "Content-Length: 4"], 400),
        (["Content-Length: 3, 3"], 400),
        (["Content-Length: +3"], 400),
        (["Content-Length: -3"], 400),
        (["Content-Length: 0x3"], 400),
        (["Content-Length: 3_0"], 400),
        (["Content-Length: \xb2"], 400),
        (["Content-Length:"], 400),
        (["Content-Length: 99999999999999999999"], 413),
        (["Content-Length: 3", "Transfer-Encoding: chunked"], 400),
        (["Transfer-Encoding: chunked", "Content-Length: 3"], 400),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 501),
        (["Transfer-Encoding: chunked, chunked"], 501),
        (["Transfer-Encoding: gzip, chunked"], 501),
        (["Transfer-Encoding: xchunked"], 501),
        (["Transfer-Encoding: chunked\x0b"], 400),
        (["Transfer-Encoding:"], 501),
        (["Transfer-Encoding: identity"], 501),
    ],
)
def test_lengths_that_are_not_certain(fields: list[str], expected: int) -> None:
    """RFC 9112, 6.1 and 6.3: what two readers could understand differently is refused."""
    assert status("POST / HTTP/1.1", "Host: a", *fields) == expected


def test_chunked() -> None:
    assert head("POST / HTTP/1.1", "Host: a", "transfer-encoding: CHUNKED").chunked
    assert status("POST / HTTP/1.0", "Transfer-Encoding: chunked") == 400


@pytest.mark.parametrize(
    ("first", "field", "kept"),
    [
        ("GET / HTTP/1.1", "X: y", True),
        ("GET / HTTP/1.1", "Connection: close", False),
        ("GET / HTTP/1.1", "Connection: Upgrade, CLOSE", False),
        ("GET / HTTP/1.1", "Connection: keep-alive, close", False),
        ("GET / HTTP/1.0", "X: y", False),
        ("GET / HTTP/1.0", "Connection: Keep-Alive", True),
        ("GET / HTTP/1.0", "Connection: keep-alive, close", False),
    ],
)
def test_who_stays(first: str, field: str, kept: bool) -> None:
    """RFC 9112, 9.3."""
    assert head(first, "Host: a", field).keep_alive is kept


def test_expectations() -> None:
    """RFC 9110, 10.1.1."""
    assert head("POST / HTTP/1.1", "Host: a", "Expect: 100-Continue", "Content-Length: 1").expects_continue
    assert not head("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 1").expects_continue
    assert status("POST / HTTP/1.1", "Host: a", "Expect: miracles") == 417


def test_equal_heads_are_read_once() -> None:
    assert head("GET /once HTTP/1.1", "Host: a") is head("GET /once HTTP/1.1", "Host: a")
    large = "X: " + "y" * 2000
    assert head("GET /once HTTP/1.1", "Host: a", large) is not head("GET /once HTTP/1.1", "Host: a", large)


@pytest.mark.parametrize("part", [b"\0", b"\x16\x03\x01", b"GET / HTTP/1.1\nHost: a", b"GET / HTTP/1.1\r\nHost: a\n", b"\n"])
def test_what_cannot_become_a_head_is_refused_early(part: bytes) -> None:
    with pytest.raises(Refusal):
        refuse_early(part, True)


def test_a_good_beginning_is_not_refused() -> None:
    whole = b"GET / HTTP/1.1\r\nHost: a\r\n"
    for size in range(1, len(whole) + 1):
        refuse_early(whole[:size], True)
