"""Conversions and averages: tfbundle beside cp, and beside what people do with TensorFlow.

    python tools/bench/conversion.py [--rounds N] [--folder FOLDER] [name ...]

Writes its own checkpoints with TensorFlow (one of 2 GB and 10 of 0.5 GB, once, into FOLDER, by default a temporary
one), then measures:

    rename        every tensor of 2 GB renamed
    safetensors   2 GB of float32 to .safetensors
    npz           the same to .npz
    average       10 checkpoints of 0.5 GB averaged

cp leaves it to the system when its copy is on disk, where tfbundle waits for it; so there is cp with fsync, too. What
an earlier run wrote is removed first: cp would write into the pages of its old copy, where the others keep theirs until
the new one is whole.
"""

from __future__ import annotations

import os
from dataclasses import replace

from side_by_side import Contender, chosen_tasks, compare

_COUNT = 10
_WRITE = r"""
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
folder = sys.argv[1]
rng = np.random.default_rng(0)
for name, count in {"large": 128, **{f"model-{step}": 32 for step in range(10)}}.items():
    tensors = {f"layer_{i}/kernel": tf.constant(rng.standard_normal((1024, 4096), np.float32)) for i in range(count)}
    tf.raw_ops.SaveV2(prefix=os.path.join(folder, name), tensor_names=list(tensors),
                      shape_and_slices=[""] * len(tensors), tensors=list(tensors.values()))
"""

_TF = 'import os; os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"\nimport numpy as np, tensorflow as tf'
_US = "import numpy as np, tfbundle\ntfbundle.convert, tfbundle.average"
_READ = "reader = tf.train.load_checkpoint({})\nnames = list(reader.get_variable_to_shape_map())"
# The script avg_checkpoints of tensor2tensor: sums in float64 in memory, then a session that assigns and saves them.
_TENSOR2TENSOR = """
v1 = tf.compat.v1
sums, types = {{}}, {{}}
for name, shape in tf.train.list_variables({prefixes}[0]):
    sums[name] = np.zeros(shape)
for prefix in {prefixes}:
    reader = tf.train.load_checkpoint(prefix)
    for name in sums:
        value = reader.get_tensor(name)
        types[name] = value.dtype
        sums[name] += value
for name in sums:
    sums[name] /= len({prefixes})
with tf.Graph().as_default(), v1.Session() as session:
    variables = [v1.get_variable(name, value.shape, types[name]) for name, value in sums.items()]
    places = [v1.placeholder(variable.dtype, variable.shape) for variable in variables]
    assigned = [v1.assign(variable, place) for variable, place in zip(variables, places)]
    session.run(v1.global_variables_initializer())
    for place, assign, value in zip(places, assigned, sums.values()):
        session.run(assign, {{place: value}})
    v1.train.Saver(variables).save(session, {out}, write_meta_graph=False, write_state=False)
"""
# OpenNMT-tf: variables start at zero, and each checkpoint's share is added to them.
_OPENNMT = """
shapes = dict(tf.train.list_variables({prefixes}[0]))
variables = {{name: tf.Variable(tf.zeros(shape)) for name, shape in shapes.items()}}
for prefix in {prefixes}:
    reader = tf.train.load_checkpoint(prefix)
    for name in reader.get_variable_to_shape_map():
        variables[name].assign_add(reader.get_tensor(name) / len({prefixes}))
tf.train.Checkpoint(**{{name.replace("/", "_"): value for name, value in variables.items()}}).write({out})
"""


def main() -> None:
    for task in chosen_tasks(__doc__.splitlines()[0], _WRITE, f"model-{_COUNT - 1}.index", _tasks):
        compare(task.title, task.contenders, rounds=task.rounds, repeat=1)


def _tasks(folder: str) -> dict[str, tuple[str, list[Contender]]]:
    prefixes = [os.path.join(folder, f"model-{step}") for step in range(_COUNT)]
    large = os.path.join(folder, "large")
    first = repr(large)
    data = repr(large + ".data-00000-of-00001")
    out = {name: repr(os.path.join(folder, f"out.{name}")) for name in ("safetensors", "npz", "ckpt", "copy", "other")}
    copies = [
        Contender("cp", "import subprocess", f"subprocess.run(['cp', {data}, {out['copy']}], check=True)"),
        Contender(
            "cp, and fsync",
            "import subprocess",
            f"subprocess.run(['cp', {data}, {out['copy']}], check=True)\n"
            f"subprocess.run(['sync', {out['copy']}], check=True)",
        ),
    ]
    read_all = f"{_READ.format(first)}\ntensors = {{name: reader.get_tensor(name) for name in names}}"
    remove = f"import glob, os\nfor file in glob.glob({os.path.join(folder, 'out.*')!r}): os.remove(file)\nos.sync()"
    tasks = {
        "rename": (
            "every tensor of 2 GB renamed",
            [
                Contender(
                    "tfbundle.convert",
                    _US,
                    f"tfbundle.convert({first}, {out['ckpt']}, rename={{'^layer_': 'block/'}}, overwrite=True)",
                ),
                *copies,
                Contender(
                    "TensorFlow's reader, and SaveV2",
                    _TF,
                    f"{read_all}\nrenamed = ['x/' + name for name in names]\n"
                    f"tf.raw_ops.SaveV2(prefix={out['other']}, tensor_names=renamed,"
                    " shape_and_slices=[''] * len(names), tensors=list(map(tf.constant, tensors.values())))",
                ),
            ],
        ),
        "safetensors": (
            "2 GB to .safetensors",
            [
                Contender("tfbundle.convert", _US, f"tfbundle.convert({first}, {out['safetensors']})"),
                *copies,
                Contender(
                    "TensorFlow and safetensors' save_file",
                    f"{_TF}\nfrom safetensors.numpy import save_file",
                    f"{read_all}\nsave_file(tensors, {out['other']})",
                ),
            ],
        ),
        "npz": (
            "2 GB to .npz",
            [
                Contender("tfbundle.convert", _US, f"tfbundle.convert({first}, {out['npz']})"),
                *copies,
                Contender("TensorFlow and numpy.savez", _TF, f"{read_all}\nnp.savez({out['npz']}, **tensors)"),
            ],
        ),
        "average": (
            f"{_COUNT} checkpoints of 0.5 GB averaged",
            [
                Contender("tfbundle.average", _US, f"tfbundle.average({prefixes!r}, {out['ckpt']}, overwrite=True)"),
                Contender("tensor2tensor's way", _TF, _TENSOR2TENSOR.format(prefixes=repr(prefixes), out=out["other"])),
                Contender("OpenNMT-tf's way", _TF, _OPENNMT.format(prefixes=repr(prefixes), out=out["other"])),
            ],
        ),
    }
    return {
        name: (title, [replace(contender, between=remove) for contender in contenders])
        for name, (title, contenders) in tasks.items()
    }


if __name__ == "__main__":
    main()
