"""A bound on what is copied out of files in which tensors share bytes.

Tensors of a V2 checkpoint are stored apart. But an index may state that thousands of them are the same megabyte, and a
copy would take thousands of times the size of its source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tfbundle.errors import FormatError
from tfbundle.limits import FREE_SIZE, MOST_PASSES
from tfbundle.tensors.store import Copyable, Range


def check_shared_bytes(ranges: Iterable[Range | Copyable]) -> None:
    """Raise ``FormatError`` where ranges of a file take much more than the bytes that they are in, all together.

    Ranges that do not overlap never take more than the end of the last one.
    """
    total: defaultdict[str, int] = defaultdict(int)
    end: defaultdict[str, int] = defaultdict(int)
    for place in ranges:
        total[place.path] += place.size
        end[place.path] = max(end[place.path], place.offset + place.size)
    for path, size in total.items():
        if size > FREE_SIZE + MOST_PASSES * end[path]:
            raise FormatError(
                f"the tensors in {path} take {size} bytes together, more than {MOST_PASSES} times the {end[path]} that "
                "the file has for them, so that most of them overlap; copy fewer at a time",
                path=path,
            )
