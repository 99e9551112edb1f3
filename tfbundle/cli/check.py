"""``tfbundle check``: compare the variables of a checkpoint with those that a graph requires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tfbundle.cli.arguments import json_option
from tfbundle.cli.completion import PATH
from tfbundle.cli.output import print_json, print_line, print_table
from tfbundle.natural_order import natural_key
from tfbundle.printable import escape_name, one_line

if TYPE_CHECKING:
    from tfbundle.comparison.graph_check import GraphComparison, MismatchedVariable, MissingVariable

_HEADERS = ("", "name", "graph", "checkpoint")
# Unused tensors do no harm, and may be a large part of a checkpoint.
_MOST_UNEXPECTED = 20


@click.command(short_help="Compare the variables of GRAPH with those in CHECKPOINT.")
@click.argument("graph", type=PATH)
@click.argument("checkpoint", type=PATH)
@json_option
def command(graph: str, checkpoint: str, as_json: bool) -> None:
    """Compare the variables that GRAPH requires with those in CHECKPOINT.

    GRAPH is any path that 'tfbundle graph' accepts. TensorFlow 2 variables are matched by variable name if their keys
    differ, as the keys of a SavedModel and a checkpoint do. The exit status is 1 if a variable is missing or has a
    different dtype or shape. Tensors that the graph does not use are listed, but are not errors.
    """
    from tfbundle.comparison.graph_check import compare_graph

    result = compare_graph(graph, checkpoint)
    if as_json:
        print_json(_facts(result))
    else:
        unexpected = sorted(result.unexpected, key=natural_key)
        rows = [_missing_cells(item) for item in result.missing]
        rows += [_mismatched_cells(item) for item in result.mismatched]
        rows += [("unexpected", escape_name(name), "-", "") for name in unexpected[:_MOST_UNEXPECTED]]
        if rows:
            print_table(_HEADERS, rows)
        if len(result.unexpected) > _MOST_UNEXPECTED:
            print_line(f"unexpected  and {len(result.unexpected) - _MOST_UNEXPECTED} more")
        print_line(one_line(result.summary))
    if not result.ok:
        raise click.exceptions.Exit(1)


def _missing_cells(item: MissingVariable) -> tuple[str, ...]:
    hint = f"- (perhaps {escape_name(item.suggestion)})" if item.suggestion else "-"
    return "missing", escape_name(item.name), describe(item.data_type, item.shape), hint


def _mismatched_cells(item: MismatchedVariable) -> tuple[str, ...]:
    found = describe(item.found_data_type, item.found_shape)
    if item.absent is not None:
        found += f" without all of {item.absent}"
    return "mismatched", escape_name(item.name), describe(item.data_type, item.shape), found


def describe(data_type: str | None, shape: tuple[int | None, ...] | None) -> str:
    """Return a type and a shape as a cell, such as ``float32[?,10]``."""
    from tfbundle.graph.node import format_partial_shape
    from tfbundle.tensors.dtypes import python_name

    return (python_name(data_type) if data_type else "?") + (
        " of any shape" if shape is None else format_partial_shape(shape)
    )


def _facts(result: GraphComparison) -> dict[str, Any]:
    return {
        "ok": result.ok,
        "graph": result.graph,
        "checkpoint": result.checkpoint,
        "matched": result.matched,
        "missing": [item._asdict() for item in result.missing],
        "mismatched": [item._asdict() for item in result.mismatched],
        "unexpected": result.unexpected,
    }
