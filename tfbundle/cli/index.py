"""The index that a person types: ``0:10,:``, ``...,-1``, ``::2,3``.

A grammar of its own and nothing of Python's, so that nothing typed is ever run::

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
    """Return the index that ``text`` means, in brackets or not; raises ``ValueError`` if it is none."""
    items: list[Item] = []
    bare = text.strip()
    for part in (bare[1:-1] if bare.startswith("[") and bare.endswith("]") else bare).split(","):
        match = _ITEM.fullmatch(part)
        if match is None:
            raise ValueError(f"'{text}' is not an index; one is integers, slices and ..., such as 0:10,: or ...,-1")
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
