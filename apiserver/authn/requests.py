"""Tokens on request: POST serviceaccounts/NAME/token, as `kubectl create token` and node agents do (core/serviceaccount/storage/token.go)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apiserver.authn.service_accounts import Bound, Issuer
from apiserver.machinery.objects import Object, name_of, uid_of
from apiserver.machinery.status import Cause, bad_request, conflict, invalid, invalid_value, not_found
from apiserver.request import Reader, User

LIFETIME_S, LIFETIME_MIN_S, LIFETIME_MAX_S = 3600, 600, 1 << 32
"""Default, least and most that may be asked for."""
GROUP = "authentication.k8s.io"
BINDABLE = {("v1", "Pod"): "pods", ("v1", "Secret"): "secrets", ("v1", "Node"): "nodes"}


class TokenRequests:
    """`lifetime_max_s` (--service-account-max-token-expiration): longer requests get this much; 0 is no limit."""

    def __init__(self, issuer: Issuer, reader: Reader, now: Callable[[], float], lifetime_max_s: int = 0) -> None:
        self._issuer = issuer
        self._reader = reader
        self._now = now
        self._lifetime_max_s = lifetime_max_s

    async def create(self, request: Object, user: User, namespace: str, name: str, warnings: list[str] | None = None) -> Object:
        """The request with its status. Whether `user` may ask is settled before (authorization, NodeRestriction). Raises ApiError."""
        self._check_names(request, namespace, name)
        spec = request.get("spec") or {}
        asked = spec.get("expirationSeconds")
        lifetime_s = LIFETIME_S if asked is None else asked
        if not isinstance(lifetime_s, int) or lifetime_s < LIFETIME_MIN_S:
            raise _refused(name, [invalid_value("spec.expirationSeconds", lifetime_s, "may not specify a duration less than 10 minutes")])
        if lifetime_s > LIFETIME_MAX_S:
            raise _refused(name, [invalid_value("spec.expirationSeconds", lifetime_s, "may not specify a duration larger than 2^32 seconds")])
        if self._lifetime_max_s and lifetime_s > self._lifetime_max_s:
            if warnings is not None:
                warnings.append(f"requested expiration of {lifetime_s} seconds shortened to {self._lifetime_max_s} seconds")
            lifetime_s = self._lifetime_max_s
        account = await self._reader.fresh("serviceaccounts", namespace, name)
        if account is None:
            raise not_found("", "serviceaccounts", name)
        bound = await self._bound(spec.get("boundObjectRef"), namespace, name)
        audiences = [each for each in spec.get("audiences") or () if each] or list(self._issuer.audiences)
        now = self._now()
        token = self._issuer.issue(account, audiences, lifetime_s, now, bound)
        ends = datetime.fromtimestamp(int(now) + lifetime_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        created = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {**(request.get("metadata") or {}), "name": name, "namespace": namespace, "creationTimestamp": created},
            "spec": {**_shown(spec), "audiences": audiences, "expirationSeconds": lifetime_s},
            "status": {"token": token, "expirationTimestamp": ends},
        }

    def _check_names(self, request: Object, namespace: str, name: str) -> None:
        said = request.get("metadata") or {}
        if said.get("name") and said["name"] != name:
            raise _refused(name, [invalid_value("metadata.name", said["name"], "must match the service account name if specified")])
        if said.get("namespace") and said["namespace"] != namespace:
            raise _refused(name, [invalid_value("metadata.namespace", said["namespace"], "must match the service account namespace if specified")])

    async def _bound(self, reference: Object | None, namespace: str, account: str) -> list[Bound]:
        if not reference:
            return []
        version, kind, name = str(reference.get("apiVersion") or ""), str(reference.get("kind") or ""), str(reference.get("name") or "")
        resource = BINDABLE.get((version, kind))
        if resource is None:
            raise bad_request(f"cannot bind token to object of type {version}, Kind={kind}")
        found = await self._reader.fresh(resource, "" if resource == "nodes" else namespace, name)
        if found is None:
            raise not_found("", resource, name)
        if reference.get("uid") and reference["uid"] != uid_of(found):
            told = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            raise conflict("", kind, name, told + "The object might have been deleted and then recreated")
        bound = [Bound(kind.lower(), name, uid_of(found))]
        if resource == "pods":
            spec = found.get("spec") or {}
            if spec.get("serviceAccountName", "") != account:
                raise bad_request(f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.')
            if spec.get("nodeName"):
                node = self._reader.get("nodes", "", spec["nodeName"])
                bound.append(Bound("node", spec["nodeName"], uid_of(node) if node is not None else ""))
        assert name_of(found) == name
        return bound


def _shown(spec: Object) -> dict[str, Any]:
    return {"boundObjectRef": spec.get("boundObjectRef")}


def _refused(name: str, causes: list[Cause]) -> Exception:
    return invalid(GROUP, "TokenRequest", name, causes)
