"""Certificates of one port, read from their files and read again when these change, as contexts for listening and for dialling.

etcd reads the certificate and the key at each handshake and the revocation list at each check; the authority it reads once, and later versions
every ten seconds. Here all files are looked at before each handshake (`Material.refresh`: four calls of stat, 10 us), and whatever cannot be used
leaves what was there before in place, with a line in the log: a half-written file must not close the port.
"""

import logging
import ssl
from pathlib import Path

from msgspec import Struct

from keelson.cogs.files import signature
from keelson.cogs.logs import fields
from kvstore.server import ciphers
from kvstore.server.certificates import Rules, revoked_serials

log = logging.getLogger("kvstore.tls")


class Unusable(Exception):
    """Files that make no working certificate; the text names them."""


class TlsSettings(Struct, frozen=True):
    """What the flags say about one port. Empty strings and tuples where nothing was given."""

    cert: str = ""
    key: str = ""
    ca: str = ""
    require_client: bool = False
    crl: str = ""
    rules: Rules = Rules()
    dial_cert: str = ""
    """For calling others, when it is not the port's own certificate."""
    dial_key: str = ""
    check_remote: bool = False
    """Whether a caller's address must be one that its certificate names (peers, unless --peer-skip-client-san-verification)."""
    least: str = "TLS1.2"
    most: str = ""
    suites: tuple[str, ...] = ()
    """OpenSSL's names, for TLS 1.2."""
    alpn: tuple[str, ...] = ()
    """Protocols that are spoken at the port."""
    self_signed: bool = False
    """Made by ourselves (--auto-tls): who calls another member then checks nothing."""

    @property
    def given(self) -> bool:
        return bool(self.cert and self.key)

    @property
    def wants_client(self) -> bool:
        """Whether callers must show a certificate. As in etcd, an authority to check them by is reason enough."""
        return bool(self.ca) or self.require_client

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for that only the TLS of `Door` can do."""
        return not (self.crl or self.suites or self.rules.common_names or self.rules.hosts) and (self.least, self.most) in (
            ("TLS1.2", ""),
            ("TLS1.2", "TLS1.3"),
            ("", ""),
            ("", "TLS1.3"),
        )

    def files(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.cert, self.key, self.ca, self.crl, self.dial_cert, self.dial_key)))


class Material:
    """The present contexts and revocation list of a port. Raises Unusable when first read."""

    def __init__(self, settings: TlsSettings, what: str) -> None:
        self.settings = settings
        self._what = what
        self._seen = signature(settings.files())
        self.listen, self.dial, self.revoked = load(settings)

    def refresh(self) -> bool:
        """Look at the files, and take what is new and good; returns whether there was any."""
        seen = signature(self.settings.files())
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            self.listen, self.dial, self.revoked = load(self.settings)
        except Unusable as error:
            log.error("cannot use changed TLS files, staying with what they held before", extra=fields(port=self._what, error=str(error)))
            return False
        log.info("took changed TLS files", extra=fields(port=self._what, cert_file=self.settings.cert))
        return True


def load(settings: TlsSettings) -> tuple[ssl.SSLContext | None, ssl.SSLContext, frozenset[int]]:
    """Contexts for being called (None without a certificate) and for calling, and the serials that are revoked. Raises Unusable."""
    revoked: frozenset[int] = frozenset()
    if settings.crl:
        try:
            revoked = revoked_serials(Path(settings.crl).read_bytes())
        except (OSError, ValueError) as error:
            raise Unusable(f"{settings.crl}: no revocation list: {error}") from error
    return _listening(settings) if settings.given else None, _dialling(settings), revoked


def _listening(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context, settings)
    # A resumed session would bring an old certificate past an authority that is trusted no more.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load_pair(context, settings.cert, settings.key)
    if settings.alpn:
        context.set_alpn_protocols(list(settings.alpn))
    if settings.wants_client:
        _load_authority(context, settings)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _dialling(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context, settings)
    if settings.self_signed:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_authority(context, settings)
    if settings.dial_cert:
        _load_pair(context, settings.dial_cert, settings.dial_key)
    elif settings.given:
        _load_pair(context, settings.cert, settings.key)
    return context


def _restrict(context: ssl.SSLContext, settings: TlsSettings) -> None:
    context.minimum_version = ciphers.version(settings.least) or ssl.TLSVersion.TLSv1_2
    most = ciphers.version(settings.most)
    if most is not None:
        context.maximum_version = most
    if settings.suites:
        context.set_ciphers(":".join(settings.suites))
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE


def _load_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    try:
        # Without a password callback OpenSSL would ask at the terminal.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise Unusable(f"{cert} and {key} are no certificate with its key: {error}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted; a server must start without somebody to type a password")


def _load_authority(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if not settings.ca:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(settings.ca)
        # Whatever is in the file is trusted, an authority in the middle of a chain, too: as Go and the client port's TLS have it.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    except (OSError, ssl.SSLError) as error:
        raise Unusable(f"{settings.ca}: no certificate of an authority: {error}") from error
