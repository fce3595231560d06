"""KubeSchedulerConfiguration: what is taken, and what is refused with which words."""

import pytest

from agents.scheduler.main import configured
from agents.scheduler.profiles import ConfigError, profiles

HEAD = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}


def one(**profile):
    (found,) = profiles({**HEAD, "profiles": [profile]}).values()
    return found


def test_the_default_profile_has_upstreams_plugins_and_weights():
    found = profiles({})["default-scheduler"]
    assert {plugin.name: weight for plugin, weight in found.score} == {
        "TaintToleration": 3,
        "NodeAffinity": 2,
        "NodeResourcesFit": 1,
        "PodTopologySpread": 2,
        "InterPodAffinity": 2,
        "NodeResourcesBalancedAllocation": 1,
        "ImageLocality": 1,
    }
    assert len(found.plugins) == 18


def test_a_plugin_disabled_everywhere_or_at_one_point():
    nowhere = one(plugins={"multiPoint": {"disabled": [{"name": "InterPodAffinity"}]}})
    assert "InterPodAffinity" not in {plugin.name for plugin in nowhere.plugins}
    filters_only = one(plugins={"score": {"disabled": [{"name": "InterPodAffinity"}]}})
    assert "InterPodAffinity" in {plugin.name for plugin in filters_only.filter}
    assert "InterPodAffinity" not in {plugin.name for plugin, _ in filters_only.score}


def test_all_scores_disabled_but_one_with_a_weight_of_its_own():
    found = one(plugins={"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "ImageLocality", "weight": 7}]}})
    assert [(plugin.name, weight) for plugin, weight in found.score] == [("ImageLocality", 7)]
    assert len(found.filter) > 5


def test_preemption_switched_off():
    assert one(plugins={"postFilter": {"disabled": [{"name": "DefaultPreemption"}]}}).post_filter == []


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"kind": "Pod"}, "expected kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration"),
        ({**HEAD, "extenders": [{}]}, "extenders are not supported"),
        ({**HEAD, "profiles": [{}, {}]}, "two profiles are called 'default-scheduler'"),
        ({**HEAD, "profiles": [{"plugins": {"multiPoint": {"enabled": [{"name": "Coscheduling"}]}}}]}, "there is no plugin 'Coscheduling'"),
        ({**HEAD, "profiles": [{"plugins": {"filtre": {}}}]}, "unknown extension point 'filtre'"),
        ({**HEAD, "profiles": [{"plugins": {"bind": {"disabled": [{"name": "*"}]}}}]}, "has no bind plugin"),
        ({**HEAD, "profiles": [{"plugins": {"queueSort": {"disabled": [{"name": "*"}]}}}]}, "needs exactly one queueSort plugin"),
        ({**HEAD, "percentageOfNodesToScore": 101}, "from 0 to 100"),
        (
            {**HEAD, "profiles": [{"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "Sideways"}}}]}]},
            "arguments of NodeResourcesFit cannot be used",
        ),
    ],
)
def test_what_is_refused(config, told):
    with pytest.raises(ConfigError, match=told):
        profiles(config)


def test_a_file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- schedulerName: mine\n")
    assert list(configured(str(path))) == ["mine"]
    path.write_text("- a list")
    with pytest.raises(ConfigError, match="holds no KubeSchedulerConfiguration"):
        configured(str(path))
    with pytest.raises(ConfigError, match="cannot read"):
        configured(str(tmp_path / "absent"))
