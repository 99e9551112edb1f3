"""The command that shows more about a file or folder, by kind."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import INDEX_SUFFIX, is_event_file_name
from tfbundle.storage.locations import locate

# By the kind that ``identify`` or an overview returns.
COMMANDS = {
    "checkpoint": "ls",
    "v1-table": "ls",
    "state": "state",
    "saved-model-folder": "graph",
    "saved-model": "graph",
    "saved-model-text": "graph",
    "graph": "graph",
    "graph-text": "graph",
    "meta-graph": "graph",
    "meta-graph-text": "graph",
    "run": "events",
    "events": "events",
    "tfrecord": "records",
    "numpy-archive": "convert",
    "safetensors": "convert",
    "safetensors-index": "convert",
    "hdf5": "convert",
    "keras": "convert",
    # These are identified together with the other files in their folder.
    "fingerprint": "info",
    "keras-metadata": "info",
    "hub-module": "info",
}


def commands_for(kind: str, path: str, facts: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Return the commands that show more about a file or folder, in full, by name.

    ``kind`` is the word for its kind, and ``facts`` are those of its item in an overview.
    """
    facts = facts or {}
    name = COMMANDS.get(kind)
    arguments = shlex.quote(path)
    if name is None and "records" in facts:
        name = "events" if is_event_file_name(locate(path).name) else "records"
        if facts["compression"] == "DEFLATE":
            arguments += " --compression DEFLATE"
    if name is None:
        return {}
    if name == "convert":
        arguments += " " + shlex.quote(_checkpoint_beside(path))
    elif name == "info":
        arguments = shlex.quote(locate(path).parent.path or ".")
    found = {name: f"tfbundle {name} {arguments}"}
    if facts.get("constants"):
        found["ls"] = f"tfbundle ls {arguments}"
    return found


def next_step(kind: FileKind, path: str) -> str:
    """Return advice for a file of this kind that was passed to the wrong command."""
    if kind in (FileKind.UNKNOWN, FileKind.TEXT):
        return "it may be damaged, or belong to another program"
    # An index is part of a checkpoint if its data files are next to it.
    found = list(commands_for("checkpoint" if kind is FileKind.BUNDLE_INDEX else kind.word, path).values())
    return f"use '{found[0]}'" if found else kind.advice


def _checkpoint_beside(path: str) -> str:
    """Return the prefix of the checkpoint to which a file of arrays can be converted."""
    location = locate(path)
    name = location.name.removesuffix(".json").removesuffix(INDEX_SUFFIX)
    return location.beside(f"{name.rpartition('.')[0] or name}.ckpt").path
