"""The messages of the CRI that we use (runtime.v1), as protobuf classes made from a table of names, numbers and types.

The table is what there is to know of Kubernetes' published interface; fields that are not in it are skipped when they come and never sent.
`message("Version", ...)` needs no generated code, and no compiler.
"""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "runtime.v1"

_TABLE = """
VersionRequest: version 1 string
VersionResponse: runtime_name 2 string, runtime_version 3 string
RuntimeCondition: type 1 string, status 2 bool, reason 3 string, message 4 string
RuntimeStatus: conditions 1 RuntimeCondition*
StatusRequest:
StatusResponse: status 1 RuntimeStatus
NetworkConfig: pod_cidr 1 string
RuntimeConfig: network_config 1 NetworkConfig
UpdateRuntimeConfigRequest: runtime_config 1 RuntimeConfig
UpdateRuntimeConfigResponse:
DNSConfig: servers 1 string*, searches 2 string*, options 3 string*
NamespaceOption: network 1 int32, pid 2 int32, ipc 3 int32, target_id 4 string
Int64Value: value 1 int64
UInt64Value: value 1 uint64
LinuxSandboxSecurityContext: namespace_options 1 NamespaceOption, privileged 6 bool, seccomp 9 SecurityProfile
LinuxPodSandboxConfig: cgroup_parent 1 string, security_context 2 LinuxSandboxSecurityContext, sysctls 3 Pair*
Pair: key 1 string, value 2 string
PodSandboxMetadata: name 1 string, uid 2 string, namespace 3 string, attempt 4 uint32
PortMapping: protocol 1 int32, container_port 2 int32, host_port 3 int32, host_ip 4 string
PodSandboxConfig: metadata 1 PodSandboxMetadata, hostname 2 string, log_directory 3 string, dns_config 4 DNSConfig, port_mappings 5 PortMapping*, \
labels 6 Pair*, \
annotations 7 Pair*, linux 8 LinuxPodSandboxConfig
RunPodSandboxRequest: config 1 PodSandboxConfig
RunPodSandboxResponse: pod_sandbox_id 1 string
StopPodSandboxRequest: pod_sandbox_id 1 string
StopPodSandboxResponse:
RemovePodSandboxRequest: pod_sandbox_id 1 string
RemovePodSandboxResponse:
PodSandboxStatusRequest: pod_sandbox_id 1 string, verbose 2 bool
PodSandboxNetworkStatus: ip 1 string
PodSandboxStatus: id 1 string, metadata 2 PodSandboxMetadata, state 3 int32, created_at 4 int64, network 5 PodSandboxNetworkStatus
PodSandboxStatusResponse: status 1 PodSandboxStatus, info 2 Pair*
ListPodSandboxRequest:
PodSandbox: id 1 string, metadata 2 PodSandboxMetadata, state 3 int32, created_at 4 int64, labels 5 Pair*, annotations 6 Pair*
ListPodSandboxResponse: items 1 PodSandbox*
ImageSpec: image 1 string
KeyValue: key 1 string, value 2 string
LinuxContainerResources: cpu_period 1 int64, cpu_quota 2 int64, cpu_shares 3 int64, memory_limit_in_bytes 4 int64, oom_score_adj 5 int64
Capability: add_capabilities 1 string*, drop_capabilities 2 string*
LinuxContainerSecurityContext: capabilities 1 Capability, privileged 2 bool, namespace_options 3 NamespaceOption, run_as_user 5 Int64Value, \
run_as_group 12 Int64Value, run_as_username 6 string, readonly_rootfs 7 bool, supplemental_groups 8 int64*, no_new_privs 11 bool, \
masked_paths 13 string*, readonly_paths 14 string*, seccomp 15 SecurityProfile, supplemental_groups_policy 17 int32
SecurityProfile: profile_type 1 int32, localhost_ref 2 string
LinuxContainerConfig: resources 1 LinuxContainerResources, security_context 2 LinuxContainerSecurityContext
ContainerMetadata: name 1 string, attempt 2 uint32
Mount: container_path 1 string, host_path 2 string, readonly 3 bool
ContainerConfig: metadata 1 ContainerMetadata, image 2 ImageSpec, command 3 string*, args 4 string*, working_dir 5 string, envs 6 KeyValue*, \
mounts 7 Mount*, labels 9 Pair*, annotations 10 Pair*, log_path 11 string, stdin 12 bool, stdin_once 13 bool, tty 14 bool, \
linux 15 LinuxContainerConfig
CreateContainerRequest: pod_sandbox_id 1 string, config 2 ContainerConfig, sandbox_config 3 PodSandboxConfig
CreateContainerResponse: container_id 1 string
StartContainerRequest: container_id 1 string
StartContainerResponse:
StopContainerRequest: container_id 1 string, timeout 2 int64
StopContainerResponse:
RemoveContainerRequest: container_id 1 string
RemoveContainerResponse:
ListContainersRequest:
Container: id 1 string, pod_sandbox_id 2 string, metadata 3 ContainerMetadata, image 4 ImageSpec, image_ref 5 string, state 6 int32, \
created_at 7 int64, labels 8 Pair*, annotations 9 Pair*
ListContainersResponse: containers 1 Container*
ContainerStatusRequest: container_id 1 string
ContainerStatus: id 1 string, metadata 2 ContainerMetadata, state 3 int32, created_at 4 int64, started_at 5 int64, finished_at 6 int64, \
exit_code 7 int32, image 8 ImageSpec, image_ref 9 string, reason 10 string, message 11 string, labels 12 Pair*, annotations 13 Pair*, \
log_path 15 string
ContainerStatusResponse: status 1 ContainerStatus
ReopenContainerLogRequest: container_id 1 string
ReopenContainerLogResponse:
ExecSyncRequest: container_id 1 string, cmd 2 string*, timeout 3 int64
ExecSyncResponse: stdout 1 bytes, stderr 2 bytes, exit_code 3 int32
ExecRequest: container_id 1 string, cmd 2 string*, tty 3 bool, stdin 4 bool, stdout 5 bool, stderr 6 bool
ExecResponse: url 1 string
AttachRequest: container_id 1 string, stdin 2 bool, tty 3 bool, stdout 4 bool, stderr 5 bool
AttachResponse: url 1 string
ContainerStatsRequest: container_id 1 string
FilesystemUsage: used_bytes 3 UInt64Value
CpuUsage: timestamp 1 int64, usage_core_nano_seconds 2 UInt64Value
MemoryUsage: timestamp 1 int64, working_set_bytes 2 UInt64Value, usage_bytes 4 UInt64Value
ContainerStats: cpu 2 CpuUsage, memory 3 MemoryUsage, writable_layer 4 FilesystemUsage
ContainerStatsResponse: stats 1 ContainerStats
Image: id 1 string, repo_tags 2 string*, repo_digests 3 string*, size 4 uint64, uid 5 Int64Value, username 6 string
ListImagesRequest:
ListImagesResponse: images 1 Image*
ImageStatusRequest: image 1 ImageSpec
ImageStatusResponse: image 1 Image
PullImageRequest: image 1 ImageSpec, sandbox_config 3 PodSandboxConfig
PullImageResponse: image_ref 1 string
RemoveImageRequest: image 1 ImageSpec
RemoveImageResponse:
"""
"""`name number type`, a star for what repeats. A map is what it is on the wire: repeated pairs."""

_FIELD = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
    "bool": _FIELD.TYPE_BOOL,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
}


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="cri.proto", package=PACKAGE, syntax="proto3")
    for line in _TABLE.strip().splitlines():
        name, _, fields = line.partition(":")
        declared = file.message_type.add(name=name)
        for each in fields.split(","):
            if not each.strip():
                continue
            field, number, kind = each.split()
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            made = declared.field.add(name=field, number=int(number), label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL)
            if kind in _TYPES:
                made.type = _TYPES[kind]
            else:
                made.type, made.type_name = _FIELD.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


@cache
def kind(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


def message(name: str, **fields: Any) -> Any:
    """A message; nested ones are dicts."""
    return kind(name)(**fields)


def pairs(mapping: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in mapping.items()]


def mapping(found: Any) -> dict[str, str]:
    return {each.key: each.value for each in found}
