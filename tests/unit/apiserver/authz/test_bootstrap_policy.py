import asyncio
import copy

from apiserver.authz.bootstrap_policy import AUTOUPDATE, ensure, objects, reconciled
from apiserver.authz.rbac import CLUSTER_BINDINGS, CLUSTER_ROLES, Rbac
from apiserver.authz.rules import uncovered
from apiserver.machinery.objects import Object, name_of, namespace_of
from apiserver.request import Attributes, Change, User
from tests.unit.apiserver.cluster import Cluster


class Store:
    """A Writer over the cluster in memory."""

    def __init__(self) -> None:
        self.cluster = Cluster()

    async def create(self, resource: str, obj: Object) -> bool:
        if self.cluster.get(resource, namespace_of(obj), name_of(obj)) is not None:
            return False
        self.cluster.put(resource, copy.deepcopy(obj))
        return True

    async def update(self, resource: str, namespace: str, name: str, change: Change) -> Object | None:
        found = self.cluster.get(resource, namespace, name)
        return None if found is None else self.cluster.put(resource, change(found))


def started() -> Store:
    store = Store()
    asyncio.run(ensure(store))
    return store


def may(store: Store, user: User, verb: str, resource: str, group: str = "", namespace: str = "ns", **more: str) -> bool:
    attributes = Attributes(user, verb, "", True, group, "v1", resource, namespace=namespace, **more)
    return asyncio.run(Rbac(store.cluster).authorize(attributes)).allowed is True


def test_a_second_start_changes_nothing():
    assert asyncio.run(ensure(started())) == 0


def test_every_binding_refers_to_a_role_that_is_there():
    store = started()
    for resource, obj in objects():
        if "roleRef" in obj:
            assert Rbac(store.cluster).rules_of(obj["roleRef"], namespace_of(obj)) is not None, (resource, name_of(obj))


def test_what_was_taken_away_comes_back_what_was_added_stays():
    store = started()
    role = store.cluster.get(CLUSTER_ROLES, "", "system:node-proxier")
    assert role is not None
    mine = {"verbs": ["get"], "apiGroups": ["acme.io"], "resources": ["things"]}
    store.cluster.put(CLUSTER_ROLES, {**role, "rules": [mine, *role["rules"][1:]]})
    assert asyncio.run(ensure(store)) == 1
    after = store.cluster.get(CLUSTER_ROLES, "", "system:node-proxier")
    assert after is not None and mine in after["rules"] and not uncovered(after["rules"], role["rules"])


def test_subjects_are_completed_unless_told_otherwise():
    store = started()
    binding = store.cluster.get(CLUSTER_BINDINGS, "", "system:discovery")
    assert binding is not None
    bare = {**binding, "subjects": [], "metadata": {"name": "system:discovery"}}
    done = reconciled(bare, binding)
    assert done is not None and done["subjects"] == binding["subjects"] and done["metadata"]["labels"] == binding["metadata"]["labels"]
    assert reconciled({**bare, "metadata": {"name": "x", "annotations": {AUTOUPDATE: "false"}}}, binding) is None


def test_who_may_what_by_default():
    store = started()
    anybody, nobody = User("ann", ("system:authenticated",)), User("system:anonymous", ("system:unauthenticated",))
    assert may(store, anybody, "create", "selfsubjectaccessreviews", "authorization.k8s.io")
    assert not may(store, nobody, "create", "selfsubjectaccessreviews", "authorization.k8s.io")
    assert not may(store, anybody, "get", "pods")
    scheduler, manager = User("system:kube-scheduler"), User("system:kube-controller-manager")
    assert may(store, scheduler, "create", "pods", subresource="binding") and may(
        store, scheduler, "get", "leases", "coordination.k8s.io", name="kube-scheduler"
    )
    assert not may(store, scheduler, "get", "secrets") and not may(store, scheduler, "create", "pods")
    assert may(store, manager, "create", "pods") and may(store, manager, "patch", "deployments", "apps", subresource="status")
    assert may(store, manager, "list", "widgets", "acme.io")
    assert may(store, User("system:kube-proxy"), "watch", "endpointslices", "discovery.k8s.io")
    dns = User("system:dns")
    assert may(store, dns, "create", "endpointslices", "discovery.k8s.io", "kube-system") and not may(
        store, dns, "create", "endpointslices", "discovery.k8s.io"
    )
    assert not may(store, User("system:node:a", ("system:nodes",)), "get", "secrets")
    paths = Rbac(store.cluster)
    assert asyncio.run(paths.authorize(Attributes(nobody, "get", "/version"))).allowed
    assert not asyncio.run(paths.authorize(Attributes(nobody, "get", "/metrics"))).allowed
    assert not asyncio.run(paths.authorize(Attributes(nobody, "get", "/api"))).allowed
    assert asyncio.run(paths.authorize(Attributes(anybody, "get", "/apis/apps/v1"))).allowed
