"""One user acts as another: Impersonate-User, -Group, -Uid, -Extra-* (apiserver/pkg/endpoints/filters/impersonation).

Each thing impersonated is authorized by itself with the verb `impersonate`; whatever the real user may do plays no part afterwards.
"""

import re
from urllib.parse import unquote

from multidict import CIMultiDict, CIMultiDictProxy

from apiserver.authn.chain import AUTHENTICATED, UNAUTHENTICATED
from apiserver.authn.service_accounts import GROUP, PREFIX
from apiserver.filters.authorize import refusal
from apiserver.machinery.status import ApiError, bad_request
from apiserver.request import ANONYMOUS, Attributes, Authorizer, User

USER, GROUPS, UID, EXTRA = "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-"
VALUES_MAX = 512
"""Groups and extra values in one request; every one of them is authorized."""
Headers = CIMultiDict[str] | CIMultiDictProxy[str]
ACCOUNT_PART = re.compile(r"\A[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z")


async def impersonate(headers: Headers, user: User, authorizer: Authorizer) -> User:
    """The user to go on as; `user` itself if no such header is there. Raises ApiError."""
    name, groups, uid, extra = _asked(headers)
    if not (name or groups or uid or extra):
        return user
    if not name:
        raise ApiError("InternalError", "Internal error occurred: requested impersonation without impersonating a user")  # upstream's answer, a 500
    for attributes in _questions(user, name, groups, uid, extra):
        decision = await authorizer.authorize(attributes)
        if decision.allowed is not True:
            raise refusal(attributes, decision.reason)
    return _impersonated(name, groups, uid, extra)


def _asked(headers: Headers) -> tuple[str, list[str], str, dict[str, list[str]]]:
    users: list[str] = []
    groups: list[str] = []
    uids: list[str] = []
    extra: dict[str, list[str]] = {}
    for key, value in headers.items():
        lower = key.lower()
        if not lower.startswith("impersonate-"):
            continue
        if lower == USER:
            users.append(value)
        elif lower == GROUPS:
            groups.append(value)
        elif lower == UID:
            uids.append(value)
        elif lower.startswith(EXTRA):
            extra.setdefault(unquote(lower.removeprefix(EXTRA)).lower(), []).append(value)
        else:
            raise bad_request(f"unknown impersonation header {key!r}")
    if len(users) > 1 or len(uids) > 1:
        raise bad_request("Impersonate-User and Impersonate-Uid may be given once")
    if len(groups) + sum(len(values) for values in extra.values()) > VALUES_MAX:
        raise bad_request(f"more than {VALUES_MAX} groups and extra values to impersonate")
    return users[0] if users else "", groups, uids[0] if uids else "", extra


def _questions(user: User, name: str, groups: list[str], uid: str, extra: dict[str, list[str]]) -> list[Attributes]:
    account = _account(name)
    if account is not None:
        questions = [_question(user, "", "serviceaccounts", account[1], namespace=account[0])]
    else:
        questions = [_question(user, "", "users", name)]
    questions += [_question(user, "", "groups", group) for group in groups]
    questions += [
        _question(user, "authentication.k8s.io", "userextras", value, subresource=key, version="v1")
        for key, values in extra.items()
        for value in values
    ]
    if uid:
        questions.append(_question(user, "authentication.k8s.io", "uids", uid, version="v1"))
    return questions


def _question(user: User, group: str, resource: str, name: str, *, namespace: str = "", subresource: str = "", version: str = "v1") -> Attributes:
    return Attributes(user, "impersonate", "", True, group, version, resource, subresource, namespace, name)


def _impersonated(name: str, groups: list[str], uid: str, extra: dict[str, list[str]]) -> User:
    own = list(groups)
    account = _account(name)
    if not own and account is not None:
        own = [GROUP, f"{GROUP}:{account[0]}"]
    if name == ANONYMOUS.name:
        if UNAUTHENTICATED not in own:
            own.append(UNAUTHENTICATED)
    elif UNAUTHENTICATED not in own and AUTHENTICATED not in own:
        own.append(AUTHENTICATED)
    return User(name, tuple(own), uid, {key: tuple(values) for key, values in extra.items()})


def _account(name: str) -> tuple[str, str] | None:
    """Namespace and name of a service account's user name; None for any other user, also one that only looks like it."""
    parts = name.removeprefix(PREFIX).split(":") if name.startswith(PREFIX) else []
    return (parts[0], parts[1]) if len(parts) == 2 and all(ACCOUNT_PART.match(part) for part in parts) else None
