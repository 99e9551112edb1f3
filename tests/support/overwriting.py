"""Files that are written again and again, as when each of their bytes is damaged in turn."""

from pathlib import Path


def overwrite(path: Path, data: bytes) -> None:
    """Replace the contents of a file, or make one.

    A file that is emptied before it is written goes to the disk when it is closed (ext4, ``auto_da_alloc``), which
    takes milliseconds; this one stays in memory.
    """
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(data)
        file.truncate()
