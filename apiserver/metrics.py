"""The numbers of /metrics, under upstream's names (apiserver/pkg/endpoints/metrics/metrics.go), each server with a registry of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from apiserver.app import App
    from apiserver.filters.request_info import RequestInfo
    from apiserver.handlers.call import Call

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code")
        self._requests = Counter("apiserver_request", "Requests, by what was asked and how it went.", labels, registry=self.registry)
        timed = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
        self._durations = Histogram(
            "apiserver_request_duration_seconds", "How long requests took, watches apart.", timed, buckets=BUCKETS, registry=self.registry
        )
        self._inflight = Gauge("apiserver_current_inflight_requests", "Requests being worked on.", ("request_kind",), registry=self.registry)
        told = "Requests that wait for a place."
        self._inqueue = Gauge("apiserver_current_inqueue_requests", told, ("request_kind",), registry=self.registry)
        self._watches = Gauge("apiserver_longrunning_requests", "Watches under way.", timed, registry=self.registry)
        self._cached = Gauge(
            "apiserver_storage_objects", "Objects in the store, as the watch caches have them.", ("resource",), registry=self.registry
        )
        self.terminated = Counter(
            "apiserver_terminated_watchers", "Watchers that did not keep up and were cut off.", ("group", "resource"), registry=self.registry
        )
        self.conflicts = Counter("apiserver_create_name_conflicts", "Creates that found their name taken.", registry=self.registry)
        # prometheus-client's labels() costs more than a whole counter should: what was made once is kept.
        self._children: dict[tuple[str, ...], tuple[Counter, Histogram | None]] = {}

    def request(self, info: RequestInfo, code: int, seconds: float, *, dry_run: bool, known: bool) -> None:
        """`known`: there is such a resource. What clients make up does not become a series of its own."""
        key = _labels(info, dry_run) if known else ("other", "", "", "", "", "", "", "apiserver")
        found = self._children.get((*key, str(code)))
        if found is None:
            timer = None if info.verb == "watch" else self._durations.labels(*key)
            found = self._children[(*key, str(code))] = self._requests.labels(*key, str(code)), timer
        found[0].inc()
        if found[1] is not None:
            found[1].observe(seconds)

    def watching(self, call: Call, change: int) -> None:
        self._watches.labels(*_labels(call.info, False)).inc(change)

    def exposition(self, app: App) -> bytes:
        for kind, places in app.inflight.places.items():
            self._inflight.labels(kind).set(places.running)
            self._inqueue.labels(kind).set(places.waiting)
        for served in app.registry.served():
            cache = app.caches.find(served)
            if cache is not None:
                self._cached.labels(served.resource.qualified).set(len(cache))
        return generate_latest(self.registry)


def _labels(info: RequestInfo, dry_run: bool) -> tuple[str, ...]:
    if not info.is_resource:
        return (info.verb.upper() if info.verb.upper() in METHODS else "other", "", "", "", "", "", "", "apiserver")
    scope = "resource" if info.name and info.verb not in ("list", "watch") else "namespace" if info.namespace else "cluster"
    verb = info.verb.upper()
    dry = "All" if dry_run else ""
    return (verb, dry, info.group, info.version, info.resource, info.subresource, scope, "apiserver")
