"""Two kinds of bearer tokens that are looked up, not computed: the static token file, and bootstrap tokens kept as Secrets in kube-system.

Static file (--token-auth-file): CSV lines `token,user,uid,"group1,group2"` (pkg/authentication/token/tokenfile).
Bootstrap tokens `abcdef.0123456789abcdef` (plugin/pkg/auth/authenticator/token/bootstrap): Secret `bootstrap-token-abcdef`.
"""

import base64
import binascii
import csv
import hashlib
import hmac
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from apiserver.config_files import Unusable, text
from apiserver.machinery.objects import Object, is_terminating
from apiserver.request import Reader, User

BOOTSTRAP = re.compile(r"\A([a-z0-9]{6})\.([a-z0-9]{16})\Z")
BOOTSTRAP_TYPE = "bootstrap.kubernetes.io/token"
BOOTSTRAP_GROUP = "system:bootstrappers"
BOOTSTRAP_EXTRA_GROUP = re.compile(r"\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\Z")


def read_file(path: Path) -> dict[bytes, User]:
    """Users by the hash of their token, so that looking one up takes no time that depends on how much of it is right. Raises Unusable, OSError."""
    found: dict[bytes, User] = {}
    for number, record in enumerate(csv.reader(io.StringIO(text(path), newline=""), skipinitialspace=True), 1):
        if not record or not any(record):
            continue
        if len(record) < 3 or not record[0] or not record[1]:
            raise Unusable(f'{path} line {number}: expected token,user,uid and optionally "group1,group2"')
        groups = tuple(each for each in record[3].split(",") if each) if len(record) > 3 else ()
        found[_digest(record[0])] = User(record[1], groups, record[2])
    return found


class StaticTokens:
    def __init__(self, users: dict[bytes, User]) -> None:
        self._users = users

    def authenticate(self, token: str) -> User | None:
        return self._users.get(_digest(token))


class BootstrapTokens:
    def __init__(self, reader: Reader, now: Callable[[], float]) -> None:
        self._reader = reader
        self._now = now

    async def authenticate(self, token: str) -> User | None:
        """None for anything that is not a good bootstrap token."""
        parts = BOOTSTRAP.match(token)
        if parts is None:
            return None
        name = f"bootstrap-token-{parts[1]}"
        secret = self._reader.get("secrets", "kube-system", name) or await self._reader.fresh("secrets", "kube-system", name)
        if secret is None or secret.get("type") != BOOTSTRAP_TYPE or is_terminating(secret):
            return None
        if not hmac.compare_digest(_field(secret, "token-secret").encode(), parts[2].encode()) or _field(secret, "token-id") != parts[1]:
            return None
        if self._is_over(_field(secret, "expiration")) or _field(secret, "usage-bootstrap-authentication") != "true":
            return None
        extra = [each.strip() for each in _field(secret, "auth-extra-groups").split(",") if each.strip()]
        if not all(BOOTSTRAP_EXTRA_GROUP.match(each) for each in extra):
            return None
        return User(f"system:bootstrap:{parts[1]}", tuple(dict.fromkeys([BOOTSTRAP_GROUP, *extra])))

    def _is_over(self, expiration: str) -> bool:
        """One that cannot be read counts as over."""
        if not expiration:
            return False
        try:
            end = datetime.fromisoformat(expiration.replace("Z", "+00:00"))
        except ValueError:
            return True
        return (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp() <= self._now()


def _field(secret: Object, key: str) -> str:
    value = (secret.get("data") or {}).get(key)
    try:
        return base64.b64decode(value, validate=True).decode() if isinstance(value, str) else ""
    except (binascii.Error, ValueError):
        return ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
