"""A user out of the client certificate of a TLS connection: the common name is the user, organizations are the groups
(k8s.io/apiserver/pkg/authentication/request/x509, CommonNameUserConversion).

The TLS library has checked the certificate against --client-ca-file before any of this runs: a certificate that it did not check never gets here.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from apiserver.request import User

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
NAME_BYTES_MAX = 1024
"""Longer common names and organizations are nobody's: messages and audit lines repeat them."""


def user_of(certificate: Mapping[str, Any] | None, der: bytes | None = None) -> User | None:
    """`certificate` as `ssl.SSLSocket.getpeercert()` tells it. None without a certificate, or without a common name in it.

    `der`, the certificate itself, makes the credential's id for the audit log.
    """
    if not certificate:
        return None
    name = ""
    groups: list[str] = []
    for relative in certificate.get("subject", ()):
        for key, value in relative:
            if len(value.encode()) > NAME_BYTES_MAX:
                return None
            if key == "commonName":
                name = value
            elif key == "organizationName":
                groups.append(value)
    if not name:
        return None
    extra = {CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)} if der else {}
    return User(name, tuple(dict.fromkeys(groups)), extra=extra)
