"""Which shared libraries a program needs: read from its ELF headers, found as the loader finds them. Pure but for reading the files."""

import os
import struct
from collections.abc import Iterable
from pathlib import Path

PT_DYNAMIC, PT_INTERP, PT_LOAD = 2, 3, 1
DT_NEEDED, DT_STRTAB, DT_RPATH, DT_RUNPATH = 1, 5, 15, 29
STANDARD = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")
READ_BYTES_MAX = 256 << 20


class Needs:
    """`interpreter` is the loader, empty for a static program or a library."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError for what is no 64-bit little-endian ELF file."""
        self.interpreter, self.libraries, self.folders = "", list[str](), list[str]()
        data = path.read_bytes()[:READ_BYTES_MAX]
        if data[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path} is no 64-bit little-endian ELF file")
        offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
        headers = [struct.unpack_from("<IIQQQQQQ", data, offset + size * each) for each in range(count)]
        loads = [(header[3], header[2], header[5]) for header in headers if header[0] == PT_LOAD]
        for kind, _, at, _, _, length, _, _ in headers:
            if kind == PT_INTERP:
                self.interpreter = data[at : at + length].rstrip(b"\0").decode()
            elif kind == PT_DYNAMIC:
                self._dynamic(data, at, length, loads, path)

    def _dynamic(self, data: bytes, at: int, length: int, loads: list[tuple[int, int, int]], path: Path) -> None:
        entries = [struct.unpack_from("<qQ", data, each) for each in range(at, at + length, 16)]
        table = next((value for tag, value in entries if tag == DT_STRTAB), 0)
        start = next((offset + table - address for address, offset, size in loads if address <= table < address + size), table)

        def text(value: int) -> str:
            return data[start + value : data.index(b"\0", start + value)].decode()

        for tag, value in entries:
            if tag == DT_NEEDED:
                self.libraries.append(text(value))
            elif tag in (DT_RPATH, DT_RUNPATH):
                self.folders += [each.replace("$ORIGIN", str(path.resolve().parent)) for each in text(value).split(":")]
            elif tag == 0:
                return


def search_path() -> list[str]:
    """What the loader's cache covers, from /etc/ld.so.conf and what it includes, and the standard folders."""
    found: list[str] = []

    def read(path: Path) -> None:
        for line in path.read_text().splitlines():
            words = line.split("#")[0].split()
            if words[:1] == ["include"]:
                for included in sorted(Path("/").glob(words[1].lstrip("/"))):
                    read(included)
            elif words:
                found.append(words[0])

    if os.path.exists("/etc/ld.so.conf"):  # noqa: PTH110
        read(Path("/etc/ld.so.conf"))
    return [*found, *STANDARD]


def closure(programs: Iterable[Path]) -> tuple[dict[str, Path], set[str]]:
    """Libraries by their name, and the loaders, that these programs need, directly or through others. What is not found is left out."""
    folders = search_path()
    libraries: dict[str, Path] = {}
    interpreters: set[str] = set()
    waiting = list(programs)
    while waiting:
        path = waiting.pop()
        try:
            needs = Needs(path)
        except (ValueError, OSError, struct.error):
            continue
        if needs.interpreter:
            interpreters.add(needs.interpreter)
        for name in needs.libraries:
            if name in libraries:
                continue
            found = next((Path(folder) / name for folder in [*needs.folders, *folders] if (Path(folder) / name).exists()), None)
            if found is not None:
                libraries[name] = found
                waiting.append(found)
    return libraries, interpreters
