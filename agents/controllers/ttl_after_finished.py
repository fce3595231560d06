"""Jobs go some time after their end, if they say so: ttlSecondsAfterFinished (pkg/controller/ttlafterfinished)."""

from agents.controllers.job import JOBS, is_done
from agents.kit.controller import Controller
from agents.kit.times import to_seconds
from apiserver.machinery.conditions import condition
from apiserver.machinery.objects import Object, is_terminating, key_of, name_of, namespace_of, uid_of


def left_s(job: Object, now_s: float) -> float | None:
    """How long it may stay; None if for ever, or not yet known."""
    ttl_s = job["spec"].get("ttlSecondsAfterFinished")
    if ttl_s is None or not is_done(job) or is_terminating(job):
        return None
    ended = next(found for kind in ("Complete", "Failed") if (found := condition(job["status"], kind)) is not None and found["status"] == "True")
    return max(to_seconds(ended.get("lastTransitionTime")) + float(ttl_s) - now_s, 0.0)


class TtlAfterFinished(Controller):
    name = "ttl-after-finished-controller"
    component = "ttl-after-finished-controller"
    workers = 5

    def watch(self) -> None:
        self.jobs = self.watched(JOBS, self._changed)

    def _changed(self, job: Object) -> None:
        if job["spec"].get("ttlSecondsAfterFinished") is not None and is_done(job):
            self.queue.add(key_of(job))

    async def sync(self, key: str) -> float | None:
        job = self.jobs.get(key)
        if job is None or (wait_s := left_s(job, self.context.now_s())) is None:
            return None
        if wait_s > 0:
            return wait_s
        # The time may have been made longer a moment ago: what the server says counts.
        fresh = await self.client.get(JOBS, name_of(job), namespace_of(job))
        if uid_of(fresh) != uid_of(job) or (wait_s := left_s(fresh, self.context.now_s())) is None:
            return None
        if wait_s > 0:
            return wait_s
        version = fresh["metadata"]["resourceVersion"]
        await self.client.delete(JOBS, name_of(job), namespace_of(job), propagation="Foreground", uid=uid_of(job), resource_version=version)
        return None
