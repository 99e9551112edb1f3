"""V2 checkpoints: tfbundle beside TensorFlow's CheckpointReader and safetensors.

    python tools/bench/checkpoints.py [--rounds N] [--folder FOLDER] [name ...]

Writes its own files with TensorFlow (about 3.5 GB, once, into FOLDER, by default a temporary one), then measures:

    views    0.5 GB of float32, every tensor as a verified zero-copy view
    owned    the same as arrays that the caller owns
    names    names and shapes of 100,000 tensors
    scalars  reading all of these 100,000 scalars
    one      opening that checkpoint and reading one of them
    start    a new process to its first tensor
    slice    e[700_000:701_000, 10:20] of a 2 GB tensor
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
def save(name, tensors):
    tf.raw_ops.SaveV2(prefix=os.path.join(folder, name), tensor_names=list(tensors),
                      shape_and_slices=[""] * len(tensors), tensors=list(tensors.values()))
big = {f"layer_{i}/kernel": rng.standard_normal((1024, 4096), np.float32) for i in range(32)}
save("big", {name: tf.constant(array) for name, array in big.items()})
try:
    from safetensors.numpy import save_file
    save_file(big, os.path.join(folder, "big.safetensors"))
except ImportError:
    pass
save("many", {f"model/block_{i // 10}/variable_{i % 10}": tf.constant(np.float32(i)) for i in range(100_000)})
save("embedding", {"e": tf.ones((1_000_000, 512), tf.float32)})
"""

_QUIET = 'import os; os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"\n'
_TF = _QUIET + "import tensorflow as tf"
_US = "import numpy as np, tfbundle\ntfbundle.load"


def main() -> None:
    for task in chosen_tasks(__doc__.splitlines()[0], _WRITE, "embedding.index", _tasks):
        compare(task.title, task.contenders, rounds=task.rounds)


def _tasks(folder: str) -> dict[str, tuple[str, list[Contender]]]:
    big, many, embedding = (repr(os.path.join(folder, name)) for name in ("big", "many", "embedding"))
    one = "'model/block_777/variable_3'"
    read_map = "reader.get_variable_to_shape_map()"
    read_all = "{name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}"
    tf_open = "reader = tf.train.load_checkpoint({})"
    crc = f"import os, crc32c, mmap\nfile = open({big} + '.data-00000-of-00001', 'rb')"
    safetensors = os.path.join(folder, "big.safetensors")
    return {
        "views": (
            "0.5 GB of float32 as verified zero-copy views",
            [
                Contender("tfbundle.load(mmap=True)", _US, f"tfbundle.load({big}, mmap=True)"),
                Contender("TensorFlow CheckpointReader", _TF, f"{tf_open.format(big)}\n{read_all}"),
                Contender(
                    "crc32c over the mapped file alone",
                    crc,
                    "crc32c.crc32c(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))",
                ),
            ],
        ),
        "owned": (
            "0.5 GB of float32 as arrays that the caller owns",
            [
                Contender("tfbundle.load", _US, f"tfbundle.load({big})"),
                Contender("TensorFlow CheckpointReader", _TF, f"{tf_open.format(big)}\n{read_all}"),
                Contender(
                    "safetensors.numpy.load_file (no checksums)",
                    "from safetensors.numpy import load_file",
                    f"load_file({safetensors!r})",
                ),
            ],
        ),
        "names": (
            "names and shapes of 100,000 tensors",
            [
                Contender(
                    "tfbundle",
                    _US,
                    f"with tfbundle.open_checkpoint({many}) as c: d = {{n: t.shape for n, t in c.items()}}",
                ),
                Contender("TensorFlow CheckpointReader", _TF, f"{tf_open.format(many)}\n{read_map}"),
            ],
        ),
        "scalars": (
            "reading all 100,000 scalars",
            [
                Contender("tfbundle.load", _US, f"tfbundle.load({many})"),
                Contender("TensorFlow CheckpointReader", _TF, f"{tf_open.format(many)}\n{read_all}"),
            ],
        ),
        "one": (
            "opening a checkpoint of 100,000 tensors and reading one",
            [
                Contender("tfbundle", _US, f"with tfbundle.open_checkpoint({many}) as c: c[{one}].read()"),
                Contender("TensorFlow CheckpointReader", _TF, f"{tf_open.format(many)}\nreader.get_tensor({one})"),
            ],
        ),
        "start": (
            "a new process to its first tensor",
            [
                Contender(
                    "tfbundle",
                    "import tfbundle",
                    f"with tfbundle.open_checkpoint({many}) as c: c[{one}].read()",
                    whole_process=True,
                ),
                Contender(
                    "a process that imports numpy and protobuf",
                    "import numpy",
                    "from google.protobuf import message, descriptor_pool, symbol_database, internal",
                    whole_process=True,
                ),
                Contender(
                    "TensorFlow CheckpointReader",
                    _TF,
                    f"{tf_open.format(many)}\nreader.get_tensor({one})",
                    whole_process=True,
                ),
            ],
        ),
        "slice": (
            "e[700_000:701_000, 10:20] of a 2 GB tensor",
            [
                Contender(
                    "tfbundle",
                    _US,
                    f"with tfbundle.open_checkpoint({embedding}) as c: c['e'][700_000:701_000, 10:20]",
                ),
                Contender(
                    "TensorFlow CheckpointReader",
                    _TF,
                    f"{tf_open.format(embedding)}\nreader.get_tensor('e')[700_000:701_000, 10:20]",
                ),
            ],
        ),
    }


if __name__ == "__main__":
    main()
