"""What deletions answer, and what they leave."""

from typing import Any

from tests.kubernetes.builtin.behaviour.objects import APPS, CORE, config_map, deployment, pod
from tests.kubernetes.builtin.duel import MERGE, Duel

MAPS = f"{CORE}/configmaps"


def plain(d: Duel) -> None:
    for options in (
        None,
        {},
        {"kind": "DeleteOptions", "apiVersion": "v1"},
        {"propagationPolicy": "Background"},
        {"propagationPolicy": "Strange"},
        {"orphanDependents": True, "propagationPolicy": "Orphan"},
        {"gracePeriodSeconds": -1},
        {"gracePeriodSeconds": 5},
        {"dryRun": ["All"]},
        {"dryRun": ["Some"]},
        {"preconditions": {"uid": "wrong"}},
        {"preconditions": {"resourceVersion": "1"}},
        {"kind": "Pod", "apiVersion": "v1"},
        {"nobody": 1},
        5,
    ):
        d.both("POST", MAPS, config_map("del"))
        d.ask("DELETE", f"{MAPS}/del", options, what=f"delete with {options}")
    d.ask("DELETE", f"{MAPS}/absent")
    d.ask("DELETE", f"{MAPS}/del?dryRun=All")
    d.ask("DELETE", f"{MAPS}/del?propagationPolicy=Strange")
    d.ask("DELETE", f"{MAPS}/del?gracePeriodSeconds=word")
    d.ask("DELETE", f"{MAPS}/del?preconditions.uid=x")
    d.ask("DELETE", f"{MAPS}/del", b"nothing")


def finalizers(d: Duel) -> None:
    one = f"{MAPS}/held"
    for policy in ("Background", "Foreground", "Orphan"):
        d.both("POST", MAPS, config_map("held", finalizers=["a.b/c"]))
        d.ask("DELETE", one, {"propagationPolicy": policy})
        d.ask("GET", one)
        d.ask("DELETE", one)
        d.ask("PATCH", one, {"metadata": {"finalizers": ["a.b/c", "d.e/f"]}}, MERGE)
        d.ask("PATCH", one, {"data": {"x": "y"}}, MERGE)
        d.ask("PATCH", one, {"metadata": {"deletionTimestamp": None}}, MERGE)
        d.ask("PATCH", one, {"metadata": {"finalizers": []}}, MERGE)
        d.ask("GET", one)
    d.both("POST", f"{APPS}/deployments", deployment("foreground"))
    d.ask("DELETE", f"{APPS}/deployments/foreground?propagationPolicy=Foreground")
    d.ask("GET", f"{APPS}/deployments/foreground")
    d.ask("PATCH", f"{APPS}/deployments/foreground", {"metadata": {"finalizers": None}}, MERGE)
    d.both("POST", f"{APPS}/deployments", deployment("orphan"))
    d.ask("DELETE", f"{APPS}/deployments/orphan", {"orphanDependents": True})
    d.ask("GET", f"{APPS}/deployments/orphan")
    d.ask("DELETE", f"{APPS}/deployments/orphan", {"propagationPolicy": "Background"})
    d.ask("GET", f"{APPS}/deployments/orphan")


def pods(d: Duel) -> None:
    one = f"{CORE}/pods/graceful"
    d.ask("POST", f"{CORE}/pods", pod("graceful"))
    d.ask("DELETE", one)
    d.ask("GET", one)
    for grace in (30, 10, 60, 0):
        d.both("POST", f"{CORE}/pods", pod("graceful", {"nodeName": "n1"}))
        d.ask("DELETE", one, {"gracePeriodSeconds": grace})
        d.ask("GET", one)
    d.both("POST", f"{CORE}/pods", pod("graceful", {"nodeName": "n1"}))
    d.ask("DELETE", one)
    d.ask("DELETE", one, {"gracePeriodSeconds": 3})
    d.ask("GET", one)
    d.ask("PATCH", one, {"metadata": {"finalizers": ["a.b/c"]}}, MERGE)
    d.ask("DELETE", f"{one}?gracePeriodSeconds=0")
    d.both("POST", f"{CORE}/pods", pod("done", {"nodeName": "n1"}))
    d.both("PATCH", f"{CORE}/pods/done/status", {"status": {"phase": "Succeeded"}}, MERGE)
    d.ask("DELETE", f"{CORE}/pods/done")
    d.ask("GET", f"{CORE}/pods/done")
    d.both("POST", f"{CORE}/pods", pod("held", {"nodeName": "n1"}, finalizers=["a.b/c"]))
    d.ask("DELETE", f"{CORE}/pods/held?gracePeriodSeconds=0")
    d.ask("GET", f"{CORE}/pods/held")
    d.ask("PATCH", f"{CORE}/pods/held", {"metadata": {"finalizers": None}}, MERGE)
    d.ask("GET", f"{CORE}/pods/held")


def collections(d: Duel) -> None:
    def make(**labels: Any) -> None:
        for name in ("c1", "c2", "c3"):
            d.both("POST", MAPS, config_map(name, labels={"group": "c", "each": name, **labels}))

    make()
    d.ask("DELETE", f"{MAPS}?labelSelector=each%3Dc1")
    d.ask("DELETE", f"{MAPS}?fieldSelector=metadata.name%3Dc2")
    d.ask("DELETE", f"{MAPS}?labelSelector=group%3Dc&dryRun=All")
    d.ask("DELETE", f"{MAPS}?labelSelector=group%3Dc&limit=1")
    d.ask("DELETE", f"{MAPS}?labelSelector=%21%21")
    d.ask("DELETE", f"{MAPS}?labelSelector=group%3Dc", {"propagationPolicy": "Strange"})
    d.ask("DELETE", f"{MAPS}?labelSelector=group%3Dc")
    d.ask("DELETE", "/api/v1/namespaces/absent/configmaps")
    d.ask("DELETE", "/api/v1/configmaps")
    d.ask("GET", f"{MAPS}?labelSelector=group%3Dc")
