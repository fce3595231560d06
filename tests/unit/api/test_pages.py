"""The pages of the client port that are not API: health, version, metrics, variables, and everything that is not there."""

import contextlib
import socket

import pytest

from kvstore.api.rpc import Settings
from tests.model.backend import MEMBER, ModelBackend
from tests.unit.api.served import Served


def change(**values: object) -> object:
    def apply(backend: ModelBackend) -> None:
        for name, value in values.items():
            setattr(backend, name, value)

    return apply


def raise_alarm(kind: int) -> object:
    return lambda backend: backend.model.alarms.add((MEMBER, kind))


def test_all_is_well(served: Served) -> None:
    ask = served.http.get
    assert ask("/health").text() == '{"health":"true","reason":""}\n'
    assert ask("/livez").text() == "ok\n"
    assert ask("/readyz").text() == "ok\n"
    assert ask("/readyz?verbose").text() == ("[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n")
    assert ask("/readyz/linearizable_read").text() == "ok\n"
    assert ask("/livez?verbose").text() == "[+]serializable_read ok\nok\n"
    for path in ("/health", "/livez", "/readyz", "/version"):
        assert ask(path).status == 200
        refused = served.http.request("POST", path, b"")
        assert (refused.status, refused.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "path", ["/readyz/nothing", "/livez/linearizable_read", "/readyzz", "/nothing", "/", "/healthy", "/v4/kv/range", "/debug/nothing"]
)
def test_what_is_not_there(served: Served, path: str) -> None:
    answer = served.http.get(path)
    assert (answer.status, answer.text()) == (404, "404 page not found\n")


def test_alarms_make_it_unhealthy_unless_excluded(served: Served) -> None:
    ask = served.http.get
    served.do(raise_alarm(1))
    assert (ask("/health").status, ask("/health").json()) == (503, {"health": "false", "reason": "ALARM NOSPACE"})
    assert ask("/health?exclude=NOSPACE").status == 200
    assert ask("/readyz").status == 200, "a full store still serves"
    served.do(raise_alarm(2))
    assert ask("/health?exclude=NOSPACE").json()["reason"] == "ALARM CORRUPT"
    assert ask("/health?exclude=NOSPACE&exclude=CORRUPT").status == 200
    answer = ask("/readyz")
    assert answer.status == 503
    assert answer.text().startswith("[-]data_corruption failed: alarm activated: CORRUPT\n[+]serializable_read ok\n")
    assert ask("/readyz?exclude=data_corruption").status == 200
    assert ask("/livez").status == 200


def test_without_a_leader(served: Served) -> None:
    served.do(change(leader_id=0))
    assert (served.http.get("/health").status, served.http.get("/health").json()["reason"]) == (503, "RAFT NO LEADER")
    assert served.http.get("/health?serializable=true").status == 200


def test_a_learner_is_alive_but_not_ready(served: Served) -> None:
    served.do(change(learner=True))
    assert served.http.get("/livez").status == 200
    assert served.http.get("/readyz").status == 503
    assert "[-]non_learner failed" in served.http.get("/readyz").text()


def test_version(served: Served) -> None:
    assert served.http.get("/version").json() == {"etcdserver": "3.6.0", "etcdcluster": "3.6.0", "storage": "3.6.0"}


def test_metrics_and_variables() -> None:
    asked: list[str] = []

    def render(accept: str) -> tuple[bytes, str]:
        asked.append(accept)
        return b"up 1\n", "text/plain; version=0.0.4"

    with Served(Settings(metrics=render, command_line=("kvstore", "--name=m1"))) as served:
        answer = served.http.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
        assert (answer.text(), answer.headers["content-type"]) == ("up 1\n", "text/plain; version=0.0.4")
        assert asked == ["application/openmetrics-text"]
        told = served.http.get("/debug/vars").json()
        assert told["cmdline"] == ["kvstore", "--name=m1"]
        assert told["raft.status"] == {"id": f"{MEMBER:x}", "term": 2, "commit": 9, "applied": 8, "lead": f"{MEMBER:x}"}


def test_without_metrics_there_is_no_such_page(served: Served) -> None:
    assert served.http.get("/metrics").status == 404


def test_head_has_no_body(served: Served) -> None:
    answer = served.http.request("HEAD", "/debug/vars")
    assert (answer.status, answer.body) == (200, b"")


def test_tls_where_there_is_none_is_hung_up_on_without_a_word(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 10) as wire:
        wire.sendall(bytes.fromhex("1603010200010001fc0303"))
        with contextlib.suppress(ConnectionResetError):
            assert wire.recv(100) == b""
