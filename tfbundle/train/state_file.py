"""Writing of the state file of a folder (``checkpoint``), as TensorFlow does.

It is a text protobuf, with the fields in the order of their numbers::

    model_checkpoint_path: "model.ckpt-30"
    all_model_checkpoint_paths: "model.ckpt-20"
    all_model_checkpoint_paths: "model.ckpt-30"
    all_model_checkpoint_timestamps: 1700000000.5
    all_model_checkpoint_timestamps: 1700000060.25
    last_preserved_timestamp: 1699999999.5

Strings are UTF-8 with escapes for quotes, backslashes and control characters. A path that is not UTF-8 is
rejected, as in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence

from tfbundle.checkpoint.find.state import state_name
from tfbundle.proto import CheckpointState
from tfbundle.storage.base import Location
from tfbundle.storage.locations import StrPath, locate
from tfbundle.storage.replacing import replacement

_ESCAPES = {"\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"', "'": "\\'", "\\": "\\\\"}
_ESCAPES |= {chr(code): f"\\{code:03o}" for code in (*range(32), 127) if chr(code) not in _ESCAPES}
_ESCAPED = str.maketrans(_ESCAPES)


def generate_checkpoint_state_proto(
    save_dir: StrPath,
    model_checkpoint_path: StrPath,
    all_model_checkpoint_paths: Sequence[StrPath] | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> CheckpointState:
    """Return the message for a state file in ``save_dir``.

    ``all_model_checkpoint_paths`` is sorted from the oldest to the newest, which becomes
    ``model_checkpoint_path`` if it is not; the timestamps, in seconds since 1970, correspond to the paths. If
    ``save_dir`` is relative, relative paths become relative to it. The lists are not changed, while TensorFlow changes
    that of the paths. Raises ``ValueError`` if the numbers of timestamps and paths differ, and for a path that is not
    UTF-8.
    """
    folder = locate(save_dir)
    latest = locate(model_checkpoint_path)
    paths = [locate(path) for path in all_model_checkpoint_paths or ()]
    if not paths or paths[-1].path != latest.path:
        paths.append(latest)
    if all_model_checkpoint_timestamps and len(all_model_checkpoint_timestamps) != len(paths):
        raise ValueError(
            f"there are {len(all_model_checkpoint_timestamps)} timestamps for {len(paths)} checkpoints: "
            f"{[path.path for path in paths]}"
        )
    if not folder.is_absolute:
        latest, *paths = (path if path.is_absolute else locate(path.relative_to(folder)) for path in (latest, *paths))
    for path in (latest, *paths):
        check_name(path)
    return CheckpointState(
        model_checkpoint_path=latest.path,
        all_model_checkpoint_paths=[path.path for path in paths],
        all_model_checkpoint_timestamps=all_model_checkpoint_timestamps,
        last_preserved_timestamp=last_preserved_timestamp,
    )


def update_checkpoint_state(
    save_dir: StrPath,
    model_checkpoint_path: StrPath,
    all_model_checkpoint_paths: Sequence[StrPath] | None = None,
    latest_filename: str | bytes | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> None:
    """Write the state file of a folder; the old one is replaced once the new one is complete.

    The arguments are those of ``generate_checkpoint_state_proto``; ``latest_filename`` is the file's name if it is
    not ``checkpoint``. Raises ``RuntimeError`` if that is the name of the checkpoint.
    """
    folder = locate(save_dir)
    message = generate_checkpoint_state_proto(
        folder,
        model_checkpoint_path,
        all_model_checkpoint_paths,
        all_model_checkpoint_timestamps,
        last_preserved_timestamp,
    )
    write_state(folder, message, latest_filename)


def relative_paths(folder: Location, paths: Sequence[str]) -> list[str]:
    """Return paths in the form that a state file in ``folder`` needs to be moved with its checkpoints."""
    located = map(locate, paths)
    return [path.relative_to(folder) if path.is_absolute else path.path for path in located]


def check_name(prefix: Location) -> None:
    """Raise ``ValueError`` if no state file can name a checkpoint."""
    try:
        prefix.path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{prefix.path!r} is not UTF-8, and a state file cannot name it; save under another") from None


def write_state(folder: Location, message: CheckpointState, latest_filename: str | bytes | None = None) -> None:
    """Write ``message`` to the state file of a folder; raises as ``update_checkpoint_state`` does."""
    target = folder.join(state_name(latest_filename))
    if target == folder.join(message.model_checkpoint_path):
        raise RuntimeError(
            f"{target} would be both a checkpoint and the state file; save under another name, or pass latest_filename"
        )
    with replacement(target) as file:
        file.write(encode_state(message))


def encode_state(message: CheckpointState) -> bytes:
    """Return the text of a state file."""
    lines = [f"model_checkpoint_path: {_quote(message.model_checkpoint_path)}"] * bool(message.model_checkpoint_path)
    lines += [f"all_model_checkpoint_paths: {_quote(path)}" for path in message.all_model_checkpoint_paths]
    lines += [f"all_model_checkpoint_timestamps: {time}" for time in message.all_model_checkpoint_timestamps]
    lines += [f"last_preserved_timestamp: {message.last_preserved_timestamp}"] * bool(message.last_preserved_timestamp)
    return "".join(line + "\n" for line in lines).encode()


def _quote(text: str) -> str:
    return f'"{text.translate(_ESCAPED)}"'
