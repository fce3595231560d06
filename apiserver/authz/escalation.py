"""Nobody gives rights that he does not have (pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased).

Who writes a role must hold every right in it, or the verb `escalate` on it; who writes a binding must hold every right of the role it refers to, or
the verb `bind` on that role. An aggregated role may come to hold anything, so its writer must hold everything.
"""

from apiserver.authz.rbac import API_GROUP, MASTERS, Rbac
from apiserver.authz.rules import Rule, compact, shown, uncovered
from apiserver.machinery.objects import Object
from apiserver.machinery.status import forbidden, not_found
from apiserver.request import Attributes, Authorizer, Passive, Write

ROLES, BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")
EVERYTHING: list[Rule] = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}]


class Escalation(Passive):
    """`authorizer` is the whole union: `escalate` and `bind` may come from anywhere; what the writer holds comes from `rbac`."""

    name = "RBACEscalation"

    def __init__(self, rbac: Rbac, authorizer: Authorizer) -> None:
        self._rbac = rbac
        self._authorizer = authorizer

    async def validate(self, write: Write) -> None:
        if write.resource.group != API_GROUP or write.operation not in ("CREATE", "UPDATE") or MASTERS in write.user.groups:
            return
        if write.resource.plural in ROLES:
            await self._role(write)
        elif write.resource.plural in BINDINGS:
            await self._binding(write)

    async def _role(self, write: Write) -> None:
        new, old = write.object or {}, write.old_object or {}
        same_rules = bool(write.old_object) and (new.get("rules") or []) == (old.get("rules") or [])
        if same_rules and new.get("aggregationRule") == old.get("aggregationRule"):
            return
        if await self._may(write, "escalate", write.resource.plural, write.name):
            return
        self._insist(write, new.get("rules") or [])
        if new.get("aggregationRule"):
            self._insist(write, EVERYTHING)

    async def _binding(self, write: Write) -> None:
        new, old = write.object or {}, write.old_object or {}
        if write.old_object and all((new.get(key) or []) == (old.get(key) or []) for key in ("roleRef", "subjects")):
            return
        reference: Object = new.get("roleRef") or {}
        plural, name = _plural(reference), str(reference.get("name") or "")
        if await self._may(write, "bind", plural, name):
            return
        rules = self._rbac.rules_of(reference, write.namespace)
        if rules is None:
            raise not_found(API_GROUP, plural, name)
        self._insist(write, rules)

    async def _may(self, write: Write, verb: str, plural: str, name: str) -> bool:
        attributes = Attributes(write.user, verb, "", True, API_GROUP, write.resource.version, plural, "", write.namespace, name)
        return (await self._authorizer.authorize(attributes)).allowed is True

    def _insist(self, write: Write, rules: list[Rule]) -> None:
        owned, missing = self._rbac.rules_for(write.user, write.namespace)
        lacking = uncovered(owned, rules)
        if not lacking:
            return
        groups = " ".join(f'"{group}"' for group in write.user.groups)
        told = "\n".join(shown(rule) for rule in compact(lacking))
        why = f'user "{write.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{told}'
        if missing:
            why += f"; resolution errors: [{', '.join(missing)}]"
        raise forbidden(API_GROUP, write.resource.plural, write.name, why)


def _plural(reference: Object) -> str:
    return "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
