"""Passwords as bcrypt hashes. Slow on purpose (cost 10: 55 ms): call these from a worker thread, never on an event loop.

The salt comes in as an argument, as all chance does here. etcd's limits hold: bcrypt looks at 72 bytes; more than that cannot be set, and of a
longer attempt only the first 72 count.
"""

import bcrypt

from kvstore.errors import PasswordTooLong

SALT_BYTES = 16
PASSWORD_BYTES_MAX = 72
COST_MIN, COST_MAX, COST_DEFAULT = 4, 31, 10

# bcrypt writes base64 with an alphabet of its own, without padding.
_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def make_hash(password: str, salt: bytes, cost: int) -> bytes:
    """Raises PasswordTooLong."""
    assert len(salt) == SALT_BYTES, f"a salt has {SALT_BYTES} bytes, not {len(salt)}"
    secret = password.encode()
    if len(secret) > PASSWORD_BYTES_MAX:
        raise PasswordTooLong
    return bcrypt.hashpw(secret, b"$2b$%02d$" % cost + _encoded(salt))


def is_right(password: str, password_hash: bytes) -> bool:
    """Whether the hash is this password's. An empty hash is nobody's."""
    try:
        return bcrypt.checkpw(password.encode()[:PASSWORD_BYTES_MAX], password_hash)
    except ValueError:  # not a hash
        return False


def _encoded(salt: bytes) -> bytes:
    bits, size = int.from_bytes(salt, "big") << 4, len(salt) * 8 + 4
    return "".join(_ALPHABET[bits >> shift & 63] for shift in range(size - 6, -1, -6)).encode()
