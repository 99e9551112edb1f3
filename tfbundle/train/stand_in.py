"""Modules with the names of TensorFlow's, for scripts that import TensorFlow and cannot be changed.

::

    import tfbundle
    tfbundle.as_tensorflow()
    runpy.run_path("convert_checkpoint.py")     # does "import tensorflow as tf", and reads with tf.train

These modules contain the functions of ``tfbundle.train`` only; using any other name raises an error. ``Saver.save`` and
``CheckpointManager`` accept arrays, while TensorFlow uses a session or objects.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

from tfbundle.train import __all__ as train_names
from tfbundle.train.data_types import as_dtype, names_of_types

_ROOT = "tensorflow"
_BOARD = "tensorboard"
_GFILE = "tfbundle.train.gfile"
_PROTO = "tfbundle.proto"
_TRAIN = "tfbundle.train"

# The object of each name of a module, as MODULE:NAME, or MODULE for the module itself.
_Names = dict[str, str]

_TRAIN_NAMES: _Names = {name: f"{_TRAIN}:{name}" for name in train_names if name != "gfile"}
_GFILE_NAMES: _Names = {
    name: f"{_GFILE}:{name}"
    for name in (
        *("GFile", "copy", "exists", "glob", "isdir", "join", "listdir"),
        *("makedirs", "mkdir", "remove", "rename", "rmtree", "stat", "walk"),
    )
}
_OLD_GFILE_NAMES: _Names = {
    "Copy": f"{_GFILE}:copy",
    "DeleteRecursively": f"{_GFILE}:rmtree",
    "Exists": f"{_GFILE}:exists",
    "FastGFile": f"{_GFILE}:GFile",
    "GFile": f"{_GFILE}:GFile",
    "Glob": f"{_GFILE}:glob",
    "IsDirectory": f"{_GFILE}:isdir",
    "ListDirectory": f"{_GFILE}:listdir",
    "MakeDirs": f"{_GFILE}:makedirs",
    "MkDir": f"{_GFILE}:mkdir",
    "Open": f"{_GFILE}:GFile",
    "Remove": f"{_GFILE}:remove",
    "Rename": f"{_GFILE}:rename",
    "Stat": f"{_GFILE}:stat",
    "Walk": f"{_GFILE}:walk",
}
_ERROR_NAMES: _Names = {
    "AlreadyExistsError": "builtins:FileExistsError",
    "DataLossError": "tfbundle.errors:FormatError",
    "NotFoundError": "tfbundle.errors:MissingFileError",
    "OpError": "tfbundle.errors:TfBundleError",
    "UnimplementedError": "tfbundle.errors:UnsupportedError",
}
_MESSAGES = ("AttrValue", "Event", "GraphDef", "MetaGraphDef", "NodeDef", "Summary", "SummaryMetadata", "TensorProto")
_TEXT_NAMES: _Names = {name: f"tfbundle.train.text:{name}" for name in ("as_bytes", "as_str", "as_str_any", "as_text")}
_RECORDS: _Names = {"tf_record_iterator": f"{_TRAIN}:tf_record_iterator"}
_UTILITIES = ("checkpoints_iterator", "init_from_checkpoint", "list_variables", "load_checkpoint", "load_variable")
_MANAGEMENT = (
    "CheckpointManager",
    "checkpoint_exists",
    "generate_checkpoint_state_proto",
    "get_checkpoint_mtimes",
    "get_checkpoint_state",
    "latest_checkpoint",
    "remove_checkpoint",
    "update_checkpoint_state",
)
_MESSAGE_MODULES = {
    "core.framework": ("attr_value", "graph", "node_def", "summary", "tensor", "tensor_shape", "types"),
    "core.protobuf": ("meta_graph", "saved_model", "saver", "trackable_object_graph"),
    "core.util": ("event",),
    "python.training": ("checkpoint_state",),
}
_EVENT_NAMES: _Names = {
    name: f"tfbundle.train.event_values:{name}"
    for name in (
        *("AudioEvent", "CompressedHistogramEvent", "HistogramEvent", "HistogramValue", "ImageEvent", "ScalarEvent"),
        "TensorEvent",
    )
}
_ACCUMULATOR_NAMES: _Names = _EVENT_NAMES | {
    name: f"tfbundle.train.event_accumulator:{name}"
    for name in (
        "EventAccumulator",
        *("DEFAULT_SIZE_GUIDANCE", "NORMAL_HISTOGRAM_BPS", "STORE_EVERYTHING_SIZE_GUIDANCE"),
        *("AUDIO", "COMPRESSED_HISTOGRAMS", "GRAPH", "HISTOGRAMS", "IMAGES", "META_GRAPH", "RUN_METADATA"),
        *("SCALARS", "TENSORS"),
    )
}


def _trained(*names: str) -> _Names:
    return {name: f"{_TRAIN}:{name}" for name in names}


def _modules() -> dict[str, _Names]:
    """Return the contents of each module, by its name without ``tensorflow.``; that of ``tensorflow`` is empty."""
    top: _Names = {
        **_trained("DType", "as_dtype", "make_ndarray"),
        **{name: f"{_PROTO}:{name}" for name in _MESSAGES},
    }
    modules: dict[str, _Names] = {
        "": top,
        "compat": _TEXT_NAMES,
        "compat.v1": dict(top),
        "compat.v1.compat": _TEXT_NAMES,
        "contrib.framework": _trained(*_UTILITIES),
        "python.framework.tensor_util": {"MakeNdarray": f"{_TRAIN}:make_ndarray"},
        "python.lib.io.tf_record": _RECORDS,
        "python.platform.gfile": _OLD_GFILE_NAMES,
        "python.pywrap_tensorflow": _trained("NewCheckpointReader"),
        "python.summary.summary_iterator": _trained("summary_iterator"),
        "python.tools.inspect_checkpoint": _trained("print_tensors_in_checkpoint_file"),
        "python.util.compat": _TEXT_NAMES,
        "python.training.checkpoint_management": _trained(*_MANAGEMENT),
        "python.training.checkpoint_utils": _trained(*_UTILITIES),
        "python.training.py_checkpoint_reader": _trained("CheckpointReader", "NewCheckpointReader"),
        "python.training.saver": _trained("Saver", "import_meta_graph", *_MANAGEMENT),
    }
    for version in ("", "compat.v1."):
        modules |= {
            f"{version}dtypes": _trained("DType", "as_dtype"),
            f"{version}errors": _ERROR_NAMES,
            f"{version}gfile": _OLD_GFILE_NAMES,
            f"{version}io": _RECORDS,
            f"{version}io.gfile": _GFILE_NAMES,
            f"{version}python_io": _RECORDS,
            f"{version}train": _TRAIN_NAMES,
        }
    for folder, names in _MESSAGE_MODULES.items():
        modules.setdefault(folder, {}).update({f"{name}_pb2": f"{_PROTO}.{name}_pb2" for name in names})
    return modules


class _StandIn(ModuleType):
    """A module whose names are looked up when they are used."""

    def __init__(self, name: str, names: _Names) -> None:
        super().__init__(name, f"tfbundle under the name {name}; see tfbundle.as_tensorflow.")
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        self.__all__ = sorted(names)
        self._names = names

    def __getattr__(self, name: str) -> object:
        target = self._names.get(name)
        if target is None:
            raise AttributeError(
                f"tfbundle takes the place of {self.__name__.partition('.')[0]} here, and has no {self.__name__}.{name}"
            )
        module_name, _, attribute = target.partition(":")
        module = importlib.import_module(module_name)
        value: object = getattr(module, attribute) if attribute else module
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._names})


def as_tensorflow() -> ModuleType:
    """Make the functions of ``tfbundle.train`` available under TensorFlow's names, for the rest of the process.

    Afterwards ``import tensorflow`` provides ``tensorflow.train``, ``tensorflow.io.gfile``, ``tensorflow.compat.v1``
    with the same, ``tensorflow.errors``, the messages of graphs, tensors and events, and the names that scripts import
    from ``tensorflow.python`` to read checkpoints. If TensorFlow is installed, it is no longer imported. TensorBoard's
    ``EventAccumulator`` has its name, too, unless TensorBoard is installed.

    Returns the module ``tensorflow``; calling it again changes nothing. Raises ``RuntimeError`` if TensorFlow was
    already imported, because a mixture of both would not work.
    """
    known = sys.modules.get(_ROOT)
    if isinstance(known, _StandIn):
        return known
    if known is not None or any(name.startswith(f"{_ROOT}.") for name in sys.modules):
        raise RuntimeError("tensorflow is imported already; call tfbundle.as_tensorflow() before, or not at all")
    made: dict[str, _StandIn] = {}
    messages: dict[str, ModuleType] = {}
    for path, names in _modules().items():
        _add(made, f"{_ROOT}.{path}" if path else _ROOT, names)
    for name, module in made.items():
        for attribute, target in module._names.items():
            if ":" not in target:  # A module of messages is imported by its own name, too.
                messages[f"{name}.{attribute}"] = importlib.import_module(target)
    for type_name in names_of_types():
        for name in (_ROOT, f"{_ROOT}.dtypes", f"{_ROOT}.compat.v1", f"{_ROOT}.compat.v1.dtypes"):
            setattr(made[name], type_name, as_dtype(type_name))
    if find_spec(_BOARD) is not None:
        # With this module, TensorBoard does not use TensorFlow, of which it would need more than is available here.
        messages[f"{_BOARD}.compat.notf"] = ModuleType(f"{_BOARD}.compat.notf")
    else:
        _add(made, f"{_BOARD}.backend.event_processing.event_accumulator", _ACCUMULATOR_NAMES)
    sys.modules.update(made | messages)
    return made[_ROOT]


def _add(made: dict[str, _StandIn], name: str, names: _Names) -> _StandIn:
    """Make a module and its parents, and set it as an attribute of its parent."""
    module = made.get(name)
    if module is None:
        module = made[name] = _StandIn(name, {})
        above, _, base = name.rpartition(".")
        if above:
            setattr(_add(made, above, {}), base, module)
    if names:
        module._names = {**module._names, **names}
        module.__all__ = sorted(module._names)
    return module
