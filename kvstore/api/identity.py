"""What a call shows of its caller: a token in its metadata, or the name in his certificate (AU-3, AU-7)."""

import functools
from typing import Any

from kvstore.accounts import Credentials

TOKEN, AUTHORIZATION = b"token", b"authorization"
"""Names of metadata; a token in the first counts before one in the second, as in etcd."""

_BEARER = "bearer "


def credentials_of(token: bytes | None, authorization: bytes | None) -> Credentials | None:
    shown = token if token is not None else authorization
    if shown is None:
        return None
    text = shown.decode("utf-8", "replace").strip()
    return Credentials(text[len(_BEARER) :].lstrip() if text[: len(_BEARER)].lower() == _BEARER else text)


def common_name(scope: dict[str, Any]) -> str:
    """Of the certificate that the client of this connection was let in with; "" if there is none or it has no such name."""
    tls = (scope.get("extensions") or {}).get("tls")
    subject = tls.get("client_cert_name") if tls else None
    return _common_name(subject) if subject else ""


@functools.lru_cache(maxsize=1024)
def _common_name(subject: str) -> str:
    """`subject` is written as RFC 4514 has it. Of several common names the certificate's last one counts, as in Go."""
    from cryptography.x509 import Name  # only where there are certificates: the library takes 30 ms
    from cryptography.x509.oid import NameOID

    try:
        names = Name.from_rfc4514_string(subject).get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return str(names[-1].value) if names else ""
