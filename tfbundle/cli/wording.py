"""Messages of the library, adapted for the command: with flags instead of arguments, and commands instead of functions.

The library's errors name Python arguments and functions, which users of the command cannot pass or call.
"""

from __future__ import annotations

import errno
import re

_REPLACEMENTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"tfbundle\.load_graph\(path\)\.constants has its weights, and the commands", "the commands"),
        # The rest of the sentence applies only to Python.
        (r"(?:; |, but )tfbundle\.load_graph\(path\)\.constants [^;()]*?(?= \(|;|\Z)", ""),
        (
            r"names in a list or dict are exact, so pass a glob alone \(names=(?:'[^']*'|\"[^\"]*\")\)",
            "exactly one tensor is required, so pass a name; 'tfbundle ls' lists what a pattern matches",
        ),
        (r"tfbundle\.(?:open_checkpoint|load)\b(?:\(path\))?", "'tfbundle ls'"),
        (r"tfbundle\.read_checkpoint_state\b", "'tfbundle state'"),
        (r"tfbundle\.(?:open|read)_events\b", "'tfbundle events'"),
        (r"tfbundle\.read_records\b", "'tfbundle records'"),
        (r"tfbundle\.verify\b", "'tfbundle verify'"),
        (r"tfbundle\.convert\b", "'tfbundle convert'"),
        (r"tfbundle\.list_checkpoints\b", "'tfbundle state'"),
        (r"tfbundle\.load_(?:graph|meta_graph|saved_model)\b(?:\(path\))?", "'tfbundle graph'"),
        (r"\bsalvage=True or --salvage\b", "--salvage"),
        (r"\bslots=False or --no-slots\b", "--no-slots"),
        (r"\bsalvage=True\b", "--salvage"),
        (r"\bslots=False\b", "--no-slots"),
        (r"\bpurge=True\b", "--purge"),
        (r"\boverwrite=True\b", "--overwrite"),
        (r"\bmerge=True\b", "--merge"),
        (r"\b(first|last|shift|shard|chunk)_(steps?|time|size|bytes)\b", r"--\1-\2"),
        (r"\A(cast|transpose|rename|decay|shards|last|group)\b(?= (?:is|must|expects|selects)\b)", r"--\1"),
        (r"; leave out shards\Z", "; leave out --shards"),
        (r"\bformat=['\"](v1|v2)['\"]", r"--format \1"),
        (r"\bcompression=['\"](\w+)['\"]", r"--compression \1"),
        (r"pip install (?:pandas|pyarrow)\b", 'pip install "tfbundle[tables]"'),
        (r"pip install (?:pillow|plotext)\b", 'pip install "tfbundle[plot]"'),
        # Without a hint at what the folder has; only a path that a shell takes as it stands.
        (
            r"\bthere is no checkpoint in the folder ([\w./@%+=:,-]+)\Z",
            r"there is no checkpoint in the folder \1; 'tfbundle info \1' lists its contents",
        ),
        (r"so pass os\.path\.expanduser\(path\)", "and not within quotes"),
    )
]

# Errors that only occur in writing.
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


def for_command(message: str) -> str:
    """Return a message of the library, adapted for the command."""
    for pattern, replacement in _REPLACEMENTS:
        message = pattern.sub(replacement, message)
    return message


def describe_system_error(error: OSError, path: str | None) -> str:
    """Return a system error as a message with the file: that of the error, or else ``path``, which was passed."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is None and error.errno in _FULL:
        return f"cannot write to stdout: {reason}"  # As with --help; output files have names.
    name = error.filename if error.filename is not None else path
    if isinstance(name, bytes):
        name = name.decode("utf-8", "surrogateescape")
    return reason if name is None else f"{name}: {reason}"
