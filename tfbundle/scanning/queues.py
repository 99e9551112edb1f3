"""Which file names a reader of TensorFlow 1 takes: those that the graph puts into its queue.

::

    WholeFileReader <- ReaderRead(reader, queue)        QueueEnqueueMany(queue, names) -> queue
"""

from __future__ import annotations

from collections.abc import Callable

from tfbundle.proto import NodeDef
from tfbundle.scanning.program import Block, Tensor, data_inputs
from tfbundle.scanning.values import UNKNOWN, Text, Value, texts_of

_READS = ("ReaderRead", "ReaderReadV2", "ReaderReadUpTo", "ReaderReadUpToV2")
_ENQUEUES = ("QueueEnqueue", "QueueEnqueueV2", "QueueEnqueueMany", "QueueEnqueueManyV2")
# What stands between a queue or a reader and its users.
_MOST_STEPS = 20


def queued_values(block: Block, reader: NodeDef, fold: Callable[[str], Value]) -> list[Text]:
    """Return the names of files that a reader is given, as far as they are known."""
    queues = {
        _origin(block, inputs[1])
        for inputs in _inputs_of(block, _READS)
        if len(inputs) > 1 and _origin(block, inputs[0]) == reader.name
    }
    found: dict[Text, None] = {}
    for inputs in _inputs_of(block, _ENQUEUES):
        if len(inputs) > 1 and _origin(block, inputs[0]) in queues:
            found.update(dict.fromkeys(texts_of(fold(inputs[1]))))
    return list(found) or [UNKNOWN]


def _inputs_of(block: Block, ops: tuple[str, ...]) -> list[list[str]]:
    found = block.cache.get(ops)
    if found is None:
        found = block.cache[ops] = [data_inputs(proto) for proto in block.protos if proto.op in ops]
    return found


def _origin(block: Block, reference: str) -> str | None:
    for _ in range(_MOST_STEPS):
        found = block.find(reference)
        if not isinstance(found, Tensor):
            return None
        inputs = data_inputs(found.node)
        if found.node.op not in ("Identity", "Enter", "RefEnter", "Switch") or not inputs:
            return found.node.name
        reference = inputs[0]
    return None
