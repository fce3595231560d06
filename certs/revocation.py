"""The list of certificates that an authority has taken back: ca.crl beside it.

In DER, which every version of etcd reads (3.6 reads nothing else). A list only grows; what has ended is left in it, since it costs nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs import authority, files


def list_path(folder: Path) -> Path:
    return folder / f"{files.CA}.crl"


def serials(folder: Path) -> frozenset[int]:
    """Revoked by now; none if there is no list. Raises Unusable."""
    path = list_path(folder)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return frozenset()
    try:
        return frozenset(each.serial_number for each in x509.load_der_x509_crl(content))
    except ValueError as error:
        raise files.Unusable(f"{path} holds no revocation list: {error}") from None


def revoke(folder: Path, more: Iterable[int], now: datetime) -> frozenset[int]:
    """Add serials to the list and sign it anew; returns all. Raises FileNotFoundError or Unusable."""
    ca = files.read(folder, files.CA)
    everything = serials(folder) | frozenset(more)
    files.write_atomically(list_path(folder), authority.revocation_list(ca, everything, now).public_bytes(Encoding.DER), files.PUBLIC)
    return everything
