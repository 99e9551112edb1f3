"""The checkpoints that may have been meant by a name that does not exist.

A name consists of a model, a suffix that is often misspelt, and a step: ``model.ckpt-1000``. Other steps of the same
model are more likely than a model whose name has one typing error.
"""

from __future__ import annotations

import re
from itertools import takewhile

from tfbundle.checkpoint.find.names import step_of

# The usual suffix of a checkpoint's name, which is often misspelt.
_CKPT = re.compile(r"\.c[a-z]{1,4}\Z")
# Two shorter names that differ in a character are as likely to be of different models.
_SHORTEST_NAME = 4


def likely_names(name: str, others: list[str]) -> list[str]:
    """Return up to three of the checkpoints ``others`` that may have been meant by ``name``.

    These are one that has more after it in ``name``, other steps of the same model, the closest first, or those of a
    model whose name has one typing error.
    """
    begun = [other for other in others if name.startswith((f"{other}.", f"{other}/", f"{other}\\"))]
    if begun:
        return [max(begun, key=len)]
    model, step = _without_step(name)
    steps = {other: _without_step(other) for other in others}
    found = [other for other, (base, _) in steps.items() if base == model]
    found = found or [other for other, (base, _) in steps.items() if _is_misspelt(model, base)]
    return sorted(found, key=lambda other: (abs(steps[other][1] - step), other))[:3]


def _without_step(name: str) -> tuple[str, int]:
    """Return the name of a checkpoint without the parts that many have, and its step (0 if it has none)."""
    step = step_of(name)
    base = name if step is None else name[: name.rindex("-")]
    return _CKPT.sub("", base.casefold()), step or 0


def _is_misspelt(name: str, other: str) -> bool:
    """Return whether two names differ in one character, or in the order of two."""
    if abs(len(name) - len(other)) > 1 or min(len(name), len(other)) < _SHORTEST_NAME:
        return False
    start = _common_length(name, other)
    end = _common_length(name[start:][::-1], other[start:][::-1])
    rest, other_rest = name[start : len(name) - end], other[start : len(other) - end]
    return max(len(rest), len(other_rest)) == 1 or (len(rest) == 2 and rest == other_rest[::-1])


def _common_length(name: str, other: str) -> int:
    """Return how many characters two names have in common at their start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False)))
