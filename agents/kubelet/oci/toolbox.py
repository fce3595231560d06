"""The images that tests, drills and the quick start run: made of this machine's own files, so that nothing needs to be fetched.

keelson/toolbox:1   a shell and the common tools: the machine's own programs with their libraries, and busybox for the rest where there is one
keelson/web:1, :2   beside that, Python with its standard library and a small web server that tells its version and its pod
"""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from agents.kubelet.oci import build, elf
from agents.kubelet.oci.build import File
from agents.kubelet.oci.store import Store

TOOLBOX, WEB_1, WEB_2, PAUSE = "keelson/toolbox:1", "keelson/web:1", "keelson/web:2", "keelson/pause:1"
SHELLS = ("dash", "bash", "sh")
_TOOLS = """
awk base64 basename bash cat chgrp chmod chown cmp comm cp curl cut date dd df dirname du echo env expr false find getent grep gzip head hostname id
ip
kill ln ls md5sum mkdir mkfifo mktemp mount mv nc nproc od paste printenv printf ps pwd readlink realpath rm rmdir sed seq sha256sum sleep sort split
stat
stty tail tar tee test timeout touch tr true truncate tty umount uname uniq wc wget which whoami xargs yes
"""
TOOLS = _TOOLS.split()
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nkeelson:x:1000:1000:keelson:/home/keelson:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
GROUPS = "root:x:0:\ntty:x:5:\nkeelson:x:1000:\nnogroup:x:65534:\n"
NO_LIBRARY = (
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "site-packages",
    "dist-packages",
    "__pycache__",
    "config-",
    "_tkinter",
    "_test",
    "_ctypes_test",
    "_xxtest",
)
PRELOADED = (
    *("http.server", "json", "urllib.request", "socketserver", "threading", "asyncio", "argparse"),
    *("logging", "datetime", "random", "hashlib", "ssl", "subprocess", "tempfile"),
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build_all(store: Store, *, again: bool = False) -> list[str]:
    """Names of the images that are now in the store; those that were there are left as they are unless `again`."""
    wanted = [TOOLBOX, PAUSE, WEB_1, WEB_2]
    if again or not all(store.find(name) for name in wanted):
        build_web(store, build_toolbox(store))
    return wanted


def build_toolbox(store: Store) -> dict[str, Any]:
    """Its layer."""
    tools = build.layer(store, toolbox_files())
    build.image(store, TOOLBOX, [tools], {"Env": [f"PATH={PATH}"], "Cmd": ["/bin/sh"], "WorkingDir": "/"})
    # For runtimes that keep a pod's namespaces by a process out of an image (containerd's sandbox_image).
    build.image(store, PAUSE, [tools], {"Env": [f"PATH={PATH}"], "Entrypoint": ["/bin/sleep", "infinity"]})
    return tools


def build_web(store: Store, tools: dict[str, Any]) -> None:
    python = build.layer(store, python_files())
    server = build.layer(store, {"app/server.py": File(content=(Path(__file__).parent / "web_server.py").read_bytes())})
    for name in (WEB_1, WEB_2):
        config = {
            "Env": [f"PATH={PATH}", f"VERSION={name.rpartition(':')[2]}", "PORT=8080", "PYTHONDONTWRITEBYTECODE=1"],
            "Entrypoint": ["/usr/bin/python3", "-I", "-S", "/app/server.py"],
            "ExposedPorts": {"8080/tcp": {}},
            "WorkingDir": "/",
        }
        build.image(store, name, [tools, python, server], config)


def toolbox_files() -> dict[str, File]:
    files = {
        "etc/passwd": File(content=ACCOUNTS.encode()),
        "etc/group": File(content=GROUPS.encode()),
        "etc/nsswitch.conf": File(content=b"passwd: files\ngroup: files\nhosts: files dns\n"),
        "root": File(0o700),
        "home/keelson": File(0o755),
        "tmp": File(0o1777),
        "var/tmp": File(0o1777),
        "run": File(0o755),
    }
    found = {name: Path(path).resolve() for name in TOOLS if (path := shutil.which(name)) is not None}
    shell = next(Path(path).resolve() for name in SHELLS if (path := shutil.which(name)) is not None)
    found["sh"] = shell
    files |= {f"bin/{name}": File(0o755, source=path) for name, path in found.items()}
    return files | _busybox() | files | _libraries(found.values())


def _busybox() -> dict[str, File]:
    """What it can do and the machine has no program of its own for; nothing where there is no static one."""
    busybox = shutil.which("busybox")
    if busybox is None or elf.Needs(Path(busybox)).interpreter:
        return {}
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    links = {f"bin/{name}": File(link="busybox") for name in applets if name != "busybox"}
    return {"bin/busybox": File(0o755, source=Path(busybox)), **links}


def _libraries(programs: Iterable[Path]) -> dict[str, File]:
    """What they need, in the folder where the loader looks without being told: the one in which this machine's libc lies."""
    libraries, interpreters = elf.closure(programs)
    libc = libraries.get("libc.so.6")
    folder = str(libc.parent).lstrip("/") if libc is not None else "lib"
    files = {f"{folder}/{name}": File(0o755, source=path.resolve()) for name, path in libraries.items()}
    if libc is not None:
        # Looked up by name at run time, by a libc older than 2.34.
        for name in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):
            if (libc.parent / name).exists():
                files[f"{folder}/{name}"] = File(0o755, source=(libc.parent / name).resolve())
    return files | {path.lstrip("/"): File(0o755, source=Path(path).resolve()) for path in interpreters}


def python_files() -> dict[str, File]:
    """The interpreter that runs us and its standard library, at /usr/bin and /usr/lib; modules that most programs load are compiled already."""
    interpreter = Path(sys.executable).resolve()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    standard = Path(sysconfig.get_path("stdlib"))
    files = {f"usr/bin/{version}": File(0o755, source=interpreter), "usr/bin/python3": File(link=version), "usr/bin/python": File(link=version)}
    programs = [interpreter]
    for path in standard.rglob("*"):
        relative = path.relative_to(standard)
        if any(part.startswith(NO_LIBRARY) for part in relative.parts) or not path.is_file():
            continue
        if path.suffix == ".py" or path.name.endswith(".so"):
            files[f"usr/lib/{version}/{relative}"] = File(0o755 if path.suffix == ".so" else 0o644, source=path.resolve())
        if path.name.endswith(".so"):
            programs.append(path)
    return files | _compiled(standard, version) | _libraries(programs)


def _compiled(standard: Path, version: str) -> dict[str, File]:
    """Byte code of what is loaded at the start of most programs; valid whatever the time of the source says, so that it is the same everywhere."""
    import importlib._bootstrap_external as bootstrap
    import importlib.util

    words = f"import sys, {', '.join(PRELOADED)}; print('\\n'.join(str(getattr(m, '__file__', '')) for m in list(sys.modules.values())))"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", words], capture_output=True, text=True, check=True).stdout.split()
    files = {}
    for name in loaded:
        path = Path(name)
        if path.suffix != ".py" or not path.is_relative_to(standard):
            continue
        source = path.read_bytes()
        target = f"/usr/lib/{version}/{path.relative_to(standard)}"
        code = compile(source, target, "exec", dont_inherit=True)
        content = bootstrap._code_to_hash_pyc(code, importlib.util.source_hash(source), False)  # type: ignore[attr-defined]
        cached = Path(target).parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        files[str(cached).lstrip("/")] = File(content=bytes(content))
    return files
