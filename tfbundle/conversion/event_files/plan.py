"""The plan of an edit: what happens to every value of a run, determined before anything is written.

The files are read once (``EventFile``), which finds each point with its step and its place. A ``FilePlan`` then has the
change for the value at each place; ``rewriting`` reads the file again and applies it. The steps, in this order, by the
stored names::

    tags, exclude            which series
    purge                    in each, data that a restart made obsolete, as TensorBoard's data server drops it
    first_step, last_step    which points
    rename                   the names of the series

Summaries of plugins that are not points of a curve (hyperparameters, graphs, layouts) have a meaningless step, which is
neither cut nor shifted. The metadata on the first value of a tag identify the plugin: if that value is dropped, they
move to the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tfbundle.conversion.event_files.splicing import Change, Shift
from tfbundle.conversion.renaming import Rename, apply_rules, check_distinct
from tfbundle.events.assembly import Assembly, Stretch, position_of
from tfbundle.events.by_name import Names, choose
from tfbundle.events.file import EventFile
from tfbundle.events.purge import kept_by_purge
from tfbundle.formats.records.frames import HEADER_SIZE
from tfbundle.formats.records.reader import Loss, Truncation
from tfbundle.storage.base import Location
from tfbundle.tensors.arrays import Array

# Plugins whose summaries describe a run and are not points of a curve.
_STEPLESS = frozenset(
    {"hparams", "custom_scalars", "graph_keras_model", "graph_run_metadata", "graph_run_metadata_graph", "projector"}
)
# Fields of an event that has a training step in addition to summaries: messages, session logs and run metadata. The
# step of a graph or a file's version is meaningless.
_WITH_STEP = (6, 7, 8)
_INT64 = np.iinfo(np.int64)
# The numbers of two changes of a run: no change, and dropping.
SAME, DROPPED = 0, 1


@dataclass(frozen=True)
class Choices:
    """The requested changes, as passed to ``edit_events``."""

    tags: Names
    exclude: Names
    rename: Rename | None
    purge: bool
    first_step: int | None
    last_step: int | None
    shift: Shift


class EditItem(NamedTuple):
    """A row of the plan: a series of a run.

    ``new_tag`` is ``None`` if it is left out; ``kept`` is the number of its ``points`` that are kept. ``kind`` is the
    kind under which the run lists it, and ``action`` describes the change.
    """

    run: str
    tag: str
    new_tag: str | None
    kind: str
    points: int
    kept: int
    action: str


@dataclass
class FilePlan:
    """The changes to a file, of which ``count`` records up to ``position`` were read.

    ``places`` (int64, ascending) are the places of its values, and ``codes`` the number of one of ``changes`` for each;
    the first of these changes nothing. ``stepless`` marks the values whose step is meaningless, and ``fixed`` has the
    places of other events of that kind. ``described`` has the metadata that a value takes over, by its place.
    """

    location: Location
    position: int
    count: int
    places: Array
    codes: Array
    stepless: Array
    fixed: Array
    lost: Array
    changes: list[Change]
    described: dict[int, bytes]

    @property
    def is_unread(self) -> bool:
        """Whether salvaging found no event in the file, and something else."""
        return not self.count and bool(len(self.lost))

    def changes_between(self, start: int, first: int, last: int) -> dict[int, Change]:
        """Return what happens to the values ``first`` to ``last`` (excluded), by their places after ``start``."""
        found = {}
        for place, code in zip(self.places[first:last].tolist(), self.codes[first:last].tolist(), strict=True):
            metadata = self.described.get(place)
            change = self.changes[code]
            if code or metadata is not None:
                found[place - start] = change if metadata is None else change._replace(metadata=metadata)
        return found


@dataclass
class RunPlan:
    """The changes to a run: a plan for each file, and a row for each series."""

    name: str
    files: list[FilePlan]
    items: list[EditItem]
    truncations: dict[str, Truncation]
    losses: dict[str, list[Loss]]


def plan_runs(runs: Mapping[str, list[EventFile]], choices: Choices) -> list[RunPlan]:
    """Return the plan for files that were read, given ``choices``.

    Raises ``KeyError`` for patterns that match no tag of any run, and ``ValueError`` for two tags of a run that would
    have the same name, for invalid names, and for steps that would not fit into 64 bits.
    """
    if choices.first_step is not None and choices.last_step is not None and choices.first_step > choices.last_step:
        raise ValueError(f"first_step is {choices.first_step}, which is after last_step, {choices.last_step}")
    assemblies = {name: Assembly(files, _no_origin, purge=False) for name, files in runs.items()}
    known = dict.fromkeys(tag for assembly in assemblies.values() for tag in assembly.stretches)
    left_out: dict[str, str] = {}
    if choices.exclude is not None:
        left_out.update(dict.fromkeys(choose("tag", known, choices.exclude), "left out: excluded"))
    if choices.tags is not None:
        chosen = set(choose("tag", known, choices.tags))
        left_out.update({tag: "left out: not chosen" for tag in known if tag not in chosen})
    kept = {tag: tag for tag in known if tag not in left_out}
    called = apply_rules(kept, choices.rename, lambda name: [], what="tag")
    return [
        _Planning(name, runs[name], assembly, choices, called, left_out).plan() for name, assembly in assemblies.items()
    ]


def _no_origin(kind: str, tag: str) -> Any:
    raise AssertionError("no series is made")


class _Planning:
    """The state of planning one run."""

    def __init__(
        self,
        name: str,
        files: list[EventFile],
        assembly: Assembly,
        choices: Choices,
        called: Mapping[str, Any],
        left_out: Mapping[str, str],
    ) -> None:
        self._name = name
        self._files = files
        self._assembly = assembly
        self._choices = choices
        self._called = called
        self._left_out = left_out
        self._changes = [Change(), Change(dropped=True)]
        self._numbers: dict[bytes, int] = {}
        # Of each file: places, codes, and whether steps there have no meaning.
        self._parts: defaultdict[int, list[tuple[Array, Array, Array]]] = defaultdict(list)
        self._described: defaultdict[int, dict[int, bytes]] = defaultdict(dict)

    def plan(self) -> RunPlan:
        self._check_names()
        items = [self._plan_tag(tag, stretches) for tag, stretches in self._assembly.stretches.items()]
        return RunPlan(
            self._name,
            [self._plan_file(number, file) for number, file in enumerate(self._files)],
            items,
            {file.path: file.truncation for file in self._files if file.truncation is not None},
            {file.path: file.losses for file in self._files if file.losses},
        )

    def _check_names(self) -> None:
        called = {tag: self._called[tag] for tag in self._assembly.stretches if tag in self._called}
        try:
            check_distinct({tag: new for tag, new in called.items() if tag or new})
            for new in called.values():
                new.encode("utf-8", "surrogateescape")
        except ValueError as error:
            raise ValueError(f"run {self._name!r}: {error}") from None

    def _plan_tag(self, tag: str, stretches: list[Stretch]) -> EditItem:
        metadata = self._assembly.metadata.get(tag)
        stepless = metadata is not None and metadata.plugin_data.plugin_name in _STEPLESS
        kinds = [self._assembly.kind_of(tag, stretch.kind[0]) or "other" for stretch in stretches]
        points = sum(len(stretch.column.order) for stretch in stretches)
        kind = ", ".join(dict.fromkeys(kinds))
        new = self._called.get(tag)
        if new is None:
            masks = [np.zeros(len(stretch.column.order), bool) for stretch in stretches]
            self._note(stretches, masks, SAME, stepless=stepless)
            return EditItem(self._name, tag, None, kind, points, 0, self._left_out[tag])
        masks = self._not_obsolete(stretches, kinds)
        current = _count(masks)
        is_cut = self._choices.first_step is not None or self._choices.last_step is not None
        if is_cut and not stepless:
            masks = [mask & self._within(stretch.column.steps) for stretch, mask in zip(stretches, masks, strict=True)]
        kept = _count(masks)
        self._note(stretches, masks, SAME if new == tag else self._code(new), stepless=stepless)
        if 0 < kept < points:
            self._hand_metadata_on(tag, stretches, masks)
        actions = [f"{_points(points - current)} obsolete"] if current < points else []
        actions += [f"{_points(current - kept)} cut"] if kept < current else []
        if not kept:
            return EditItem(self._name, tag, None, kind, points, 0, f"left out: {', '.join(actions)}")
        shift = self._choices.shift
        if shift.steps and not stepless:
            left = (stretch.column.steps[mask] for stretch, mask in zip(stretches, masks, strict=True))
            ends = [int(end) for steps in left if len(steps) for end in (steps.min(), steps.max())]
            self._check_shift(ends, repr(tag))
        if (shift.steps and not stepless) or shift.seconds:
            actions.append("shifted")
        if new != tag:
            actions.insert(0, "renamed")
        return EditItem(self._name, tag, new, kind, points, kept, ", ".join(actions) or "copied")

    def _not_obsolete(self, stretches: list[Stretch], kinds: list[str]) -> list[Array]:
        """Return which points of each stretch stay after a purge, which goes by the kind of series."""
        masks = [np.ones(len(stretch.column.order), bool) for stretch in stretches]
        if not self._choices.purge or _count(masks) < 2:
            return masks
        for kind in dict.fromkeys(kinds):
            which = [number for number, other in enumerate(kinds) if other == kind]
            columns = [stretches[number].column for number in which]
            places = [position_of(stretches[number].number, stretches[number].column.order) for number in which]
            order = np.argsort(np.concatenate(places), kind="stable")
            kept = kept_by_purge(np.concatenate([column.steps for column in columns])[order])
            if kept is not None:
                mask = np.empty(len(order), bool)
                mask[order] = kept
                ends = np.cumsum([len(column.order) for column in columns])
                for number, part in zip(which, np.split(mask, ends[:-1]), strict=True):
                    masks[number] = part
        return masks

    def _within(self, steps: Array) -> Array:
        first, last = self._choices.first_step, self._choices.last_step
        within = np.ones(len(steps), bool)
        if first is not None:
            within &= steps >= max(first, _INT64.min) if first <= _INT64.max else False
        if last is not None:
            within &= steps <= min(last, _INT64.max) if last >= _INT64.min else False
        return within

    def _check_shift(self, steps: Iterable[int], what: str) -> None:
        for step in steps:
            if not _INT64.min <= step + self._choices.shift.steps <= _INT64.max:
                raise ValueError(
                    f"run {self._name!r}: step {step} of {what} shifted by {self._choices.shift.steps} does not "
                    "fit into 64 bits"
                )

    def _code(self, tag: str) -> int:
        name = tag.encode("utf-8", "surrogateescape")
        if name not in self._numbers:
            self._numbers[name] = len(self._changes)
            self._changes.append(Change(tag=name))
        return self._numbers[name]

    def _note(self, stretches: list[Stretch], masks: list[Array], code: int, *, stepless: bool) -> None:
        for stretch, mask in zip(stretches, masks, strict=True):
            codes = np.where(mask, np.int32(code), np.int32(DROPPED))
            self._parts[stretch.number].append((stretch.column.order, codes, np.full(len(mask), stepless)))

    def _hand_metadata_on(self, tag: str, stretches: list[Stretch], masks: list[Array]) -> None:
        """Have the first value that stays take over the metadata of the tag, if the value that has them does not."""
        name = tag.encode("utf-8", "surrogateescape")
        found = ((one.number, one.file.tags[name].metadata) for one in sorted(stretches, key=lambda one: one.number))
        number, described = next(((number, one) for number, one in found if one is not None), (0, None))
        if described is None:
            return
        holder = position_of(number, described[0])
        heirs: list[tuple[int, int, int]] = []
        for stretch, mask in zip(stretches, masks, strict=True):
            places = stretch.column.order[mask]
            behind = int(np.searchsorted(position_of(stretch.number, places), holder))
            if behind < len(places):
                place = int(places[behind])
                heirs.append((position_of(stretch.number, place), stretch.number, place))
        if heirs and min(heirs)[0] != holder:
            _, number, place = min(heirs)
            self._described[number][place] = described[1]

    def _plan_file(self, number: int, file: EventFile) -> FilePlan:
        empty = np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, bool)
        places, codes, stepless = (np.concatenate(part) for part in zip(empty, *self._parts[number], strict=True))
        order = np.argsort(places, kind="stable")
        fixed = np.array([other.order for other in file.others if other.what not in _WITH_STEP], np.int64)
        if self._choices.shift.steps:
            self._check_shift((other.step for other in file.others if other.what in _WITH_STEP), "an event")
        return FilePlan(
            file.location,
            file.position,
            file.count,
            places[order],
            codes[order],
            stepless[order],
            np.sort(fixed),
            np.array(sorted(loss.offset + HEADER_SIZE for loss in file.losses), np.int64),
            self._changes,
            self._described[number],
        )


def _count(masks: Iterable[Array]) -> int:
    return sum(int(np.count_nonzero(mask)) for mask in masks)


def _points(count: int) -> str:
    return f"{count:,} point{'' if count == 1 else 's'}"
