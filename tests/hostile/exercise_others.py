"""Every public way to read what is not a checkpoint, held to the promise: state files, graphs, records, events."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import tfbundle
from tests.hostile.effort import is_large
from tests.hostile.exercise import attempt, demand, exercise_command, exercise_folder
from tests.hostile.exercise_fleet import exercise_inventory
from tfbundle import TfBundleError

LOADERS = (tfbundle.load_graph, tfbundle.load_meta_graph, tfbundle.load_saved_model)
# How many records are read by what counts as one call.
_TOGETHER = 1000
SERIES = ("scalars", "histograms", "images", "audio", "text", "pr_curves", "tensors")


def exercise_state(path: Path) -> str | None:
    """A folder with a state file; what is wrong with that, or nothing."""
    exercise_folder(path)
    exercise_inventory(path)
    state = attempt(lambda: tfbundle.read_checkpoint_state(path))
    exercise_command("state", path)
    exercise_command("info", path)
    for ask in (tfbundle.train.get_checkpoint_state, tfbundle.train.latest_checkpoint):
        attempt(lambda ask=ask: ask(path))  # type: ignore[misc]
    return str(state) if isinstance(state, TfBundleError) else None


def exercise_graph(path: Path) -> tuple[str | None, bytes | None]:
    """A graph of any kind; why none can be read, or else the message."""
    found: list[Any] = []
    refused: list[str] = []
    for load in LOADERS:
        loaded = attempt(lambda load=load: load(path))  # type: ignore[misc]
        if isinstance(loaded, TfBundleError):
            refused.append(str(loaded))
        else:
            found.append(loaded)
    # A meta graph has a graph, and a SavedModel has meta graphs, so that the last one has all that there is.
    for loaded in found[-1:] if is_large(path) else found:
        look_everywhere(loaded)
    attempt(lambda: tfbundle.scan(path))
    exercise_command("info", path)
    is_small = not is_large(path)
    if found or is_small:
        exercise_command("graph", path)
        exercise_command("check", path, path)
    if is_small:  # The command compares too.
        attempt(lambda: tfbundle.compare_graph(path, path))
    if not found:
        return refused[0], None
    return None, found[0].proto.SerializeToString(deterministic=True)


def look_everywhere(loaded: Any) -> None:
    """Ask everything that can be asked of a graph; each question may be refused, with our errors alone."""
    questions: list[Callable[[], Any]] = []
    if isinstance(loaded, tfbundle.SavedModel):
        questions = [lambda: loaded.assets, loaded.meta_graph, lambda: repr(loaded), lambda: loaded.fingerprint]
        questions += [lambda: loaded.open_checkpoint().close()]
        for meta in loaded.meta_graphs:
            look_everywhere(meta)
    elif isinstance(loaded, tfbundle.MetaGraph):
        questions = [lambda: dict(loaded.collections), lambda: loaded.signatures, loaded.variables, lambda: loaded.step]
        questions += [lambda: loaded.saver and (loaded.saver.tensors, loaded.saver.version), lambda: repr(loaded.saver)]
        look_everywhere(loaded.graph)
    else:
        questions = [lambda: look_at_body(loaded)]
        questions += [lambda: [look_at_body(function) for function in loaded.functions.values()]]
        questions += [lambda: [str(function.signature) for function in loaded.functions.values()]]
        questions += [lambda: loaded.function_op_counts]
    for question in questions:
        attempt(question)


def look_at_body(body: Any) -> None:
    """Ask everything that can be asked of the nodes of a graph or a function."""
    assert sum(body.op_counts.values()) >= len(body.nodes)
    for name, node in body.nodes.items():
        for question in (
            lambda node=node: dict(node.attributes),
            lambda node=node: [(output.dtype, output.shape, repr(output)) for output in node.outputs or ()],
            lambda name=name: name in body.constants and body.constants[name],
            lambda node=node: [body.get(tensor) for tensor in node.inputs],
        ):
            with contextlib.suppress(TfBundleError):
                question()


def exercise_records(
    path: Path, compression: str | None = None, *, salvage: bool = False
) -> tuple[str | None, list[bytes]]:
    """The records of a file, as they come one by one, and what is wrong with it."""
    iterator = tfbundle.read_records(path, compression=compression, salvage=salvage)
    found: list[bytes] = []
    count = -1
    while len(found) > count:
        count = len(found)
        problem = attempt(lambda: found.extend(islice(iterator, _TOGETHER)))
        if isinstance(problem, TfBundleError):
            return str(problem), found
    return (f"cut: {iterator.truncation}" if iterator.truncation else None), found


def exercise_record_file(path: Path) -> tuple[str | None, list[bytes]]:
    """Read records in every way; what the plain way gives."""
    problem, found = exercise_records(path)
    salvaged = exercise_records(path, salvage=True)[1]
    demand(len(salvaged) >= len(found), "salvaging gives fewer records")
    # Large files are plain or GZIP, which has been recognised, or are read with what they are not.
    for compression in ("ZLIB", "SNAPPY") if is_large(path) else ("NONE", "GZIP", "ZLIB", "SNAPPY", "DEFLATE"):
        exercise_records(path, compression)
    exercise_command("records", path)
    exercise_command("records", path, "--salvage")
    if is_large(path):
        exercise_command("info", path)
        _exercise_log(path, purge=True, salvage=True)
    else:
        exercise_events(path)
    return problem, found


def exercise_events(path: Path) -> tuple[str | None, dict[str, list[float]]]:
    """Read events in every way: what is wrong, or the scalars of the run ``.`` as the plain way gives them."""
    is_small = not is_large(path)
    for salvage in (False, True) if is_small else (False,):
        iterator = tfbundle.read_events(path, salvage=salvage)
        attempt(lambda iterator=iterator: [event.step for event in iterator])  # type: ignore[misc]
    results = [
        _exercise_log(path, purge=purge, salvage=salvage)
        for purge in (False, True)
        for salvage in (False, True)
        if is_small or purge == salvage
    ]
    _exercise_edits(path)
    exercise_command("events", "list", path)
    exercise_command("events", "show", path, "loss")
    if is_small:  # The graph of each run is read above.
        exercise_command("graph", path)
    exercise_command("info", path)
    return results[0]


def _exercise_edits(path: Path) -> None:
    """Write events again and put runs together; what is written is read without a complaint, point by point."""
    changes: dict[str, Any] = {"rename": lambda tag: f"new/{tag}", "shift_steps": 3, "shift_time": 0.5, "purge": True}
    plain: list[dict[str, Any]] = [] if is_large(path) else [{}, {"salvage": True}]
    with tempfile.TemporaryDirectory() as folder:
        for number, settings in enumerate(
            [*plain, {"salvage": True, "first_step": 1, "last_step": 1 << 40, **changes}]
        ):
            out = Path(folder, str(number))
            done = attempt(lambda settings=settings, out=out: tfbundle.edit_events(path, out, **settings))  # type: ignore[misc]
            if isinstance(done, TfBundleError):
                continue
            log = tfbundle.open_events(out)
            attempt(log.load)
            runs = log.runs.values()
            demand(not any(run.losses or run.truncations for run in runs), "what was written is damaged")
            tags = attempt(lambda runs=runs: {tag for run in runs for kind in SERIES for tag in getattr(run, kind)})  # type: ignore[misc]
            if isinstance(tags, TfBundleError):
                continue  # Metadata that is not a message is written unchanged.
            named = {item.new_tag for item in done.items if item.new_tag is not None and item.kind != "other"}
            demand(named == tags, f"{named} were to be written, and {tags} are there")


def _exercise_log(path: Path, **settings: bool) -> tuple[str | None, dict[str, list[float]]]:
    log = attempt(lambda: tfbundle.open_events(path, **settings))
    if isinstance(log, TfBundleError):
        return str(log), {}
    with log:
        problem = attempt(log.load)
        if isinstance(problem, TfBundleError):
            return str(problem), {}
        scalars: dict[str, list[float]] = {}
        for run in log.runs.values():
            repr(run)
            for kind in SERIES:
                series = attempt(lambda kind=kind, run=run: getattr(run, kind))  # type: ignore[misc]
                if isinstance(series, TfBundleError):
                    return str(series), scalars
                for tag in list(series)[:20]:
                    values = attempt(lambda tag=tag, series=series, kind=kind: _read_series(series[tag], kind))  # type: ignore[misc]
                    if kind == "scalars" and not isinstance(values, TfBundleError):
                        scalars[tag] = values
            for name in ("graph", "meta_graph", "run_metadata", "hparams", "custom_scalars", "metadata", "event_count"):
                attempt(lambda name=name, run=run: getattr(run, name))  # type: ignore[misc]
            attempt(lambda run=run: [event.step for event in run.events()])  # type: ignore[misc]
        attempt(log.refresh)
        if settings["salvage"]:
            attempt(lambda: log.aggregate(".*"))
            attempt(log.hparams_table)
    return None, scalars


def _read_series(series: Any, kind: str) -> list[Any]:
    count = len(series)
    demand(len(series.steps) == len(series.wall_times) == count, f"the columns of {series!r} differ in length")
    repr(series), series.display_name, series.description
    values = series.values.tolist() if kind == "scalars" else list(series)
    demand(len(values) == count, f"{series!r} has another number of values than of steps")
    return values
