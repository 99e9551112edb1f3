"""Conversions and averages: tfbundle beside cp, and beside TensorFlow with the safetensors library.

    python tools/bench/conversion.py [--rounds N] [--folder FOLDER] [name ...]

Writes its own checkpoints with TensorFlow (about 2.5 GB, once, into FOLDER, by default a temporary one), then measures:

    safetensors   0.5 GB of float32 to .safetensors
    npz           the same to .npz
    average       5 checkpoints of 0.5 GB averaged
"""

from __future__ import annotations

import os

from side_by_side import Contender, chosen_tasks, compare

_WRITE = r"""
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
folder = sys.argv[1]
rng = np.random.default_rng(0)
for step in range(5):
    tensors = {f"layer_{i}/kernel": tf.constant(rng.standard_normal((1024, 4096), np.float32)) for i in range(32)}
    tf.raw_ops.SaveV2(prefix=os.path.join(folder, f"model-{step}"), tensor_names=list(tensors),
                      shape_and_slices=[""] * len(tensors), tensors=list(tensors.values()))
"""

_TF = 'import os; os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"\nimport numpy as np, tensorflow as tf'
_US = "import numpy as np, tfbundle\ntfbundle.convert, tfbundle.average"
_READ = "reader = tf.train.load_checkpoint({})\nnames = list(reader.get_variable_to_shape_map())"
_SYNC = "with open({0}, 'rb') as file: os.fsync(file.fileno())"


def main() -> None:
    for task in chosen_tasks(__doc__.splitlines()[0], _WRITE, "model-4.index", _tasks):
        compare(task.title, task.contenders, rounds=task.rounds, repeat=1)


def _tasks(folder: str) -> dict[str, tuple[str, list[Contender]]]:
    prefixes = [os.path.join(folder, f"model-{step}") for step in range(5)]
    first = repr(prefixes[-1])
    data = repr(prefixes[-1] + ".data-00000-of-00001")
    out = {suffix: repr(os.path.join(folder, f"out.{suffix}")) for suffix in ("safetensors", "npz", "copy", "other")}
    copy = Contender(
        "cp, and fsync", "import os, shutil", f"shutil.copyfile({data}, {out['copy']})\n{_SYNC.format(out['copy'])}"
    )
    read_all = f"{_READ.format(first)}\ntensors = {{name: reader.get_tensor(name) for name in names}}"
    summed = (
        f"sums = {{}}\nfor prefix in {prefixes!r}:\n    reader = tf.train.load_checkpoint(prefix)\n"
        "    for name in reader.get_variable_to_shape_map():\n"
        "        value = reader.get_tensor(name)\n"
        "        sums[name] = sums[name] + value if name in sums else value.astype(np.float64)\n"
        f"arrays = {{name: (value / {len(prefixes)}).astype(np.float32) for name, value in sums.items()}}\n"
        f"tf.raw_ops.SaveV2(prefix={out['other']}, tensor_names=list(arrays), shape_and_slices=[''] * len(arrays),"
        " tensors=list(map(tf.constant, arrays.values())))"
    )
    return {
        "safetensors": (
            "0.5 GB to .safetensors",
            [
                Contender("tfbundle.convert", _US, f"tfbundle.convert({first}, {out['safetensors']})"),
                copy,
                Contender(
                    "TensorFlow and safetensors' save_file",
                    f"{_TF}\nfrom safetensors.numpy import save_file",
                    f"{read_all}\nsave_file(tensors, {out['other']})",
                ),
            ],
        ),
        "npz": (
            "0.5 GB to .npz",
            [
                Contender("tfbundle.convert", _US, f"tfbundle.convert({first}, {out['npz']})"),
                copy,
                Contender("TensorFlow and numpy.savez", _TF, f"{read_all}\nnp.savez({out['npz']}, **tensors)"),
            ],
        ),
        "average": (
            "5 checkpoints of 0.5 GB averaged",
            [
                Contender("tfbundle.average", _US, f"tfbundle.average({prefixes!r}, {out['safetensors']})"),
                Contender("TensorFlow's reader, sums in memory, SaveV2", _TF, summed),
            ],
        ),
    }


if __name__ == "__main__":
    main()
