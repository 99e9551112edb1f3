"""Write the Python bindings in tfbundle/proto from the schemas in protos, or check that they are current.

    python tools/bindings.py            writes every *_pb2.py and *_pb2.pyi
    python tools/bindings.py --check    writes nothing; exit status 1 if a binding is stale

The compiler is the protoc 25 of one grpcio-tools release. What it writes asks for no particular protobuf
runtime and works with protobuf 4.21 to 7; what later compilers write refuses to load under older runtimes.
Exit status 2 says that this compiler is not there.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

COMPILER = "1.62.3"
ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = ROOT / "protos"
PACKAGE = Path("tfbundle", "proto")


def missing_compiler() -> str | None:
    """Say in a line what to install, if the right grpcio-tools is not in this environment."""
    try:
        found = importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found == COMPILER:
        return None
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"bindings.py needs grpcio-tools {COMPILER}, but Python {python} here has {found or 'none'}: run "
        f"`pip install grpcio-tools=={COMPILER}` under Python 3.10, 3.11 or 3.12 (later ones have no wheel)"
    )


def generate(folder: Path) -> None:
    """Compile every schema into `folder`, which then holds the tree that belongs at the root."""
    sources = sorted(path.relative_to(SCHEMAS).as_posix() for path in SCHEMAS.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
    command += [f"--python_out={folder}", f"--pyi_out={folder}", *sources]
    subprocess.run(command, cwd=SCHEMAS, check=True)
    for stub in folder.rglob("*_pb2.pyi"):
        # The compiler leaves Mapping without its type arguments, which a strict mypy refuses.
        complete = re.sub(rb"\b_Mapping(?=\])", b"_Mapping[str, object]", stub.read_bytes())
        stub.write_bytes(complete)


def bindings(root: Path) -> dict[str, bytes]:
    """Read the generated files under `root`, by their path from there.

    Line ends are brought back to LF: a checkout on Windows may have changed them, and that is not staleness.
    """
    folder = root / PACKAGE
    paths = sorted([*folder.rglob("*_pb2.py"), *folder.rglob("*_pb2.pyi")])
    return {path.relative_to(root).as_posix(): path.read_bytes().replace(b"\r\n", b"\n") for path in paths}


def changed_lines(old: bytes, new: bytes) -> str:
    """Count what a diff of the two would show."""
    diff = difflib.ndiff(old.decode(errors="replace").splitlines(), new.decode(errors="replace").splitlines())
    marks = [line[0] for line in diff]
    return f"+{marks.count('+')} -{marks.count('-')} lines"


def compare(committed: dict[str, bytes], fresh: dict[str, bytes]) -> list[str]:
    """List what a run without --check would change, a line for each file."""
    findings = []
    for name in sorted(committed.keys() | fresh.keys()):
        if name not in committed:
            findings.append(f"{name}: missing")
        elif name not in fresh:
            findings.append(f"{name}: no schema for it any more")
        elif committed[name] != fresh[name]:
            findings.append(f"{name}: not what its schema gives ({changed_lines(committed[name], fresh[name])})")
    return findings


def write(committed: dict[str, bytes], fresh: dict[str, bytes]) -> None:
    """Make the tree hold the fresh bindings and no others."""
    for name in committed.keys() - fresh.keys():
        (ROOT / name).unlink()
    for name, content in fresh.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Write the protobuf bindings, or check them.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if one is stale")
    arguments = parser.parse_args()
    missing = missing_compiler()
    if missing:
        print(missing, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        generate(Path(temporary))
        fresh = bindings(Path(temporary))
    committed = bindings(ROOT)
    findings = compare(committed, fresh)
    for finding in findings:
        print(finding)
    if arguments.check:
        print(f"{len(findings)} stale, of {len(fresh)} bindings")
        return 1 if findings else 0
    write(committed, fresh)
    print(f"{len(fresh)} bindings written, {len(findings)} of them changed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
