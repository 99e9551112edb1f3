"""What tensors hold that follow from constants, compared with what TensorFlow computes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfbundle.graph.graph import GraphDef
from tfbundle.scanning.entry_points import no_entry_points
from tfbundle.scanning.folding import Folder
from tfbundle.scanning.program import Program
from tfbundle.scanning.values import Text

PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "join": lambda tf: tf.strings.join(["/a", ["b", "c"], "d"], "/"),
    "join nothing": lambda tf: tf.strings.join(["", "", ""], ""),
    "format": lambda tf: tf.strings.format("/a/{}/{}/{}", [tf.constant("b"), tf.constant(-3), tf.constant(True)]),
    "as string": lambda tf: tf.strings.as_string(tf.constant([[1, -2], [3, 4]])),
    "as string of bool": lambda tf: tf.strings.as_string(tf.constant([True, False])),
    "lower": lambda tf: tf.strings.lower(["/ETC/ÄX"]),
    "lower utf-8": lambda tf: tf.strings.lower(["/ETC/ÄX"], encoding="utf-8"),
    "upper": lambda tf: tf.strings.upper("/etc/x"),
    "strip": lambda tf: tf.strings.strip([" /a \n", "\t/b"]),
    "substr": lambda tf: tf.strings.substr(["/etc/a", "/etc/b"], 1, 3),
    "substr from the end": lambda tf: tf.strings.substr("/etc/a", -3, 2),
    "substr of characters": lambda tf: tf.strings.substr("äöü", 1, 1, unit="UTF8_CHAR"),
    "replace": lambda tf: tf.strings.regex_replace("/x/x", "x", "yy"),
    "replace the first": lambda tf: tf.strings.regex_replace("/x/x", "x", "yy", replace_global=False),
    "replace by a pattern": lambda tf: tf.strings.regex_replace("/x/abc", "[a-z]+", "y"),
    "replace by another": lambda tf: tf.strings.regex_replace(["/1/a2", "/b"], r"/\d+", "-"),
    "replace what is none of": lambda tf: tf.strings.regex_replace("/e*t?c", "[^a-z/]", ""),
    "replace any": lambda tf: tf.strings.regex_replace("/eXXtc", "X.", ""),
    "replace a dot": lambda tf: tf.strings.regex_replace("/e.t.c", r"\.", ""),
    "replace by groups": lambda tf: tf.strings.regex_replace("/x/abc", "(a)(b)", r"\2\1"),
    "replace at the end": lambda tf: tf.strings.regex_replace("/x/abc", "c$", "y"),
    "replace in two lines": lambda tf: tf.strings.regex_replace("a\nb", "a.", "y"),
    "transcode": lambda tf: tf.strings.unicode_transcode(["/etc", "a b"], "UTF-8", "UTF-8"),
    "transcode to another": lambda tf: tf.strings.unicode_transcode(["/etc"], "UTF-8", "UTF-16-BE"),
    "transcode what is not valid": lambda tf: tf.strings.unicode_transcode([b"\xff"], "UTF-8", "UTF-8"),
    "decompress": lambda tf: tf.io.decode_compressed([zlib.compress(b"/etc"), zlib.compress(b"")], "ZLIB"),
    "decompress gzip": lambda tf: tf.io.decode_compressed(gzip.compress(b"/etc"), "GZIP"),
    "decompress nothing": lambda tf: tf.io.decode_compressed("/etc", ""),
    "transpose": lambda tf: tf.transpose(tf.constant([["a", "b"], ["c", "d"]])),
    "tile": lambda tf: tf.tile(tf.constant(["a", "b"]), [2]),
    "broadcast": lambda tf: tf.broadcast_to(tf.constant(["a", "b"]), [2, 2]),
    "gather of pairs": lambda tf: tf.gather_nd(tf.constant([["a", "b"], ["c", "d"]]), [[0, 1], [1, 0]]),
    "gather of rows": lambda tf: tf.gather_nd(tf.constant([["a", "b"], ["c", "d"]]), [[1]]),
    "parts": lambda tf: tf.split(tf.constant(["a", "b", "c", "d"]), 2)[1],
    "parts of sizes": lambda tf: tf.split(tf.constant(["a", "b", "c", "d"]), [1, 2, 1])[1],
    "decode base64": lambda tf: tf.io.decode_base64(["L2V0Yw", "L2E_", "L2E-"]),
    "encode base64": lambda tf: tf.io.encode_base64(["/etc?>", "a"]),
    "encode base64 padded": lambda tf: tf.io.encode_base64(["/etc", "a"], pad=True),
    "reduce join": lambda tf: tf.strings.reduce_join([["a", "b"], ["c", "d"]], separator="/"),
    "reduce join of rows": lambda tf: tf.strings.reduce_join([["a", "b"], ["c", "d"]], axis=1),
    "reduce join kept": lambda tf: tf.strings.reduce_join(["a", "b"], axis=0, keepdims=True),
    "split": lambda tf: tf.raw_ops.StringSplitV2(input=["/a/b//c", "d"], sep="/"),
    "split at spaces": lambda tf: tf.raw_ops.StringSplitV2(input=[" a  b "], sep=""),
    "characters": lambda tf: tf.strings.unicode_encode([47, 228, 0x1F600], "UTF-8"),
    "shifted": lambda tf: tf.strings.unicode_encode(tf.constant([48, 102]) - 1, "UTF-8"),
    "exclusive or": lambda tf: tf.bitwise.bitwise_xor(tf.constant([5, -1, 7]), 3),
    "products": lambda tf: tf.constant([5, 1 << 30]) * tf.constant([3, 4]),
    "small sums": lambda tf: tf.constant([250, 3], tf.uint8) + tf.constant(10, tf.uint8),
    "cast": lambda tf: tf.cast(tf.constant([300, -1]), tf.uint8),
    "cast of floats": lambda tf: tf.cast(tf.constant([1.9, -1.9]), tf.int32),
    "bytes": lambda tf: tf.io.decode_raw(tf.constant("/etc"), tf.uint8),
    "stack": lambda tf: tf.stack(["a", "b"], axis=0),
    "concat": lambda tf: tf.concat([["a"], ["b", "c"]], axis=0),
    "concat of columns": lambda tf: tf.concat([[["a"]], [["b"]]], axis=1),
    "reshape": lambda tf: tf.reshape(["a", "b", "c", "d"], [2, -1]),
    "expand": lambda tf: tf.expand_dims(["a", "b"], 1),
    "squeeze": lambda tf: tf.squeeze([[["a", "b"]]], axis=[0]),
    "gather": lambda tf: tf.gather(["a", "b", "c"], [[2, 0], [1, 1]]),
    "item": lambda tf: tf.constant(["a", "b", "c"])[1],
    "last item": lambda tf: tf.constant(["a", "b", "c"])[-1],
    "every second": lambda tf: tf.constant(["a", "b", "c"])[::2],
    "backwards": lambda tf: tf.constant(["a", "b", "c"])[::-1],
    "slice": lambda tf: tf.slice(tf.constant(["a", "b", "c"]), [1], [-1]),
    "unstack": lambda tf: tf.unstack(tf.constant([["a", "b"], ["c", "d"]]), axis=1)[1],
    "fill": lambda tf: tf.fill([2, 2], "a"),
    "range": lambda tf: tf.range(10, 0, -3),
    "reverse": lambda tf: tf.reverse(tf.constant([["a", "b"], ["c", "d"]]), [1]),
    "where": lambda tf: tf.where(True, "a", "b"),
    "sum of strings": lambda tf: tf.raw_ops.Add(x=tf.constant("/a"), y=tf.constant(["b", "c"])),
}
# These may be anything as far as the scan is concerned.
NOT_KNOWN = {
    "lower utf-8",
    "substr of characters",
    "reduce join of rows",
    "replace by groups",
    "replace at the end",
    "replace in two lines",
    "transcode to another",
    "transcode what is not valid",
    "decompress nothing",
}


def folded(graph: Any, name: str) -> Any:
    """What the scan makes of a tensor: an array, or ``None``."""
    program = Program(GraphDef.FromString(graph.as_graph_def().SerializeToString()))
    value = Folder(program, no_entry_points(), saves=False, loads=False).fold(program.main, name, None)
    items = [item.data if isinstance(item, Text) else item for item in value.flat]
    return None if None in items else np.array(items, dtype=object).reshape(value.shape)


@pytest.mark.parametrize("name", PROGRAMS)
def test_as_tensorflow_computes_it(tf: Any, name: str) -> None:
    with tf.Graph().as_default() as graph:
        result = PROGRAMS[name](tf)
        result = getattr(result, "values", result)  # Of an op with several outputs.
        with tf.compat.v1.Session() as session:
            expected = session.run(result)
    found = folded(graph, result.name)
    if name in NOT_KNOWN:
        assert found is None
        return
    assert found is not None
    assert found.shape == np.shape(expected)
    assert found.tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_random_slices(tf: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = random.integers(-100, 100, size=tuple(random.integers(1, 5, size=random.integers(1, 4)))).astype(np.int32)
    index = tuple(
        int(random.integers(0, size))
        if random.random() < 0.3
        else slice(*map(int, random.integers(-4, 5, size=2)), int(random.choice([-2, -1, 1, 2])))
        for size in data.shape
    )
    with tf.Graph().as_default() as graph:
        result = tf.constant(data)[index] * 3 - 1
        with tf.compat.v1.Session() as session:
            expected = session.run(result)
    found = folded(graph, result.name)
    assert (found.shape, found.tolist()) == (np.shape(expected), np.asarray(expected).tolist())
