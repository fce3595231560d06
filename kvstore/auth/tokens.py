"""Simple tokens: 16 random letters, a dot, and the index of the log entry that assigned them (etcd AU-5; server/auth/simple_token.go).

Every member learns a token when it applies that entry, and then counts its time alone: each use at this member gives it its whole time again.
They are not part of the state: after a restart clients log in again.
"""

from collections.abc import Callable

from kvstore.errors import InvalidAuthToken

PREFIX_LETTERS = 16
TTL_DEFAULT_S = 300.0
TOKENS_MAX = 100_000
"""Beyond it the oldest go. Logging in costs a core 55 ms, so a member comes to about 6,000 within the time of a token."""

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def make_prefix(draw: Callable[[int], int]) -> str:
    """`draw(n)` gives a number below n; it must be one that nobody can guess."""
    return "".join(_LETTERS[draw(len(_LETTERS))] for _ in range(PREFIX_LETTERS))


def make_token(prefix: str, index: int) -> str:
    return f"{prefix}.{index}"


def index_of(token: str) -> int | None:
    """The entry that assigned it; None if this is no simple token at all."""
    prefix, dot, digits = token.partition(".")
    if not dot or not prefix or not (digits.isascii() and digits.isdecimal()) or len(digits) > 20:
        return None
    return int(digits)


class SimpleTokens:
    """Those that this member knows."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._users: dict[str, tuple[str, float]] = {}
        """Token to user and deadline; those used last stand last."""

    def __len__(self) -> int:
        return len(self._users)

    def __repr__(self) -> str:
        return f"SimpleTokens({len(self._users)} of them)"

    def assign(self, token: str, user: str, now_s: float) -> None:
        self._forget_expired(now_s)
        while len(self._users) >= TOKENS_MAX:
            del self._users[next(iter(self._users))]
        self._users[token] = (user, now_s + self._ttl_s)

    def user_of(self, token: str, now_s: float) -> str:
        """Whose it is; its time begins anew. Raises InvalidAuthToken."""
        user, deadline_s = self._users.pop(token, ("", 0.0))
        if deadline_s <= now_s:
            raise InvalidAuthToken
        self._users[token] = (user, now_s + self._ttl_s)
        return user

    def forget_user(self, user: str) -> None:
        """He was deleted, or his password changed."""
        self._users = {token: held for token, held in self._users.items() if held[0] != user}

    def clear(self) -> None:
        self._users.clear()

    def _forget_expired(self, now_s: float) -> None:
        """All have the same time, and a use moves a token to the end: so the first ones end first."""
        while self._users:
            token = next(iter(self._users))
            if self._users[token][1] > now_s:
                return
            del self._users[token]
