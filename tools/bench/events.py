"""Event files: tfbundle beside TensorBoard's Python loader, its Rust server, and tbparse.

    python tools/bench/events.py [--rounds N] [--folder FOLDER] [name ...]

Writes its own files with TensorFlow's writer (1.1 GB, once, into FOLDER, by default a temporary one), then measures:

    tf1      300,000 scalars of TensorFlow 1 (simple_value), every checksum verified
    tf2      300,000 scalars of TensorFlow 2 (tensors with metadata), likewise
    tags     300,000 scalars of 30 tags in turn
    one      one tag of 1,000 scalars out of a 500 MB file with images of 500 kB
    small    the same with 100,000 images of 5 kB
    follow   refresh() of a log of 300,000 scalars to which one was appended

The Rust server is a process of its own that serves its answers over gRPC: its time runs from its start until it says
that it has read everything, with ``--checksum``. Every contender reads its file once before it is timed, so that no one
waits for the disk. Memory a point is the growth of the peak over 300,000 points, imports left out.
"""

from __future__ import annotations

import os

from side_by_side import Contender, chosen_tasks, compare

_WRITE = r"""
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
from tensorflow.core.util.event_pb2 import Event
folder = sys.argv[1]
values = np.random.default_rng(0).standard_normal(300_000).astype("f4").tolist()
def write(name, events):
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(folder, name, "events.out.tfevents.1600000000.host")) as writer:
        writer.write(Event(wall_time=1.6e9, file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())
def tf1(tag):
    for step, value in enumerate(values):
        event = Event(wall_time=1.6e9 + step * 0.3, step=step)
        event.summary.value.add(tag=tag(step), simple_value=value)
        yield event
def tf2():
    for step, value in enumerate(values):
        event = Event(wall_time=1.6e9 + step * 0.3, step=step)
        one = event.summary.value.add(tag="loss", tensor=tf.make_tensor_proto(np.float32(value)))
        one.metadata.plugin_data.plugin_name = "scalars"
        one.metadata.data_class = 1
        yield event
def images(count, size):
    noise = np.random.default_rng(1).bytes(2 * size)
    for step in range(count):
        if step % (count // 1000) == 0:
            event = Event(wall_time=1.6e9 + step, step=step)
            event.summary.value.add(tag="loss", simple_value=values[step])
            yield event
        event = Event(wall_time=1.6e9 + step, step=step)
        start = step * 7 % (size // 2)
        event.summary.value.add(tag="image").image.encoded_image_string = noise[start : start + size - start // 10]
        yield event
write("tf1", tf1(lambda step: "loss"))
write("tags", tf1(lambda step: "layer_%d/loss" % (step % 30)))
write("tf2", tf2())
write("images", images(1000, 500_000))
write("small", images(100_000, 5_000))
"""

_US = "import tfbundle, numpy\ntfbundle.open_events"
_ACCUMULATOR = (
    "import os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\n"
    "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
    "sizes = dict.fromkeys(['scalars', 'tensors', 'images', 'histograms', 'audio', 'compressedHistograms'], 0)"
)
_TBPARSE = "from tbparse import SummaryReader"
_RUST = r"""
import os, subprocess, tempfile, tensorboard_data_server
binary = tensorboard_data_server.server_binary()
def run(logdir):
    server = subprocess.Popen(
        [binary, "--logdir", logdir, "--port", "0", "--checksum", "--reload", "once", "-vv"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if "Finished load cycle" in line:
                return
        raise RuntimeError("the server ended without having read anything")
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
"""


def main() -> None:
    for task in chosen_tasks(__doc__.splitlines()[0], _WRITE, "small", _tasks):
        figures = compare(task.title, task.contenders, rounds=task.rounds, repeat=1)
        if task.name in ("tf1", "tf2", "tags"):
            sizes = [f"{figure.nbytes / 300_000:.0f}" if figure.nbytes > 300_000 else "-" for figure in figures]
            print(f"  bytes a point: {', '.join(sizes)}")


def _tasks(folder: str) -> dict[str, tuple[str, list[Contender]]]:
    def everything(name: str) -> list[Contender]:
        path = os.path.join(folder, name)
        read_all = (
            f"ea = EventAccumulator({path!r}, size_guidance=sizes).Reload()\n"
            "kept = [ea.Scalars(tag) for tag in ea.Tags()['scalars']]\n"
            "kept += [ea.Tensors(tag) for tag in ea.Tags()['tensors']]"
        )
        return [
            Contender(
                "tfbundle.open_events",
                _US,
                f"kept = [(s.steps, s.wall_times, s.values) for run in tfbundle.open_events({path!r}).runs.values() "
                "for s in run.scalars.values()]",
            ),
            Contender("TensorBoard's Rust server --checksum", _RUST, f"run({path!r})"),
            Contender("TensorBoard's EventAccumulator", _ACCUMULATOR, read_all),
            Contender("tbparse", _TBPARSE, f"kept = SummaryReader({path!r}, extra_columns={{'wall_time'}}).scalars"),
        ]

    def one_tag(name: str) -> list[Contender]:
        path = os.path.join(folder, name)
        file = os.path.join(path, "events.out.tfevents.1600000000.host")
        return [
            Contender("tfbundle.open_events", _US, f"tfbundle.open_events({path!r}).runs['.'].scalars['loss'].values"),
            Contender("tfbundle.read_records", _US, f"for record in tfbundle.read_records({file!r}): pass"),
            Contender(
                "reading the file and its CRC-32C alone",
                "import crc32c",
                f"with open({file!r}, 'rb') as f:\n    while data := f.read(1 << 20): crc32c.crc32c(data)",
            ),
            Contender("TensorBoard's Rust server --checksum", _RUST, f"run({path!r})"),
            Contender(
                "TensorBoard's EventAccumulator",
                _ACCUMULATOR,
                f"ea = EventAccumulator({path!r}, size_guidance={{'scalars': 0, 'images': 1}}).Reload()\n"
                "kept = ea.Scalars('loss')",
            ),
        ]

    tf1 = os.path.join(folder, "tf1")
    return {
        "tf1": ("300,000 scalars of TensorFlow 1", everything("tf1")),
        "tf2": ("300,000 scalars of TensorFlow 2", everything("tf2")),
        "tags": ("300,000 scalars of 30 tags", everything("tags")),
        "one": ("1,000 scalars out of 500 MB with images of 500 kB", one_tag("images")),
        "small": ("1,000 scalars out of 500 MB with images of 5 kB", one_tag("small")),
        "follow": (
            "refresh() of 300,000 scalars after one more",
            [
                Contender(
                    "tfbundle",
                    "import shutil, tempfile, tfbundle\nfolder = tempfile.mkdtemp()\n"
                    f"shutil.copytree({tf1!r}, folder + '/run')\n"
                    "log = tfbundle.open_events(folder)\nlog.load()\n"
                    f"path = log.runs['run'].paths[0]\nrecord = open(path, 'rb').read()[40:80]",
                    "open(path, 'ab').write(record)\nassert log.refresh()\nlog.runs['run'].scalars['loss'].values",
                ),
            ],
        ),
    }


if __name__ == "__main__":
    main()
