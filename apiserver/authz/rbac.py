"""RBAC (plugin/pkg/auth/authorizer/rbac): which bindings name the user, which rules their roles have, whether one allows the request.

It is on every request's path. So bindings are indexed by subject, built anew only when the cache says that something changed: a user with three
groups costs four dictionary look-ups and the few bindings found there, however many the cluster has.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from apiserver.authn.service_accounts import account_of
from apiserver.authz.rules import Rule, allows
from apiserver.machinery.objects import Object, name_of, namespace_of
from apiserver.request import Attributes, Decision, Reader, User

API_GROUP = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = f"roles.{API_GROUP}", f"clusterroles.{API_GROUP}"
BINDINGS, CLUSTER_BINDINGS = f"rolebindings.{API_GROUP}", f"clusterrolebindings.{API_GROUP}"
MASTERS = "system:masters"

Subject = tuple[str, str]
"""Kind (User, Group, ServiceAccount) and name; a service account's is namespace/name."""


class Grant(NamedTuple):
    """A binding that names the user, the rules that it gives, and how the audit log tells it."""

    rules: list[Rule]
    told: str


class Missing(NamedTuple):
    """A binding to a role that is not there: a misspelt name should not look like a missing right."""

    told: str


class Rbac:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cluster_version: int | None = None
        self._cluster: dict[Subject, list[Object]] = {}
        self._spaces_version: int | None = None
        self._spaces: dict[str, dict[Subject, list[Object]]] = {}

    async def authorize(self, attributes: Attributes) -> Decision:
        if MASTERS in attributes.user.groups:
            return Decision(True)
        missing: list[str] = []
        for grant in self.grants(attributes.user, attributes.namespace):
            if isinstance(grant, Missing):
                missing.append(grant.told)
            elif any(allows(rule, attributes) for rule in grant.rules):
                return Decision(True, f"RBAC: allowed by {grant.told}")
        if not missing:
            return Decision(None)
        return Decision(None, f"RBAC: {missing[0]}" if len(missing) == 1 else f"RBAC: [{', '.join(dict.fromkeys(missing))}]")

    def rules_for(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Every rule that holds for the user there, and what went wrong in finding them."""
        if MASTERS in user.groups:
            return [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}], []
        rules: list[Rule] = []
        missing: list[str] = []
        for grant in self.grants(user, namespace):
            if isinstance(grant, Missing):
                missing.append(grant.told)
            else:
                rules.extend(grant.rules)
        return rules, missing

    def grants(self, user: User, namespace: str) -> Iterator[Grant | Missing]:
        """From bindings of the whole cluster, then from those of the namespace."""
        subjects = _subjects_of(user)
        cluster = self._cluster_bindings()
        for subject in subjects:
            for binding in cluster.get(subject, ()):
                yield self._grant(binding, "", subject)
        if not namespace:
            return
        space = self._namespace_bindings().get(namespace)
        if space:
            for subject in subjects:
                for binding in space.get(subject, ()):
                    yield self._grant(binding, namespace, subject)

    def rules_of(self, reference: Object, namespace: str) -> list[Rule] | None:
        """The rules of the role that a binding refers to; None if there is no such role."""
        name = str(reference.get("name") or "")
        if reference.get("kind") == "ClusterRole":
            role = self._reader.get(CLUSTER_ROLES, "", name)
        elif reference.get("kind") == "Role" and namespace:
            role = self._reader.get(ROLES, namespace, name)
        else:
            return None
        return None if role is None else role.get("rules") or []

    def _grant(self, binding: Object, namespace: str, subject: Subject) -> Grant | Missing:
        reference = binding.get("roleRef") or {}
        rules = self.rules_of(reference, namespace)
        if rules is None:
            kind = "clusterrole" if reference.get("kind") == "ClusterRole" else "role"
            return Missing(f'{kind}.{API_GROUP} "{reference.get("name")}" not found')
        own = f'RoleBinding "{name_of(binding)}/{namespace}"' if namespace else f'ClusterRoleBinding "{name_of(binding)}"'
        return Grant(rules, f'{own} of {reference.get("kind")} "{reference.get("name")}" to {subject[0]} "{_told(subject)}"')

    def _cluster_bindings(self) -> dict[Subject, list[Object]]:
        version = self._reader.version(CLUSTER_BINDINGS)
        if version != self._cluster_version:
            self._cluster = _by_subject(self._reader.list(CLUSTER_BINDINGS))
            self._cluster_version = version
        return self._cluster

    def _namespace_bindings(self) -> dict[str, dict[Subject, list[Object]]]:
        version = self._reader.version(BINDINGS)
        if version != self._spaces_version:
            spaces: dict[str, list[Object]] = {}
            for binding in self._reader.list(BINDINGS):
                spaces.setdefault(namespace_of(binding), []).append(binding)
            self._spaces = {namespace: _by_subject(bindings) for namespace, bindings in spaces.items()}
            self._spaces_version = version
        return self._spaces


def _by_subject(bindings: Iterable[Object]) -> dict[Subject, list[Object]]:
    found: dict[Subject, list[Object]] = {}
    for binding in bindings:
        for each in {_subject(subject, namespace_of(binding)) for subject in binding.get("subjects") or ()}:
            found.setdefault(each, []).append(binding)
    return found


def _subject(subject: Object, namespace: str) -> Subject:
    kind, name = str(subject.get("kind") or ""), str(subject.get("name") or "")
    if kind == "ServiceAccount":
        return kind, f"{subject.get('namespace') or namespace}/{name}"
    return kind, name


def _subjects_of(user: User) -> list[Subject]:
    subjects = [("User", user.name), *(("Group", group) for group in user.groups)]
    account = account_of(user)
    if account is not None:
        subjects.append(("ServiceAccount", f"{account[0]}/{account[1]}"))
    return subjects


def _told(subject: Subject) -> str:
    if subject[0] != "ServiceAccount":
        return subject[1]
    namespace, _, name = subject[1].partition("/")
    return f"{name}/{namespace}"  # upstream's order
