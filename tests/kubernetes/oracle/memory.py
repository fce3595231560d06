"""What one server told that later requests ask for again, however it is reached."""

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

from tests.kubernetes.oracle.normal import Names
from tests.kubernetes.oracle.requests import Request, ask
from tests.support.http import Answer

PLACE = re.compile(r"\{(uid|rv|continue|from)\}")
ABSENT = {"uid": "00000000-0000-0000-0000-000000000000", "rv": "1", "continue": "", "from": "1"}
"""What stands for what this server has not told yet."""
DEFINED = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FIRST = ask("GET", DEFINED, query=[("limit", "1")])
"""Tells the resourceVersion that `{from}` stands for."""


class Memory:
    def __init__(self) -> None:
        self.names = Names()
        self._begin = "1"
        self._told: dict[str, dict[str, str]] = {}
        self._continue: dict[str, str] = {}

    def path(self, request: Request) -> str:
        query = urlencode([(name, self._filled(request, value)) for name, value in request.query])
        return quote(request.path) + (f"?{query}" if query else "")

    def headers(self, request: Request) -> dict[str, str]:
        found = {"Accept": request.accept, "User-Agent": request.agent}
        return found if request.body is None else {**found, "Content-Type": request.kind}

    def body(self, request: Request) -> bytes | None:
        return None if request.body is None else self._filled(request, request.body).encode()

    def _filled(self, request: Request, text: str) -> str:
        known = {**ABSENT, **self._told.get(request.subject, {}), "from": self._begin, "continue": self._continue.get(request.path, "")}
        return PLACE.sub(lambda found: known[found[1]], text)

    def learn(self, request: Request, answer: Answer) -> None:
        if answer.status >= 300 or "json" not in answer.headers.get("content-type", "") or not answer.body:
            return
        body = json.loads(answer.body)
        metadata: Any = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(metadata, dict):
            return
        if request is FIRST:
            self._begin = metadata["resourceVersion"]
        elif "items" in body or "rows" in body:
            self._continue[request.path] = metadata.get("continue") or ""
        elif metadata.get("uid") and ("dryRun", "All") not in request.query:
            self._told[request.subject] = {"uid": metadata["uid"], "rv": metadata["resourceVersion"]}
