"""Which plug-ins a scheduler runs: KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) and what it leaves to the defaults.

Order and weights of the defaults: pkg/scheduler/apis/config/v1/default_plugins.go. A profile may disable plug-ins (`*` for all), enable others, weigh
them anew and give them arguments; a scheduler can have several profiles, and a pod names the one it wants (spec.schedulerName).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.scheduler.framework import Plugin, has
from agents.scheduler.plugins.default_binder import DefaultBinder
from agents.scheduler.plugins.default_preemption import DefaultPreemption
from agents.scheduler.plugins.image_locality import ImageLocality
from agents.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from agents.scheduler.plugins.node_affinity import NodeAffinity
from agents.scheduler.plugins.node_name import NodeName
from agents.scheduler.plugins.node_ports import NodePorts
from agents.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from agents.scheduler.plugins.node_resources_fit import NodeResourcesFit
from agents.scheduler.plugins.node_unschedulable import NodeUnschedulable
from agents.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from agents.scheduler.plugins.pod_topology_spread import PodTopologySpread
from agents.scheduler.plugins.priority_sort import PrioritySort
from agents.scheduler.plugins.scheduling_gates import SchedulingGates
from agents.scheduler.plugins.taint_toleration import TaintToleration
from agents.scheduler.plugins.volume_binding import VolumeBinding
from agents.scheduler.plugins.volume_restrictions import VolumeRestrictions
from agents.scheduler.plugins.volume_zone import VolumeZone
from agents.scheduler.podinfo import DEFAULT_SCHEDULER

Make = Callable[[Mapping[str, Any]], Plugin]

REGISTRY: dict[str, tuple[Make, int]] = {
    "SchedulingGates": (lambda args: SchedulingGates(), 0),
    "PrioritySort": (lambda args: PrioritySort(), 0),
    "NodeUnschedulable": (lambda args: NodeUnschedulable(), 0),
    "NodeName": (lambda args: NodeName(), 0),
    "TaintToleration": (lambda args: TaintToleration(), 3),
    "NodeAffinity": (NodeAffinity, 2),
    "NodePorts": (lambda args: NodePorts(), 0),
    "NodeResourcesFit": (NodeResourcesFit, 1),
    "VolumeRestrictions": (lambda args: VolumeRestrictions(), 0),
    "NodeVolumeLimits": (lambda args: NodeVolumeLimits(), 0),
    "VolumeBinding": (VolumeBinding, 0),
    "VolumeZone": (lambda args: VolumeZone(), 0),
    "PodTopologySpread": (PodTopologySpread, 2),
    "InterPodAffinity": (InterPodAffinity, 2),
    "DefaultPreemption": (DefaultPreemption, 0),
    "NodeResourcesBalancedAllocation": (NodeResourcesBalancedAllocation, 1),
    "ImageLocality": (lambda args: ImageLocality(), 1),
    "DefaultBinder": (lambda args: DefaultBinder(), 0),
}
"""Every plug-in with its default weight, in the order in which they are asked. A plug-in of one's own is one more line here."""

POINTS = {
    "preEnqueue": "pre_enqueue",
    "queueSort": "sort_key",
    "preFilter": "pre_filter",
    "filter": "filter",
    "postFilter": "post_filter",
    "preScore": "pre_score",
    "score": "score",
    "reserve": "reserve",
    "permit": "permit",
    "preBind": "pre_bind",
    "bind": "bind",
    "postBind": "post_bind",
}
"""Names of the extension points in a configuration file, and of the methods."""

PROFILES_MAX = 100


class ConfigError(Exception):
    """The configuration cannot be used; says which field and why."""


class Profile:
    """The plug-ins of one schedulerName, by extension point, in order."""

    def __init__(
        self, name: str, plugins: Sequence[Plugin], weights: Mapping[str, int], without: Mapping[str, frozenset[str]], percentage: int
    ) -> None:
        self.name = name
        self.plugins = plugins
        self.weights = weights
        self.percentage_of_nodes_to_score = percentage
        self.pre_enqueue = self._at("pre_enqueue", without)
        self.pre_filter = self._at("pre_filter", without)
        self.filter = self._at("filter", without)
        self.shifted = [plugin for plugin in self.pre_filter if has(plugin, "pod_added")]
        self.post_filter = [each for each in plugins if isinstance(each, DefaultPreemption) and "post_filter" not in without.get(each.name, ())]
        self.pre_score = self._at("pre_score", without)
        self.score = [(plugin, weights[plugin.name]) for plugin in self._at("score", without) if weights[plugin.name]]
        self.reserve = self._at("reserve", without)
        self.permit = self._at("permit", without)
        self.pre_bind = self._at("pre_bind", without)
        self.bind = self._at("bind", without)
        self.post_bind = self._at("post_bind", without)
        sorters = self._at("sort_key", without)
        if len(sorters) != 1:
            raise ConfigError(f"profile {name!r} needs exactly one queueSort plugin, not {len(sorters)}")
        if not self.bind:
            raise ConfigError(f"profile {name!r} has no bind plugin: its pods would never be bound")
        self.sort = sorters[0]

    def _at(self, point: str, without: Mapping[str, frozenset[str]]) -> list[Plugin]:
        return [plugin for plugin in self.plugins if has(plugin, point) and point not in without.get(plugin.name, ())]


def default_profile(name: str = DEFAULT_SCHEDULER) -> Profile:
    return profile({"schedulerName": name})


def profile(raw: Mapping[str, Any], percentage: int = 0) -> Profile:
    """One entry of `profiles`."""
    name = raw.get("schedulerName") or DEFAULT_SCHEDULER
    sets: Mapping[str, Any] = raw.get("plugins") or {}
    for point in sets:
        if point != "multiPoint" and point not in POINTS:
            raise ConfigError(f"profile {name!r}: unknown extension point {point!r}; known: multiPoint, {', '.join(POINTS)}")
    args = {each["name"]: each.get("args") or {} for each in raw.get("pluginConfig") or ()}
    multi = sets.get("multiPoint") or {}
    enabled = {each["name"]: each.get("weight") or 0 for each in multi.get("enabled") or ()}
    disabled = {each["name"] for each in multi.get("disabled") or ()}
    specific = {each["name"] for point in POINTS for each in (sets.get(point) or {}).get("enabled") or ()}
    for known in (*enabled, *specific, *args, *(disabled - {"*"})):
        if known not in REGISTRY:
            raise ConfigError(f"profile {name!r}: there is no plugin {known!r}; there are: {', '.join(REGISTRY)}")
    chosen = [each for each in REGISTRY if each in enabled or each in specific or not ({"*", each} & disabled)]
    weights = {each: enabled.get(each) or REGISTRY[each][1] for each in chosen}
    without: dict[str, set[str]] = {each: set() for each in chosen}
    for point, method in POINTS.items():
        _at_point(sets.get(point) or {}, method, chosen, weights, without)
        for each in specific - set(enabled):
            # Enabled at some points only, and not by default: silent at the others.
            if {"*", each} & disabled and each not in {one["name"] for one in (sets.get(point) or {}).get("enabled") or ()}:
                without[each].add(method)
    plugins = [_made(name, each, args.get(each) or {}) for each in chosen]
    frozen = {each: frozenset(methods) for each, methods in without.items()}
    share = raw.get("percentageOfNodesToScore")
    return Profile(name, plugins, weights, frozen, percentage if share is None else int(share))


def _at_point(at: Mapping[str, Any], method: str, chosen: list[str], weights: dict[str, int], without: dict[str, set[str]]) -> None:
    enabled = {each["name"]: each.get("weight") or 0 for each in at.get("enabled") or ()}
    disabled = {each["name"] for each in at.get("disabled") or ()}
    for each in chosen:
        if {"*", each} & disabled and each not in enabled:
            without[each].add(method)
        if enabled.get(each):
            weights[each] = enabled[each]


def _made(profile_name: str, name: str, args: Mapping[str, Any]) -> Plugin:
    shape = ((args.get("scoringStrategy") or {}).get("requestedToCapacityRatio") or {}).get("shape")
    if (args.get("scoringStrategy") or {}).get("type") == "RequestedToCapacityRatio":
        points = [each.get("utilization", -1) for each in shape or ()]
        if not points or points != sorted(set(points)) or points[0] < 0 or points[-1] > 100:
            raise ConfigError(f"profile {profile_name!r}: the shape of {name} needs utilizations from 0 to 100 in rising order, not {points}")
        if any(not 0 <= each.get("score", -1) <= 10 for each in shape or ()):
            raise ConfigError(f"profile {profile_name!r}: scores of the shape of {name} go from 0 to 10")
    try:
        return REGISTRY[name][0](args)
    except (KeyError, TypeError, ValueError) as exc:
        raise ConfigError(f"profile {profile_name!r}: arguments of {name} cannot be used: {exc!r}") from exc


def profiles(config: Mapping[str, Any]) -> dict[str, Profile]:
    """All profiles of a KubeSchedulerConfiguration, by scheduler name. Raises ConfigError."""
    version, kind = config.get("apiVersion"), config.get("kind")
    if config and (kind != "KubeSchedulerConfiguration" or version != "kubescheduler.config.k8s.io/v1"):
        raise ConfigError(f"expected kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration, not {version} {kind}")
    if config.get("extenders"):
        raise ConfigError("extenders are not supported: write a plugin instead")
    percentage = int(config.get("percentageOfNodesToScore") or 0)
    if not 0 <= percentage <= 100:
        raise ConfigError(f"percentageOfNodesToScore is from 0 to 100, not {percentage}")
    listed = config.get("profiles") or [{}]
    if len(listed) > PROFILES_MAX:
        raise ConfigError(f"at most {PROFILES_MAX} profiles, not {len(listed)}")
    found: dict[str, Profile] = {}
    for raw in listed:
        made = profile(raw, percentage)
        if made.name in found:
            raise ConfigError(f"two profiles are called {made.name!r}")
        found[made.name] = made
    if len({type(each.sort) for each in found.values()}) > 1:
        raise ConfigError("all profiles must use the same queueSort plugin: there is one queue")
    return found
