"""What a pod needs next, from what it wants and what there is (kubelet's computePodActions). Pure: containers, clocks and probes come in as values.

Init containers run one after the other, each to its end; one with restartPolicy Always (a sidecar) only has to have started, and runs on until the
pod's containers are done. A container that ended starts again if the pod's restartPolicy says so, after a pause that doubles from 10 s to 300 s.
One that was created and never started is what a kubelet has left that was killed in between: it is as good as none.
"""

from collections.abc import Mapping

from msgspec import Struct

from agents.kubelet import pods
from agents.kubelet.runtime import base
from apiserver.machinery.objects import Object

BACKOFF_FIRST_S, BACKOFF_MAX_S = 10.0, 300.0
BACKOFF_RESET_S = 600.0
"""A container that ran so long begins anew with the pauses."""


class Kill(Struct, frozen=True):
    container_id: str
    name: str
    message: str
    """For the event."""


class Crashes(Struct):
    """A container's back-off: the pause that the next restart has to keep."""

    pause_s: float = 0.0
    finished_s: float = 0.0


class Plan(Struct):
    """`start`: names, in order. `waiting`: name -> how long it still has to wait, in seconds. `done`: nothing of the pod will run any
    more, and `failed`: whether it failed. `sandbox`: a new one is needed; everything else comes after."""

    sandbox: bool = False
    kill: list[Kill] = []
    start: list[str] = []
    waiting: dict[str, float] = {}
    done: bool = False
    failed: bool = False


class Observed(Struct):
    """`latest`: the newest container of each name. `sandbox_ready`, and the id of that sandbox: containers of older ones do not count as running.
    `unhealthy`: names that must be restarted, with the event's message. `started`: names whose startup probe has passed (or that have none)."""

    latest: Mapping[str, base.Container]
    sandbox_id: str
    sandbox_ready: bool
    started: frozenset[str] = frozenset()
    unhealthy: Mapping[str, str] = {}
    pauses: Mapping[str, Crashes] = {}
    now_s: float = 0.0


def restarts(policy: str, container: Object, ended: base.Container) -> bool:
    """Whether a container that ended starts again."""
    own = container.get("restartPolicy") or policy
    return bool(own == "Always" or (own == "OnFailure" and ended.exit_code != 0))


def plan(pod: Object, observed: Observed) -> Plan:
    policy = pods.restart_policy(pod)
    found = Plan()
    mains, inits = pods.containers(pod), pods.init_containers(pod)
    if not observed.sandbox_ready:
        ran = [observed.latest.get(each["name"]) for each in mains]
        over = [each for each, spec in zip(ran, mains, strict=True) if each is not None and not restarts(policy, spec, each)]
        init_failed = _failed_init(inits, observed, policy)
        if len(over) == len(mains) or init_failed:
            found.done, found.failed = True, init_failed or any(each.exit_code != 0 for each in over)
        else:
            found.sandbox = True
        return found
    current = {name: each for name, each in observed.latest.items() if each.sandbox_id == observed.sandbox_id}
    begun = any(each["name"] in current for each in mains)
    if _plan_inits(found, inits, current, observed, policy, begun):
        _plan_mains(found, mains, current, observed, policy)
    for each in pods.ephemeral_containers(pod):
        seen = current.get(each["name"])
        if begun and (seen is None or seen.state == base.CREATED) and not found.done:
            found.start.append(each["name"])
    if found.done:
        found.start, found.waiting = [], {}
    return found


def _failed_init(inits: list[Object], observed: Observed, policy: str) -> bool:
    ended = [(each, observed.latest.get(each["name"])) for each in inits if not pods.is_sidecar(each)]
    return policy == "Never" and any(each is not None and each.state == base.EXITED and each.exit_code != 0 for _, each in ended)


def _plan_inits(found: Plan, inits: list[Object], current: Mapping[str, base.Container], observed: Observed, policy: str, begun: bool) -> bool:
    """Whether the containers' turn has come."""
    for each in inits:
        name, seen = each["name"], current.get(each["name"])
        if pods.is_sidecar(each):
            if seen is None or seen.state in (base.EXITED, base.CREATED):
                _start(found, name, seen, observed)
                if not begun:
                    return False
            elif seen.state == base.RUNNING and name in observed.unhealthy:
                found.kill.append(Kill(seen.id, name, observed.unhealthy[name]))
            elif not begun and name not in observed.started:
                return False
            continue
        if begun:
            continue  # they are over; what has become of them does not matter any more
        if seen is None or seen.state == base.CREATED:
            found.start.append(name)
            return False
        if seen.state != base.EXITED:
            return False
        if seen.exit_code != 0:
            if policy == "Never":
                found.done, found.failed = True, True
            else:
                _start(found, name, seen, observed)
            return False
    return True


def _plan_mains(found: Plan, mains: list[Object], current: Mapping[str, base.Container], observed: Observed, policy: str) -> None:
    over = 0
    for each in mains:
        name, seen = each["name"], current.get(each["name"])
        if seen is None:
            before = observed.latest.get(name)
            if before is not None and before.state == base.EXITED and not restarts(policy, each, before):
                over += 1
            else:
                found.start.append(name)
        elif seen.state == base.CREATED:
            found.start.append(name)
        elif seen.state == base.EXITED:
            if restarts(policy, each, seen):
                _start(found, name, seen, observed)
            else:
                over += 1
        elif seen.state == base.RUNNING and name in observed.unhealthy:
            found.kill.append(Kill(seen.id, name, observed.unhealthy[name]))
    if over == len(mains):
        ended = [observed.latest[each["name"]] for each in mains]
        found.done, found.failed = True, any(each.exit_code != 0 for each in ended)


def _start(found: Plan, name: str, seen: base.Container | None, observed: Observed) -> None:
    """Now, or when its pause is over."""
    left_s = pause_left_s(observed.pauses.get(name), seen, observed.now_s)
    if left_s > 0:
        found.waiting[name] = left_s
    else:
        found.start.append(name)


def pause_left_s(crashes: Crashes | None, seen: base.Container | None, now_s: float) -> float:
    if crashes is None or seen is None or seen.state != base.EXITED:
        return 0.0
    if _ran_s(seen) >= BACKOFF_RESET_S:
        return 0.0
    return max(seen.finished_ns / 1e9 + crashes.pause_s - now_s, 0.0)


def _ran_s(seen: base.Container) -> float:
    """Of one that could not be started: nothing, for it has no start."""
    return (seen.finished_ns - seen.started_ns) / 1e9 if seen.started_ns else 0.0


def next_crash(crashes: Crashes | None, seen: base.Container) -> Crashes:
    """The pause that the restart after this one will have to keep: the first restart is free, then 10 s, 20 s, ..."""
    if crashes is None or _ran_s(seen) >= BACKOFF_RESET_S:
        return Crashes(BACKOFF_FIRST_S, seen.finished_ns / 1e9)
    return Crashes(min(crashes.pause_s * 2, BACKOFF_MAX_S), seen.finished_ns / 1e9)
