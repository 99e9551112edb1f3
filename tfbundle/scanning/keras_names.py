"""What a name in the configuration of a Keras model refers to: a part of Keras, other code, or something worse.

Keras imports what a configuration names, and calls it while it loads the model::

    {"module": "keras.layers", "class_name": "Dense", ...}                  a class
    {"module": "os", "class_name": "function", "config": "system"}          a function, by its name
    {"module": "keras.utils", "class_name": "get_file", ...}                a function in place of a class
    {"class_name": "__typespec__", "module": ..., "spec_name": ...}         another way to name a class
    {"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}   a function of TensorFlow's

Classes of other packages are ordinary custom layers. Of the standard library of Python, of packages that most machines
have, and of Keras itself, functions are what attacks are made of.
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

_HOMES = ("keras", "tensorflow", "tf_keras", "keras_nlp", "keras_cv", "keras_hub", "keras_tuner")
# Modules of Keras whose functions are made to be named in a configuration.
_FUNCTIONS = re.compile(
    r"(?:keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras|keras\.src|tf_keras\.src)"
    r"\.(?:activations|losses|metrics|initializers|regularizers|constraints|optimizers|ops)\b"
)
# Functions of Keras that load, save or fetch files, run code, or lift the checks for such.
_HARMFUL = re.compile(
    r"get_file|extract_archive|func_load|enable_unsafe_deserialization|deserialize(?:_keras_object)?|model_from_\w+"
    r"|(?:load|save)_\w+|\w+_from_directory|register_keras_serializable|import_module|pydot\w*|plot_model|model_to_dot"
)
_BUILT_IN_NAMES = """
__import__ breakpoint compile delattr eval exec exit getattr globals input locals open quit setattr vars
"""
_BUILT_IN = frozenset(_BUILT_IN_NAMES.split())
# Packages whose functions read files, fetch them or run code, and which machines that load models often have.
_PACKAGES_NAMES = """
IPython cloudpickle dill distutils fsspec gdown h5py huggingface_hub jax joblib matplotlib numpy pandas pip pydot
requests scipy setuptools sklearn tensorflow_hub torch torchvision transformers urllib3 wget yaml
"""
_PACKAGES = frozenset(_PACKAGES_NAMES.split())
# Functions of TensorFlow that do more than compute, by their names below ``tf``, with or without ``compat.v1``.
_NOT_ARITHMETIC = re.compile(
    r"(?:io\.(?!decode_|encode_|parse_|serialize_|deserialize_|is_jpeg|extract_)|gfile|data|keras\.|saved_model|summary"
    r"|train|profiler|distribute|config|debugging\.(?:experimental|enable)|lite|tpu|xla|sysconfig|test|graph_util|mlir"
    r"|autograph|experimental|__internal__|estimator|python_io|resource_loader|app|flags|logging|load_|py_func"
    r"|numpy_func|print|Print|import_graph_def|read_file|write_file|matching_files|ReadFile|WriteFile|Session|function)"
)


class Named(NamedTuple):
    """How bad a name is, and why, in words that follow it."""

    severity: str
    why: str


def judge_name(module: str, name: str, *, is_function: bool) -> Named | None:
    """Return the problem with ``name`` of ``module``, or ``None`` for a part of Keras."""
    package = module.split(".")[0]
    is_function = is_function or name[:1].islower()
    if package in _HOMES:
        if _HARMFUL.fullmatch(name):
            return Named("high", "which handles files or code, and is not part of a layer")
        is_part = not is_function or _FUNCTIONS.match(module) is not None
        return None if is_part else Named("medium", "which is not part of a layer")
    if package == "builtins":
        return Named("critical", "which runs code or reaches for it") if name in _BUILT_IN else None
    if package in sys.stdlib_module_names or package in ("nt", "posix", "pty"):
        return Named("critical", "which Keras would import and call")
    if package in _PACKAGES and is_function:
        return Named("high", "which Keras would import and call")
    return Named("info", "code that is not part of Keras")


def is_arithmetic(function: str) -> bool:
    """Return whether a function of TensorFlow's, by its name without ``tf``, computes only."""
    name = function.removeprefix("tf.").removeprefix("compat.").removeprefix("v1.").removeprefix("v2.")
    return _NOT_ARITHMETIC.match(name) is None
