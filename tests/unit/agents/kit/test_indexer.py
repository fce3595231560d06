from agents.kit.indexer import CONTROLLER, NAMESPACE, NODE, STANDARD, Indexer, by_node


def pod(name, namespace="default", node="", owner=""):
    metadata = {"name": name, "namespace": namespace}
    if owner:
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "name": "x", "uid": owner, "controller": True}]
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}}


def test_objects_are_found_by_every_index_and_move_when_they_change():
    cache = Indexer({**STANDARD, NODE: by_node})
    cache.put(pod("a", node="n1", owner="u1"))
    cache.put(pod("b", "other", owner="u1"))
    assert [obj["metadata"]["name"] for obj in cache.by(CONTROLLER, "u1")] == ["a", "b"]
    assert [obj["metadata"]["name"] for obj in cache.by(NAMESPACE, "other")] == ["b"]
    assert cache.by(NODE, "n1") == [pod("a", node="n1", owner="u1")]
    before = cache.put(pod("a", node="n2"))
    assert before == pod("a", node="n1", owner="u1")
    assert cache.by(NODE, "n1") == []
    assert cache.by(NODE, "n2") == [pod("a", node="n2")]
    assert cache.by(CONTROLLER, "") == [pod("a", node="n2")]
    cache.remove("default/a")
    assert cache.by(NODE, "n2") == [] and cache.get("default/a") is None


def test_a_later_index_knows_what_was_there_before():
    cache = Indexer()
    cache.put(pod("a", node="n1"))
    cache.add_index(NODE, by_node)
    assert cache.by(NODE, "n1") == [pod("a", node="n1")]
