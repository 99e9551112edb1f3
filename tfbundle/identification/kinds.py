"""The known kinds of files and folders, with a description of each and advice.

The name of a kind in lower case is its stable word: ``FileKind.V1_TABLE`` is ``"v1-table"``. The value is a noun phrase
for use in sentences. The advice is for users who passed such a file as a checkpoint.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class FileFacts(NamedTuple):
    """What a file is: ``kind`` is a stable word, ``description`` is for display, and ``advice`` is a next step.

    The kind of an unrecognized file is ``"unknown"``.
    """

    kind: str
    description: str
    advice: str


class FileKind(Enum):
    """The kind of a file or folder; the value is its description."""

    # TensorFlow's.
    BUNDLE_INDEX = "the index of a V2 checkpoint"
    V1_TABLE = "a V1 checkpoint"
    TABLE = "a sorted table, but not of a checkpoint"
    STATE = "a checkpoint state file"
    GRAPH = "a GraphDef"
    GRAPH_TEXT = "a GraphDef in text form"
    META_GRAPH = "a MetaGraphDef"
    META_GRAPH_TEXT = "a MetaGraphDef in text form"
    SAVED_MODEL = "a SavedModel"
    SAVED_MODEL_TEXT = "a SavedModel in text form"
    SAVED_MODEL_CHUNKED = "a chunked protobuf in a Riegeli file (such as saved_model.cpb)"
    FINGERPRINT = "the fingerprint of a SavedModel (fingerprint.pb)"
    KERAS_METADATA = "the Keras metadata of a SavedModel (keras_metadata.pb)"
    HUB_MODULE = "the marker of a TensorFlow Hub module (tfhub_module.pb)"
    EVENTS = "an event file"
    TFRECORD = "a TFRecord file"
    TFLITE = "a TensorFlow Lite model"
    TFJS = "a TensorFlow.js model (model.json)"
    # Of other programs.
    HDF5 = "an HDF5 file (such as Keras weights in .h5)"
    KERAS = "a Keras 3 archive (.keras)"
    KERAS_JSON = "the configuration of a Keras model in JSON, without weights"
    PYTORCH = "a PyTorch file"
    ONNX = "an ONNX model"
    SAFETENSORS = "a safetensors file"
    SAFETENSORS_INDEX = "the index of safetensors files (.safetensors.index.json)"
    NUMPY = "a numpy file (.npy)"
    NUMPY_ARCHIVE = "a numpy archive (.npz)"
    FLAX = "a msgpack file (such as Flax and T5X checkpoints)"
    OCDBT = "a part of a TensorStore database (OCDBT), as in Orbax checkpoints"
    ZARR = "the metadata of a Zarr array, as in T5X and Orbax checkpoints"
    MINDSPORE = "a MindSpore checkpoint"
    PADDLE = "a PaddlePaddle file"
    CAFFE = "a Caffe model"
    CAFFE_TEXT = "a Caffe model in text form (.prototxt)"
    DARKNET = "Darknet weights"
    DARKNET_CONFIG = "the configuration of a Darknet model"
    COREML = "a Core ML model"
    GGUF = "a GGUF model of llama.cpp"
    OPENVINO = "an OpenVINO model in XML"
    JAX_PICKLE = "a Python pickle of JAX arrays"
    PICKLE = "a Python pickle"
    # Packed.
    ZIP = "a ZIP archive"
    GZIP = "a gzip file"
    TAR = "a tar archive"
    BZIP2 = "a bzip2 file"
    XZ = "an xz file"
    LZMA = "an LZMA file"
    ZSTD = "a Zstandard file (.zst)"
    LZ4 = "an LZ4 file"
    SEVEN_ZIP = "a 7-Zip archive"
    RAR = "a RAR archive"
    # In place of a file.
    GIT_LFS = "a Git LFS pointer, a placeholder for the real file"
    GIT_ANNEX = "a git-annex pointer, a placeholder for the real file"
    HTML = "an HTML page, probably of a failed download"
    STORE_ERROR = "the error message of an object store or server, probably of a failed download"
    APPLE_DOUBLE = "metadata that macOS keeps about another file (._NAME)"
    EMPTY = "an empty file"
    ZEROS = "a file of zero bytes, probably of an interrupted transfer"
    TEXT = "a text file"
    UNKNOWN = "a file of an unknown format"
    # Folders.
    FOLDER = "a folder"
    SAVED_MODEL_FOLDER = "the folder of a SavedModel"
    SAVED_MODEL_CHUNKED_FOLDER = "the folder of a SavedModel in chunks (saved_model.cpb)"
    ORBAX_FOLDER = "the folder of an Orbax checkpoint"
    T5X_FOLDER = "the folder of a T5X checkpoint"
    ZARR_FOLDER = "the folder of a Zarr array or group"
    OCDBT_FOLDER = "the folder of a TensorStore database (OCDBT)"
    COREML_FOLDER = "the folder of a Core ML package (.mlpackage)"

    @property
    def word(self) -> str:
        """The stable word for it, such as ``"v1-table"``."""
        return self.name.lower().replace("_", "-")

    @property
    def advice(self) -> str:
        """What to do if a checkpoint was expected."""
        return _ADVICE.get(self, "pass a checkpoint's prefix, its .index file, or its folder")

    @property
    def facts(self) -> FileFacts:
        """The facts in the form that ``identify`` returns."""
        return FileFacts(self.word, self.value, self.advice)


# Archives and compressed files, which must be unpacked before their content can be identified.
PACKED = (
    FileKind.ZIP,
    FileKind.GZIP,
    FileKind.TAR,
    FileKind.BZIP2,
    FileKind.XZ,
    FileKind.LZMA,
    FileKind.ZSTD,
    FileKind.LZ4,
    FileKind.SEVEN_ZIP,
    FileKind.RAR,
)
# Kinds that may replace any file, whatever its name. A gzip file may also be what was expected.
PLACEHOLDERS = (
    FileKind.GIT_LFS,
    FileKind.GIT_ANNEX,
    FileKind.HTML,
    FileKind.STORE_ERROR,
    FileKind.ZEROS,
    *(kind for kind in PACKED if kind is not FileKind.GZIP),
)

_GRAPH_ADVICE = (
    "pass the checkpoint that was saved with it; if it is frozen, tfbundle.load_graph(path).constants has its weights, "
    "and the commands ls, show, verify, diff, fingerprint and convert accept it"
)
_META_GRAPH_ADVICE = (
    "tfbundle.load_meta_graph reads it; pass the checkpoint that was saved with it, which has the same name without "
    ".meta"
)
_SAVED_MODEL_ADVICE = "tfbundle.load_saved_model reads its graphs; pass its folder for its variables"
_FOLDER_ADVICE = "pass the folder of the SavedModel"
_CONVERT_ADVICE = "tfbundle.convert writes its tensors to a checkpoint"
_ORBAX_ADVICE = "read it with orbax-checkpoint, which tfbundle does not replace"
_CHUNKED_ADVICE = "only TensorFlow reads it; its variables are an ordinary checkpoint: pass variables/variables"

_ADVICE = {
    FileKind.BUNDLE_INDEX: "tfbundle.open_checkpoint reads the checkpoint if its data files are next to it",
    FileKind.V1_TABLE: "tfbundle.open_checkpoint reads it",
    FileKind.TABLE: "it may belong to another program; pass a checkpoint's prefix, its .index file, or its folder",
    FileKind.STATE: "tfbundle.read_checkpoint_state reads it",
    FileKind.SAVED_MODEL_FOLDER: "tfbundle.load_saved_model reads its graphs, tfbundle.open_checkpoint its variables",
    FileKind.FOLDER: "tfbundle.list_checkpoints lists the checkpoints in it",
    FileKind.UNKNOWN: (
        "it may be damaged, or belong to another program; pass a checkpoint's prefix, its .index file, or its folder"
    ),
    FileKind.GIT_LFS: "fetch the file itself with 'git lfs pull'",
    FileKind.GIT_ANNEX: "fetch the file itself with 'git annex get'",
    FileKind.HTML: "read the page for the reason, and download the file again",
    FileKind.STORE_ERROR: "read the message for the reason, and download the file again",
    FileKind.APPLE_DOUBLE: "pass the file of this name without '._'",
    FileKind.EMPTY: "copy or download it again",
    FileKind.ZEROS: "copy or download it again",
    FileKind.HDF5: f"read it with h5py or Keras; {_CONVERT_ADVICE}",
    FileKind.KERAS: f"read it with Keras; {_CONVERT_ADVICE}",
    FileKind.KERAS_JSON: "it has no weights; Keras reads it with model_from_json",
    FileKind.PYTORCH: "read it with torch.load",
    FileKind.SAFETENSORS: f"read it with the safetensors package; {_CONVERT_ADVICE}",
    FileKind.SAFETENSORS_INDEX: f"read the files that it lists with the safetensors package; {_CONVERT_ADVICE}",
    FileKind.NUMPY: "read it with numpy.load",
    FileKind.NUMPY_ARCHIVE: f"read it with numpy.load; {_CONVERT_ADVICE}",
    FileKind.FLAX: "read it with flax.serialization.msgpack_restore",
    FileKind.OCDBT: _ORBAX_ADVICE,
    FileKind.ZARR: "read it with zarr or tensorstore",
    FileKind.MINDSPORE: "read it with mindspore.load_checkpoint",
    FileKind.PADDLE: "read it with paddle.load",
    FileKind.CAFFE: "read it with Caffe",
    FileKind.CAFFE_TEXT: "it has no weights; Caffe reads it",
    FileKind.DARKNET: "read it with Darknet, or convert it first",
    FileKind.DARKNET_CONFIG: "it has no weights; Darknet reads it",
    FileKind.COREML: "read it with coremltools",
    FileKind.GGUF: "read it with the gguf package",
    FileKind.OPENVINO: "read it with openvino; its weights are in the .bin file next to it",
    FileKind.JAX_PICKLE: "load it with pickle only if you trust its origin, because a pickle can run code",
    FileKind.PICKLE: "load it with pickle only if you trust its origin, because a pickle can run code",
    FileKind.ONNX: "read it with the onnx package",
    FileKind.TFLITE: "read it with a TensorFlow Lite interpreter",
    FileKind.TFJS: "read it with TensorFlow.js, or convert it with tensorflowjs_converter",
    FileKind.GRAPH: _GRAPH_ADVICE,
    FileKind.GRAPH_TEXT: _GRAPH_ADVICE,
    FileKind.META_GRAPH: _META_GRAPH_ADVICE,
    FileKind.META_GRAPH_TEXT: _META_GRAPH_ADVICE,
    FileKind.SAVED_MODEL: _SAVED_MODEL_ADVICE,
    FileKind.SAVED_MODEL_TEXT: _SAVED_MODEL_ADVICE,
    FileKind.SAVED_MODEL_CHUNKED: _CHUNKED_ADVICE,
    FileKind.FINGERPRINT: _FOLDER_ADVICE,
    FileKind.KERAS_METADATA: _FOLDER_ADVICE,
    FileKind.HUB_MODULE: _FOLDER_ADVICE,
    FileKind.EVENTS: "it contains training curves, which tfbundle.open_events reads; pass the checkpoint next to it",
    FileKind.TFRECORD: "it contains records, which tfbundle.read_records reads",
    FileKind.SAVED_MODEL_CHUNKED_FOLDER: _CHUNKED_ADVICE,
    FileKind.ORBAX_FOLDER: _ORBAX_ADVICE,
    FileKind.T5X_FOLDER: "read it with T5X",
    FileKind.ZARR_FOLDER: "read it with zarr or tensorstore",
    FileKind.OCDBT_FOLDER: _ORBAX_ADVICE,
    FileKind.COREML_FOLDER: "read it with coremltools",
    **dict.fromkeys(PACKED, "unpack it first"),
    FileKind.GZIP: "unpack it first; only compressed records and events are read as they are",
}
