"""A pod's volumes as folders of the node: made before its containers, brought up to date while it runs, removed after it.

    pods/UID/volumes/kubernetes.io~KIND/NAME    what is the pod's own
    anything else                               hostPath, and persistent volumes of the kinds hostPath and local: they stay

Kinds that need a driver (csi, nfs, iscsi, ...) are refused with their name.
"""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from agents.kit.times import to_seconds
from agents.kubelet import payload, pods
from agents.kubelet.environment import ConfigError, Sources, expand
from agents.kubelet.payload import FileOf
from agents.kubelet.runtime.base import Mount
from agents.kubelet.shim import kernel
from apiserver.client.rest import Client
from apiserver.machinery.objects import Object, name_of, namespace_of, uid_of
from apiserver.machinery.quantity import parse
from apiserver.machinery.resources import resource
from apiserver.machinery.status import ApiError
from keelson.cogs.files import mounts

CLAIMS, VOLUMES, ACCOUNTS = resource("persistentvolumeclaims"), resource("persistentvolumes"), resource("serviceaccounts")
RENEW_AT = 0.8
"""Of a token's life; or after a day."""
RENEW_AFTER_S = 24 * 3600.0
TOKEN_S = 3600


class VolumeError(Exception):
    """For the event FailedMount."""


class Token(Struct, frozen=True):
    text: str
    renew_s: float


class Volumes:
    def __init__(self, folder: Path, client: Client, now_s: Callable[[], float] = time.time) -> None:
        self._folder, self._client, self._now_s = folder, client, now_s
        self._tokens: dict[tuple[str, str, str], Token] = {}

    def pod_folder(self, uid: str) -> Path:
        return self._folder / "pods" / uid

    def _place(self, uid: str, kind: str, name: str) -> Path:
        return self.pod_folder(uid) / "volumes" / f"kubernetes.io~{kind}" / name

    async def prepare(self, pod: Object, sources: Sources) -> dict[str, Path]:
        """Where each volume lies, made and up to date. Harmless when done again. Raises VolumeError, ApiError, Unreachable."""
        found = {}
        for volume in pod["spec"].get("volumes") or ():
            try:
                found[volume["name"]] = await self._one(pod, volume, sources)
            except (ConfigError, OSError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from None
        return found

    async def _one(self, pod: Object, volume: Object, sources: Sources) -> Path:
        uid, name = uid_of(pod), volume["name"]
        kind = next((key for key in volume if key != "name" and volume[key] is not None), "emptyDir")
        match kind:
            case "emptyDir":
                return self._empty(pod, volume["emptyDir"] or {}, self.empty_folder(uid, name), sources)
            case "hostPath":
                return _host_path(volume["hostPath"]["path"], volume["hostPath"].get("type") or "")
            case "configMap":
                source = volume["configMap"]
                files = payload.config_map_files(pod, source, source.get("name", ""), sources, _mode(source))
                return self._written(pod, self._place(uid, "configmap", name), files, secret=False)
            case "secret":
                source = volume["secret"]
                files = payload.secret_files(pod, source, source.get("secretName", ""), sources, _mode(source))
                return self._written(pod, self._place(uid, "secret", name), files, secret=True)
            case "downwardAPI":
                source = volume["downwardAPI"]
                files = payload.downward_files(pod, source.get("items") or [], sources, _mode(source))
                return self._written(pod, self._place(uid, "downward-api", name), files, secret=False)
            case "projected":
                files = await self._projected(pod, volume, sources)
                return self._written(pod, self._place(uid, "projected", name), files, secret=True)
            case "persistentVolumeClaim":
                return await self._claimed(pod, volume["persistentVolumeClaim"]["claimName"])
            case "ephemeral":
                return await self._claimed(pod, f"{name_of(pod)}-{name}")
        raise ConfigError(f"no volume plugin matched: {kind} is not supported on this node")

    def empty_folder(self, uid: str, name: str) -> Path:
        return self._place(uid, "empty-dir", name)

    def _empty(self, pod: Object, source: Object, place: Path, sources: Sources) -> Path:
        medium = source.get("medium") or ""
        if medium not in ("", "Memory"):
            raise ConfigError(f'unknown storage medium "{medium}"')
        if not place.exists():
            place.mkdir(parents=True)
            if medium == "Memory":
                limit = memory_limit_bytes(pod, source, sources.allocatable)
                kernel.mount("tmpfs", str(place), "tmpfs", kernel.MS_NODEV | kernel.MS_NOSUID, f"mode=777{f',size={limit}' if limit else ''}")
            place.chmod(0o777)
            _own(place, pod, 0o2777)
        return place

    def _written(self, pod: Object, place: Path, files: dict[str, FileOf], *, secret: bool) -> Path:
        if not place.exists():
            place.mkdir(parents=True)
            if secret:  # never onto a disk
                with contextlib.suppress(OSError):
                    kernel.mount("tmpfs", str(place), "tmpfs", kernel.MS_NODEV | kernel.MS_NOSUID | kernel.MS_NOEXEC, "mode=755")
            place.chmod(0o755)
        payload.write(place, files, fs_group(pod))
        return place

    async def _projected(self, pod: Object, volume: Object, sources: Sources) -> dict[str, FileOf]:
        mode = _mode(volume["projected"])
        files: dict[str, FileOf] = {}
        for source in volume["projected"].get("sources") or ():
            if source.get("configMap") is not None:
                files |= payload.config_map_files(pod, source["configMap"], source["configMap"].get("name", ""), sources, mode)
            elif source.get("secret") is not None:
                files |= payload.secret_files(pod, source["secret"], source["secret"].get("name", ""), sources, mode)
            elif source.get("downwardAPI") is not None:
                files |= payload.downward_files(pod, source["downwardAPI"].get("items") or [], sources, mode)
            elif source.get("serviceAccountToken") is not None:
                wanted = source["serviceAccountToken"]
                user = common_user(pod)
                token = await self._token(pod, wanted)
                private = user is not None or fs_group(pod) is not None
                files[payload.safe(wanted["path"])] = FileOf(token.encode(), 0o600 if private else mode, -1 if user is None else user)
            else:
                raise ConfigError(f"a projected source that is not supported: {', '.join(source)}")
        return files

    async def _token(self, pod: Object, wanted: Object) -> str:
        """A token bound to the pod, renewed in time."""
        audience = wanted.get("audience") or ""
        key = (uid_of(pod), audience, wanted["path"])
        now_s = self._now_s()
        known = self._tokens.get(key)
        if known is not None and now_s < known.renew_s:
            return known.text
        reference = {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)}
        spec = {
            "audiences": [audience] if audience else [],
            "expirationSeconds": int(wanted.get("expirationSeconds") or TOKEN_S),
            "boundObjectRef": reference,
        }
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        try:
            answer = await self._client.create(ACCOUNTS, request, namespace_of(pod), subresource="token", name=account)
        except ApiError as error:
            if known is not None:
                return known.text  # good for a while yet
            raise ConfigError(f"failed to fetch token: {error}") from None
        ends_s = to_seconds(answer["status"].get("expirationTimestamp")) or now_s + TOKEN_S
        token = Token(answer["status"]["token"], now_s + min((ends_s - now_s) * RENEW_AT, RENEW_AFTER_S))
        self._tokens[key] = token
        return token.text

    async def _claimed(self, pod: Object, claim_name: str) -> Path:
        try:
            claim = await self._client.get(CLAIMS, claim_name, namespace_of(pod))
            volume_name = (claim.get("spec") or {}).get("volumeName")
            if (claim.get("status") or {}).get("phase") != "Bound" or not volume_name:
                raise ConfigError(f'PVC "{claim_name}" is not bound')
            volume = await self._client.get(VOLUMES, volume_name)
        except ApiError as error:
            raise ConfigError(f"error processing PVC {namespace_of(pod)}/{claim_name}: {error}") from None
        spec = volume["spec"]
        if spec.get("hostPath"):
            place = _host_path(spec["hostPath"]["path"], spec["hostPath"].get("type") or "DirectoryOrCreate")
        elif spec.get("local"):
            place = _host_path(spec["local"]["path"], "")
            if not place.exists():
                raise ConfigError(f'path "{place}" does not exist')
        else:
            raise ConfigError(f"no volume plugin matched: persistent volume {volume_name} is of a kind that is not supported on this node")
        _own(place, pod, 0o2775)
        return place

    def remove(self, uid: str) -> None:
        """All that was the pod's own. A mount that is still in use goes with its last user."""
        self._tokens = {key: value for key, value in self._tokens.items() if key[0] != uid}
        remove_folder(self.pod_folder(uid))

    def empty(self, uid: str) -> None:
        """The volumes of a pod that has ended: they free the disk now, its containers' messages stay until it is deleted."""
        remove_folder(self.pod_folder(uid) / "volumes")

    def kept(self) -> list[str]:
        """Uids of pods that have a folder here."""
        folder = self._folder / "pods"
        return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def remove_folder(folder: Path) -> None:
    """With the mounts in it, and never with what a mount from elsewhere shows."""
    if not folder.exists():
        return
    place = folder.resolve()
    for target in _mounts_in(place):
        with contextlib.suppress(OSError):
            kernel.unmount(target)
    if not _mounts_in(place):
        shutil.rmtree(folder, ignore_errors=True)


def _mounts_in(place: Path) -> list[str]:
    return [each for each in mounts(place) if each != str(place)]


def memory_limit_bytes(pod: Object, source: Object, allocatable: Mapping[str, str]) -> int:
    """Of an emptyDir in memory: the least of what it says, what the pod may use, and what the node has for pods. 0: none is known."""
    containers = [*pods.init_containers(pod), *pods.containers(pod)]
    limited = all("memory" in pods.quantities(each, "limits") for each in containers)
    whole = pods.peak(pod, "limits", "memory") if limited else parse(allocatable.get("memory", "0"))
    return min((each for each in (whole.value, parse(str(source.get("sizeLimit") or "0")).value) if each > 0), default=0)


def fs_group(pod: Object) -> int | None:
    value = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if value is None else int(value)


def common_user(pod: Object) -> int | None:
    """The user of all containers, where they have the same."""
    whole = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    users = {(each.get("securityContext") or {}).get("runAsUser", whole) for each in pod["spec"].get("containers") or ()}
    found = users.pop() if len(users) == 1 else None
    return None if found is None else int(found)


def _own(place: Path, pod: Object, mode: int) -> None:
    group = fs_group(pod)
    if group is not None and place.stat().st_gid != group:
        os.chown(place, -1, group)
        place.chmod(stat.S_IMODE(place.stat().st_mode) | mode & 0o7770)


def _mode(source: Object) -> int:
    given = source.get("defaultMode")
    return 0o644 if given is None else int(given)


_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "a directory"),
    "File": (stat.S_ISREG, "a file"),
    "FileOrCreate": (stat.S_ISREG, "a file"),
    "Socket": (stat.S_ISSOCK, "a socket file"),
    "CharDevice": (stat.S_ISCHR, "a character device"),
    "BlockDevice": (stat.S_ISBLK, "a block device"),
}


def _host_path(path: str, kind: str) -> Path:
    """Made or checked as its type says (hostpath's type checker). Without a type a missing path becomes a folder, as container runtimes do it."""
    place = Path(path)
    if kind in ("DirectoryOrCreate", "") and not place.exists():
        place.mkdir(parents=True, mode=0o755)
    elif kind == "FileOrCreate" and not place.exists():
        place.touch(0o644)
    if kind:
        holds, what = _CHECKS.get(kind, (lambda _: False, kind))
        if not place.exists() or not holds(place.stat().st_mode):
            raise ConfigError(f"hostPath type check failed: {path} is not {what}")
    return place


def mounts_of(pod: Object, container: Object, places: dict[str, Path], known: dict[str, str]) -> list[Mount]:
    """The container's volumeMounts; `known` is its environment, for subPathExpr. Raises ConfigError."""
    found = []
    for each in container.get("volumeMounts") or ():
        place = places.get(each["name"])
        if place is None:
            raise ConfigError(f'cannot find volume "{each["name"]}" to mount into container "{container["name"]}"')
        if (each.get("mountPropagation") or "None") != "None":
            raise ConfigError(f"mountPropagation {each['mountPropagation']} is not supported on this node")
        subpath = each.get("subPath") or ""
        if each.get("subPathExpr"):
            subpath = expand(each["subPathExpr"], known)
            if "$(" in subpath:
                raise ConfigError(f"missing value for {subpath!r}")
        if subpath:
            if subpath.startswith("/") or ".." in Path(subpath).parts:
                raise ConfigError(f"subPath {subpath!r} must not be absolute, nor contain '..'")
            _make_subpath(place, subpath, fs_group(pod))
        own_source: Object = next((volume for volume in pod["spec"].get("volumes") or () if volume["name"] == each["name"]), {})
        fixed = any(kind in own_source for kind in ("configMap", "secret", "downwardAPI", "projected"))
        claimed = bool((own_source.get("persistentVolumeClaim") or {}).get("readOnly"))
        found.append(Mount(str(place), each["mountPath"], bool(each.get("readOnly")) or fixed or claimed, subpath))
    return found


def _make_subpath(place: Path, subpath: str, group: int | None) -> None:
    """A folder where there is nothing; nothing is made through a link, which could lead anywhere. Each step begins at the descriptor of the one
    before it: a container that has the volume already may put links in the way at any moment. Raises ConfigError."""
    current = -1
    try:
        current = os.open(place, os.O_PATH | os.O_CLOEXEC)
        for part in Path(subpath).parts:
            before, current = current, _step(current, part, group)
            os.close(before)
            if stat.S_ISLNK(os.fstat(current).st_mode):
                return
    except OSError as error:
        raise ConfigError(f"failed to create subPath directory {subpath!r}: {error.strerror}") from None
    finally:
        if current >= 0:
            os.close(current)


def _step(folder: int, name: str, group: int | None) -> int:
    """What has that name in the folder, made if it is missing: a link is the link itself. Raises OSError."""
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        os.mkdir(name, dir_fd=folder)
    made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    if group is not None:
        os.fchown(made, -1, group)
    os.fchmod(made, 0o755 if group is None else 0o2775)
    return made


def hosts_file(pod: Object, hostname: str, pod_ip: str) -> str:
    """/etc/hosts of a pod with a network of its own."""
    lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += ["fe00::0\tip6-localnet", "fe00::0\tip6-mcastprefix", "fe00::1\tip6-allnodes", "fe00::2\tip6-allrouters"]
    spec = pod["spec"]
    if spec.get("subdomain"):
        lines.append(f"{pod_ip}\t{hostname}.{spec['subdomain']}.{namespace_of(pod)}.svc.cluster.local\t{hostname}")
    else:
        lines.append(f"{pod_ip}\t{hostname}")
    return "\n".join(lines + _aliases(pod)) + "\n"


def node_hosts_file(pod: Object, node_hosts: str) -> str:
    """/etc/hosts of a pod in the node's network: the node's, and what the pod adds."""
    lines = ["# Kubernetes-managed hosts file (host network).", *node_hosts.splitlines()]
    return "\n".join(lines + _aliases(pod)) + "\n"


def _aliases(pod: Object) -> list[str]:
    given = pod["spec"].get("hostAliases")
    return ["", "# Entries added by HostAliases."] + [f"{each['ip']}\t" + "\t".join(each.get("hostnames") or ()) for each in given] if given else []
