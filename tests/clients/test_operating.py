"""What operators set beside the store's own business: discovery by DNS, who may ask which port, where log lines go."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from kvstore.server.flags import parse_duration
from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.dns_server import PRELUDE, DnsServer
from tests.support.http import Http
from tests.support.kinds import Kind
from tests.support.members import Cluster
from tests.support.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SECRET_TEXT = "c2VjcmV0LXZhbHVl"
SECRET = "secret-value"


def test_members_find_each_other_by_dns(tmp_path: Path) -> None:
    with DnsServer({}) as server:
        prelude = PRELUDE.format(port=server.port)
        kind = Kind("keelson", (sys.executable, "-c", f"{prelude}\nfrom kvstore.server.main import main\nmain()"))
        cluster = Cluster(kind, tmp_path, 2, flags=["--discovery-srv=keelson.test", "--discovery-srv-name=blue"])
        server.records["_etcd-server-blue._tcp.keelson.test"] = [("localhost", member.peer_port) for member in cluster]
        for member in cluster:
            member.initial_cluster = ""
        with cluster:
            leader = cluster.leader()
            listed = leader.http.post("/v3/cluster/member/list", {}).json()["members"]
            assert sorted(member["name"] for member in listed) == ["m1", "m2"]
            assert {url for member in listed for url in member["peerURLs"]} == {f"http://localhost:{member.peer_port}" for member in cluster}
            assert "_etcd-server-ssl-blue._tcp.keelson.test" in server.asked
            # Who has data does not need the name server any more.
            server.records.clear()
            cluster[0].terminate()
            cluster[0].restart()


@pytest.mark.parametrize("service", [kinds.ETCD, kinds.KEELSON])
def test_members_find_each_other_at_another_cluster(service: str, tmp_path: Path) -> None:
    """As etcd 3.6's do; the service is a real etcd, or one of ours."""
    with Cluster(kinds.find(service), tmp_path / "service", 1) as others:
        post = others[0].http.post
        folder = "/_etcd/registry/token-1"
        flags = [f"--discovery-endpoints={others[0].endpoint}", "--discovery-token=token-1"]
        cluster = Cluster(kinds.find(kinds.KEELSON), tmp_path / "new", 3, flags=flags)
        for member in cluster:
            member.initial_cluster = ""
        early, late = cluster[0], cluster[2]
        early.start()
        assert early.wait_exit() == 1
        assert "discovery: size key not found" in early.log()
        post("/v3/kv/put", {"key": encoded(f"{folder}/_config/size"), "value": encoded("2")})
        cluster.members.pop()
        with cluster:
            listed = cluster.leader().http.post("/v3/cluster/member/list", {}).json()["members"]
            assert sorted(member["name"] for member in listed) == ["m1", "m2"]
            registered = post("/v3/kv/range", {"key": encoded(f"{folder}/members/"), "range_end": encoded(f"{folder}/members0")}).json()["kvs"]
            told = {base64.b64decode(entry["key"]).decode(): base64.b64decode(entry["value"]).decode() for entry in registered}
            assert told == {f"{folder}/members/{int(member['ID']):x}": f"{member['name']}={member['peerURLs'][0]}" for member in listed}
            late.start()
            assert late.wait_exit() == 1
            assert "discovery: cluster is full" in late.log()
            # Who has data does not ask again.
            others[0].kill()
            cluster[0].terminate()
            cluster[0].restart()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_ports_and_logs(tmp_path: Path) -> None:
    http_port, metrics_port = free_port(), free_port()
    flags = [
        f"--listen-client-http-urls=http://127.0.0.1:{http_port}",
        f"--listen-metrics-urls=http://127.0.0.1:{metrics_port}",
        "--host-whitelist=127.0.0.1,good.example",
        "--cors=https://a.example:8443",
        f"--log-outputs=stderr,{tmp_path}/second.log",
        f"--access-log={tmp_path}/access.log",
        "--socket-reuse-port",
        "--warning-unary-request-duration=1ns",
    ]
    cluster = Cluster(kinds.find(kinds.KEELSON), tmp_path, 1, flags=flags)
    member = cluster[0]
    member._http = Http(http_port)  # HTTP has a port of its own
    with cluster:
        http, metrics, other = member.http, Http(metrics_port), Http(member.client_port)
        wire, wrong = Wire(member.endpoint), Wire(f"127.0.0.1:{http_port}")
        try:
            assert http.post("/v3/kv/put", {"key": "YQ==", "value": SECRET_TEXT}).status == 200
            assert http.post("/v3/kv/put", {"key": "", "value": SECRET_TEXT}).status == 400
            assert other.get("/health").status == 404
            assert wire.ask(pb.RangeRequest(key=b"a")).kvs[0].value == SECRET.encode()
            assert wrong.call("KV/Range", pb.RangeRequest(key=b"a")).code == grpc.StatusCode.UNIMPLEMENTED.value[0]
            # Metrics are often open to more people: there are no keys.
            assert metrics.get("/metrics").status == 200
            assert metrics.get("/readyz").status == 200
            assert metrics.post("/v3/kv/range", {"key": "YQ=="}).status == 404
            assert metrics.get("/debug/vars").status == 404
            for host, status in (("good.example:1", 200), ("bad.example", 421), ("127.0.0.1", 200)):
                assert http.request("GET", "/version", headers={"Host": host}).status == status
            assert 'etcd --host-whitelist "bad.example"' in http.request("GET", "/version", headers={"Host": "bad.example"}).text()
            allowed = http.request("GET", "/version", headers={"Origin": "https://a.example:8443"}).headers
            assert allowed["access-control-allow-origin"] == "https://a.example:8443"
            assert "access-control-allow-origin" not in http.request("GET", "/version", headers={"Origin": "https://b.example"}).headers
        finally:
            wire.close()
            wrong.close()
            other.close()
            metrics.close()
        assert "ready to serve client requests" in (tmp_path / "second.log").read_text()
        lines = [json.loads(line) for line in (tmp_path / "access.log").read_text().splitlines()]
        puts = [line for line in lines if line["method"] == "/etcdserverpb.KV/Put"]
        assert [(line["code"], line["transport"]) for line in puts] == [("OK", "json"), ("InvalidArgument", "json")]
        assert puts[0]["request-bytes"] == len(b"\n\x01a\x12\x0c" + SECRET.encode())
        [read] = [line for line in lines if line["method"] == "/etcdserverpb.KV/Range"]
        assert (read["code"], read["transport"]) == ("OK", "grpc")
        assert read["peer"].startswith("127.0.0.1:")
        assert 0 < parse_duration(read["took"]) < 5
        slow = [json.loads(line) for line in member.log().splitlines() if '"request stats"' in line]
        assert {line["response type"] for line in slow} >= {"/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"}
        everything = member.log() + (tmp_path / "access.log").read_text() + (tmp_path / "second.log").read_text()
        assert 'key:\\"a\\" value_size:12' in everything
        assert SECRET not in everything
        assert SECRET_TEXT not in everything


def test_a_log_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    command = [*kinds.find(kinds.KEELSON).command, f"--log-outputs={tmp_path}/nowhere/m.log", f"--data-dir={tmp_path}/data"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, "cannot open the log" in done.stderr) == (1, True)


GREPPED = [
    "starting an etcd server",
    "added member",
    "raft.node: ID elected leader ID at term N",
    "published local member to cluster through raft",
    "ready to serve client requests",
    "serving client traffic insecurely; this is strongly discouraged!",
    "finished scheduled compaction",
    "defragmenting",
    "finished defragmenting directory",
    "alarm raised",
    "alarm disarmed",
    "received signal; shutting down",
    "closing etcd server",
    "skipped leadership transfer for single voting member cluster",
    "closed etcd server",
]
"""What scripts and people look for in etcd's logs, in the order of a member's life."""


@pytest.mark.parametrize("name", [kinds.ETCD, kinds.KEELSON])
def test_key_messages_are_etcds(name: str, tmp_path: Path) -> None:
    with Cluster(kinds.find(name), tmp_path, 1) as cluster:
        [member] = cluster
        post = member.http.post
        for _ in range(3):
            post("/v3/kv/put", {"key": "YQ=="})
        post("/v3/kv/compaction", {"revision": 3, "physical": True})
        post("/v3/maintenance/defragment", {})
        for action in (1, 2):
            post("/v3/maintenance/alarm", {"action": action, "memberID": "5", "alarm": 1})
        member.terminate()
        lines = [json.loads(line) for line in member.log().splitlines() if line.startswith("{")]
    told = [re.sub(r"term \d+$", "term N", re.sub(r"\b[0-9a-f]{14,16}\b", "ID", line["msg"])) for line in lines]
    assert [message for message in told if message in GREPPED] == GREPPED
    fields = {line["msg"]: line for line in lines}
    assert fields["finished scheduled compaction"]["compact-revision"] == 3
    assert (fields["alarm raised"]["alarm"], fields["alarm raised"]["from"]) == ("NOSPACE", "5")
    assert fields["received signal; shutting down"]["signal"] == "terminated"
