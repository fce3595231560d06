"""Which image a container starts from, by its pull policy; the local store stands for every registry.

Always and IfNotPresent look into the store, Never does, too, but words a failure differently. A pull that failed is not tried again before a pause
that doubles from 10 s to 300 s: meanwhile the reason is ImagePullBackOff.
"""

import time
from collections.abc import Callable

from msgspec import Struct

from agents.kubelet.oci.reference import InvalidReference, tag_of
from agents.kubelet.plan import BACKOFF_FIRST_S, BACKOFF_MAX_S
from agents.kubelet.runtime.base import Image, Runtime, RuntimeRefused
from apiserver.machinery.objects import Object

Tell = Callable[[str, str, str], None]
"""type, reason, message of an event."""


class ImageProblem(Exception):
    """`reason` and the text are the container's waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Pause(Struct):
    length_s: float
    until_s: float
    error: str


class Images:
    def __init__(self, runtime: Runtime, now_s: Callable[[], float] = time.monotonic) -> None:
        self._runtime, self._now_s = runtime, now_s
        self._pauses: dict[str, Pause] = {}

    async def ensure(self, container: Object, tell: Tell) -> Image:
        """Raises ImageProblem."""
        name = container["image"]
        try:
            policy = container.get("imagePullPolicy") or ("Always" if tag_of(name) == "latest" else "IfNotPresent")
            found = await self._runtime.image(name)
        except (InvalidReference, RuntimeRefused) as error:
            text = f'Failed to apply default image tag "{name}": {error}'
            tell("Warning", "InspectFailed", text)
            raise ImageProblem("InvalidImageName", text) from None
        if policy == "Never":
            if found is None:
                text = f'Container image "{name}" is not present with pull policy of Never'
                tell("Warning", "ErrImageNeverPull", text)
                raise ImageProblem("ErrImageNeverPull", text)
            tell("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return found
        if policy == "IfNotPresent" and found is not None:
            tell("Normal", "Pulled", f'Container image "{name}" already present on machine')
            return found
        return await self._pull(name, tell)

    async def _pull(self, name: str, tell: Tell) -> Image:
        pause = self._pauses.get(name)
        if pause is not None and self._now_s() < pause.until_s:
            text = f'Back-off pulling image "{name}": {pause.error}'
            tell("Normal", "BackOff", f'Back-off pulling image "{name}"')
            raise ImageProblem("ImagePullBackOff", text)
        tell("Normal", "Pulling", f'Pulling image "{name}"')
        started_s = self._now_s()
        try:
            identity = await self._runtime.pull_image(name)
            found = await self._runtime.image(identity)
            if found is None:
                raise RuntimeRefused(f"{identity} vanished")
        except RuntimeRefused as error:
            length_s = BACKOFF_FIRST_S if pause is None else min(pause.length_s * 2, BACKOFF_MAX_S)
            text = f'failed to pull and unpack image "{name}": {error}'
            self._pauses[name] = Pause(length_s, self._now_s() + length_s, f"ErrImagePull: {text}")
            tell("Warning", "Failed", f'Failed to pull image "{name}": {text}')
            raise ImageProblem("ErrImagePull", text) from None
        self._pauses.pop(name, None)
        took = f"{(self._now_s() - started_s) * 1000:.0f}ms"
        tell("Normal", "Pulled", f'Successfully pulled image "{name}" in {took} ({took} including waiting). Image size: {found.size_bytes} bytes.')
        return found

    def pause_left_s(self, name: str) -> float:
        pause = self._pauses.get(name)
        return 0.0 if pause is None else max(pause.until_s - self._now_s(), 0.0)
