"""TLS versions and cipher suites by Go's names, as etcd's flags take them, in OpenSSL's words."""

import ssl
from collections.abc import Sequence

VERSIONS = {"": None, "TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}
"""Empty: whatever is newest."""

SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}
"""Of TLS 1.2. Go also knows RC4 and 3DES by name, which OpenSSL has no more, and does not let those of TLS 1.3 be chosen."""

_OF_TLS13 = frozenset(["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
_GONE = frozenset(
    [
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    ]
)


class Unknown(ValueError):
    """A version or suite that cannot be had, in etcd's words where it has them."""


def version(name: str) -> ssl.TLSVersion | None:
    try:
        return VERSIONS[name]
    except KeyError:
        raise Unknown(f'unexpected TLS version "{name}" (must be one of: TLS1.2, TLS1.3)') from None


def check_versions(least: str, most: str, suites: Sequence[str]) -> None:
    """Raises Unknown for what etcd refuses at start, too."""
    lowest, highest = version(least), version(most)
    if lowest is not None and highest is not None and lowest > highest:
        raise Unknown(f"min version ({least}) is greater than max version ({most})")
    if lowest == ssl.TLSVersion.TLSv1_3 and suites:
        raise Unknown("cipher suites cannot be configured when only TLS1.3 is enabled")


def openssl_names(suites: Sequence[str]) -> tuple[str, ...]:
    """In the same order; those of TLS 1.3 are left out, since they are always offered (as with Go). Raises Unknown."""
    found = []
    for name in suites:
        if name in _OF_TLS13:
            continue
        if name in _GONE:
            raise Unknown(f'TLS cipher suite "{name}" is broken and cannot be had here (etcd would take it): leave it out')
        if name not in SUITES:
            raise Unknown(f'unexpected TLS cipher suite "{name}"')
        found.append(SUITES[name])
    if suites and not found:
        raise Unknown("--cipher-suites has only suites of TLS 1.3, which cannot be chosen: use --tls-min-version=TLS1.3")
    return tuple(dict.fromkeys(found))
