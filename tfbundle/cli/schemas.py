"""The JSON documents that the commands print: their names, versions and fields.

Each is an object whose field ``schema`` is ``"tfbundle/NAME/VERSION"``. NAME is that of the command, with the
subcommand after a hyphen. The version stays the same while fields are only added, and increases when a field is removed
or changes its meaning. Sizes are in bytes, offsets are places in a file, times are seconds since 1970, and shapes are
lists of integers. Unknown or inapplicable values are null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Document(NamedTuple):
    """A document: the version of its fields, and what each of them means."""

    version: int
    fields: Mapping[str, str]


_TENSOR_FACTS = {
    "name": "its name",
    "shape": "its shape",
    "dtype": "numpy's name of its type",
    "data_type": "TensorFlow's name of its type, such as DT_FLOAT",
    "nbytes": "the size of its values",
}
_TABLE = {
    "path": "the event file or folder, or with -o the file that was written",
    "format": "with -o, csv, jsonl or parquet",
    "columns": "the names of the columns",
    "rows": "a list of rows, each a list of cells",
    "count": "with -o, how many rows were written",
}

DOCUMENTS: dict[str, Document] = {
    "info": Document(
        1,
        {
            "ok": "whether nothing is wrong",
            "path": "the given path",
            "kind": "its kind, as identify returns it, or checkpoint",
            "description": "the same for people",
            "items": "a list of: kind (of identify, or checkpoint, incomplete-checkpoint, run, unreadable), path, "
            "description, size, step, facts (by name), problem, advice",
            "folders": "how many folders were listed",
            "others": "how many files are of no known kind",
            "others_size": "their size",
            "complete": "whether everything was read; a tree may be too large",
            "next": "commands that show more",
        },
    ),
    "ls": Document(
        1,
        {
            "path": "the checkpoint's prefix, or the graph's file",
            "format": "v1, v2 or graph",
            "tensors": "a list of: name, variable (its name in TensorFlow 2), shape, dtype, data_type, nbytes, slices "
            "(how many it is stored in), region and whole_shape (of a slot of a part of a variable), shards (numbers "
            "of data files), error (why the rest is null)",
            "total": "totals of the list: tensors, parameters, nbytes, shards",
            "left_out": "how many tensors --no-slots or --weights left out",
        },
    ),
    "show": Document(
        1,
        {
            **_TENSOR_FACTS,
            "slices": "of a partitioned tensor, for each slice the [start, stop] of each dimension",
            "region": "of a slot of a part of a variable, where in the variable it belongs",
            "whole_shape": "the shape of the variable of which it is a part, or its own",
            "ranges": "where its bytes are stored: a list of path, offset, size, crc",
            "verified": "whether the checksums of the values were compared; of a part and of a graph they are not",
            "statistics": "min, max, mean, std, zeros, nan, infinite, histogram (counts in bins from min to max); "
            "of strings min_length, max_length, total_length; null with INDEX",
            "values": "nested lists; null for more than 1,000 elements without INDEX",
        },
    ),
    "state": Document(
        1,
        {
            "path": "the folder",
            "checkpoints": "a list by step of: prefix, format, step, time, size, in_state, complete, problem, latest",
            "missing": "checkpoints that the state file lists but that do not exist",
            "incomplete": "the folders in which TensorFlow was writing a checkpoint",
            "problems": "files that do not match their names, a list of path, kind, problem",
            "leftovers": "what interrupted saves left: a list of the fields of list_leftovers",
            "elsewhere": "the folders below that hold checkpoints, where this one has none",
        },
    ),
    "inventory": Document(
        1,
        {
            "path": "the folder, or with -o the file that was written",
            "checkpoints": "a list of: path (its prefix), step, tensors, parameters, bytes (of its files), dtypes, "
            "complete, findings (a list of kind, message); tensors, parameters and dtypes are null if its index "
            "cannot be read",
            "format": "with -o, csv, jsonl or parquet",
            "count": "with -o, how many checkpoints there are",
        },
    ),
    "objects": Document(
        1,
        {
            "path": "the checkpoint's prefix",
            "nodes": "a list of: number, children (name, number), attributes (name, full_name, key, shape, dtype, "
            "slot), slots (name, original, number)",
        },
    ),
    "graph": Document(
        1,
        {
            "path": "the file",
            "kind": "graph, meta_graph or saved_model",
            "graphs": "a list of: producer, nodes, ops (how many nodes of each), function_ops (how many all functions "
            "have together), functions (by name: nodes, and inputs and outputs as in graph-function), variables, and "
            "of a MetaGraph tags, tensorflow_version, collections, signatures, saver",
            "assets": "of a SavedModel a list of name, path, exists",
        },
    ),
    "graph-node": Document(
        1,
        {
            "name": "its name",
            "op": "the name of its op",
            "device": "where it runs",
            "stored_as": "of a variable its name in the checkpoint",
            "inputs": "the tensors that it accepts",
            "control_inputs": "the nodes that run before it",
            "attributes": "by name",
            "outputs": "a list of name, shape, dtype, data_type; null where the op is not known",
            "around": "with --depth, nodes (name, op, distance), edges (source, target, tensor), complete; else null",
        },
    ),
    "graph-variable": Document(
        1,
        {
            "name": "its name or key in the checkpoint",
            "variable": "its own name",
            "trainable": "whether it is trained, or null",
            "shape": "its shape",
            "dtype": "numpy's name of its type",
            "data_type": "TensorFlow's name of its type",
            "node": "the node that holds it",
        },
    ),
    "graph-function": Document(
        1,
        {
            "function": "its name",
            "inputs": "a list of name, shape, dtype, data_type",
            "outputs": "a list of name, shape, dtype, data_type, tensor (of its body, or an input)",
            "nodes": "how many nodes it has",
            "ops": "how many nodes there are of each op",
        },
    ),
    "check": Document(
        1,
        {
            "ok": "whether the checkpoint has all that the graph needs",
            "graph": "the graph's file",
            "checkpoint": "the checkpoint's prefix",
            "matched": "how many variables agree",
            "missing": "a list of name, data_type, shape, suggestion",
            "mismatched": "a list of name, data_type, shape, found_data_type, found_shape, absent",
            "unexpected": "tensors that the graph does not use",
        },
    ),
    "verify": Document(
        1,
        {
            "ok": "whether nothing is wrong",
            "path": "the path that was checked",
            "prefix": "the checkpoint's prefix",
            "format": "v1, v2, graph, events or records",
            "tensors": "how many names it has",
            "nbytes": "how many bytes of values were verified",
            "findings": "a list of kind, message, path, tensor, shard, offset, size",
            "recoverable": "how many tensors are intact",
            "causes": "what probably happened to the files",
            "files": "a list of path, kind, size, whole, padding",
            "checkpoints": "a list of prefix, format, tensors, recoverable, ok",
            "not_checked": "paths of checkpoints, SavedModels and unreadable folders below the path that were not read",
        },
    ),
    "scan": Document(
        1,
        {
            "ok": "whether everything was examined, and no finding is above the threshold",
            "path": "the path that was scanned",
            "complete": "whether everything was examined",
            "threshold": "the severity up to which findings are accepted",
            "findings": "a list of rule, severity (info, low, medium, high or critical), message, path, op, node, "
            "function, trigger (load, call or unreachable), argument, arguments, within, allowed (why the policy "
            "allows it), new (whether the baseline lacks it)",
            "counts": "how many findings there are of each severity",
            "not_scanned": "a list of path, reason",
            "files": "those that were examined",
            "nodes": "how many nodes their graphs have",
            "ignored": "how many files hold no program that is known here",
        },
    ),
    "diff": Document(
        1,
        {
            "added": "tensors of the second alone",
            "removed": "tensors of the first alone",
            "changed": "a list of name, data_types, shapes, differing, largest_absolute, largest_relative, nans, "
            "other_name",
            "unreadable": "a list of kind, message, path, tensor, shard, offset, size",
            "same": "how many tensors are equal",
        },
    ),
    "fingerprint": Document(
        1,
        {
            "sha256": "of the whole, null where a tensor cannot be read",
            "tensors": "that of each tensor by name",
            "unreadable": "a list of kind, message, path, tensor, shard, offset, size",
        },
    ),
    "convert": Document(
        1,
        {
            "path": "the file that was written, or the index of several",
            "format": "npz, safetensors or hdf5",
            "tensors": "how many were written",
            "nbytes": "the size of their values",
            "files": "all files that were written",
            "left_out": "how many tensors were left out, by the reason",
            "plan": "with --dry-run, a list of name, new_name, dtype, shape, nbytes, action",
            "lost": "with --salvage, the findings about what could not be read",
        },
    ),
    "average": Document(
        1,
        {
            "inputs": "a list of path, step, time, size, weight",
            "path": "the file that was written, or the index of several",
            "format": "npz, safetensors or hdf5",
            "tensors": "how many were written",
            "nbytes": "the size of their values",
            "files": "all files that were written",
            "left_out": "how many tensors were left out, by the reason",
            "plan": "with --dry-run, a list of name, new_name, dtype, shape, nbytes, action",
        },
    ),
    "records": Document(
        1,
        {
            "path": "the file",
            "compression": "NONE, GZIP, ZLIB, SNAPPY or DEFLATE",
            "records": "how many there are",
            "payload_bytes": "their size",
            "largest": "the size of the largest",
            "truncation": "offset and size of an incomplete last record",
            "losses": "with --salvage, a list of offset, size, number, error",
        },
    ),
    "records-record": Document(
        1,
        {
            "record": "its number",
            "offset": "where it begins, in the uncompressed stream",
            "size": "the size of its payload",
            "data": "its payload in base64",
        },
    ),
    "events-list": Document(
        1,
        {
            "path": "the event file or folder",
            "runs": "a list of: run, files, events, series (tag, kind, count, first_step, last_step, last_value), "
            "truncations and losses by file",
            "problems": "what cannot be shown: a list of run and error",
        },
    ),
    "events-show": Document(
        1,
        {
            "path": "the event file or folder",
            "series": "the scalars, a list of: run, tag, steps, wall_times, values",
            "others": "a list of the same with kind; values are texts, histograms, PR curves, hyperparameters, sizes",
            "problems": "what cannot be shown: a list of run and error",
        },
    ),
    "events-point": Document(
        1,
        {"run": "its run", "tag": "its tag", "step": "its step", "value": "its value"},
    ),
    "events-export": Document(
        1,
        {
            "path": "the file that was written",
            "format": "csv, jsonl or parquet",
            "series": "how many series were written",
            "points": "how many points",
        },
    ),
    "events-dataset": Document(
        1,
        {
            "path": "the folder of the data set",
            "runs": "how many runs it has",
            "points": "how many rows it has",
            "runs_read": "how many runs had anything new",
            "runs_removed": "how many runs were removed because they no longer exist or are not selected",
            "troubles": "a list of path, run, tag, kind, message, offset, size: what could not be read",
        },
    ),
    "events-edit": Document(
        1,
        {
            "path": "the output",
            "files": "the files that were written",
            "removed": "the files that merged ones replaced",
            "points": "how many points were kept",
            "left_out": "how many points were left out",
            "truncations": "by the file, offset and size of an incomplete last record",
            "losses": "by the file, with --salvage, a list of offset, size, number, error",
            "plan": "with --dry-run, a list of run, tag, new_tag, kind, points, kept, action",
        },
    ),
    "events-aggregate": Document(1, _TABLE),
    "events-hparams": Document(1, _TABLE),
    "events-images": Document(1, {"path": "the folder", "files": "those that were written"}),
    "events-audio": Document(1, {"path": "the folder", "files": "those that were written"}),
}


def schema_of(name: str) -> str:
    """Return the value of the field ``schema`` in the document named ``name``."""
    return f"tfbundle/{name}/{DOCUMENTS[name].version if name in DOCUMENTS else 1}"
