"""/health, /livez, /readyz, /version: what each checks and how it says so (semantics 18)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from kvstore.accounts import CLUSTER
from kvstore.api.backend import Backend
from kvstore.api.rpc import Settings, Stats
from kvstore.errors import StoreError
from kvstore.ids import NOBODY
from kvstore.model import AlarmType, Range

CHECK_TIMEOUT_S = 5.0
_PROBE_KEY = b"health"

Check = Callable[[], Awaitable[str]]
"""Empty: fine; else what is wrong."""

Answer = tuple[int, str, bytes]
"""HTTP status, content type, body."""


class HealthPages:
    def __init__(self, backend: Backend, settings: Settings, stats: Stats) -> None:
        self._backend = backend
        self._settings = settings
        self._stats = stats
        self._checks: dict[str, Check] = {
            "data_corruption": self._data_corruption,
            "serializable_read": lambda: self._read(serializable=True),
            "linearizable_read": lambda: self._read(serializable=False),
            "non_learner": self._non_learner,
        }
        self._pages = {"/livez": ["serializable_read"], "/readyz": list(self._checks)}

    def serves(self, path: str) -> bool:
        return path in ("/health", "/version") or self.is_probe(path)

    @staticmethod
    def is_probe(path: str) -> bool:
        return path.split("/", 2)[1:2] in (["livez"], ["readyz"])

    async def answer(self, path: str, method: str, query: bytes) -> Answer:
        if method != "GET":
            return 405, "text/plain; charset=utf-8", b"Method Not Allowed\n"
        arguments = parse_qs(query.decode(errors="replace"), keep_blank_values=True)
        if path == "/version":
            settings = self._settings
            return _json(200, {"etcdserver": settings.version, "etcdcluster": settings.cluster_version, "storage": settings.storage_version})
        if path == "/health":
            reason = await self._health(arguments)
            self._stats.health[not reason] += 1
            return _json(200 if not reason else 503, {"health": "false" if reason else "true", "reason": reason})
        page, _, name = path.removeprefix("/").partition("/")
        return await self._check_page("/" + page, name, arguments)

    async def _health(self, arguments: dict[str, list[str]]) -> str:
        excluded = arguments.get("exclude", [])
        for alarm in await self._backend.alarms(NOBODY, 0, linearizable=False):
            if alarm.alarm.name not in excluded:
                return f"ALARM {alarm.alarm.name}"
        serializable = arguments.get("serializable") == ["true"]
        if not serializable and not self._backend.leader():
            return "RAFT NO LEADER"
        failed = await self._read(serializable=serializable)
        return f"RANGE ERROR:{failed}" if failed else ""

    async def _check_page(self, page: str, name: str, arguments: dict[str, list[str]]) -> Answer:
        names = self._pages[page]
        if name:
            if name not in names:
                return 404, "text/plain; charset=utf-8", b"404 page not found\n"
            names = [name]
        excluded = arguments.get("exclude", [])
        lines, failed = [], False
        for check in names:
            if check in excluded:
                lines.append(f"[+]{check} excluded: ok")
                continue
            problem = await self._checks[check]()
            self._stats.note_check(page.removeprefix("/"), check, not problem)
            failed |= bool(problem)
            lines.append(f"[-]{check} failed: {problem}" if problem else f"[+]{check} ok")
        if failed:
            return 503, "text/plain; charset=utf-8", ("\n".join(lines) + f"\n{page.removeprefix('/')} check failed\n").encode()
        if "verbose" in arguments:
            return 200, "text/plain; charset=utf-8", ("\n".join(lines) + "\nok\n").encode()
        return 200, "text/plain; charset=utf-8", b"ok\n"

    # --- the checks ---------------------------------------------------------------------------------------------------------

    async def _read(self, *, serializable: bool) -> str:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._backend.range(Range(_PROBE_KEY, limit=1, serializable=serializable), CLUSTER)
        except StoreError as error:
            return str(error)
        except TimeoutError:
            return "context deadline exceeded"
        return ""

    async def _data_corruption(self) -> str:
        return "alarm activated: CORRUPT" if await self._backend.alarms(NOBODY, AlarmType.CORRUPT, linearizable=False) else ""

    async def _non_learner(self) -> str:
        return "not supported for learner" if self._backend.is_learner() else ""


def _json(status: int, content: dict[str, str]) -> Answer:
    return status, "application/json", json.dumps(content, separators=(",", ":")).encode() + b"\n"
