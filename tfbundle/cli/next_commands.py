"""The command that shows more about a file or folder, by kind."""

from __future__ import annotations

import shlex

from tfbundle.identification.kinds import FileKind

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
}


def next_step(kind: FileKind, path: str) -> str:
    """Return advice for a file of this kind that was passed to the wrong command."""
    if kind in (FileKind.UNKNOWN, FileKind.TEXT):
        return "it may be damaged, or belong to another program"
    # An index is part of a checkpoint if its data files are next to it.
    command = "ls" if kind is FileKind.BUNDLE_INDEX else COMMANDS.get(kind.word)
    return kind.advice if command is None else f"use 'tfbundle {command} {shlex.quote(path)}'"
