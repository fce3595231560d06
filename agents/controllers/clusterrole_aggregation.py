"""Cluster roles that gather the rules of others by label (pkg/controller/clusterroleaggregation)."""

from collections.abc import Iterable, Sequence

from agents.kit.controller import Controller
from agents.kit.selection import matches
from apiserver.client.rest import APPLY
from apiserver.machinery.objects import Object, is_terminating, labels_of, name_of
from apiserver.machinery.resources import resource

CLUSTER_ROLES = resource("clusterroles.rbac.authorization.k8s.io")


def gathered(role: Object, roles: Iterable[Object]) -> list[Object]:
    """The rules that an aggregating role should have: those of the others that it selects, by name, each once."""
    found: list[Object] = []
    selectors = role["aggregationRule"].get("clusterRoleSelectors") or ()
    for other in sorted(roles, key=name_of):
        if name_of(other) != name_of(role) and any(matches(each, labels_of(other)) for each in selectors):
            found += [rule for rule in other.get("rules") or () if rule not in found]
    return found


class ClusterRoleAggregation(Controller):
    name = "clusterrole-aggregation-controller"
    component = "clusterrole-aggregation-controller"
    workers = 5

    def watch(self) -> None:
        self.roles = self.watched(CLUSTER_ROLES, self._changed)

    def _changed(self, role: Object) -> None:
        """Any role may be part of any that gathers: those are few."""
        for each in self.roles.all():
            if each.get("aggregationRule"):
                self.enqueue(each)

    async def sync(self, key: str) -> float | None:
        role = self.roles.get(key)
        if role is None or is_terminating(role) or not role.get("aggregationRule"):
            return None
        rules = gathered(role, self.roles.all())
        if _same(rules, role.get("rules") or ()):
            return None
        patch = {"apiVersion": CLUSTER_ROLES.api_version, "kind": CLUSTER_ROLES.kind, "metadata": {"name": key}, "rules": rules}
        await self.client.patch(CLUSTER_ROLES, key, patch, kind=APPLY, field_manager=self.name, force=True)
        return None


def _same(wanted: Sequence[Object], there: Sequence[Object]) -> bool:
    return len(wanted) == len(there) and all(rule in there for rule in wanted)
