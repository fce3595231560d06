"""Compile proto/*.proto into generated/api.binpb: `python -m kvstore.wire.generate` (needs grpcio-tools, the extra "dev").

Only descriptors are generated. `messages.py` makes the classes from them at import, in a descriptor pool of our own: client libraries of etcd
register the same names in protobuf's default pool, and a process may hold one of those and us.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
OUTPUT = HERE / "generated" / "api.binpb"


def compile_descriptors(output: Path = OUTPUT) -> None:
    """Write the serialized FileDescriptorSet of all .proto files, in dependency order."""
    from grpc_tools import protoc

    sources = sorted(str(path) for path in (HERE / "proto").glob("*.proto"))
    if protoc.main(["protoc", f"--proto_path={HERE / 'proto'}", f"--descriptor_set_out={output}", "--include_imports", *sources]) != 0:
        raise SystemExit("protoc failed")


if __name__ == "__main__":
    compile_descriptors(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT)
