"""What tools ask for: gRPC health with changes, server reflection, the gateway's Swagger document, debug pages."""

import asyncio
import base64
import hashlib
import json
import re
import threading

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from kvstore.api.debug import collapsed, sample, speedscope
from kvstore.api.rpc import Settings
from kvstore.wire import messages as pb
from kvstore.wire.gateway import PATHS
from kvstore.wire.messages import METHODS
from kvstore.wire.openapi import document
from tests.support.http import Http
from tests.unit.api.served import Served

HEALTH = "/grpc.health.v1.Health/"
REFLECTION = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"


# --- health ---------------------------------------------------------------------------------------------------------------


def test_health_is_listed(served: Served) -> None:
    answer = served.wire.channel.unary_unary(HEALTH + "List", response_deserializer=pb.HealthListResponse.FromString)(b"", timeout=5)
    assert {name: status.status for name, status in answer.statuses.items()} == {"": 1}


async def slowly() -> None:
    """Long enough for others to have their turn."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("gate", "seen"), [(True, [1, 2, 1]), (False, [1])])
def test_who_watches_is_told_of_a_defragmentation_if_the_gate_says_so(gate: bool, seen: list[int]) -> None:
    with Served(Settings(stop_serving_on_defrag=gate)) as served:
        watch = served.wire.channel.unary_stream(HEALTH + "Watch", response_deserializer=pb.HealthCheckResponse.FromString)(b"", timeout=10)
        statuses = [next(watch).status]
        served.do(lambda backend: setattr(backend, "defragment", slowly))
        served.wire.ask(pb.DefragmentRequest())
        while len(statuses) < len(seen):
            statuses.append(next(watch).status)
        watch.cancel()
        assert statuses == seen
        check = served.wire.channel.unary_unary(HEALTH + "Check", response_deserializer=pb.HealthCheckResponse.FromString)
        assert check(b"").status == 1


# --- reflection -----------------------------------------------------------------------------------------------------------


class Tool:
    """What grpcurl does: services by name, their files, and a call with what those files say."""

    def __init__(self, channel: grpc.Channel, version: str) -> None:
        self._channel = channel
        self._ask = channel.stream_stream(
            REFLECTION.format(version), pb.ServerReflectionRequest.SerializeToString, pb.ServerReflectionResponse.FromString
        )
        self.pool = descriptor_pool.DescriptorPool()

    def ask(self, **question: object) -> pb.ServerReflectionResponse:
        [answer] = list(self._ask(iter([pb.ServerReflectionRequest(**question)]), timeout=5))
        return answer

    def services(self) -> set[str]:
        return {service.name for service in self.ask(list_services="*").list_services_response.service}

    def learn(self, symbol: str) -> None:
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in self.ask(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto
        ]
        for file in reversed(files):
            self.pool.Add(file)

    def call(self, service: str, method: str, **fields: object) -> object:
        described = self.pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(described.input_type)(**fields)
        response = message_factory.GetMessageClass(described.output_type)
        return self._channel.unary_unary(f"/{service}/{method}", response_deserializer=response.FromString)(request.SerializeToString(), timeout=5)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_a_tool_that_knows_nothing_can_put_and_get(version: str) -> None:
    with Served(Settings(reflection=True)) as served:
        tool = Tool(served.wire.channel, version)
        assert tool.services() == {method.service for method in METHODS.values()}
        tool.learn("etcdserverpb.KV")
        tool.call("etcdserverpb.KV", "Put", key=b"a", value=b"1")
        assert tool.call("etcdserverpb.KV", "Range", key=b"a").kvs[0].value == b"1"  # type: ignore[attr-defined]
        for symbol in ("etcdserverpb.RangeRequest.SortOrder", "mvccpb.KeyValue", "etcdserverpb.KV.Range", "etcdserverpb.PutRequest.value"):
            assert tool.ask(file_containing_symbol=symbol).WhichOneof("message_response") == "file_descriptor_response", symbol
        assert tool.ask(file_by_filename="kv.proto").file_descriptor_response.file_descriptor_proto
        for unknown in ({"file_containing_symbol": "no.Such"}, {"file_by_filename": "no.proto"}, {"all_extension_numbers_of_type": "no.Such"}, {}):
            assert tool.ask(**unknown).error_response.error_code == 5, unknown
        assert tool.ask(all_extension_numbers_of_type="mvccpb.KeyValue").all_extension_numbers_response.base_type_name == "mvccpb.KeyValue"


def test_without_the_flag_the_service_is_as_unknown_as_in_etcd(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        Tool(served.wire.channel, "v1").services()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == "unknown service grpc.reflection.v1.ServerReflection"


# --- swagger --------------------------------------------------------------------------------------------------------------


def test_the_document_describes_every_path_and_refers_to_what_it_has(served: Served) -> None:
    answer = served.http.get("/swagger.json")
    swagger = answer.json()
    assert swagger == document()
    assert set(swagger["paths"]) == set(PATHS)
    referred = set(re.findall(r'"\$ref": ?"#/definitions/(\w+)"', json.dumps(swagger)))
    assert referred - set(swagger["definitions"]) == set()
    ids = [path["post"]["operationId"] for path in swagger["paths"].values()]
    assert len(ids) == len(set(ids))
    assert swagger["definitions"]["etcdserverpbPutRequest"]["properties"]["lease"] == {"type": "string", "format": "int64"}
    assert swagger["definitions"]["etcdserverpbRangeResponse"]["properties"]["kvs"]["items"] == {"$ref": "#/definitions/mvccpbKeyValue"}
    assert swagger["definitions"]["etcdserverpbRangeRequestSortOrder"]["enum"] == ["NONE", "ASCEND", "DESCEND"]


def test_the_page_needs_nothing_from_elsewhere(served: Served) -> None:
    answer = served.http.get("/swagger/")
    text = answer.text()
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text)
    policy = answer.headers["content-security-policy"]
    for tag in ("style", "script"):
        [inner] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode() in policy
    assert "default-src 'none'" in policy


def test_without_the_gateway_there_is_no_page_of_it() -> None:
    with Served(Settings(gateway=False)) as served:
        assert served.http.get("/swagger.json").status == 404


# --- debug pages ----------------------------------------------------------------------------------------------------------

SECRET = "cGFzc3dvcmQtb2Ytcm9vdA"


def test_debug_pages_tell_positions_and_no_values() -> None:
    with Served(Settings(debug_pages=True)) as served:
        served.http.post("/v3/kv/put", {"key": SECRET + "==", "value": SECRET + "=="})
        assert "/debug/profile" in served.http.get("/debug/pprof/").text()
        tasks, threads = served.http.get("/debug/tasks").text(), served.http.get("/debug/threads").text()
        assert re.match(r"\d+ tasks\n\n", tasks)
        assert "debug.py:threads_text" in threads
        profile = served.http.get("/debug/profile?seconds=0.2").text()
        assert re.search(r"^served;.* \d+$", profile, re.MULTILINE), "the thread of the event loop"
        scope = served.http.get("/debug/profile?seconds=0.1&format=speedscope").json()
        assert scope["profiles"]
        decoded = base64.b64decode(SECRET + "==").decode()
        for text in (tasks, threads, profile, json.dumps(scope)):
            assert SECRET not in text
            assert decoded not in text
        for wrong in ("seconds=x", "seconds=-1", "seconds=1000", "seconds=1&format=png"):
            assert served.http.get(f"/debug/profile?{wrong}").status == 400


def test_two_profiles_at_once_are_one_too_many() -> None:
    with Served(Settings(debug_pages=True)) as served:
        other = Http(served.port)
        first: list[int] = []
        thread = threading.Thread(target=lambda: first.append(other.get("/debug/profile?seconds=0.3").status))
        thread.start()
        assert served.wait_until(lambda _: any("profiler" in name.name for name in threading.enumerate()))
        assert served.http.get("/debug/profile?seconds=0.1").status == 409
        thread.join()
        other.close()
        assert first == [200]


def test_without_the_flag_there_are_none(served: Served) -> None:
    for path in ("/debug/pprof/", "/debug/profile", "/debug/tasks", "/debug/threads"):
        assert served.http.get(path).status == 404


def test_a_profile_finds_who_is_busy_while_the_loop_goes_on() -> None:
    async def scenario() -> tuple[str, str, int]:
        stop = threading.Event()

        def busy_beaver() -> None:
            while not stop.is_set():
                sum(range(1000))

        thread = threading.Thread(target=busy_beaver, name="the busy one")
        thread.start()
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        async with asyncio.TaskGroup() as group:
            turning = group.create_task(turn())
            stacks = await sample(0.2)
            turning.cancel()
        stop.set()
        thread.join()
        return collapsed(stacks), speedscope(stacks), turns

    text, scope, turns = asyncio.run(scenario())
    assert "the_busy_one;" in text
    assert "busy_beaver" in text
    assert turns > 5, "the loop was not held up"
    profile = next(profile for profile in json.loads(scope)["profiles"] if profile["name"] == "the busy one")
    assert len(profile["samples"]) == len(profile["weights"])
    assert sum(profile["weights"]) == pytest.approx(profile["endValue"])


# --- the access log -------------------------------------------------------------------------------------------------------


def test_the_access_log_names_the_user_and_never_his_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="kvstore.access")
    with Served(Settings(access_log=True)) as served:
        served.call_with_metadata("KV/Put", pb.PutRequest(key=b"secret-key", value=b"secret-value"), ("token", "alice"))
        served.call_with_metadata("KV/Range", pb.RangeRequest(key=b"secret-key"))
        served.call_with_metadata("KV/Put", pb.PutRequest(), ("token", "alice"))
        stream = served.wire.keep_alive(7)
        assert stream.code == 0
        served.http.post("/v3/kv/range", {"key": "c2VjcmV0LWtleQ=="})
    lines = [getattr(record, "fields", {}) for record in caplog.records if record.name == "kvstore.access"]
    assert [(line["method"].rpartition("/")[2], line["user"], line["code"], line["transport"]) for line in lines] == [
        ("Put", "alice", "OK", "grpc"),
        ("Range", "", "OK", "grpc"),
        ("Put", "alice", "InvalidArgument", "grpc"),
        ("LeaseKeepAlive", "", "OK", "grpc"),
        ("Range", "", "OK", "json"),
    ]
    assert all(line["response-bytes"] > 0 for line in lines if line["code"] == "OK")
    assert "secret" not in str(lines)
