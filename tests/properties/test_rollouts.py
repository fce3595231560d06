"""Laws of a rollout, for any bounds, any sizes and pods that become ready and fail in any order."""

from hypothesis import given
from hypothesis import strategies as st

from agents.controllers import rollout
from agents.controllers.jobstate import format_indexes, parse_indexes
from tests.support.workloads import deployment, replica_set

PERCENT = st.integers(0, 100).map(lambda share: f"{share}%")
BOUND = st.one_of(st.integers(0, 10), PERCENT)


def made(surge, unavailable, replicas):
    return deployment(replicas=replicas, strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})


class Cluster:
    """ReplicaSets and their pods as numbers: `wanted` and `available` by name."""

    def __init__(self, old: int, others: list[int]) -> None:
        self.wanted = {"a": old, **{f"o{at}": size for at, size in enumerate(others)}}
        self.available = dict.fromkeys(self.wanted, 0)
        self.available["a"] = old

    def sets(self):
        found = []
        for name, size in self.wanted.items():
            rs = replica_set(name, size)
            rs["status"] = {"replicas": size, "availableReplicas": self.available[name]}
            found.append(rs)
        return found

    def resize(self, name, size):
        """Pods that are not available go first."""
        self.wanted[name] = size
        self.available[name] = min(self.available[name], size)

    def total(self):
        return sum(self.wanted.values())


def step(spec, cluster):
    """One round of the controller: grow the new set, or shrink the old ones."""
    cluster.wanted.setdefault("new", 0)
    cluster.available.setdefault("new", 0)
    sets = cluster.sets()
    new = next(rs for rs in sets if rs["metadata"]["name"] == "new")
    target = rollout.new_replicas(spec, sets, new)
    if target != cluster.wanted["new"]:
        cluster.resize("new", target)
        return True
    sizes = rollout.scale_down_old(spec, new, rollout.active([rs for rs in sets if rs is not new]))
    for name, size in sizes.items():
        cluster.resize(name, size)
    return bool(sizes)


@given(BOUND, BOUND, st.integers(1, 30), st.data())
def test_never_too_many_wanted_never_too_few_taken_away_and_it_ends(surge, unavailable, replicas, data):
    spec = made(surge, unavailable, replicas)
    bounds = rollout.bounds(spec)
    cluster = Cluster(replicas, [])
    for _ in range(data.draw(st.integers(0, 20))):
        before = sum(cluster.available.values())
        step(spec, cluster)
        assert cluster.total() <= replicas + bounds.surge
        after = sum(cluster.available.values())
        assert after >= min(before, replicas - bounds.unavailable), "the controller itself never goes below the minimum"
        # Some pods become ready, some fail.
        for name in cluster.wanted:
            cluster.available[name] = data.draw(st.integers(0, cluster.wanted[name]))
    # From now on all pods become ready: the rollout ends.
    for _ in range(4 * replicas + 8):
        cluster.available = dict(cluster.wanted)
        step(spec, cluster)
    assert cluster.wanted == {"a": 0, "new": replicas}


@given(st.integers(0, 40), st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(0, 40))
def test_shares_add_up_to_what_is_allowed(wanted, sizes, before):
    spec = made("25%", "25%", wanted)
    sets = []
    for at, size in enumerate(sizes):
        rs = replica_set(f"s{at}", size)
        rs["metadata"]["annotations"] = {rollout.DESIRED: str(before), rollout.MAX: str(sum(sizes))}
        sets.append(rs)
    changed = rollout.scale_proportionally(spec, sets)
    final = {rs["metadata"]["name"]: changed.get(rs["metadata"]["name"], rs["spec"]["replicas"]) for rs in sets}
    assert all(size >= 0 for size in final.values())
    assert sum(final.values()) == (wanted + rollout.bounds(spec).surge if wanted else 0)


@given(st.sets(st.integers(0, 60)))
def test_indexes_survive_their_text(indexes):
    assert parse_indexes(format_indexes(indexes)) == indexes
