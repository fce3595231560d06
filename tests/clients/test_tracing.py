"""Traces of a real member at a real collector: parents from callers, children for what was waited for, and no secret in them."""

import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from kvstore.wire import messages as pb
from tests.support import kinds
from tests.support.calls import Wire
from tests.support.kinds import Kind
from tests.support.members import Cluster
from tests.support.otlp import Collector, attributes

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"
SERVER, ERROR = 2, 2


def call(wire: Wire, method: str, request: bytes, **metadata: str) -> None:
    wire.channel.unary_unary(f"/etcdserverpb.{method}")(request, metadata=list(metadata.items()), timeout=10)


def test_what_a_caller_traces_goes_on_here(tmp_path: Path) -> None:
    with Collector() as collector:
        flags = [
            "--enable-distributed-tracing",
            f"--distributed-tracing-address=127.0.0.1:{collector.port}",
            "--experimental-distributed-tracing-service-name=store",
            "--distributed-tracing-instance-id=m1-of-test",
        ]
        with Cluster(kinds.find(kinds.KEELSON), tmp_path, 1, flags=flags) as cluster:
            [member] = cluster
            wire = Wire(member.endpoint)
            put = pb.PutRequest(key=b"secret-key", value=b"secret-value").SerializeToString()
            call(wire, "KV/Put", put, traceparent=SAMPLED)
            call(wire, "KV/Put", put)  # nobody asked for a trace of these two
            call(wire, "KV/Put", put, traceparent=NOT_SAMPLED)
            call(wire, "KV/Range", pb.RangeRequest(key=b"secret-key").SerializeToString(), traceparent=SAMPLED)
            with pytest.raises(grpc.RpcError):
                call(wire, "KV/Put", b"\xff", traceparent=SAMPLED)
            assert member.http.request("POST", "/v3/kv/range", b'{"key":"YQ=="}', headers={"traceparent": SAMPLED}).status == 200
            wire.close()
            assert member.terminate() < 0, "what is left is sent before the end"
    assert {"service.name": "store", "service.instance.id": "m1-of-test"}.items() <= collector.resources[0].items()
    good, bad = sorted(collector.named("etcdserverpb.KV/Put"), key=lambda span: span.status.code)
    assert (good.kind, good.trace_id.hex(), good.parent_span_id.hex()) == (SERVER, TRACE, PARENT)
    told = attributes(good)
    assert told["rpc.system"] == "grpc"
    assert (told["rpc.service"], told["rpc.method"], told["rpc.grpc.status_code"]) == ("etcdserverpb.KV", "Put", 0)
    assert told["network.peer.address"] == "127.0.0.1"
    assert (bad.status.code, attributes(bad)["rpc.grpc.status_code"]) == (ERROR, 13)
    [waited] = collector.named("propose and apply")
    assert (waited.parent_span_id, attributes(waited)) == (good.span_id, {"keelson.request": "Put"})
    assert good.start_time_unix_nano <= waited.start_time_unix_nano <= waited.end_time_unix_nano <= good.end_time_unix_nano
    over_grpc, over_http = sorted(collector.named("etcdserverpb.KV/Range"), key=lambda span: "url.path" in attributes(span))
    assert attributes(over_http)["http.response.status_code"] == 200
    assert {span.parent_span_id for span in collector.named("read index and read")} == {over_grpc.span_id, over_http.span_id}
    assert not any(b"secret" in span.SerializeToString() for span in collector.spans)


def test_a_share_of_all_calls_is_traced(tmp_path: Path) -> None:
    with Collector() as collector:
        flags = [
            "--enable-distributed-tracing",
            f"--distributed-tracing-address=127.0.0.1:{collector.port}",
            "--distributed-tracing-sampling-rate=1000000",
        ]
        with Cluster(kinds.find(kinds.KEELSON), tmp_path, 1, flags=flags) as cluster:
            [member] = cluster
            member.http.post("/v3/kv/put", {"key": "YQ=="})
            member.terminate()
    assert collector.named("propose and apply")


def test_without_the_packages_the_flag_is_refused_with_the_remedy(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['opentelemetry.sdk'] = None\nfrom kvstore.server.main import main\nmain()"
    kind = Kind("keelson", (sys.executable, "-c", blocked))
    command = [*kind.command, "--enable-distributed-tracing", f"--data-dir={tmp_path}/data"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "pip install 'keelson[tracing]'" in done.stderr
