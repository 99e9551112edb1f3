"""Change one thing in the package, run the tests, and count how many changes they notice.

    python tools/mutants.py [--count 40] [--seed 1] [--show]

A change (a mutant) turns a comparison into its neighbour (``<`` into ``<=``, ``==`` into ``!=``), adds one to an
integer constant, or swaps ``+`` and ``-``. The sample is drawn from the whole package but for generated files, tables
of facts and the commands, and is the same for the same seed and source. Each is tried in a copy of the repository:
first by the tests that mention the module, then by all of them. One that no test notices is printed, as a place where
a test is missing or where the code could say less.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
_LEFT_OUT = ("proto/", "graph/known_ops.py", "_version.py", "cli/")
_COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SYMBOLS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
_SECONDS = 900


class Mutant(NamedTuple):
    """A change of one place: ``old`` becomes ``new`` at a line and column of a file."""

    path: Path
    line: int
    column: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.old!r} -> {self.new!r}"


def find_mutants(path: Path) -> Iterator[Mutant]:
    """Yield all changes of a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            old, new = _SYMBOLS[type(node.ops[0])], _SYMBOLS[_COMPARISONS[type(node.ops[0])]]
            start, end = node.left.end_col_offset, node.comparators[0].col_offset
            if node.left.end_lineno == node.comparators[0].lineno and start is not None:
                between = lines[node.comparators[0].lineno - 1].encode()[start:end].decode()
                if between.strip(" ()") == old:
                    column = start + between.index(old)
                    yield Mutant(path, node.comparators[0].lineno, column, old, new)
        elif isinstance(node, ast.Constant) and type(node.value) is int and node.end_lineno == node.lineno:
            old = lines[node.lineno - 1].encode()[node.col_offset : node.end_col_offset].decode()
            yield Mutant(path, node.lineno, node.col_offset, old, str(node.value + 1))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            old, new = ("+", "-") if isinstance(node.op, ast.Add) else ("-", "+")
            start, end = node.left.end_col_offset, node.right.col_offset
            if node.left.end_lineno == node.right.lineno and start is not None:
                between = lines[node.right.lineno - 1].encode()[start:end].decode()
                if between.strip(" ()") == old:
                    yield Mutant(path, node.right.lineno, start + between.index(old), old, new)


def apply(mutant: Mutant, root: Path) -> None:
    """Write the changed file below ``root``."""
    lines = (ROOT / mutant.path).read_text(encoding="utf-8").splitlines(keepends=True)
    line = lines[mutant.line - 1].encode()
    end = mutant.column + len(mutant.old.encode())
    lines[mutant.line - 1] = (line[: mutant.column] + mutant.new.encode() + line[end:]).decode()
    (root / mutant.path).write_text("".join(lines), encoding="utf-8")


def is_noticed(mutant: Mutant, root: Path) -> bool:
    """Return whether a test fails, or does not end, with the change."""
    apply(mutant, root)
    try:
        module = ".".join(mutant.path.with_suffix("").parts)
        near = [
            str(path.relative_to(root))
            for path in sorted((root / "tests").rglob("test_*.py"))
            if module in (text := path.read_text(encoding="utf-8")) or module.rpartition(".")[0] + " import" in text
        ]
        for tests in filter(None, (near, ["tests"])):
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "auto", "-p", "no:cacheprovider", *tests]
            environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
            try:
                done = subprocess.run(
                    command, cwd=root, env=environment, capture_output=True, timeout=_SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                return True
            if done.returncode:
                return True
        return False
    finally:
        shutil.copy(ROOT / mutant.path, root / mutant.path)


def main() -> int:
    """Try the sample, and print what no test noticed."""
    parser = argparse.ArgumentParser(description="Count how many small changes of the package the tests notice.")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print the sample, and run nothing")
    arguments = parser.parse_args()
    paths = (path.relative_to(ROOT) for path in sorted((ROOT / "tfbundle").rglob("*.py")))
    found = [
        mutant
        for path in paths
        if not path.relative_to("tfbundle").as_posix().startswith(_LEFT_OUT)
        for mutant in find_mutants(path)
    ]
    sample = random.Random(arguments.seed).sample(found, arguments.count)
    if arguments.show:
        print(*sample, sep="\n")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder) / "tfbundle"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache"))
        noticed = 0
        for number, mutant in enumerate(sample):
            if is_noticed(mutant, root):
                noticed += 1
            else:
                print(f"not noticed: {mutant}", flush=True)
            print(f"{noticed} of {number + 1} noticed", file=sys.stderr, flush=True)
    print(f"{noticed} of {len(sample)} changes are noticed ({len(found)} in all)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
