"""Whose token is this, and who am I: TokenReview and SelfSubjectReview (pkg/registry/authentication)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from apiserver.authn.chain import Authenticator
from apiserver.machinery.objects import Object
from apiserver.machinery.status import bad_request
from apiserver.request import User

GROUP = "authentication.k8s.io"


class IdentityReviews:
    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def table(self) -> Mapping[str, Callable[[Object, User, str], Awaitable[Object]]]:
        """By qualified resource: what a create of it is answered with (see authz.reviews)."""
        return {f"tokenreviews.{GROUP}": self.token, f"selfsubjectreviews.{GROUP}": self.own}

    async def token(self, review: Object, user: User, namespace: str) -> Object:
        spec = review.get("spec") or {}
        token, audiences = spec.get("token"), spec.get("audiences") or []
        if not token or not isinstance(token, str):
            raise bad_request("token is required for TokenReview in authentication")
        found = await self._authenticator.of_token(token, audiences)
        if found is None:
            status: dict[str, Any] = {"user": {}, "error": "invalid bearer token"}
        else:
            status = {"authenticated": True, "user": told(found[0])}
            if audiences:
                status["audiences"] = list(found[1])
        return {**review, "status": status}

    async def own(self, review: Object, user: User, namespace: str) -> Object:
        return {**review, "status": {"userInfo": told(user)}}


def told(user: User) -> Object:
    """As UserInfo tells it."""
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    if user.extra:
        info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return info
