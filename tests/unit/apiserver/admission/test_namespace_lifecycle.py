from apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster

ENDING = {"metadata": {"name": "ns"}, "status": {"phase": "Terminating"}}


def test_nothing_without_a_namespace():
    error = refused(NamespaceLifecycle(Cluster()), write("pods", pod()))
    assert (error.code, error.message) == (404, 'namespaces "ns" not found')


def test_a_namespace_of_a_moment_ago():
    cluster = Cluster()
    cluster.late[("namespaces", "", "ns")] = {"metadata": {"name": "ns"}}
    admitted(NamespaceLifecycle(cluster), write("pods", pod()))


def test_nothing_new_where_one_is_ending():
    plugin = NamespaceLifecycle(Cluster(namespaces=[ENDING]))
    told = refused(plugin, write("pods", pod())).status()
    assert told["message"] == 'pods "p" is forbidden: unable to create new content in namespace ns because it is being terminated'
    cause = {"reason": "NamespaceTerminating", "message": "namespace ns is being terminated", "field": "metadata.namespace"}
    assert told["details"] == {"name": "p", "kind": "pods", "causes": [cause]}
    admitted(plugin, write("pods", pod(), old=pod()))
    admitted(plugin, write("pods", None, old=pod(), operation="DELETE"))
    assert "Unknown" in refused(plugin, write("pods", {"metadata": {}})).message
    assert '"web-"' in refused(plugin, write("pods", {"metadata": {"generateName": "web-"}})).message


def test_some_never_end():
    plugin = NamespaceLifecycle(Cluster())
    error = refused(plugin, write("namespaces", None, operation="DELETE", name="kube-system"))
    assert error.message == 'namespaces "kube-system" is forbidden: this namespace may not be deleted'
    admitted(plugin, write("namespaces", None, operation="DELETE", name="mine"))
