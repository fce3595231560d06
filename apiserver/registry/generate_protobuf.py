"""Write protobuf_fields.json.gz, the field numbers of every message: `python -m apiserver.registry.generate_protobuf ROOT`, by hand, once a release.

ROOT is a folder with the Go sources k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver as api, apimachinery and
apiextensions-apiserver (`go mod download -json k8s.io/api@v0.37.1` and so on say where they are).
The table in this folder is of 0.37.1 (Apache-2.0). The numbers stand in the struct tags of types.go, which say more than the .proto files: which
fields are pointers. Go's encoder writes zero values of all others, so without it `replicas: 0` could not be told from "not set".
"""

import gzip
import json
import re
import sys
from pathlib import Path

OUTPUT = Path(__file__).with_name("protobuf_fields.json.gz")

STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
NAMED = re.compile(r"^type (\w+) (?!struct)(?:= )?(\S.*)$", re.M)
FIELD = re.compile(r"^\s*(?:(\w+)\s+)?(\*?[\w\[\].*]+)\s+`([^`]*)`", re.M)
IMPORT = re.compile(r'^\s*(?:(\w+) )?"(k8s\.io/[^"]+)"', re.M)
MESSAGE = re.compile(r"^message (\w+) \{", re.M)
GROUP_NAME = re.compile(r'GroupName\s*=\s*"([^"]*)"')

META = "meta.v1"
FOLDERS = {"apimachinery/pkg/apis/meta/v1": META, "apiextensions-apiserver/pkg/apis/apiextensions/v1": "apiextensions.v1"}
SPECIAL = {
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "Quantity",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "IntOrString",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "Raw",
    "k8s.io/apimachinery/pkg/types.UID": "string",
    "k8s.io/apimachinery/pkg/types.NodeName": "string",
    f"{META}.Time": "Time",
    f"{META}.MicroTime": "MicroTime",
    f"{META}.Duration": "Duration",
    f"{META}.FieldsV1": "Raw",
    "apiextensions.v1.JSON": "Raw",
}
BASIC = {"string": "string", "bool": "bool", "int32": "int", "int64": "int", "int": "int", "uint8": "int", "float64": "double", "[]byte": "bytes"}


def package_of(folder: Path, root: Path) -> str:
    name = str(folder.relative_to(root))
    return FOLDERS.get(name) or ".".join(name.split("/")[-2:])


class Package:
    """The types of one folder."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.name = package_of(folder, root)
        self.structs: dict[str, tuple[str, dict[str, str]]] = {}
        self.named: dict[str, tuple[str, dict[str, str]]] = {}
        self.group = ""
        proto = folder / "generated.proto"
        self.messages = set(MESSAGE.findall(proto.read_text())) if proto.exists() else set[str]()
        for path in sorted(folder.glob("*.go")):
            if path.name.startswith("zz_") or path.name.endswith(("_test.go", ".pb.go", "_doc_generated.go")):
                continue
            text = path.read_text()
            imports = {alias or target.rsplit("/", 1)[-1]: target for alias, target in IMPORT.findall(text)}
            for name, body in STRUCT.findall(text):
                self.structs[name] = (body, imports)
            for name, target in NAMED.findall(text):
                self.named[name] = (target.split("//")[0].strip(), imports)
            if found := GROUP_NAME.search(text):
                self.group = found[1]


class Table:
    def __init__(self, packages: dict[str, Package]) -> None:
        self.packages = packages
        self.messages: dict[str, dict[str, list[object]]] = {}

    def kind(self, package: Package, imports: dict[str, str], go_type: str) -> str:
        """`string`, `Quantity`, ..., `core.v1.PodSpec`, `[]X` or `{}X`."""
        go_type = go_type.removeprefix("*")
        if go_type in BASIC:
            return BASIC[go_type]
        if go_type.startswith("[]"):
            return "[]" + self.kind(package, imports, go_type[2:])
        if go_type.startswith("map["):
            return "{}" + self.kind(package, imports, go_type.partition("]")[2])
        owner = package
        if "." in go_type:
            alias, go_type = go_type.split(".")
            path = imports[alias]
            if special := SPECIAL.get(f"{path}.{go_type}"):
                return special
            owner = self.packages[FOLDERS.get(path.removeprefix("k8s.io/")) or ".".join(path.split("/")[-2:])]
        full = f"{owner.name}.{go_type}"
        if full in SPECIAL:
            return SPECIAL[full]
        if go_type in owner.named:
            named, imports = owner.named[go_type]
            target = self.kind(owner, imports, named)
            # A named list that is a message of its own: ExtraValue, Verbs.
            return f"<{target}>" if go_type in owner.messages else target
        self.add(owner, go_type)
        return full

    def add(self, package: Package, name: str) -> None:
        full = f"{package.name}.{name}"
        if full in self.messages:
            return
        fields = self.messages[full] = {}
        body, imports = package.structs.get(name, ("", {}))
        for go_name, go_type, tags in FIELD.findall(body):
            json_tag = re.search(r'json:"([^"]*)"', tags)
            number = re.search(r'protobuf:"\w+,(\d+)', tags)
            if number is None:
                continue
            words = (json_tag[1] if json_tag else "").split(",")
            found = re.search(r"name=(\w+)", tags)
            json_name = words[0] or (found[1] if found else "")
            if "inline" in words or not (go_name or words[0]):
                json_name = ""  # an embedded struct; since 0.37 its tag need not say so
            # What Go's JSON encoder would leave out when it is zero: marked fields that are no pointers.
            drops_zero = "omitempty" in words and not go_type.startswith("*")
            fields[number[1]] = [json_name, self.kind(package, imports, go_type), int(drops_zero)]


def generate(root: Path, output: Path = OUTPUT) -> None:
    folders = sorted({path.parent for path in [*root.glob("api/*/v*/types.go"), *(root / name / "types.go" for name in FOLDERS)]})
    packages = {package.name: package for package in (Package(folder, root) for folder in folders)}
    from apiserver.machinery.resources import built_in

    served = {(each.group, each.version) for each in built_in()} | {("", "v1")}
    table = Table(packages)
    groups: dict[str, str] = {}
    for package in packages.values():
        version = package.name.rpartition(".")[2]
        group = "apiextensions.k8s.io" if package.name == "apiextensions.v1" else package.group
        if package.name == META or (group, version) not in served:
            continue
        groups[f"{group}/{version}" if group else version] = package.name
        for name, (body, _) in package.structs.items():
            if "TypeMeta" in body and not name.endswith("List"):
                table.add(package, name)
    for name in ("DeleteOptions", "Status"):
        table.add(packages[META], name)
    text = json.dumps({"groups": groups, "messages": table.messages}, separators=(",", ":"), sort_keys=True)
    output.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{len(table.messages)} messages, {sum(map(len, table.messages.values()))} fields, {output.stat().st_size} bytes")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
