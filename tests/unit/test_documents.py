"""What the documents name exists: a file that moves takes the pages that speak of it along."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
SOURCES = [
    *ROOT.glob("*.py"),
    *(path for room in ("kvstore", "apiserver", "agents", "certs", "keelson", "tests", "bench") for path in (ROOT / room).rglob("*.py")),
]
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def quoted(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_exist(page: Path) -> None:
    files = {word.split(":")[0] for word in quoted(page) if re.match(r"[\w/]+\.py\b", word)}
    tails = {path.relative_to(ROOT).as_posix() for path in SOURCES}
    assert [file for file in sorted(files) if not any(f"/{tail}".endswith(f"/{file}") for tail in tails)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_exist(page: Path) -> None:
    """`Class.method`, and `file.py: name`."""
    source = "\n".join(path.read_text() for path in SOURCES)
    words = [word for word in quoted(page) if re.fullmatch(r"[A-Z]\w+\.\w+", word)]
    words += [word.split(": ")[1] for word in quoted(page) if re.match(r"[\w/]+\.py: ", word)]
    names = {word.rsplit(".", 1)[-1] for word in words} - {"md", "py"}
    assert [name for name in sorted(names) if not re.search(rf"\b(def|class) {name}\b|^\s*{name}\b.*=", source, re.MULTILINE)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    named = set(re.findall(r"`make ([a-z-]+)", page.read_text())) | set(re.findall(r"^    make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= set(TARGETS)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
