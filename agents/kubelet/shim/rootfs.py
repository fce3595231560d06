"""A container's view of the file system, built by the container's first process in its own mount namespace.

1. The layers become a root by overlayfs (by copying, where the kernel or the disk beneath refuses overlayfs).
2. Everything that comes from the node (volumes, /etc/hosts, devices) is taken up as detached mounts, before the old root goes away.
3. pivot_root, and the old root is let go: from here on no path, whatever links the image holds, can name a file of the node.
4. /proc, /sys, /dev are made, and covered where a container must not look or write; only then the detached mounts are attached: what covers
   comes from the node, and no link in a volume or an image says what it is.

All that is attached is mounted nodev: a device node that a container makes for itself opens nothing.
"""

import errno
import os
import stat
from typing import Any

from agents.kubelet.shim import kernel, process

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEV_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)


def proc_of(holder: int) -> int:
    """The /proc of that process, detached. Who is not in a process namespace himself cannot make its /proc. Raises OSError.

    A container that may mount can have put anything there: that is refused.
    """
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    theirs = os.open(f"/proc/{holder}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    kernel.setns(theirs, kernel.CLONE_NEWNS)
    try:
        tree = kernel.open_tree(kernel.AT_FDCWD, "/proc")
    finally:
        kernel.setns(own, kernel.CLONE_NEWNS)
        os.close(theirs)
        os.close(own)
    if kernel.kind_of_files(tree) != kernel.PROC_MAGIC:
        raise OSError(errno.EINVAL, f"/proc of process {holder} is none")
    return tree


def enter(config: dict[str, Any], folder: str, proc: int = -1) -> None:
    """Make the calling process see the container's files alone. It must be in a mount namespace of its own. `proc`: a detached mount; without one
    /proc is that of the caller's process namespace. Raises OSError."""
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_SLAVE)
    root = f"{folder}/root"
    _lay(config, folder, root)
    privileged = config["privileged"]
    trees = [(mount, _taken(mount)) for mount in config["mounts"]]
    devices = {} if privileged else {name: _device(name) for name in DEVICES if os.path.exists(f"/dev/{name}")}
    covers = [_device("null") for _ in config["masked"]]
    all_devices = kernel.open_tree(kernel.AT_FDCWD, "/dev") if privileged else -1
    sysfs = kernel.open_tree(kernel.AT_FDCWD, "/sys") if config["host_network"] else -1
    os.chdir(root)
    process.seal()
    kernel.pivot_root(".", ".")
    kernel.unmount(".", kernel.MNT_DETACH)
    os.chdir("/")
    os.umask(0o022)
    _proc(proc)
    _sys(sysfs, privileged)
    if privileged:
        _attach(all_devices, "/dev", True)
    else:
        _dev(devices)
    _mask(config["masked"], covers)
    for path in config["readonly"]:
        _fix(path)
    for mount, (fd, is_folder) in trees:
        _attach(fd, mount["target"], is_folder)
    os.makedirs(config["cwd"] or "/", exist_ok=True)
    if config["readonly_root"]:
        kernel.mount("none", "/", "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NODEV)


def _lay(config: dict[str, Any], folder: str, root: str) -> None:
    upper, work = f"{folder}/upper", f"{folder}/work"
    for each in (root, upper, work):
        os.makedirs(each, exist_ok=True)
    if os.path.exists(f"{folder}/copied"):
        _own_mount(root)
        return
    layers = config["layers"]
    # overlayfs takes a page of options: layers are named relative to the folder they lie in.
    os.chdir(config["layers_folder"])
    options = f"lowerdir={':'.join(layers)},upperdir={upper},workdir={work}"
    try:
        kernel.mount("overlay", root, "overlay", kernel.MS_NODEV, options)
    except OSError:
        copy_layers([os.path.join(config["layers_folder"], layer) for layer in reversed(layers)], root)
        with open(f"{folder}/copied", "w"):
            pass
        _own_mount(root)


def _own_mount(root: str) -> None:
    """A bind mount looks at its flags only when it is made anew."""
    kernel.mount(root, root, "", kernel.MS_BIND)
    kernel.mount("none", root, "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_NODEV)


def copy_layers(layers: list[str], root: str) -> None:
    """Lowest layer first. Whiteouts are as overlayfs has them: character devices 0:0, and opaque folders by an attribute."""
    import shutil

    for layer in layers:
        for path, folders, files in os.walk(layer):
            relative = os.path.relpath(path, layer)
            target = os.path.normpath(os.path.join(root, relative))
            if relative != "." and os.path.islink(target):
                os.unlink(target)
            if _attribute(path, "trusted.overlay.opaque") == b"y":
                shutil.rmtree(target, ignore_errors=True)
            os.makedirs(target, exist_ok=True)
            _same_owner(path, target)
            for name in files + [each for each in folders if os.path.islink(f"{path}/{each}")]:
                _copy_file(f"{path}/{name}", f"{target}/{name}")


def _copy_file(source: str, target: str) -> None:
    import shutil

    found = os.lstat(source)
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    elif os.path.lexists(target):
        os.unlink(target)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        return
    if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
        shutil.copy2(source, target, follow_symlinks=False)
        _same_owner(source, target)


def _same_owner(source: str, target: str) -> None:
    found = os.lstat(source)
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(target, stat.S_IMODE(found.st_mode))


def _attribute(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""


def _taken(mount: dict[str, Any]) -> tuple[int, bool]:
    """The source as a detached mount, and whether it is a folder. A subPath is resolved where no link can lead out of the volume."""
    source = os.open(mount["source"], os.O_PATH | os.O_CLOEXEC)
    if mount.get("subpath"):
        inner = kernel.open_inside(source, mount["subpath"])
        os.close(source)
        source = inner
    is_folder = stat.S_ISDIR(os.fstat(source).st_mode)
    tree = kernel.open_tree(source, "")
    os.close(source)
    flags = (kernel.MOUNT_ATTR_RDONLY if mount.get("readonly") else 0) | (0 if mount.get("devices") else kernel.MOUNT_ATTR_NODEV)
    if flags:
        kernel.set_attributes(tree, flags)
    return tree, is_folder


def _device(name: str) -> int:
    return kernel.open_tree(kernel.AT_FDCWD, f"/dev/{name}")


def _attach(fd: int, target: str, is_folder: bool) -> None:
    if is_folder:
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass
    kernel.move_mount(fd, target)
    os.close(fd)


def _proc(tree: int) -> None:
    os.makedirs("/proc", exist_ok=True)
    if tree >= 0:
        _attach(tree, "/proc", True)
        return
    kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)


def _sys(tree: int, privileged: bool) -> None:
    os.makedirs("/sys", exist_ok=True)
    if tree >= 0:
        if not privileged:
            kernel.set_attributes(tree, kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NODEV)
        _attach(tree, "/sys", True)
        return
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC | (0 if privileged else kernel.MS_RDONLY)
    kernel.mount("sysfs", "/sys", "sysfs", flags)


def _dev(devices: dict[str, int]) -> None:
    os.makedirs("/dev", exist_ok=True)
    kernel.mount("tmpfs", "/dev", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=65536k")
    for name, fd in devices.items():
        _attach(fd, f"/dev/{name}", False)
    os.makedirs("/dev/pts")
    kernel.mount("devpts", "/dev/pts", "devpts", kernel.MS_NOSUID | kernel.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5")
    os.makedirs("/dev/mqueue")
    kernel.mount("mqueue", "/dev/mqueue", "mqueue", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    for target, name in DEV_LINKS:
        os.symlink(target, f"/dev/{name}")


def _mask(paths: list[str], covers: list[int]) -> None:
    """`covers`: the node's own /dev/null, detached, once for each path. A folder gets an empty one."""
    for path, cover in zip(paths, covers, strict=True):
        if os.path.isdir(path):
            kernel.mount("tmpfs", path, "tmpfs", kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, "size=0")
        elif os.path.exists(path):
            kernel.move_mount(cover, path)
        os.close(cover)


def _fix(path: str) -> None:
    if os.path.exists(path):
        kept = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        kernel.mount(path, path, "", kernel.MS_BIND | kernel.MS_REC)
        kernel.mount("none", path, "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kept)
