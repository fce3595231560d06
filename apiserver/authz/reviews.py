"""May somebody do something, asked as an object: the reviews of authorization.k8s.io (pkg/registry/authorization).

They are answered and never stored. `kubectl auth can-i` asks them, and every component that leaves its decisions to the API server.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from apiserver.authz.rbac import Rbac
from apiserver.authz.rules import Rule
from apiserver.machinery.objects import Object
from apiserver.machinery.status import Cause, bad_request, invalid, invalid_value
from apiserver.request import Attributes, Authorizer, User

GROUP = "authorization.k8s.io"
Answer = Callable[[Object, User, str], Awaitable[Object]]
"""(the review, who asks, the namespace in the path) -> the review with its status. Raises ApiError."""


class AccessReviews:
    def __init__(self, authorizer: Authorizer, rbac: Rbac | None) -> None:
        self._authorizer = authorizer
        self._rbac = rbac

    def table(self) -> Mapping[str, Answer]:
        """By qualified resource: what a create of it is answered with."""
        return {
            f"subjectaccessreviews.{GROUP}": self.subject,
            f"localsubjectaccessreviews.{GROUP}": self.local,
            f"selfsubjectaccessreviews.{GROUP}": self.own,
            f"selfsubjectrulesreviews.{GROUP}": self.rules,
        }

    async def subject(self, review: Object, user: User, namespace: str) -> Object:
        spec = review.get("spec") or {}
        self._check("SubjectAccessReview", spec, _subject_faults(spec))
        return await self._answer(review, spec, _subject(spec))

    async def local(self, review: Object, user: User, namespace: str) -> Object:
        spec = review.get("spec") or {}
        causes = _subject_faults(spec)
        if spec.get("nonResourceAttributes") is not None:
            causes.append(invalid_value("spec.nonResourceAttributes", spec["nonResourceAttributes"], "disallowed on this kind of request"))
        self._check("LocalSubjectAccessReview", spec, causes)
        if (spec.get("resourceAttributes") or {}).get("namespace", "") != namespace:
            told = (review.get("metadata") or {}).get("namespace")
            if told:
                asked = (spec.get("resourceAttributes") or {}).get("namespace", "")
                raise invalid(GROUP, "", "", [invalid_value("spec.resourceAttributes.namespace", asked, "must match metadata.namespace")])
            raise bad_request(f"spec.resourceAttributes.namespace must match namespace: {namespace}")
        return await self._answer(review, spec, _subject(spec))

    async def own(self, review: Object, user: User, namespace: str) -> Object:
        spec = review.get("spec") or {}
        self._check("SelfSubjectAccessReview", spec, [])
        return await self._answer(review, spec, user)

    async def rules(self, review: Object, user: User, namespace: str) -> Object:
        """Everything the asker may do in a namespace, as far as RBAC knows: the Node authorizer decides by what pods use, which no rules tell."""
        asked = str((review.get("spec") or {}).get("namespace") or "")
        if not asked:
            raise bad_request("no namespace on request")
        if self._rbac is None:
            return {
                **review,
                "status": {"resourceRules": [], "nonResourceRules": [], "incomplete": True, "evaluationError": "no authorizer can tell rules"},
            }
        found, missing = self._rbac.rules_for(user, asked)
        status: dict[str, Any] = {
            "resourceRules": _distinct(rule for rule in found if rule.get("resources")),
            "nonResourceRules": _distinct(rule for rule in found if rule.get("nonResourceURLs")),
            "incomplete": bool(missing),
        }
        if missing:
            status["evaluationError"] = ", ".join(missing)
        return {**review, "status": status}

    def _check(self, kind: str, spec: Object, causes: list[Cause]) -> None:
        resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if resource is not None and other is not None:
            causes.append(invalid_value("spec.nonResourceAttributes", other, "cannot be specified in combination with resourceAttributes"))
        elif resource is None and other is None:
            causes.append(
                invalid_value("spec.resourceAttributes", resource, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
            )
        if causes:
            raise invalid(GROUP, kind, "", causes)

    async def _answer(self, review: Object, spec: Object, subject: User) -> Object:
        decision = await self._authorizer.authorize(attributes_of(spec, subject))
        status: dict[str, Any] = {"allowed": decision.allowed is True}
        if decision.allowed is False:
            status["denied"] = True
        if decision.reason:
            status["reason"] = decision.reason
        return {**review, "status": status}


def attributes_of(spec: Object, subject: User) -> Attributes:
    """What a review asks, as a request would (pkg/registry/authorization/util)."""
    asked = spec.get("resourceAttributes")
    if asked is None:
        other = spec["nonResourceAttributes"]
        return Attributes(subject, str(other.get("verb") or ""), str(other.get("path") or ""))
    text = {key: str(asked.get(key) or "") for key in ("verb", "group", "version", "resource", "subresource", "namespace", "name")}
    return Attributes(
        subject,
        text["verb"],
        "",
        True,
        text["group"],
        text["version"] or "*",
        text["resource"],
        text["subresource"],
        text["namespace"],
        text["name"],
        _selector(asked.get("fieldSelector"), "fieldSelector"),
        _selector(asked.get("labelSelector"), "labelSelector"),
    )


def _selector(asked: object, name: str) -> str:
    return str(asked.get("rawSelector") or "") if isinstance(asked, dict) else ""


def _subject(spec: Object) -> User:
    extra = {str(key).lower(): tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
    return User(str(spec.get("user") or ""), tuple(spec.get("groups") or ()), str(spec.get("uid") or ""), extra)


def _subject_faults(spec: Object) -> list[Cause]:
    return [] if spec.get("user") or spec.get("groups") else [invalid_value("spec.user", "", "at least one of user or group must be specified")]


def _distinct(rules: Any) -> list[Rule]:
    found: list[Rule] = []
    for rule in rules:
        if rule not in found:
            found.append(rule)
    return found
