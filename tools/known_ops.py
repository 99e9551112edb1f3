"""Write tfbundle/graph/known_ops.py, the outputs of TensorFlow's ops, from what TensorFlow itself registers.

    python tools/known_ops.py --fresh     with the newest TensorFlow: makes the table anew
    python tools/known_ops.py             with older ones, from new to old: adds the ops that are gone since

Runs in every TensorFlow from 0.12 on, hence on Python 3.6 and up. The table that is there was made with 2.21, 1.15,
1.4 and 0.12, in this order.
"""

import argparse
import re
import textwrap
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import op_def_pb2

TABLE = Path(__file__).resolve().parents[1] / "tfbundle" / "graph" / "known_ops.py"
WIDTH = 118

HEAD = '''"""The outputs of TensorFlow's own ops: written by ``tools/known_ops.py``, from what TensorFlow registers.

A line is the outputs and, behind ``=``, the ops that have them; ``op_outputs`` explains the form.
"""

TABLE = """
'''


def registered():
    """Return the definition of every op that this TensorFlow has."""
    try:
        from tensorflow.python.client import pywrap_tf_session as session
    except ImportError:
        from tensorflow.python import pywrap_tensorflow as session
    if hasattr(session, "TF_GetAllOpList"):
        return op_def_pb2.OpList.FromString(session.TF_GetBuffer(session.TF_GetAllOpList())).op
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get_registered_ops().values()


def described(op):
    """Return the outputs of an op in the table's form."""
    defaults = {attr.name: attr.default_value for attr in op.attr if attr.HasField("default_value")}
    outputs = []
    for arg in op.output_arg:
        if arg.type_list_attr:
            text = "*" + arg.type_list_attr
        else:
            text = arg.type_attr or str(arg.type)
            if arg.type_attr in defaults:
                text += "=" + str(defaults[arg.type_attr].type)
            if arg.number_attr:
                number = arg.number_attr
                if number in defaults:
                    number += "=" + str(defaults[number].i)
                text = number + "*" + text
        outputs.append((arg.name, text))
    if len(outputs) == 1:
        return outputs[0][1]
    return ",".join(name + ":" + text for name, text in outputs) or "-"


def main():
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="forget the table that is there")
    table = {}
    if not parser.parse_args().fresh:
        text = TABLE.read_text().split('"""\n')[2]
        for entry in re.sub(r"\n ", " ", text).splitlines():
            outputs, _, ops = entry.partition(" = ")
            table.update((op, outputs) for op in ops.split())
    before = len(table)
    for op in registered():
        table.setdefault(op.name, described(op))
    grouped = {}
    for op, outputs in sorted(table.items()):
        grouped.setdefault(outputs, []).append(op)
    lines = []
    for outputs, ops in sorted(grouped.items()):
        entry = outputs + " = " + " ".join(ops)
        lines += textwrap.wrap(entry, WIDTH, subsequent_indent=" ", break_long_words=False, break_on_hyphens=False)
    TABLE.write_text(HEAD + "\n".join(lines) + '\n"""\n')
    print(f"TensorFlow {tf.__version__}: {len(table) - before} ops added, {len(table)} in all")


if __name__ == "__main__":
    main()
