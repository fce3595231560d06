"""Every request goes to both servers; their answers, brought to one form, must be one. A difference is noted and the run goes on."""

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tests.kubernetes.builtin import changes, normal
from tests.kubernetes.builtin.servers import Server
from tests.support.compare import differences
from tests.support.members import wait_until

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
SETTLE_TRIES, SETTLE_PAUSE_S = 20, 0.25
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


class Answer(Struct, frozen=True):
    code: int
    body: Any


class Side:
    """One server as a client sees it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = server.name
        self._connection: http.client.HTTPSConnection | None = None

    def ask(self, method: str, path: str, body: Any = None, kind: str = JSON, accept: str = JSON, user: str = "admin") -> Answer:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {user}", "Accept": accept, **({"Content-Type": kind} if raw is not None else {})}
        got, text = self._exchange(method, path, raw, headers)
        is_json = (got.headers.get("Content-Type") or "").startswith(JSON)
        if is_json and got.status == 200 and "watch=" in path:
            return Answer(got.status, [json.loads(line) for line in text.splitlines()])
        return Answer(got.status, json.loads(text) if is_json else text.decode(errors="replace"))

    def _exchange(self, method: str, path: str, raw: bytes | None, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        """On the kept connection, or once more on a new one: a server may end a kept one at any time."""
        for kept in (self._connection, None):
            connection = kept or http.client.HTTPSConnection("127.0.0.1", self.server.port, context=self.server.context, timeout=60)
            try:
                connection.request(method, path, raw, headers)
                got = connection.getresponse()
                text = got.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self._connection = None
                if kept is None:
                    raise ConnectionError(f"{self.name} ended the connection of {method} {path} with {(raw or b'')[:200]!r}") from None
            else:
                self._connection = connection
                return got, text
        raise AssertionError("the loop above ends with an answer or an error")


class Difference(Struct, frozen=True):
    what: str
    oracle: Any
    subject: Any
    lines: tuple[str, ...]

    def text(self) -> str:
        return "\n".join([self.what, *(f"    {line}" for line in self.lines)])


class Duel:
    def __init__(self, oracle: Server, subject: Server) -> None:
        self.oracle, self.subject = Side(oracle), Side(subject)
        self.schema = normal.Schema({})
        self.minor = 0
        self.same_program = False
        """Whether the subject is the oracle's program, too (over another store), and takes what that takes."""
        self.scenario = ""
        self.between_scenarios: Callable[[], None] = lambda: None
        self.asked = 0
        self.differences: list[Difference] = []
        self.allowed: dict[str, int] = {}

    def learn(self) -> None:
        """Which version the oracle is and what it knows: newer fields are not compared."""
        self.minor = int(self.oracle.ask("GET", "/version").body["minor"].rstrip("+"))
        wait_until(lambda: self.oracle.ask("GET", "/openapi/v2").code == 200, 60, "the oracle's schemas")
        document = self.oracle.ask("GET", "/openapi/v2").body
        self.schema = normal.Schema(json.loads(document) if isinstance(document, str) else document)  # 1.20 calls it text

    def newer(self, path: str, body: Any = None) -> tuple[str, Any]:
        """A request as the subject takes it."""
        return self.older(path, body) if self.same_program else (path, body)

    def older(self, path: str, body: Any = None) -> tuple[str, Any]:
        """A request as the oracle's version takes it."""
        return changes.older(self.minor, path, body)

    def ask(
        self, method: str, path: str, body: Any = None, kind: str = JSON, accept: str = JSON, user: str = "admin", what: str = ""
    ) -> tuple[Answer, Answer]:
        """One request to both."""
        answers = (
            self.oracle.ask(method, *self.older(path, body), kind, accept, user),
            self.subject.ask(method, *self.newer(path, body), kind, accept, user),
        )
        self.compare(what or f"{method} {path}", *answers)
        return answers

    def change(self, path: str, edit: Callable[[Any], None], what: str = "", read: str = "") -> None:
        """Read (at `read`, or the path itself), change and write back, on each side its own object."""
        answers = []
        for side in (self.oracle, self.subject):
            at = (self.older if side is self.oracle else self.newer)(path)[0]
            obj = side.ask("GET", read or at.partition("?")[0]).body
            if isinstance(obj, dict):
                edit(obj)
            answers.append(side.ask("PUT", at, obj))
        self.compare(what or f"PUT {path}", *answers)

    def until(self, method: str, path: str, body: Any = None, user: str = "admin", what: str = "") -> None:
        """A request whose answer depends on what a server's informers have seen by now: asked (dry) until both say the same, then for real."""
        dry = path if method == "GET" or "dryRun" in path else f"{path}?dryRun=All"
        for _ in range(SETTLE_TRIES):
            one = self.oracle.ask(method, *self.older(dry, body), user=user)
            other = self.subject.ask(method, *self.newer(dry, body), user=user)
            if self._plain(one, other)[0] == self._plain(one, other)[1]:
                break
            time.sleep(SETTLE_PAUSE_S)
        self.ask(method, path, body, user=user, what=what)

    def both(self, method: str, path: str, body: Any = None, kind: str = JSON, user: str = "admin") -> None:
        """To both, whatever they answer: what makes room for a comparison."""
        self.oracle.ask(method, *self.older(path, body), kind, user=user)
        self.subject.ask(method, *self.newer(path, body), kind, user=user)

    def _plain(self, one: Answer, other: Answer) -> tuple[Any, Any]:
        return (
            {"code": one.code, "body": normal.plain(one.body, self.schema, self.minor, newer=False)},
            {"code": other.code, "body": normal.plain(other.body, self.schema, self.minor, newer=True)},
        )

    def compare(self, what: str, one: Answer, other: Answer) -> None:
        self.compare_values(what, *self._plain(one, other))

    def compare_values(self, what: str, one: Any, other: Any) -> None:
        """Two values that must be the same, apart from what upstream changed itself."""
        self.asked += 1
        if one == other:
            return
        told = f"{self.scenario}: {what}" if self.scenario else what
        for change in changes.CHANGES:
            if self.minor < change.since and change.covers(told, one, other):
                self.allowed[change.reason] = self.allowed.get(change.reason, 0) + 1
                return
        self.differences.append(Difference(told, one, other, tuple(differences(one, other))))
