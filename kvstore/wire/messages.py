"""The message classes of etcd's API and the table of its methods, made from the generated descriptors in a pool of our own.

    messages.PutRequest(key=b"a")        a class by its short name (unique over all packages)
    METHODS["/etcdserverpb.KV/Put"]      what it takes and gives, and whether either is a stream

The pool is ours alone, so that this module and any client library of etcd can live in one process.
"""

from pathlib import Path
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from msgspec import Struct


class Method(Struct, frozen=True):
    """One RPC. `path` is the gRPC path; `service` and `name` its two parts."""

    path: str
    service: str
    name: str
    request: Any
    response: Any
    client_streams: bool
    server_streams: bool


DESCRIPTORS = descriptor_pb2.FileDescriptorSet.FromString(Path(__file__).parent.joinpath("generated/api.binpb").read_bytes())
"""All files, each behind those that it imports."""

REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
REFLECTION_ALPHA = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
"""The same under its first name, which most tools still ask for."""


def _load() -> tuple[dict[str, Any], dict[str, Method]]:
    descriptors = DESCRIPTORS
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    classes: dict[str, Any] = {}
    methods: dict[str, Method] = {}
    for file in descriptors.file:
        described = pool.FindFileByName(file.name)
        for name, descriptor in described.message_types_by_name.items():
            assert name not in classes, f"short message names are unique: {name}"
            classes[name] = message_factory.GetMessageClass(descriptor)
    for file in descriptors.file:
        for service in file.service:
            full = f"{file.package}.{service.name}"
            for rpc in service.method:
                path = f"/{full}/{rpc.name}"
                methods[path] = Method(
                    path,
                    full,
                    rpc.name,
                    classes[rpc.input_type.rsplit(".", 1)[1]],
                    classes[rpc.output_type.rsplit(".", 1)[1]],
                    rpc.client_streaming,
                    rpc.server_streaming,
                )
    methods[REFLECTION_ALPHA] = msgspec.structs.replace(methods[REFLECTION], path=REFLECTION_ALPHA, service=REFLECTION_ALPHA.split("/")[1])
    return classes, methods


_CLASSES, METHODS = _load()


def __getattr__(name: str) -> Any:
    try:
        return _CLASSES[name]
    except KeyError:
        raise AttributeError(f"etcd's API has no message {name}") from None
