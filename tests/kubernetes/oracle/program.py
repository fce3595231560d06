"""The genuine server: the program of the published Go module k8s.io/apiextensions-apiserver, built by the machine's own Go.

It is the API server's generic machinery with CustomResourceDefinitions on top, the same packages that kube-apiserver is made of. It is built once
into build/kube-oracle; KEELSON_TEST_KUBE_ORACLE names a program that is there already.
"""

import os
import shutil
import subprocess
from pathlib import Path

MODULE = "k8s.io/apiextensions-apiserver"
VERSION = "v0.37.2"
FOLDER = Path(__file__).parents[3] / "build" / "kube-oracle" / VERSION
BUILD_TIMEOUT_S = 3600
VARIABLE = "KEELSON_TEST_KUBE_ORACLE"


class Missing(Exception):
    """The program is not there and cannot be built; the text says what is needed."""


def path() -> Path | None:
    """Where it is, if it is there."""
    given = os.environ.get(VARIABLE)
    found = Path(given) if given else FOLDER / Path(MODULE).name
    return found if found.exists() else None


def build() -> Path:
    """The program, built if need be. Raises Missing."""
    found = path()
    if found is not None:
        return found
    go = shutil.which("go")
    if go is None:
        raise Missing(f"needs Go to build {MODULE}@{VERSION} (https://go.dev/doc/install), or {VARIABLE}=PROGRAM")
    FOLDER.mkdir(parents=True, exist_ok=True)
    print(f"building {MODULE}@{VERSION}, once; this takes some minutes", flush=True)
    done = subprocess.run(
        [go, "install", f"{MODULE}@{VERSION}"],
        env={**os.environ, "GOBIN": str(FOLDER)},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    found = path()
    if done.returncode or found is None:
        raise Missing(f"go install {MODULE}@{VERSION} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return found
