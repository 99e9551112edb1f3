"""``as_tensorflow``: scripts that import TensorFlow run without it, and give the same as with it."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from contextlib import redirect_stdout

import pytest

from tests.support.expected import FIXTURES

TRAINING = FIXTURES / "tf-1.15.5" / "training"
EVENTS = FIXTURES / "events-tf-1.15.5" / "every-plugin-1"

# What each script imports is as public scripts have it; what it prints says that the right thing was reached.
SCRIPTS = {
    "text": """
import tensorflow as tf
from tensorflow.python.util import compat
for module in (tf.compat, tf.compat.v1.compat, compat):
    print(module.as_str(b"a"), module.as_text("b"), module.as_bytes("c"), module.as_str_any(7))
""",
    "tf.train": """
import tensorflow as tf
state = tf.train.get_checkpoint_state(FOLDER)
reader = tf.train.load_checkpoint(state.model_checkpoint_path)
dtypes = reader.get_variable_to_dtype_map()
for name, shape in tf.train.list_variables(FOLDER):
    print(name, shape, dtypes[name] == tf.float32, reader.get_tensor(name).sum())
""",
    "compat.v1": """
import tensorflow.compat.v1 as tf
reader = tf.train.NewCheckpointReader(tf.train.latest_checkpoint(FOLDER))
print(reader.debug_string().decode())
print(tf.gfile.Exists(FOLDER), tf.gfile.IsDirectory(FOLDER), sorted(tf.gfile.ListDirectory(FOLDER)))
print(sorted(tf.io.gfile.glob(FOLDER + "/*.index")), tf.io.gfile.GFile(FOLDER + "/checkpoint").readline())
""",
    "python.pywrap_tensorflow": """
from tensorflow.python.training import checkpoint_utils
from tensorflow.python.training.py_checkpoint_reader import NewCheckpointReader
from tensorflow.python.tools.inspect_checkpoint import print_tensors_in_checkpoint_file
prefix = checkpoint_utils.checkpoints_iterator(FOLDER).__next__()
print(prefix, NewCheckpointReader(prefix).has_tensor("beta1_power"), checkpoint_utils.list_variables(prefix))
print_tensors_in_checkpoint_file(prefix, tensor_name="beta1_power", all_tensors=False)
""",
    "events": """
import glob
import tensorflow as tf
from tensorflow.core.util import event_pb2
from tensorflow.python.summary.summary_iterator import summary_iterator
for path in sorted(glob.glob(EVENTS + "/**/*tfevents*", recursive=True)):
    for event in summary_iterator(path):
        for value in event.summary.value:
            if value.HasField("tensor"):
                print(value.tag, event.step, tf.make_ndarray(value.tensor).shape, event_pb2.Event().step)
            else:
                print(value.tag, event.step, value.WhichOneof("value"), value.simple_value)
""",
    "graph": """
import tensorflow as tf
graph = tf.compat.v1.MetaGraphDef()
graph.ParseFromString(tf.io.gfile.GFile(FOLDER + "/model.ckpt-20.meta", "rb").read())
from tensorflow.core.framework import graph_pb2, types_pb2
import tensorflow.core.protobuf.meta_graph_pb2 as meta_graph_pb2
print(len(graph.graph_def.node), len(graph_pb2.GraphDef().node), types_pb2.DT_FLOAT)
try:
    tf.train.load_checkpoint(FOLDER + "/none")
except (tf.errors.NotFoundError, tf.errors.DataLossError):
    print("not there")
""",
}


def run(script: str, *, stands_in: bool) -> str:
    names = f"FOLDER, EVENTS = {str(TRAINING)!r}, {str(EVENTS)!r}\n"
    start = "import tfbundle; tfbundle.as_tensorflow()\n" if stands_in else ""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", names + start + script], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts(tf: object, name: str) -> None:
    real = "\nimport sys; assert 'tensorflow.python.framework.ops' not in sys.modules"
    ours = run(SCRIPTS[name] + real, stands_in=True)
    assert "\n" in ours
    printed = io.StringIO()
    with redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(SCRIPTS[name], {"FOLDER": str(TRAINING), "EVENTS": str(EVENTS)})
    assert ours == printed.getvalue()


CHECKS = {
    "it is said what there is not": """
import importlib.util, tensorflow as tf
for name, module in (("keras", tf), ("Session", tf.compat.v1), ("AdamOptimizer", tf.compat.v1.train)):
    try:
        getattr(module, name)
    except AttributeError as error:
        assert f"has no {module.__name__}.{name}" in str(error) and "tfbundle takes the place" in str(error)
    else:
        raise SystemExit(name)
assert not hasattr(tf, "__version__")
try:
    import tensorflow.keras
except ModuleNotFoundError:
    print(importlib.util.find_spec("tensorflow").name, tfbundle.as_tensorflow() is tf)
""",
    "every name is there": """
import sys
from types import ModuleType
modules = {name: module for name, module in sys.modules.items() if name.startswith("tensorflow")}
for name, module in modules.items():
    for attribute in getattr(module, "__all__", ()):
        assert getattr(module, attribute) is not None
        assert attribute in dir(module)
import tensorflow as tf
assert tf.int32 == tf.dtypes.int32 == tf.compat.v1.int32 == "int32" and tf.half == tf.float16
assert isinstance(tf.train, ModuleType) and tf.train.Saver is tfbundle.train.Saver
print("tensorflow", len(modules) > 30)
""",
    "saving": """
import tensorflow as tf, numpy as np, tempfile
folder = tempfile.mkdtemp()
saver = tf.compat.v1.train.Saver(max_to_keep=1)
saver.save({"w": np.arange(3)}, folder + "/m", global_step=1)
print("tensorflow", tf.train.latest_checkpoint(folder) == folder + "/m-1")
""",
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_modules(name: str) -> None:
    assert run(CHECKS[name], stands_in=True).split() == ["tensorflow", "True"]


def test_never_beside_tensorflow() -> None:
    """Real modules are recognised by what is imported, the package itself or a part of it."""
    for name in ("tensorflow", "tensorflow.python"):
        script = f"""
import sys, types, tfbundle
sys.modules[{name!r}] = types.ModuleType({name!r})
before = dict(sys.modules)
try:
    tfbundle.as_tensorflow()
except RuntimeError as error:
    print(error, [key for key in sys.modules if key not in before and key.startswith("tensorflow")])
"""
        printed = run(script, stands_in=False)
        assert printed.startswith("tensorflow is imported already; call")
        assert printed.endswith("[]\n")


def test_tensorboard() -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard beside the stand-in")
    script = """
from tensorboard.backend.event_processing import event_accumulator
accumulator = event_accumulator.EventAccumulator(EVENTS, size_guidance={event_accumulator.SCALARS: 0}).Reload()
print(event_accumulator.__name__, accumulator.__class__.__module__.split(".")[0])
"""
    assert run(script, stands_in=True).split()[1] == "tensorboard"
    without = """
import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "tensorboard" else find_spec(name)
import tfbundle
tfbundle.as_tensorflow()
"""
    assert run(without + script, stands_in=False).split()[1] == "tfbundle"
