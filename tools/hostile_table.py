"""What TensorFlow and tfbundle make of hostile files, as the table in docs/security.md.

    python tools/hostile_table.py [case ...]

For each case of the catalogue (``tests/hostile``), TensorFlow's own reader runs in a process of its own, and tfbundle
in another; both may take 1 GB more than what their imports take. A line tells how it ended: with what was read, with an
error, or with the end of the process. Needs Linux and the packages of the extra ``test``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.hostile.catalogue import Case

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

_MEMORY = 1 << 30
_SECONDS = 60
# How much of an error is shown.
_WIDTH = 44
CASES_SHOWN = (
    "table-shared-too-long",
    "table-broken-in-the-middle",
    "table-blocks-unsorted",
    "table-handle-huge-size",
    "entry-garbage",
    "entry-dimension-negative",
    "entry-slice-twice",
    "file-shard-cut",
    "records-gzip-bomb-of-one",
)
# The tensors of such cases, of which some may not be listed.
_STORED = {"table-shared-too-long": "ab", "table-broken-in-the-middle": "abc", "table-blocks-unsorted": "ab"}


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        return 0
    from tests.hostile.catalogue import CASES
    from tests.hostile.worker import fill_catalogue

    fill_catalogue()
    print("| file | TensorFlow | tfbundle |")
    print("|---|---|---|")
    for name in sys.argv[1:] or CASES_SHOWN:
        case = CASES[name]
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            path = case.build(Path(folder)).path.relative_to(folder)
            cells = [_run(reader, case, path, folder) for reader in ("tensorflow", "tfbundle")]
        print(f"| {case.title} | {cells[0]} | {cells[1]} |", flush=True)
    return 0


def _run(reader: str, case: Case, path: Path, folder: str) -> str:
    """How reading in another process ends."""
    command = [sys.executable, os.path.abspath(__file__), "--child", reader, case.kind, str(path)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"**does not end** within {_SECONDS} s"
    if done.returncode < 0:
        return f"**the process ends** ({signal.Signals(-done.returncode).name})"
    if done.returncode or not done.stdout:
        return f"fails: {done.stderr.strip().splitlines()[-1]}"
    answer = str(json.loads(done.stdout.splitlines()[-1]))
    missing = [
        name for name in _STORED.get(case.name, "") if f"{name} of [" not in answer and f"{name}: " not in answer
    ]
    if missing and "Error" not in answer:
        answer += f", and **nothing** of {' and '.join(missing)}"
    return answer.replace("|", "\\|").replace("\n", " ")


def _child(reader: str, kind: str, path: Path) -> None:
    import resource

    action = {"tensorflow": _with_tensorflow, "tfbundle": with_tfbundle}[reader](kind, path)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print(json.dumps(outcome(action)), flush=True)
    os._exit(0)  # Without what TensorFlow does at the end.


def outcome(action: Callable[[], str]) -> str:
    try:
        return action()
    except MemoryError:
        return "runs out of memory"
    except Exception as error:
        return _describe(error)


def _describe(error: Exception) -> str:
    line = re.sub(r"\{\{.*?\}\}\s*", "", str(getattr(error, "message", error))).split("\n")[0].split("[Op:")[0]
    line = line.replace(os.getcwd() + os.sep, "")
    return f"{type(error).__name__}: {line[:_WIDTH]}{'…' if len(line) > _WIDTH else ''}"


def _with_tensorflow(kind: str, path: Path) -> Callable[[], str]:
    import tensorflow as tf

    if kind == "checkpoint":
        return lambda: _names_and_values(_TensorFlowReader(tf.train.load_checkpoint(str(path))))
    if kind == "records":
        compression = "GZIP" if path.read_bytes()[:2] == b"\x1f\x8b" else ""
        return lambda: _count(iter(tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator()))

    def constants() -> str:
        graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
        return (
            f"reads {sum(tf.make_ndarray(n.attr['value'].tensor).nbytes for n in graph.node if n.op == 'Const')} bytes"
        )

    return constants


class _TensorFlowReader:
    """A ``CheckpointReader`` with the face of our checkpoints."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def __iter__(self) -> Any:
        return iter(sorted(self._reader.get_variable_to_shape_map()))

    def read(self, name: str) -> Any:
        return self._reader.get_tensor(name)


def with_tfbundle(kind: str, path: Path) -> Callable[[], str]:
    import tfbundle

    if kind == "checkpoint":
        tfbundle.load(ROOT / "fixtures" / "tf-1.15.5" / "training")  # Imports what is imported late.

        class Reader:
            def __init__(self) -> None:
                self._checkpoint = tfbundle.open_checkpoint(path)

            def __iter__(self) -> Any:
                return iter(self._checkpoint)

            def read(self, name: str) -> Any:
                return self._checkpoint[name].read()

        return lambda: _names_and_values(Reader())
    if kind == "records":
        return lambda: _count(tfbundle.read_records(path))

    def constants() -> str:
        found = tfbundle.load_graph(path).constants
        return f"reads {sum(found[name].nbytes for name in found)} bytes"

    return constants


def _names_and_values(reader: Any) -> str:
    """Which tensors are listed, and what is said of those that cannot be read."""
    names = list(reader)
    if not names:
        return "an empty checkpoint"
    said = []
    for name in names:
        try:
            value = reader.read(name)
            said.append(f"{name} of {list(value.shape)}{_strange(name, value)}")
        except MemoryError:
            said.append(f"{name}: runs out of memory")
        except Exception as error:
            said.append(f"{name}: {_describe(error)}")
    return "; ".join(said)


def _strange(name: str, value: Any) -> str:
    # The tensor that the case is about has these values where they are stored at all.
    if name != "x" or value.size == 0 or value.dtype.kind not in "if":
        return ""
    return f" with the values {value.reshape(-1)[:3].tolist()}…"


def _count(records: Any) -> str:
    count = 0
    try:
        for _ in records:
            count += 1
    except MemoryError:
        return f"{count} records, then runs out of memory"
    except Exception as error:
        return f"{count} records, then {_describe(error)}"
    left = getattr(records, "truncation", None)
    return f"{count} records" + (
        ", and `truncation` says that the next is incomplete" if left else ", without an error"
    )


if __name__ == "__main__":
    sys.exit(main())
