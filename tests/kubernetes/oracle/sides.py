"""One of the two servers: a connection, and what it told that requests may ask for again."""

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

from tests.kubernetes.oracle.normal import Names, Plain, normal
from tests.kubernetes.oracle.requests import MERGE, Request, ask
from tests.kubernetes.oracle.servers import Server
from tests.support.http import Answer

PLACE = re.compile(r"\{(uid|rv|continue|from)\}")
ABSENT = {"uid": "00000000-0000-0000-0000-000000000000", "rv": "1", "continue": "", "from": "1"}
"""What stands for what this server has not told yet."""
TIMEOUT_S = 60.0
DEFINED = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Side:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.names = Names()
        self.http = server.http()
        self.begin = "1"
        self._told: dict[str, dict[str, str]] = {}
        self._continue: dict[str, str] = {}

    def forget(self) -> None:
        self.names = Names()
        self._told.clear()
        self._continue.clear()
        answer = self.raw(ask("GET", DEFINED, query=[("limit", "1")]))
        self.begin = json.loads(answer.body)["metadata"]["resourceVersion"]

    def ask(self, request: Request) -> Plain:
        return normal(self.raw(request), self.names)

    def remove(self, path: str) -> None:
        """The object at `path`, if there is one, whatever holds it."""
        self.raw(ask("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE))
        self.raw(ask("DELETE", path))

    def raw(self, request: Request) -> Answer:
        known = {**ABSENT, **self._told.get(request.subject, {}), "from": self.begin, "continue": self._continue.get(request.path, "")}

        def fill(text: str) -> str:
            return PLACE.sub(lambda found: known[found[1]], text)

        path = quote(request.path) + ("?" + urlencode([(name, fill(value)) for name, value in request.query]) if request.query else "")
        headers = {"Accept": request.accept, "User-Agent": request.agent}
        if request.body is not None:
            headers["Content-Type"] = request.kind
        body = None if request.body is None else fill(request.body).encode()
        answer = self.http.request(request.method, path, body, headers, timeout_s=TIMEOUT_S)
        self._learn(request, answer)
        return answer

    def _learn(self, request: Request, answer: Answer) -> None:
        if answer.status >= 300 or "json" not in answer.headers.get("content-type", "") or not answer.body:
            return
        body = json.loads(answer.body)
        metadata: Any = body.get("metadata") if isinstance(body, dict) else None
        if not isinstance(metadata, dict):
            return
        if "items" in body or "rows" in body:
            self._continue[request.path] = metadata.get("continue") or ""
        elif metadata.get("uid") and ("dryRun", "All") not in request.query:
            self._told[request.subject] = {"uid": metadata["uid"], "rv": metadata["resourceVersion"]}

    def close(self) -> None:
        self.http.close()
