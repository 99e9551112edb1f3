"""The files that belong to a checkpoint, a graph or a run, which no output replaces unless the caller allows it.

Nor does an output take a name by which it would become part of one, such as an event file that TensorBoard reads.

Files with a typical name (``model.index``, ``model.data-00000-of-00001``, ``events.out.tfevents...``) are owned
whatever they contain, because they may be damaged. State files, graphs and V1 checkpoints may have any name, and are
recognised by content. A file may have several names: other names in its folder that lead to the same file count too.
"""

from __future__ import annotations

from collections.abc import Iterable

from tfbundle.checkpoint.find.names import prefix_of_member, prefix_of_v1_shard
from tfbundle.errors import TfBundleError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import STATE_NAME, is_event_file_name
from tfbundle.storage.base import Location

_OWNED_KINDS = frozenset(
    {
        FileKind.BUNDLE_INDEX,
        FileKind.V1_TABLE,
        FileKind.STATE,
        FileKind.GRAPH,
        FileKind.GRAPH_TEXT,
        FileKind.META_GRAPH,
        FileKind.META_GRAPH_TEXT,
        FileKind.SAVED_MODEL,
        FileKind.SAVED_MODEL_TEXT,
        FileKind.SAVED_MODEL_CHUNKED,
        FileKind.FINGERPRINT,
        FileKind.KERAS_METADATA,
        FileKind.HUB_MODULE,
        FileKind.EVENTS,
    }
)


def check_replaceable(out: Location, *, overwrite: bool | None, sources: Iterable[Location] = ()) -> None:
    """Raise ``ValueError`` if ``out`` exists and belongs to a checkpoint or run, unless ``overwrite`` is true.

    ``overwrite`` is ``None`` if the caller cannot choose. ``sources`` are the files that the output is made from, or
    the prefix of a checkpoint; their folders are searched too, for another name of ``out``.
    """
    if overwrite or not out.is_file():
        return
    owner = _owner_of(out, list(sources))
    if owner is not None:
        choice = "" if overwrite is None else ", or replace it with overwrite=True"
        raise ValueError(f"{out} is {owner}; name another file to write to{choice}")


def check_output(out: Location, *, overwrite: bool | None, sources: Iterable[Location] = ()) -> None:
    """Raise ``ValueError`` as ``check_replaceable`` does, and if ``out`` has the name of a file of a checkpoint or run.

    It is for outputs that are neither, such as tables and pages.
    """
    check_replaceable(out, overwrite=overwrite, sources=sources)
    if overwrite or out.is_file():
        return
    # Files of other programs are often numbered as the shards of V1 checkpoints are.
    is_numbered = prefix_of_member(out.name) is None and prefix_of_v1_shard(out.name) is not None
    if not is_numbered and (role := _role(out.name)) is not None:
        raise ValueError(f"{out} would be taken for {role}, because of its name; choose another name")


def _owner_of(out: Location, sources: list[Location]) -> str | None:
    """Return the role of an existing file in a checkpoint or run, or ``None``."""
    try:
        place = out.place()
    except (TfBundleError, OSError):
        return None  # A broken link.
    for source in sources:
        if source.is_file() and source.place() == place:
            return "a source of the output"
    for name in (out.name, out.real().name):
        if (role := _role(name)) is not None:
            return role
    for folder in {location.parent.real(): None for location in (out, out.real(), *sources)}:
        try:
            names = folder.list().names
        except (TfBundleError, OSError):
            continue
        for name in names:
            role = _role(name)
            if role is not None and _is_at(folder.join(name), place):
                return f"{role} by another name, {name}"
    try:
        kind = kind_of(out)
    except (TfBundleError, OSError):
        return None  # A device, or a file that may not be read.
    return kind.value if kind in _OWNED_KINDS else None


def _role(name: str) -> str | None:
    if prefix_of_member(name) is not None or prefix_of_v1_shard(name) is not None:
        return "a file of a checkpoint"
    if is_event_file_name(name):
        return "an event file of a run"
    return "the state file of a folder of checkpoints" if name == STATE_NAME else None


def _is_at(location: Location, place: object) -> bool:
    try:
        return location.place() == place
    except (TfBundleError, OSError):
        return False
