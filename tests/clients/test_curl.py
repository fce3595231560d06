"""curl, the client that everybody has: the gateway, health, version and metrics, as a person would ask for them."""

import json
import os
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.clients.conftest import Pair
from tests.clients.masking import Masking
from tests.support.members import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def curl(cluster: Cluster, path: str, *args: str, certificate: bool = True) -> subprocess.CompletedProcess[str]:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("needs curl")
    trust: list[str] = []
    if cluster.tls is not None:
        trust = ["--cacert", str(cluster.tls.ca)]
        trust += ["--cert", str(cluster.tls.client_cert), "--key", str(cluster.tls.client_key)] if certificate else []
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CA_BUNDLE")}
    command = [program, "--silent", "--show-error", "--max-time", "10", *trust, *args, cluster[0].client_url + path]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment, check=False)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_person_with_curl_sees_the_same(pair: Pair, version: str) -> None:
    calls: list[tuple[str, Any]] = [
        ("/v3/kv/put", {"key": "Y3VybA==", "value": "MQ=="}),
        ("/v3/kv/range", {"key": "Y3VybA=="}),
        ("/v3/kv/range", {"key": "Y3VybA==", "serializable": True, "count_only": True}),
        ("/v3/kv/txn", {"success": [{"request_delete_range": {"key": "Y3VybA==", "prev_kv": True}}]}),
        ("/v3/kv/range", {"key": ""}),
        ("/v3/cluster/member/list", {"linearizable": True}),
        ("/v3/maintenance/alarm", {}),
    ]
    shown = []
    for cluster in pair:
        masking = Masking(cluster)
        answers = []
        for path, body in calls:
            done = curl(cluster, path, version, "--data", json.dumps(body))
            assert done.returncode == 0, done.stderr
            [answer] = masking.parsed(done.stdout)
            answer.pop("error", None)  # the gateway of etcd up to 3.5 tells a message twice
            answer.get("members", []).sort(key=lambda member: member["name"])
            answers.append(answer)
        shown.append(answers)
    assert shown[0] == shown[1]


def test_health_version_and_metrics(pair: Pair) -> None:
    for cluster in pair:
        assert json.loads(curl(cluster, "/health").stdout) == {"health": "true", "reason": ""}
        version = json.loads(curl(cluster, "/version").stdout)
        assert set(version) >= {"etcdserver", "etcdcluster"}
        metrics = curl(cluster, "/metrics").stdout
        assert re.search(r"^etcd_server_has_leader 1(\.0)?$", metrics, re.M)
        assert "\ngrpc_server_handled_total{" in metrics


def test_without_a_certificate_nobody_gets_in(pair: Pair) -> None:
    for cluster in pair:
        refused = curl(cluster, "/health", certificate=False)
        # In or right after the handshake; 16 is a reset that meets curl where it sends its HTTP/2.
        assert refused.returncode in (16, 35, 55, 56), (cluster.kind.name, refused)
        assert refused.stdout == ""
        assert curl(cluster, "/health").returncode == 0


def test_clear_text_on_the_tls_port_is_answered_with_an_error(pair: Pair) -> None:
    for cluster in pair:
        url = f"http://{cluster[0].endpoint}/health"
        done = subprocess.run([str(shutil.which("curl")), "-s", "--max-time", "10", url], capture_output=True, text=True, timeout=30, check=False)
        assert "true" not in done.stdout
        assert curl(cluster, "/health").returncode == 0


def test_a_watch_with_curl_streams_until_it_is_stopped(pair: Pair) -> None:
    shown = []
    for cluster in pair:
        body = json.dumps({"create_request": {"key": "d2F0Y2g=", "start_revision": "1"}})
        curl(cluster, "/v3/kv/put", "--data", json.dumps({"key": "d2F0Y2g=", "value": "MQ=="}))
        done = curl(cluster, "/v3/watch", "--data", body, "--no-buffer", "--max-time", "1")
        assert done.returncode == 28, done  # ended by its own time limit, not by the server
        lines = [json.loads(line)["result"] for line in done.stdout.splitlines()]
        shown.append([(line.get("created"), [event["kv"]["value"] for event in line.get("events", [])]) for line in lines])
    assert shown[0] == shown[1]
