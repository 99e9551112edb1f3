"""What differs between two checkpoints: layer by layer, and tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfbundle.checkpoint.objects import VALUE_SUFFIX
from tfbundle.comparison.diff import Change, Diff
from tfbundle.printable import count_of, escape_name, format_shape
from tfbundle.reporting.facts import Facts, Table
from tfbundle.tensors.dtypes import python_name

_MOST_ROWS = 2000


@dataclass
class _Layer:
    changed: int = 0
    added: int = 0
    removed: int = 0
    differing: int = 0
    largest_absolute: float = 0.0
    largest_relative: float = 0.0


def describe_changes(path: str, other: str, found: Diff, variables: Mapping[str, str] | None = None) -> Facts:
    """Return the changes from the checkpoint at ``path`` to that at ``other``.

    ``variables`` are the names of variables by those of tensors, which a column shows next to the changed tensors.
    """
    rows = [
        ("From", path),
        ("To", other),
        ("Changed", count_of(len(found.changed), "tensor")),
        ("Added", count_of(len(found.added), "tensor")),
        ("Removed", count_of(len(found.removed), "tensor")),
        ("Equal", count_of(found.same, "tensor")),
    ]
    if found.unreadable:
        rows.append(("Not compared", f"{count_of(len(found.unreadable), 'tensor')}, which could not be read"))
    tables = []
    if found.changed or found.added or found.removed:
        tables.append(("Layers", _layers(found)))
    if found.changed:
        tables.append(("Changed tensors", _changes(found.changed, variables or {})))
    for title, names in (("Added tensors", found.added), ("Removed tensors", found.removed)):
        if names:
            tables.append((title, Table.of({"Name": False}, [(escape_name(name),) for name in names])))
    if found.unreadable:
        reasons = [(escape_name(item.tensor or ""), item.message) for item in found.unreadable]
        tables.append(("Tensors that could not be compared", Table.of({"Name": False, "Reason": False}, reasons)))
    return Facts("Changes", tuple(rows), tuple(tables))


def _layer_of(name: str) -> str:
    return name.removesuffix(VALUE_SUFFIX).rpartition("/")[0] or "(top)"


def _layers(found: Diff) -> Table:
    layers: dict[str, _Layer] = {}
    for change in found.changed:
        layer = layers.setdefault(_layer_of(change.name), _Layer())
        layer.changed += 1
        layer.differing += change.differing or 0
        layer.largest_absolute = max(layer.largest_absolute, float(change.largest_absolute or 0))
        layer.largest_relative = max(layer.largest_relative, change.largest_relative or 0.0)
    for name in found.added:
        layers.setdefault(_layer_of(name), _Layer()).added += 1
    for name in found.removed:
        layers.setdefault(_layer_of(name), _Layer()).removed += 1
    rows = [
        (
            escape_name(name),
            f"{layer.changed:,}",
            f"{layer.added:,}",
            f"{layer.removed:,}",
            f"{layer.differing:,}",
            f"{layer.largest_absolute:.6g}",
            f"{layer.largest_relative:.3g}",
        )
        for name, layer in layers.items()
    ]
    numbers = ("Changed", "Added", "Removed", "Elements", "Largest change", "Relative")
    return Table.of({"Layer": False, **dict.fromkeys(numbers, True)}, rows, _MOST_ROWS)


def _changes(changes: Sequence[Change], variables: Mapping[str, str]) -> Table:
    named = any(change.name in variables for change in changes)
    rows = []
    for change in changes:
        name = escape_name(change.name.removesuffix(VALUE_SUFFIX))
        if change.other_name is not None:
            name += f" → {escape_name(change.other_name.removesuffix(VALUE_SUFFIX))}"
        types = tuple(dict.fromkeys(map(python_name, change.data_types)))
        shapes = tuple(dict.fromkeys(map(format_shape, change.shapes)))
        rows.append(
            (
                name,
                *([escape_name(variables.get(change.name, "–"))] if named else []),
                " → ".join(types),
                " → ".join(shapes),
                "–" if change.differing is None else f"{change.differing:,}",
                "–" if change.largest_absolute is None else f"{change.largest_absolute:.6g}",
                "–" if change.largest_relative is None else f"{change.largest_relative:.3g}",
                f"{change.nans:,}",
            )
        )
    texts = ("Name", "Variable", "Type", "Shape") if named else ("Name", "Type", "Shape")
    numbers = ("Elements", "Largest change", "Relative", "NaN on one side")
    return Table.of({**dict.fromkeys(texts, False), **dict.fromkeys(numbers, True)}, rows, _MOST_ROWS)
