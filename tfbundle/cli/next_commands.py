"""Which command shows more of a file or folder, by its kind."""

from __future__ import annotations

import shlex

from tfbundle.identification.kinds import FileKind

# By the word of ``identify``, or of an overview.
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
}


def next_step(kind: FileKind, path: str) -> str:
    """Return what to do with a file of this kind that was passed to another command."""
    if kind in (FileKind.UNKNOWN, FileKind.TEXT):
        return "it may be damaged, or of another program"
    # An index is a checkpoint where its data files lie beside it, and a file like any other where they do not.
    command = "ls" if kind is FileKind.BUNDLE_INDEX else COMMANDS.get(kind.word)
    return kind.advice if command is None else f"use 'tfbundle {command} {shlex.quote(path)}'"
