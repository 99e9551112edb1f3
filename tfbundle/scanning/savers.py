"""The savers of a graph that does not list them.

A GraphDef has no ``SaverDef``, and a MetaGraphDef has one of its savers at most. Every ``tf.train.Saver`` creates a
constant ``"model"``, which is replaced by the actual path when the saver runs::

    Const "model" -> [PlaceholderWithDefault ->] [StringJoin -> ShardedFilename ->] SaveV2, RestoreV2 and their kin
"""

from __future__ import annotations

from tfbundle.scanning.op_effects import effects
from tfbundle.scanning.program import Program, Tensor, data_inputs

_DEFAULT = b"model"
_THROUGH = frozenset(("Identity", "PlaceholderWithDefault", "ShardedFilename", "StringJoin"))
_MOST_STEPS = 20


def undeclared_filename_tensors(program: Program) -> set[str]:
    """Return the tensors of the graph that savers are fed their path through, if it is the usual one."""
    found: set[str] = set()
    known = effects()
    for node in program.notable(program.main):
        effect = known.get(node.op)
        if effect is None or effect.judged != "checkpoint":
            continue
        inputs = data_inputs(node)
        for number in effect.inputs:
            name = _default_of(program, inputs[number]) if number < len(inputs) else None
            if name is not None:
                found.add(f"{name}:0")
    return found


def _default_of(program: Program, reference: str) -> str | None:
    for _ in range(_MOST_STEPS):
        found = program.main.find(reference)
        if not isinstance(found, Tensor):
            return None
        node = found.node
        inputs = data_inputs(node)
        if node.op in _THROUGH and inputs:
            reference = inputs[0]
            continue
        is_default = node.op == "Const" and "value" in node.attr
        return node.name if is_default and list(node.attr["value"].tensor.string_val) == [_DEFAULT] else None
    return None
