from typing import Any

import pytest

from apiserver.admission.limit_ranger import LimitRanger
from tests.unit.apiserver.admission.writes import admitted, pod, refused, write
from tests.unit.apiserver.cluster import Cluster


def plugin(**limit: Any) -> LimitRanger:
    return LimitRanger(Cluster(limitranges=[{"metadata": {"namespace": "ns", "name": "l"}, "spec": {"limits": [{"type": "Container", **limit}]}}]))


def with_resources(**resources: dict[str, str]) -> dict[str, Any]:
    return pod(containers=[{"name": "c", "resources": resources}])


def test_defaults_for_who_names_none():
    got = admitted(plugin(default={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "100m"}), write("pods", with_resources(limits={"cpu": "2"})))
    assert got["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    told = "LimitRanger plugin set: cpu request for container c; memory limit for container c"
    assert got["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == told


@pytest.mark.parametrize(
    ("limit", "resources", "told"),
    [
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, "maximum cpu usage per Container is 1, but limit is 2"),
        ({"max": {"cpu": "1"}}, {}, "maximum cpu usage per Container is 1.  No limit is specified"),
        ({"min": {"memory": "1Gi"}}, {"requests": {"memory": "1Mi"}}, "minimum memory usage per Container is 1Gi, but request is 1Mi"),
        ({"min": {"cpu": "1"}}, {}, "minimum cpu usage per Container is 1.  No request is specified"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
        ),
        ({"type": "Pod", "max": {"cpu": "1"}}, {"limits": {"cpu": "1500m"}}, "maximum cpu usage per Pod is 1, but limit is 1500m"),
    ],
)
def test_limits(limit, resources, told):
    assert refused(plugin(**limit), write("pods", with_resources(**resources))).message == f'pods "p" is forbidden: {told}'


def test_within_limits_and_elsewhere():
    admitted(plugin(max={"cpu": "1"}), write("pods", with_resources(limits={"cpu": "1"})))
    admitted(plugin(max={"cpu": "1"}), write("pods", with_resources(limits={"cpu": "9"}), namespace="other"))
    admitted(plugin(max={"cpu": "1"}), write("pods", with_resources(limits={"cpu": "9"}), old=pod()))


def test_claims():
    claim = {"metadata": {"name": "d"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    limit = {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}
    assert (
        "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"
        in refused(plugin(**limit), write("persistentvolumeclaims", claim)).message
    )


def test_init_containers_run_before_and_sidecars_beside():
    small, large = {"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "3"}}}
    limit = {"type": "Pod", "max": {"cpu": "3"}}
    admitted(plugin(**limit), write("pods", pod(containers=[small, small], initContainers=[large])))
    assert (
        "limit is 4"
        in refused(plugin(**limit), write("pods", pod(containers=[small], initContainers=[{**large, "restartPolicy": "Always"}]))).message
    )
