"""Tokens of service accounts: signed JWTs that name the account and, if bound, the pod, node or secret they live and die with
(pkg/serviceaccount/claims.go and jwt.go).

A token is good while its signature is by a known key, its issuer and audience are ours, its time has come and not gone, and everything it names
still exists with the same uid. The first three are looked at once for each token and remembered; existence is asked of the watch cache each time.
"""

import json
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import jwt
from msgspec import Struct

from apiserver.authn import keys, legacy_tokens
from apiserver.authn.certificates import CREDENTIAL_ID
from apiserver.machinery.objects import Object, uid_of
from apiserver.request import Reader, User

log = logging.getLogger(__name__)

PREFIX = "system:serviceaccount:"
GROUP = "system:serviceaccounts"
TOKEN_BYTES_MAX = 16 * 1024
"""Ours have under 2 KiB."""
CHECKED_MAX = 4096
"""Tokens whose signature is remembered; the one not seen for longest is forgotten first."""
DELETION_LEEWAY_S = 60
"""A token outlives the deletion of what it is bound to by this: what ends in good order still has to say so (upstream's legacy validator)."""
CLOCK_LEEWAY_S = 5
"""Two API servers' clocks may differ; a token of one must be good at the other at once."""
CLAIM = "kubernetes.io"


class Refused(Exception):
    """A token of ours, or one that claims to be, that is not good; the text is for the log and TokenReview, never for the sender."""


class Bound(Struct, frozen=True):
    """What a token lives and dies with. `kind`: pod, node or secret, the word in the claims."""

    kind: str
    name: str
    uid: str


class Issuer:
    """Signs tokens. `issuer` is the URL of --service-account-issuer."""

    def __init__(
        self, issuer: str, key: keys.PrivateKey, audiences: Sequence[str] = (), new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    ) -> None:
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._key = key
        self._algorithm = keys.algorithm_of(key.public_key())
        self._headers = {"kid": keys.id_of(key.public_key())}
        self._new_id = new_id

    def issue(self, account: Object, audiences: Sequence[str], lifetime_s: int, now_s: float, bound: Sequence[Bound] = ()) -> str:
        """A token for `account` (a ServiceAccount), good for `lifetime_s` from `now_s` on."""
        metadata = account["metadata"]
        about: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata.get("uid", "")},
        }
        for each in bound:
            about[each.kind] = {"name": each.name, "uid": each.uid} if each.uid else {"name": each.name}
        now = int(now_s)
        claims = {
            "aud": list(audiences) or list(self.audiences),
            "exp": now + lifetime_s,
            "iat": now,
            "iss": self.issuer,
            "jti": self._new_id(),
            CLAIM: about,
            "nbf": now,
            "sub": f"{PREFIX}{metadata['namespace']}:{metadata['name']}",
        }
        return jwt.encode(claims, self._key, self._algorithm, self._headers)


class Verifier:
    """Tells whose token it is. `issuers`: the first is ours, others are accepted from before it was changed."""

    def __init__(
        self, issuers: Sequence[str], public_keys: Sequence[keys.PublicKey], audiences: Sequence[str], reader: Reader, now: Callable[[], float]
    ) -> None:
        assert issuers and public_keys, "the command line is refused before without them"
        self.issuers = tuple(issuers)
        self.audiences = tuple(audiences) or (self.issuers[0],)
        self.keys = {keys.id_of(key): key for key in public_keys}
        self._reader = reader
        self._now = now
        self._checked: OrderedDict[str, dict[str, Any]] = OrderedDict()

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> tuple[User, tuple[str, ...]] | None:
        """The account and which of `audiences` (default: the API server's) the token is for. None if it is somebody else's token. Raises Refused."""
        if len(token) > TOKEN_BYTES_MAX or token.count(".") != 2:
            return None
        claims = self._claims(token)
        if claims is None:
            return None
        if claims["iss"] == legacy_tokens.ISSUER:
            return await self._legacy(claims, token, audiences)
        now = self._now()
        if now >= claims["exp"] + CLOCK_LEEWAY_S:
            raise Refused("service account token has expired")
        if now < claims["nbf"] - CLOCK_LEEWAY_S:
            raise Refused("service account token is not valid yet")
        wanted = tuple(audiences) or self.audiences
        good = tuple(each for each in wanted if each in claims["aud"])
        if not good:
            raise Refused(f"token audiences {claims['aud']!r} is invalid for the target audiences {list(wanted)!r}")
        return await self._user(claims, now), good

    async def _legacy(self, claims: dict[str, Any], token: str, audiences: Sequence[str]) -> tuple[User, tuple[str, ...]]:
        """Of a token in a Secret, which is for the API server alone. Raises Refused."""
        told = legacy_tokens.parts(claims, PREFIX)
        if told is None:
            raise Refused("the token is signed but does not say what a service account's token says")
        good = tuple(each for each in (audiences or self.audiences) if each in self.audiences)
        if not good:
            raise Refused(f"a token of a secret is not for the audiences {list(audiences)!r}")
        if why := await legacy_tokens.fault(told, token, self._reader):
            raise Refused(why)
        return account_user(told["namespace"], told["service-account.name"], told["service-account.uid"]), good

    def _claims(self, token: str) -> dict[str, Any] | None:
        """What the token says, its signature checked; None if it does not even claim to be ours."""
        found = self._checked.get(token)
        if found is not None:
            self._checked.move_to_end(token)
            return found
        try:
            header = jwt.get_unverified_header(token)
            said = jwt.decode(token, options={"verify_signature": False})
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            return None
        if not isinstance(said.get("iss"), str) or said["iss"] not in (*self.issuers, legacy_tokens.ISSUER):
            return None
        claims = self._verified(token, header.get("kid"))
        if claims.get("iss") != legacy_tokens.ISSUER:
            claims = _well_formed(claims)
        self._checked[token] = claims
        if len(self._checked) > CHECKED_MAX:
            self._checked.popitem(last=False)
        return claims

    def _verified(self, token: str, kid: object) -> dict[str, Any]:
        """Each key goes with its own algorithm only: `alg: none`, or HS256 with a public key as secret, get nowhere."""
        named = self.keys.get(kid) if isinstance(kid, str) else None
        for key in [named] if named is not None else self.keys.values():
            try:
                payload = jwt.PyJWS().decode(token, key, algorithms=[keys.algorithm_of(key)])
                said = json.loads(payload)
            except (jwt.InvalidTokenError, ValueError, RecursionError):
                continue
            if isinstance(said, dict):
                return said
        raise Refused("the signature of the token is by no key that is known here")

    async def _user(self, claims: dict[str, Any], now_s: float) -> User:
        about = claims[CLAIM]
        namespace, account = about["namespace"], about["serviceaccount"]
        await self._insist("serviceaccounts", namespace, account, now_s)
        extra: dict[str, tuple[str, ...]] = {}
        if claims.get("jti"):
            extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
        if "secret" in about:
            await self._insist("secrets", namespace, about["secret"], now_s)
        if "pod" in about:
            await self._insist("pods", namespace, about["pod"], now_s)
            extra["authentication.kubernetes.io/pod-name"] = (about["pod"]["name"],)
            extra["authentication.kubernetes.io/pod-uid"] = (about["pod"].get("uid", ""),)
        if "node" in about:
            node = about["node"]
            # A pod's token names its node for information alone, the node may go while the pod still ends; one bound to the node dies with it.
            if "pod" not in about:
                await self._insist("nodes", "", node, now_s)
            extra["authentication.kubernetes.io/node-name"] = (node["name"],)
            if node.get("uid"):
                extra["authentication.kubernetes.io/node-uid"] = (node["uid"],)
        return account_user(namespace, account["name"], account["uid"], extra)

    async def _insist(self, resource: str, namespace: str, said: dict[str, Any], now_s: float) -> None:
        """That what the token names is there, the very same. The cache may be a moment behind a creation: then the store is asked."""
        found = self._reader.get(resource, namespace, said["name"])
        if found is None or uid_of(found) != said.get("uid"):
            found = await self._reader.fresh(resource, namespace, said["name"])
        if found is None:
            raise Refused(f"{resource} {said['name']!r} of the token does not exist")
        if uid_of(found) != said.get("uid"):
            raise Refused(f"{resource} {said['name']!r} has another uid than the token says")
        ended = (found.get("metadata") or {}).get("deletionTimestamp")
        if ended and now_s > _seconds(ended) + DELETION_LEEWAY_S:
            raise Refused(f"{resource} {said['name']!r} of the token is deleted")


def account_user(namespace: str, name: str, uid: str, extra: dict[str, tuple[str, ...]] | None = None) -> User:
    """The user that a service account is."""
    return User(f"{PREFIX}{namespace}:{name}", (GROUP, f"{GROUP}:{namespace}"), uid, extra or {})


def account_of(user: User) -> tuple[str, str] | None:
    """Namespace and name, if the user is a service account."""
    if not user.name.startswith(PREFIX):
        return None
    namespace, found, name = user.name.removeprefix(PREFIX).partition(":")
    return (namespace, name) if found and namespace and name and ":" not in name else None


def _well_formed(claims: dict[str, Any]) -> dict[str, Any]:
    """Everything that is read later has its type: what is signed by us and still odd is refused, not followed. Raises Refused."""
    audiences = claims.get("aud")
    claims["aud"] = [audiences] if isinstance(audiences, str) else audiences
    about: Any = claims.get(CLAIM)
    good = (
        isinstance(claims["aud"], list)
        and all(isinstance(each, str) for each in claims["aud"])
        and all(isinstance(claims.get(key), int | float) and not isinstance(claims[key], bool) for key in ("exp", "nbf"))
        and isinstance(about, dict)
        and isinstance(about.get("namespace"), str)
        and _is_reference(about.get("serviceaccount"))
        and bool(about["serviceaccount"].get("uid"))
        and all(_is_reference(about[key]) for key in ("pod", "node", "secret") if key in about)
    )
    if not good:
        raise Refused("the token is signed but does not say what a service account's token says")
    if claims.get("sub") != f"{PREFIX}{about['namespace']}:{about['serviceaccount']['name']}":
        raise Refused("subject and claims of the token name different accounts")
    return claims


def _is_reference(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str) and isinstance(value.get("uid", ""), str)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
