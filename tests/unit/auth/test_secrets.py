"""Passwords by bcrypt, simple tokens and their time; and that no secret shows in a repr, where logs and tracebacks find it."""

import random

import bcrypt
import pytest

from kvstore.accounts import Authenticate, Credentials, PasswordCheck, User, UserAdd, UserChangePassword
from kvstore.api.rpc import Context
from kvstore.auth import tokens as simple
from kvstore.auth.passwords import COST_MIN, is_right, make_hash
from kvstore.auth.signed import SignedTokens
from kvstore.auth.tokens import SimpleTokens, index_of, make_prefix, make_token
from kvstore.client.authentication import Identity
from kvstore.errors import InvalidAuthToken, PasswordTooLong
from kvstore.member.requests import Guarded
from kvstore.model import Range
from kvstore.statemachine.commands import Envelope

SALT = bytes(range(16))


@pytest.mark.parametrize("password", ["", "secret", "pässwörd", "a\0b", "x" * 72])
def test_a_password_opens_its_own_hash(password: str) -> None:
    made = make_hash(password, SALT, COST_MIN)
    assert made.startswith(b"$2b$04$")
    assert is_right(password, made)
    assert not is_right(password[:-1] + "?", made)
    assert bcrypt.checkpw(password.encode(), made), "any bcrypt takes it"


def test_the_salt_is_the_one_that_was_given() -> None:
    # The library's own way to write a salt, held beside ours.
    drawn = random.Random(1)
    for _ in range(50):
        salt = drawn.randbytes(16)
        assert make_hash("p", salt, COST_MIN)[7:29] == bcrypt.hashpw(b"p", make_hash("", salt, COST_MIN)[:29])[7:29]
    assert make_hash("p", SALT, COST_MIN) != make_hash("p", SALT[::-1], COST_MIN)


def test_limits_of_bcrypt() -> None:
    with pytest.raises(PasswordTooLong):
        make_hash("x" * 73, SALT, COST_MIN)
    made = make_hash("x" * 72, SALT, COST_MIN)
    assert is_right("x" * 72 + "whatever", made)
    assert not is_right("", b"")
    assert not is_right("x", b"not a hash")


def test_tokens_look_like_etcds() -> None:
    token = make_token(make_prefix(random.Random(1).randrange), 42)
    prefix, _, index = token.partition(".")
    assert len(prefix) == 16 and prefix.isascii() and prefix.isalpha()
    assert index == "42"
    assert index_of(token) == 42


@pytest.mark.parametrize("text", ["", ".", "a", "a.", ".5", "a.b", "a.-1", "a.5.6", "a.٥", "a." + "9" * 21, "a.1e3"])
def test_what_is_no_simple_token(text: str) -> None:
    assert index_of(text) is None


def test_a_token_lives_as_long_as_it_is_used() -> None:
    tokens = SimpleTokens(300.0)
    tokens.assign("a.1", "ann", 0.0)
    assert tokens.user_of("a.1", 299.0) == "ann"
    assert tokens.user_of("a.1", 598.0) == "ann"
    with pytest.raises(InvalidAuthToken):
        tokens.user_of("a.1", 898.0)
    with pytest.raises(InvalidAuthToken):
        tokens.user_of("a.1", 598.5)  # once it is gone it stays so
    assert len(tokens) == 0


def test_tokens_end_with_their_user_and_with_authentication() -> None:
    tokens = SimpleTokens(300.0)
    for number, user in enumerate(["ann", "bob", "ann"]):
        tokens.assign(f"t.{number}", user, 0.0)
    tokens.forget_user("ann")
    assert tokens.user_of("t.1", 1.0) == "bob"
    for token in ("t.0", "t.2", "unknown.3"):
        with pytest.raises(InvalidAuthToken):
            tokens.user_of(token, 1.0)
    tokens.clear()
    assert len(tokens) == 0


def test_the_number_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simple, "TOKENS_MAX", 3)
    tokens = SimpleTokens(300.0)
    for number in range(5):
        tokens.assign(f"t.{number}", "ann", float(number))
    assert len(tokens) == 3
    with pytest.raises(InvalidAuthToken):
        tokens.user_of("t.1", 5.0)
    tokens.user_of("t.2", 5.0)  # used: now the youngest
    tokens.assign("t.5", "ann", 6.0)
    assert tokens.user_of("t.2", 7.0) == "ann"
    tokens.assign("t.6", "ann", 400.0)
    assert len(tokens) == 1, "those whose time was over made room"


HIDDEN = "hidden-secret"


@pytest.mark.parametrize(
    "holder",
    [
        Credentials(HIDDEN),
        Context(credentials=Credentials(HIDDEN)),
        Guarded(Range(b"k"), Credentials(HIDDEN)),
        User("ann", HIDDEN.encode()),
        UserAdd("ann", HIDDEN.encode()),
        UserChangePassword("ann", HIDDEN.encode()),
        Authenticate("ann", HIDDEN, 1),
        Envelope(1, 1, UserAdd("ann", HIDDEN.encode())),
        PasswordCheck(HIDDEN.encode(), 1),
        SignedTokens("HS256", b"", HIDDEN.encode() * 5),
        Identity(user="ann", password=HIDDEN, token=HIDDEN),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_no_secret_shows_in_a_repr(holder: object) -> None:
    assert HIDDEN not in repr(holder)
    assert HIDDEN not in f"{holder}"
    assert HIDDEN not in repr([holder])


def test_nor_of_those_who_keep_tokens() -> None:
    tokens = SimpleTokens(300.0)
    tokens.assign(HIDDEN, "ann", 0.0)
    assert HIDDEN not in repr(tokens)
    try:
        tokens.user_of(HIDDEN + "?", 0.0)
    except InvalidAuthToken as error:
        assert HIDDEN not in repr(error) + str(error)
