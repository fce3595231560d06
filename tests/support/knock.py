"""One connection with TLS to a server, with whatever certificate and settings: does it get in, and if not, what is said."""

import socket
import ssl
from pathlib import Path

from tests.support.tls import TlsFiles

TIMEOUT_S = 5.0
OPENING = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


def context(
    files: TlsFiles,
    cert: Path | None = None,
    key: Path | None = None,
    least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    suites: str = "",
) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(str(files.ca))
    if suites:
        made.set_ciphers(suites)
    made.minimum_version, made.maximum_version = least, most
    if cert is not None:
        made.load_cert_chain(str(cert), str(key))
    return made


def knock(port: int, tls: ssl.SSLContext, opening: bytes = OPENING) -> bytes:
    """What the server answers to `opening`. Raises OSError (ssl.SSLError among them) if it does not let us in, and ConnectionError if it hangs up."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as wire,
        tls.wrap_socket(wire, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(opening)
        # With TLS 1.3 only the first read tells what became of our certificate.
        answer = secure.recv(65536)
    if not answer:
        raise ConnectionResetError("the server hung up")
    return answer


def served_certificate(port: int, tls: ssl.SSLContext) -> bytes:
    """What it shows, DER."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as wire,
        tls.wrap_socket(wire, server_hostname="127.0.0.1") as secure,
    ):
        shown = secure.getpeercert(binary_form=True)
    assert shown is not None
    return shown
