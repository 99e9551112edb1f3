"""Names of tensors as paths in Zarr: parts are divided by ``/``, and some have a meaning of their own."""

from __future__ import annotations

_DEEPEST = 255


def check_path(name: str, longest_part: int | None = None) -> str | None:
    """Return why a name cannot be a path in Zarr, or ``None``; ``longest_part`` is a limit in bytes, if there is one.

    Parts that are empty, ``.`` or ``..`` would lead elsewhere, and parts such as ``.zarray`` are those of metadata.
    """
    try:
        parts = name.encode().split(b"/")
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if len(parts) > _DEEPEST:
        return f"a name of {len(parts)} levels"
    if any(part in (b"", b".", b"..") or part.startswith(b".z") or part == b"zarr.json" for part in parts):
        return "a name that is not a valid Zarr path"
    if longest_part is not None and any(len(part) > longest_part for part in parts):
        return "a name that is not a valid Zarr path"
    if "\0" in name or "\\" in name:
        return "a name that is not a valid Zarr path"
    return None
