"""One of the two servers: a connection, and what it told so far."""

from tests.kubernetes.oracle.memory import FIRST, Memory
from tests.kubernetes.oracle.normal import Plain, normal
from tests.kubernetes.oracle.requests import MERGE, Request, ask
from tests.kubernetes.oracle.servers import Server
from tests.support.http import Answer

TIMEOUT_S = 60.0


class Side:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = server.http()
        self.memory = Memory()

    def forget(self) -> None:
        """Nothing told so far is remembered, and `{from}` is now."""
        self.memory = Memory()
        self.raw(FIRST)

    def ask(self, request: Request) -> Plain:
        return normal(self.raw(request), self.memory.names)

    def remove(self, path: str) -> None:
        """The object at `path`, if there is one, whatever holds it."""
        for request in removal(path):
            self.raw(request)

    def raw(self, request: Request) -> Answer:
        memory = self.memory
        answer = self.http.request(request.method, memory.path(request), memory.body(request), memory.headers(request), timeout_s=TIMEOUT_S)
        memory.learn(request, answer)
        return answer

    def close(self) -> None:
        self.http.close()


def removal(path: str) -> tuple[Request, Request]:
    return ask("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE), ask("DELETE", path)
