"""Certificates and keys on disk.

NAME.crt and NAME.key lie side by side. A key is 0600 from its first byte on, both are written beside their place and moved there, and what
exists is never overwritten unless asked: a lost CA key cannot be brought back.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs.authority import Pair

CA = "ca"
"""The name of the authority's files."""
PRIVATE, PUBLIC = 0o600, 0o644


class Unusable(ValueError):
    """A file holds no certificate or key, or the two do not belong together; the text names the file."""


def certificate_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.crt"


def key_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.key"


def write(folder: Path, name: str, pair: Pair, overwrite: bool = False) -> None:
    """Write both files. Raises FileExistsError, having changed nothing, if one is there and `overwrite` was not asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = key_path(folder, name), certificate_path(folder, name)
    if not overwrite:
        for path in (certificate, key):
            if path.exists():
                raise FileExistsError(f"{path} exists already")
    # The key first: whoever finds the certificate finds its key.
    write_atomically(key, pair.key_pem(), PRIVATE)
    write_atomically(certificate, pair.certificate_pem(), PUBLIC)


def read(folder: Path, name: str) -> Pair:
    """Raises FileNotFoundError, or Unusable."""
    certificate = read_certificate(certificate_path(folder, name))
    path = key_path(folder, name)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise Unusable(f"{path} holds no private key that can be read without a password: {error}") from None
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != certificate.public_key().public_bytes(*spki):
        raise Unusable(f"{path} is not the key of {certificate_path(folder, name)}")
    return Pair(certificate, key)  # type: ignore[arg-type]  # a key that belongs to a certificate is one of the kinds that certificates take


def read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise Unusable(f"{path} holds no certificate: {error}") from None


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All in a file, at least one. Raises FileNotFoundError, or Unusable."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise Unusable(f"{path} holds no certificate: {error}") from None


def write_certificates(path: Path, certificates: Iterable[x509.Certificate]) -> None:
    write_atomically(path, b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates), PUBLIC)


def write_atomically(path: Path, content: bytes, mode: int) -> None:
    """Either the old file or the whole new one is there, also after a power cut."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
