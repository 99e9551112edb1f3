"""Saving V2 checkpoints: tfbundle beside TensorFlow's SaveV2 and a plain copy.

    python tools/bench/saving.py [--rounds N] [--folder FOLDER] [name ...]

Writes into FOLDER, by default a temporary one, what it saves (2 GB) and what it copies (2 GB), then measures:

    big      0.5 GB of float32 in 128 tensors
    many     100,000 scalars, which both have ready
    stream   2 GB of float32 in chunks of 4 MB from a generator
    copy     a checkpoint of 2 GB, unchanged
"""

from __future__ import annotations

import os

from side_by_side import Contender, chosen_tasks, compare

_WRITE = r"""
import os, sys
import numpy as np, tfbundle
values = {f"layer_{i}": np.full((1 << 22,), i, np.float32) for i in range(128)}
tfbundle.save(os.path.join(sys.argv[1], "source"), values)
"""
_US = "import numpy as np, tfbundle"
_TF = 'import os\nos.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"\nimport numpy as np, tensorflow as tf'
_BIG = "values = {f'layer_{i}/kernel': np.full((1024, 1024), i, np.float32) for i in range(128)}"
_MANY = "values = {f'model/block_{i // 10}/variable_{i % 10}': np.array(i, np.float32) for i in range(100_000)}"
_READY = "names, tensors = list(values), [tf.constant(value) for value in values.values()]"


def main() -> None:
    for task in chosen_tasks(__doc__.splitlines()[0], _WRITE, "source.index", _tasks):
        compare(task.title, task.contenders, rounds=task.rounds, repeat=2)


def _tasks(folder: str) -> dict[str, tuple[str, list[Contender]]]:
    ours, theirs, copy, source = (repr(os.path.join(folder, name)) for name in ("ours", "theirs", "copy", "source"))
    save_v2 = (
        f"tf.raw_ops.SaveV2(prefix={theirs}, tensor_names=names, shape_and_slices=[''] * len(names), tensors=tensors)"
    )
    stream = (
        f"with tfbundle.CheckpointWriter({ours}) as writer:\n"
        "    writer.add_chunks('e', (512 << 20,), np.float32, (chunk for _ in range(512)))"
    )
    return {
        "big": (
            "saving 0.5 GB of float32 (128 tensors)",
            [
                Contender("tfbundle.save", f"{_US}\n{_BIG}", f"tfbundle.save({ours}, values)"),
                Contender("TensorFlow SaveV2", f"{_TF}\n{_BIG}\n{_READY}", save_v2),
            ],
        ),
        "many": (
            "saving 100,000 scalars",
            [
                Contender("tfbundle.save", f"{_US}\n{_MANY}", f"tfbundle.save({ours}, values)"),
                Contender("TensorFlow SaveV2", f"{_TF}\n{_MANY}\n{_READY}", save_v2),
            ],
        ),
        "stream": (
            "a stream of 2 GB",
            [Contender("CheckpointWriter.add_chunks", f"{_US}\nchunk = np.ones(1 << 20, np.float32)", stream)],
        ),
        "copy": (
            "copying a checkpoint of 2 GB unchanged",
            [
                Contender(
                    "tfbundle.save of an open checkpoint (verified)",
                    _US,
                    f"with tfbundle.open_checkpoint({source}) as c: tfbundle.save({copy}, c)",
                ),
                Contender(
                    "cp",
                    "import subprocess",
                    f"subprocess.run(['cp', {source} + '.data-00000-of-00001', {copy} + '.cp'], check=True)",
                ),
            ],
        ),
    }


if __name__ == "__main__":
    main()
