"""How fast tfbundle reads text protobuf, beside google.protobuf.text_format.

    python tools/bench/textproto.py [FILE ...]

Without files there are three: about 10 MB of a convolutional network's GraphDef, which is made here, the same inside a
MetaGraphDef with collections, and a small one that TensorFlow wrote. A FILE is read as the message type whose first
field it names. The two readers take turns, so that a busy machine slows down both, and the smaller a text is the more;
what counts is the ratio of the medians. Memory is the peak of a process of its own that holds the text and parses it,
less the peak of one that only holds it.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from google.protobuf import text_format
from google.protobuf.message import Message

from tfbundle import proto
from tfbundle.formats.text.textproto import parse_text

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = ROOT / "fixtures" / "tf-1.15.5" / "training" / "graph.pbtxt"
# A text of a megabyte is read this often, and none less than three times.
TURNS = 10

# What a process of its own runs: argv holds the reader, the message type, and the file. Linux's ru_maxrss would count
# what the parent had when it forked; VmHWM does not.
MEASURE = """
import resource, sys
from pathlib import Path
from google.protobuf import text_format
from tfbundle import proto
from tfbundle.formats.text.textproto import parse_text
reader, kind, path = sys.argv[1:]
message_class = getattr(proto, kind)
parse_text(b"", message_class)
with open(path, "rb") as file:
    text = file.read()
if reader == "ours":
    message = parse_text(text, message_class)
elif reader == "text_format":
    message = text_format.Parse(text, message_class())
status = Path("/proc/self/status")
if status.exists():
    print(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def add_layer(graph: proto.GraphDef, index: int, source: str, chance: random.Random) -> str:
    """Add a layer's weights, convolution, batch normalisation and activation, and return its output's name."""
    scope = f"tower_{index % 4}/block{index // 16}/unit_{index // 4 % 4}/conv{index}"
    channels = 64 << (index // 16 % 4)

    def node(name: str, op: str, *inputs: str, **types: str) -> proto.NodeDef:
        added = graph.node.add(name=f"{scope}/{name}", op=op, input=inputs)
        for key, data_type in types.items():
            added.attr[key].type = proto.DataType.Value(data_type)
        return added

    def shape(added: proto.NodeDef, key: str, *sizes: int) -> None:
        shapes = added.attr[key].list.shape if key == "_output_shapes" else None
        target = shapes.add() if shapes is not None else added.attr[key].shape
        for size in sizes:
            target.dim.add(size=size)
        added.attr[key].SetInParent()

    weights = node("weights", "VariableV2", dtype="DT_FLOAT")
    shape(weights, "shape", 3, 3, channels, channels)
    shape(weights, "_output_shapes", 3, 3, channels, channels)
    weights.attr["_class"].list.s.append(f"loc:@{scope}/weights".encode())
    weights.attr["container"].s = b""
    weights.attr["shared_name"].s = b""
    seed = node("truncated_normal/shape", "Const", dtype="DT_INT32")
    tensor = seed.attr["value"].tensor
    tensor.dtype = proto.DataType.Value("DT_INT32")
    tensor.tensor_shape.dim.add(size=4)
    tensor.tensor_content = b"".join(n.to_bytes(4, "little") for n in (3, 3, channels, channels))
    scale = node("truncated_normal/stddev", "Const", dtype="DT_FLOAT")
    scale.attr["value"].tensor.dtype = proto.DataType.Value("DT_FLOAT")
    scale.attr["value"].tensor.tensor_shape.SetInParent()
    scale.attr["value"].tensor.float_val.append(chance.random())
    bias = node("bias", "Const", dtype="DT_FLOAT")
    shape(bias, "_output_shapes", channels)
    bias.attr["value"].tensor.dtype = proto.DataType.Value("DT_FLOAT")
    bias.attr["value"].tensor.tensor_shape.dim.add(size=channels)
    bias.attr["value"].tensor.tensor_content = chance.randbytes(4 * min(channels, 128))
    node("weights/read", "Identity", weights.name, T="DT_FLOAT")
    conv = node("Conv2D", "Conv2D", source, f"{scope}/weights/read", T="DT_FLOAT")
    conv.attr["data_format"].s = b"NHWC"
    conv.attr["padding"].s = b"SAME"
    conv.attr["strides"].list.i.extend([1, 1, 1, 1])
    conv.attr["use_cudnn_on_gpu"].b = True
    conv.device = f"/device:GPU:{index % 4}"
    shape(conv, "_output_shapes", -1, 56, 56, channels)
    norm = node("batch_norm", "FusedBatchNorm", conv.name, bias.name, T="DT_FLOAT")
    norm.attr["epsilon"].f = 0.001
    norm.attr["is_training"].b = False
    for _ in range(5):
        shape(norm, "_output_shapes", channels)
    relu = node("Relu", "Relu", norm.name, T="DT_FLOAT")
    shape(relu, "_output_shapes", -1, 56, 56, channels)
    update = node("update/ApplyAdam", "ApplyAdam", weights.name, *(f"{relu.name}:{n}" for n in range(8)))
    update.attr["T"].type = proto.DataType.Value("DT_FLOAT")
    update.attr["use_locking"].b = False
    return relu.name


def make_graph(layers: int) -> proto.GraphDef:
    """A network of as many layers, each with nodes for its variables, their initial values and their training."""
    chance = random.Random(1)
    graph = proto.GraphDef()
    graph.versions.producer = 27
    output = "input"
    for index in range(layers):
        output = add_layer(graph, index, output, chance)
    return graph


def make_meta_graph(graph: proto.GraphDef) -> proto.MetaGraphDef:
    """The graph with what a Saver writes beside it."""
    meta = proto.MetaGraphDef(graph_def=graph)
    meta.meta_info_def.tensorflow_version = "1.15.5"
    for node in graph.node:
        if node.op == "VariableV2":
            variable = proto.VariableDef(variable_name=f"{node.name}:0", snapshot_name=f"{node.name}/read:0")
            for key in ("variables", "trainable_variables"):
                meta.collection_def[key].bytes_list.value.append(variable.SerializeToString())
        elif node.op == "Relu":
            meta.collection_def["activations"].node_list.value.append(f"{node.name}:0")
    return meta


def usual_texts() -> dict[str, tuple[bytes, type[Message]]]:
    """The texts to read where no files are given."""
    graph = make_graph(1530)
    meta = make_meta_graph(graph)
    return {
        "graph.pbtxt": (text_format.MessageToString(graph).encode(), proto.GraphDef),
        "meta.pbtxt": (text_format.MessageToString(meta).encode(), proto.MetaGraphDef),
        "of TensorFlow 1.15.5": (WRITTEN.read_bytes(), proto.GraphDef),
    }


def message_class_of(text: bytes) -> type[Message]:
    """The message type whose first fields a text has."""
    for candidate in (proto.GraphDef, proto.MetaGraphDef, proto.SavedModel, proto.CheckpointState):
        word = text.split(None, 1)[0].rstrip(b":").decode("ascii", "replace") if text.split(None, 1) else ""
        if word in candidate.DESCRIPTOR.fields_by_name:
            return candidate
    raise SystemExit("not the text form of a GraphDef, MetaGraphDef, SavedModel or CheckpointState")


def seconds(reader: str, text: bytes, message_class: type[Message]) -> tuple[float, Message]:
    """The time that one reader takes, and what it reads."""
    start = time.perf_counter()
    message = parse_text(text, message_class) if reader == "ours" else text_format.Parse(text, message_class())
    return time.perf_counter() - start, message


def peak_memory(reader: str, message_class: type[Message], path: Path) -> int:
    """The peak of a fresh process, in bytes."""
    command = [sys.executable, "-c", MEASURE, reader, message_class.DESCRIPTOR.name, str(path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    # The unit is a kilobyte, except on macOS.
    return int(printed) * (1 if sys.platform == "darwin" else 1024)


def report(name: str, text: bytes, message_class: type[Message]) -> None:
    """Measure one text and print a line."""
    times: dict[str, list[float]] = {"ours": [], "text_format": []}
    messages = {}
    for _ in range(max(3, min(60, TURNS * 1_000_000 // len(text)))):
        for reader, taken in times.items():
            duration, messages[reader] = seconds(reader, text, message_class)
            taken.append(duration)
    ours, theirs = (message.SerializeToString(deterministic=True) for message in messages.values())
    rates = {reader: len(text) / statistics.median(taken) / 1e6 for reader, taken in times.items()}
    line = f"{name:24.24} {message_class.DESCRIPTOR.name:16} {len(text) / 1e6:6.2f} MB"
    line += f" {rates['ours']:8.1f} MB/s {rates['text_format']:8.2f} MB/s {rates['ours'] / rates['text_format']:7.1f}x"
    if sys.platform == "win32":
        line += "   memory: not measured on Windows"
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "text")
            path.write_bytes(text)
            held = peak_memory("none", message_class, path)
            peaks = [peak_memory(reader, message_class, path) - held for reader in times]
        line += "".join(f" {peak / 1e6:8.1f} MB ({peak / len(text):.1f}x)" for peak in peaks)
    print(line if ours == theirs else f"{line}   THE MESSAGES DIFFER", flush=True)


def main() -> None:
    """Measure the files that were given, or the usual texts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    files = parser.parse_args().files
    texts = {str(path): path.read_bytes() for path in files}
    cases = {name: (text, message_class_of(text)) for name, text in texts.items()} or usual_texts()
    print(f"{'':51} {'ours':>13} {'text_format':>13} {'ratio':>8}   peak memory of ours, of text_format (x the text)")
    for name, (text, message_class) in cases.items():
        report(name, text, message_class)


if __name__ == "__main__":
    main()
