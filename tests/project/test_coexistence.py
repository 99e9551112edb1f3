"""tfbundle in one process with TensorFlow and TensorBoard, and without either.

Each test starts a fresh interpreter, because what an import does can be seen only once in a process.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfbundle.proto

IMPORT_TFBUNDLE = """
import importlib, pkgutil, sys
import tfbundle
for module in pkgutil.walk_packages(tfbundle.__path__, "tfbundle."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        # A data source of an engine is a module to import in a program that uses the engine.
        if error.name.partition(".")[0] not in ("ray", "pyspark"):
            raise
"""

IMPORT_TENSORFLOW = """
import tensorflow
import tensorboard.compat.proto.event_pb2
import tensorboard.plugins.custom_scalar.layout_pb2
import tensorboard.plugins.hparams.plugin_data_pb2
import tensorboard.plugins.projector.projector_config_pb2
import tensorboard.plugins.scalar.plugin_data_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2
"""

# TensorFlow's message, ours and TensorBoard's are three classes that read each other's bytes.
EXCHANGE = """
from tfbundle.proto import BundleEntryProto, Event
from tfbundle.proto.plugins.hparams.plugin_data_pb2 import HParamsPluginData
theirs = tensor_bundle_pb2.BundleEntryProto(dtype="DT_FLOAT", shard_id=3, offset=7, size=24, crc32c=5)
ours = BundleEntryProto.FromString(theirs.SerializeToString())
assert type(ours) is not type(theirs)
assert (ours.dtype, ours.shard_id, ours.offset, ours.size, ours.crc32c) == (1, 3, 7, 24, 5)
event = tensorboard.compat.proto.event_pb2.Event(step=9)
event.summary.value.add(tag="loss", simple_value=0.5)
ours = Event.FromString(event.SerializeToString())
assert (ours.step, ours.summary.value[0].tag, ours.summary.value[0].simple_value) == (9, "loss", 0.5)
assert HParamsPluginData.DESCRIPTOR.full_name == "tfbundle.proto.plugins.hparams.HParamsPluginData"
assert float(tensorflow.reduce_sum(tensorflow.constant([1.0, 2.0]))) == 3.0
print("exchanged")
"""

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("tensorboard") is None,
    reason="needs TensorFlow and TensorBoard",
)


def run(code: str) -> str:
    """Run code in a fresh interpreter that finds the same tfbundle, and return what it prints."""
    root = str(Path(tfbundle.proto.__path__[0]).parents[1])
    environment = os.environ | {"PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_tensorflow
@pytest.mark.parametrize(
    "imports",
    [IMPORT_TFBUNDLE + IMPORT_TENSORFLOW, IMPORT_TENSORFLOW + IMPORT_TFBUNDLE],
    ids=["tfbundle first", "tensorflow first"],
)
def test_lives_with_tensorflow(imports: str) -> None:
    assert run(imports + EXCHANGE) == "exchanged\n"


def test_imports_without_a_warning_and_without_tensorflow() -> None:
    printed = run(
        "import warnings\nwarnings.simplefilter('error')\n"
        + IMPORT_TFBUNDLE
        + "packages = {name.partition('.')[0] for name in sys.modules}\n"
        + "print(sorted(packages & {'keras', 'tensorboard', 'tensorflow'}))\n"
        + "print('tfbundle.proto.plugins.hparams.plugin_data_pb2' in sys.modules)\n"
    )
    assert printed.splitlines() == ["[]", "True"]
