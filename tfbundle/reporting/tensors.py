"""The tensors of a checkpoint or graph as plain values, with what reading and verifying them revealed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice, repeat
from math import prod
from typing import NamedTuple

from tfbundle.checkpoint.slot_owners import find_slot_owners
from tfbundle.checkpoint.v2.store import BundleStore
from tfbundle.errors import TfBundleError
from tfbundle.findings import Report
from tfbundle.progress import Progress
from tfbundle.reporting.facts import Stored, TensorFacts, Tensors
from tfbundle.reporting.reading import Known, Values, read_values
from tfbundle.storage.folders import without_common_folder
from tfbundle.tensors.dtypes import python_name
from tfbundle.tensors.mapping import TensorMapping, store_of
from tfbundle.tensors.store import Range

# A page of more tensors would be too large for a browser.
_MOST_TENSORS = 200_000
# Findings of a file that leave its tensors unreadable.
_FATAL = ("missing", "wrong-file", "unreadable")


class Opened(NamedTuple):
    """Open tensors: those whose metadata is valid, and the problems of the others, by name."""

    tensors: TensorMapping
    known: list[Known]
    problems: dict[str, str]
    values: Values | None


def read_tensors(tensors: TensorMapping, *, statistics: bool, progress: Progress | None) -> Opened:
    """Return the tensors with their metadata, and with ``statistics`` what their values reveal."""
    known: list[Known] = []
    problems: dict[str, str] = {}
    store = store_of(tensors)
    all_ranges: Iterable[tuple[Range, ...] | None] = (
        store.all_ranges() if isinstance(store, BundleStore) else repeat(None)
    )
    for (name, tensor), ranges in islice(zip(tensors.items(), all_ranges, strict=False), _MOST_TENSORS):
        try:
            if ranges is None:
                known.append(Known(tensor, tensor.data_type, tensor.shape, tensor.nbytes, tensor.ranges))
            else:  # One slice, whose size is that of the tensor.
                known.append(Known(tensor, tensor.data_type, tensor.shape, ranges[0].size, ranges))
        except (TfBundleError, OSError) as error:
            problems[name] = str(error)
    return Opened(tensors, known, problems, read_values(tensors, known, progress) if statistics else None)


def describe_tensors(opened: Opened, report: Report) -> Tensors:
    """Return the facts of all tensors; ``report`` is that of verifying them."""
    values = opened.values or Values()
    problems = {**_problems(report), **opened.problems, **values.problems}
    fatal = {finding.path: finding.message for finding in report.findings if finding.kind in _FATAL and finding.path}
    tensors = opened.tensors
    numbers = {item.tensor.name: number for number, item in enumerate(opened.known)}
    slots, weights, owners, variables = _roles(tensors)
    files: dict[str, int] = {}
    found = []
    for item in opened.known:
        name = item.tensor.name
        places = []
        problem = problems.get(name)
        for path, offset, size, _ in item.ranges:
            places.append(Stored(files.setdefault(path, len(files)), offset, size))
            problem = problem or fatal.get(path)
        owner = owners.get(name)
        found.append(
            TensorFacts(
                name,
                python_name(item.data_type),
                item.shape,
                0 if python_name(item.data_type) == "string" else prod(item.shape),
                item.nbytes,
                _state(tensors.format, problem),
                "slot" if name in slots else "weight" if name in weights else "",
                variables.get(name),
                None if owner is None else numbers.get(owner),
                tuple(places),
                values.statistics.get(name),
                values.texts.get(name, ()),
                values.values.get(name, ()),
                problem,
            )
        )
    for name, problem in opened.problems.items():
        found.append(TensorFacts(name, "?", (), 0, 0, "damaged", problem=problem))
    return Tensors(
        tensors.prefix,
        tensors.format,
        without_common_folder(files),
        tuple(found),
        opened.values is not None,
        len(tensors) - len(found),
    )


def _state(format: str, problem: str | None) -> str:
    if problem is not None:
        return "damaged"
    return "read" if format == "graph" else "intact"


def _problems(report: Report) -> dict[str, str]:
    found: dict[str, str] = {}
    for finding in report.findings:
        if finding.tensor is not None:
            found.setdefault(finding.tensor, finding.message)
    return found


def _roles(
    tensors: TensorMapping,
) -> tuple[frozenset[str], frozenset[str], dict[str, str], Mapping[str, str]]:
    """Return slots, weights, the variables of slots, and names of variables; nothing for a damaged object graph."""
    with suppress(TfBundleError, OSError):
        objects = tensors.objects
        slots = tensors.slots
        variables: Mapping[str, str] = {} if objects is None else objects.variable_names
        return slots, tensors.weights, find_slot_owners(tensors, slots, objects), variables
    return frozenset(), frozenset(), {}, {}
