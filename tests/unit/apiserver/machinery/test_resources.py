"""The table of resources is the package's, and says what everybody else relies on."""

import pytest

from apiserver.machinery import generate_resources
from apiserver.machinery.resources import built_in, preference, resource


def test_the_table_is_that_of_the_package() -> None:
    assert built_in() == generate_resources.from_package()


def test_a_hundred_resources_in_thirty_six_versions_of_groups() -> None:
    assert len(built_in()) == 100
    assert len({(each.group, each.version) for each in built_in()}) == 36


def test_the_most_stable_version_unless_one_is_named() -> None:
    assert resource("horizontalpodautoscalers.autoscaling").version == "v2"
    assert resource("horizontalpodautoscalers.autoscaling", "v1").api_version == "autoscaling/v1"
    with pytest.raises(KeyError, match="no version v9"):
        resource("pods", "v9")
    assert sorted(["v1", "v2beta1", "v2", "v1alpha1", "other"], key=preference, reverse=True) == ["v2", "v1", "v2beta1", "v1alpha1", "other"]


def test_paths() -> None:
    pods, nodes, deployments = resource("pods"), resource("nodes"), resource("deployments.apps")
    assert pods.path("ns", "a", "log") == "/api/v1/namespaces/ns/pods/a/log"
    assert pods.path() == "/api/v1/pods"
    assert nodes.path("ignored", "n") == "/api/v1/nodes/n"
    assert deployments.path("ns") == "/apis/apps/v1/namespaces/ns/deployments"
