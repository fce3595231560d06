"""grpc.reflection.v1.ServerReflection (and v1alpha, the same): what is served, told to tools such as grpcurl. etcd does not have it.

Everything told is in the published .proto files; nothing of what is stored.
"""

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from kvstore.api.rpc import Context, Requests, Send
from kvstore.wire import codec, messages
from kvstore.wire.messages import DESCRIPTORS
from kvstore.wire.status import Code


class Reflection:
    def __init__(self, services: list[str]) -> None:
        """`services` by their full names, as they are served."""
        self._services = sorted(services)
        self._files = {file.name: file for file in DESCRIPTORS.file}
        self._file_of = {symbol: file for file in DESCRIPTORS.file for symbol in _symbols(file)}
        for service in services:
            # Of v1alpha there is no file of its own; tools ask only for what they call.
            self._file_of.setdefault(service, self._file_of[service.replace(".v1alpha.", ".v1.")])

    async def info(self, _context: Context, requests: Requests, send: Send) -> None:
        async for data in requests:
            request = codec.parse(messages.ServerReflectionRequest, data)
            response = messages.ServerReflectionResponse(valid_host=request.host, original_request=request)
            self._answer(request.WhichOneof("message_request"), request, response)
            await send(response.SerializeToString())

    def _answer(self, asked: str | None, request: messages.ServerReflectionRequest, response: messages.ServerReflectionResponse) -> None:
        if asked == "list_services":
            response.list_services_response.service.extend([messages.ServiceResponse(name=name) for name in self._services])
            return
        file = None
        if asked == "file_by_filename":
            file = self._files.get(request.file_by_filename)
        elif asked == "file_containing_symbol":
            file = self._file_of.get(request.file_containing_symbol)
        elif asked == "all_extension_numbers_of_type" and request.all_extension_numbers_of_type in self._file_of:
            response.all_extension_numbers_response.base_type_name = request.all_extension_numbers_of_type
            return
        if file is None:
            response.error_response.error_code = int(Code.NOT_FOUND)
            response.error_response.error_message = "not found"
            return
        response.file_descriptor_response.file_descriptor_proto.extend([part.SerializeToString() for part in self._with_imports(file)])

    def _with_imports(self, file: FileDescriptorProto) -> list[FileDescriptorProto]:
        """The file first, then what it needs."""
        found = [file]
        for part in found:
            found += [self._files[name] for name in part.dependency if self._files[name] not in found]
        return found


def _symbols(file: FileDescriptorProto) -> list[str]:
    """Full names of services, methods, messages and enums."""
    found: list[str] = []
    for service in file.service:
        found += [f"{file.package}.{service.name}", *(f"{file.package}.{service.name}.{method.name}" for method in service.method)]
    found += [f"{file.package}.{enum.name}" for enum in file.enum_type]
    nested: list[tuple[str, DescriptorProto]] = [(file.package, message) for message in file.message_type]
    for scope, message in nested:
        name = f"{scope}.{message.name}"
        found += [name, *(f"{name}.{enum.name}" for enum in message.enum_type), *(f"{name}.{field.name}" for field in message.field)]
        nested += [(name, inner) for inner in message.nested_type]
    return found
