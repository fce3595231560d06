"""The scheduler's quick ways against slow and obvious ones: a node passes the filters exactly if the rules of the documentation, counted out over all
pods, allow the pod there; and the sums kept pod by pod are the sums."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.scheduler.cycle import CycleState, pre_filter, run_filters
from agents.scheduler.podinfo import PodInfo
from agents.scheduler.profiles import default_profile
from agents.scheduler.snapshot import Snapshot
from tests.unit.agents.scheduler.cluster import ZONE, node, pod, snapshot

HOST = "kubernetes.io/hostname"
PROFILE = default_profile()
APPS = ["red", "blue"]


def term(app, key):
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}


def required(field, terms):
    return {field: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


terms = st.builds(term, st.sampled_from(APPS), st.sampled_from([HOST, ZONE]))
affinities = st.one_of(
    st.just({}),
    st.builds(lambda found: required("podAntiAffinity", found), st.lists(terms, min_size=1, max_size=2)),
    st.builds(lambda found: required("podAffinity", found), st.lists(terms, min_size=1, max_size=2)),
)
spreads = st.lists(
    st.builds(
        lambda app, key, skew: {
            "maxSkew": skew,
            "topologyKey": key,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": app}},
        },
        st.sampled_from(APPS),
        st.sampled_from([HOST, ZONE]),
        st.integers(1, 2),
    ),
    max_size=2,
)
nodes = st.lists(st.tuples(st.sampled_from(["1", "2", "4"]), st.sampled_from([None, "x", "y"]), st.booleans(), st.booleans()), min_size=1, max_size=4)
pods = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["0", "500m", "1"]), st.sampled_from(APPS), affinities, st.sampled_from([0, 80])), max_size=6
)


def made(node_specs, pod_specs):
    objects = []
    for number, (cpu, zone, tainted, cordoned) in enumerate(node_specs):
        taints = [("k", "", "NoSchedule")] if tainted else []
        objects.append(node(f"n{number}", cpu=cpu, pods="3", taints=taints, labels={ZONE: zone} if zone else {}, unschedulable=cordoned))
    running = []
    for number, (place, cpu, app, affinity, port) in enumerate(pod_specs):
        running.append(with_port(pod(f"p{number}", cpu=cpu, labels={"app": app}, affinity=affinity, nodeName=f"n{place % len(node_specs)}"), port))
    return objects, running


def with_port(found, port):
    if port:
        found["spec"]["containers"][0]["ports"] = [{"hostPort": port, "protocol": "TCP"}]
    return found


def allowed(wanted, place, objects, running):
    """The slow rule."""
    labels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in objects}
    spec = place["spec"]
    if spec.get("unschedulable") or spec["taints"]:
        return False
    there = [each for each in running if each["spec"]["nodeName"] == place["metadata"]["name"]]
    asked = PodInfo(wanted).requests.get("cpu", 0)
    used = sum(PodInfo(each).requests.get("cpu", 0) for each in there)
    if len(there) >= 3 or (asked and asked + used > 1000 * int(place["status"]["allocatable"]["cpu"])):
        return False
    if PodInfo(wanted).host_ports and any(PodInfo(each).host_ports for each in there):
        return False
    return spread_allows(wanted, place, objects, running, labels) and affinity_allows(wanted, place, running, labels)


def same_place(key, one, other):
    return key in one and key in other and one[key] == other[key]


def says(selecting, found):
    return found["metadata"]["labels"].get("app") == selecting["labelSelector"]["matchLabels"]["app"]


def spread_allows(wanted, place, objects, running, labels):
    constraints = wanted["spec"].get("topologySpreadConstraints") or []
    for constraint in constraints:
        key = constraint["topologyKey"]
        if key not in place["metadata"]["labels"]:
            return False
        counted = [each["metadata"]["labels"] for each in objects if all(one["topologyKey"] in each["metadata"]["labels"] for one in constraints)]
        domains = {each[key] for each in counted}
        hosts = {each[HOST] for each in counted}
        counts = {
            value: sum(
                1
                for each in running
                if labels[each["spec"]["nodeName"]].get(key) == value and each["spec"]["nodeName"] in hosts and says(constraint, each)
            )
            for value in domains
        }
        mine = counts.get(place["metadata"]["labels"][key], 0) + says(constraint, wanted)
        if mine - min(counts.values(), default=0) > constraint["maxSkew"]:
            return False
    return True


def affinity_allows(wanted, place, running, labels):
    here = place["metadata"]["labels"]

    def terms_of(found, field):
        return ((found["spec"].get("affinity") or {}).get(field) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []

    for each in running:
        where = labels[each["spec"]["nodeName"]]
        if any(says(one, wanted) and same_place(one["topologyKey"], where, here) for one in terms_of(each, "podAntiAffinity")):
            return False
        if any(says(one, each) and same_place(one["topologyKey"], where, here) for one in terms_of(wanted, "podAntiAffinity")):
            return False
    near = terms_of(wanted, "podAffinity")
    if not near:
        return True
    if any(one["topologyKey"] not in here for one in near):
        return False
    liked = [each for each in running if all(says(one, each) for one in near)]
    if all(any(same_place(one["topologyKey"], labels[each["spec"]["nodeName"]], here) for each in liked) for one in near):
        return True
    # The first of its kind, if it is of its own kind.
    anywhere = any(one["topologyKey"] in labels[each["spec"]["nodeName"]] for each in liked for one in near)
    return not anywhere and all(says(one, wanted) for one in near)


@settings(max_examples=300, deadline=None)
@given(nodes, pods, st.sampled_from(["0", "500m", "2"]), st.sampled_from(APPS), affinities, spreads, st.sampled_from([0, 80]))
def test_fast_filters_equal_the_slow_rule(node_specs, pod_specs, cpu, app, affinity, spread, port):
    objects, running = made(node_specs, pod_specs)
    wanted = with_port(pod("wanted", cpu=cpu, labels={"app": app}, affinity=affinity, topologySpreadConstraints=spread), port)
    cluster = snapshot(*objects, *running)
    info, state = PodInfo(wanted), CycleState()
    assert pre_filter(PROFILE, state, info, cluster) is None
    asked = [plugin for plugin in PROFILE.filter if plugin.name not in state.skipped_filters]
    for place in objects:
        fast = run_filters(asked, PROFILE, state, info, cluster.nodes[place["metadata"]["name"]], cluster) is None
        assert fast == allowed(wanted, place, objects, running)


@settings(max_examples=100, deadline=None)
@given(nodes, pods, st.integers(0, 1 << 30))
def test_a_snapshot_that_followed_events_is_one_that_was_made_at_once(node_specs, pod_specs, seed):
    """Pods come, go and come back in any order, nodes after them or before; what plug-ins read is as if all had come in order."""
    objects, running = made(node_specs, pod_specs)
    followed, at_once = Snapshot(), snapshot(*objects, *running)
    events = [("node", each) for each in objects] + [("pod", each) for each in running] + [("flicker", each) for each in running]
    Random(seed).shuffle(events)
    for kind, each in events:
        if kind == "node":
            followed.set_node(each)
        elif kind == "pod":
            followed.set_pod(each)
        elif each["metadata"]["uid"] in followed.pods:
            followed.remove_pod(each["metadata"]["uid"])
            followed.set_pod(each)
    for name, expected in at_once.nodes.items():
        found = followed.nodes[name]
        assert {key: value for key, value in found.requested.items() if value} == {key: value for key, value in expected.requested.items() if value}
        assert (found.cpu_left, found.memory_left, found.nonzero_cpu) == (expected.cpu_left, expected.memory_left, expected.nonzero_cpu)
        assert (set(found.pods), found.ports, set(found.with_affinity)) == (set(expected.pods), expected.ports, set(expected.with_affinity))
    assert set(followed.with_required_anti_affinity) == set(at_once.with_required_anti_affinity)
