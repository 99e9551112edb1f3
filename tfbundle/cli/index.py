"""An index as typed on the command line: ``0:10,:``, ``...,-1``, ``::2,3``.

It has its own grammar, and is never evaluated as Python::

    index   items | "[" items "]"
    items   item ("," item)*
    item    integer | [integer] ":" [integer] [":" [integer]] | "..."
"""

from __future__ import annotations

import re
from types import EllipsisType

Item = int | slice | EllipsisType

_INTEGER = r"[+-]?[0-9]{1,19}"
_ITEM = re.compile(rf"\s*(?:(\.\.\.)|({_INTEGER})|({_INTEGER})?\s*:\s*({_INTEGER})?\s*(?::\s*({_INTEGER})?)?)\s*")


def parse_index(text: str) -> tuple[Item, ...]:
    """Return the index that ``text`` means, with or without brackets; raises ``ValueError`` if it is not an index."""
    items: list[Item] = []
    bare = text.strip()
    for part in (bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare).split(","):
        match = _ITEM.fullmatch(part)
        if match is None:
            raise ValueError(f"'{text}' is not an index; use integers, slices and ..., such as 0:10,: or ...,-1")
        dots, integer, *bounds = match.groups()
        if dots:
            items.append(...)
        elif integer:
            items.append(int(integer))
        else:
            start, stop, step = (int(bound) if bound else None for bound in bounds)
            if step == 0:
                raise ValueError(f"the slice '{part.strip()}' has step 0")
            items.append(slice(start, stop, step))
    return tuple(items)
