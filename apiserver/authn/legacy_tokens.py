"""Service account tokens without an end, which stand in Secrets (pkg/serviceaccount/legacy.go). Good while the Secret holds this very token and the
account has the uid that the token says; both are asked for each time.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

from apiserver.machinery.objects import Object, labels_of, uid_of
from apiserver.request import Reader

ISSUER = "kubernetes/serviceaccount"
CLAIM = "kubernetes.io/serviceaccount/"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
"""A label of a Secret by which its token is taken back until somebody removes it."""
PARTS = ("namespace", "secret.name", "service-account.name", "service-account.uid")


def parts(claims: dict[str, Any], prefix: str) -> dict[str, str] | None:
    """What the claims say, None if that is not what such a token says. `prefix` of the subject."""
    found = {name: claims.get(CLAIM + name) for name in PARTS}
    if not all(isinstance(value, str) and value for value in found.values()):
        return None
    told = {name: str(value) for name, value in found.items()}
    return told if claims.get("sub") == f"{prefix}{told['namespace']}:{told['service-account.name']}" else None


async def fault(told: dict[str, str], token: str, reader: Reader) -> str:
    """Why the token is not good any more; empty if it is."""
    namespace = told["namespace"]
    secret = await _found(reader, "secrets", namespace, told["secret.name"], lambda obj: holds(obj, token))
    if secret is None or not holds(secret, token):
        return f"the secret {told['secret.name']!r} does not hold the token"
    if labels_of(secret).get(INVALID_SINCE):
        return f"the token of the secret {told['secret.name']!r} has been marked invalid"
    uid = told["service-account.uid"]
    account = await _found(reader, "serviceaccounts", namespace, told["service-account.name"], lambda obj: uid_of(obj) == uid)
    if account is None or uid_of(account) != uid:
        return f"the service account {told['service-account.name']!r} of the token is not there"
    deleted = [each for each in (secret, account) if (each.get("metadata") or {}).get("deletionTimestamp")]
    return "what the token stands for is being deleted" if deleted else ""


async def _found(reader: Reader, resource: str, namespace: str, name: str, fits: Any) -> Object | None:
    """From the cache if that has what fits, otherwise from the store: the cache may be a moment behind."""
    found = reader.get(resource, namespace, name)
    return found if found is not None and fits(found) else await reader.fresh(resource, namespace, name)


def holds(secret: Object, token: str) -> bool:
    if secret.get("type") != "kubernetes.io/service-account-token":
        return False
    try:
        return hmac.compare_digest(base64.b64decode((secret.get("data") or {}).get("token") or "", validate=True), token.encode())
    except (binascii.Error, ValueError):
        return False
