"""`python -m server.proto`: generates the Python code of every .proto in this folder (needs grpcio-tools)."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]


def compile_protos(output: Path) -> None:
    """Writes `server/proto/*_pb2.py` and `.pyi` below the folder `output`.

    Raises:
        RuntimeError: the compiler refused a file; it has printed why.
    """
    import grpc_tools
    from google.rpc import status_pb2
    from grpc_tools import protoc

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    common = Path(status_pb2.__file__).parents[2]
    sources = sorted(str(path.relative_to(ROOT)) for path in FOLDER.glob("*.proto"))
    arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}", f"-I{common}"]
    arguments += [f"--python_out={output}", f"--pyi_out={output}", *sources]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protoc failed")


if __name__ == "__main__":
    compile_protos(ROOT)
    sys.exit(0)
