"""Tensors as a tree of scopes, each with the number, parameters and bytes of the tensors below it.

A scope is what names share up to a ``/``. Scopes with a single child are joined with it, so that a tree of n names has
fewer than n scopes, however long the names are. The names are put into an order in which those of a scope are
neighbours. Where two neighbours have less in common than the scopes that are open, these end (a stack holds them)::

    conv/kernel/Adam        conv/ [ kernel/ [ Adam
    conv/kernel/Momentum                      Momentum ]
    conv/weights                    weights ]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfbundle.checkpoint.objects import VALUE_SUFFIX
from tfbundle.natural_order import natural_key

_SEPARATOR = "/"


@dataclass
class Scope:
    """A scope, or with ``item`` a tensor: its name in full, and the totals of what is below it."""

    name: str
    item: int | None = None
    tensors: int = 0
    parameters: int = 0
    nbytes: int = 0
    children: list[Scope] = field(default_factory=list)

    def add(self, child: Scope) -> None:
        """Append a child, and count what is below it."""
        self.children.append(child)
        self.tensors += child.tensors
        self.parameters += child.parameters
        self.nbytes += child.nbytes


def build_scopes(tensors: Sequence[tuple[str, int, int]]) -> Scope:
    """Return the tree of a list of names, parameters and bytes; ``item`` is the place of a tensor in the list."""
    leaves = [
        Scope(name.removesuffix(VALUE_SUFFIX), item, 1, parameters, nbytes)
        for item, (name, parameters, nbytes) in enumerate(tensors)
    ]
    leaves.sort(key=lambda leaf: leaf.name.replace(_SEPARATOR, "\0"))
    stack = [Scope("")]
    for place, leaf in enumerate(leaves):
        after = _common_scope(leaf.name, leaves[place + 1].name) if place + 1 < len(leaves) else ""
        if len(after) > len(stack[-1].name):
            stack.append(Scope(after))
        stack[-1].add(leaf)
        while len(after) < len(stack[-1].name):
            ended = stack.pop()
            if len(after) > len(stack[-1].name):
                stack.append(Scope(after))
            stack[-1].add(ended)
    return stack[0]


def walk_scopes(
    root: Scope, depth: int | None, order: Callable[[Scope], Any] | None = None
) -> Iterator[tuple[int, str, Scope]]:
    """Yield each node below the root with its depth, counted from 0, and its name within its parent, as deep as asked.

    Siblings are in the natural order of their names, or in ``order``.
    """
    key = order or (lambda scope: natural_key(scope.name))
    stack = [(0, "", iter(sorted(root.children, key=key)))]
    while stack:
        level, parent, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            continue
        yield level, child.name.removeprefix(parent), child
        if child.children and (depth is None or level + 1 < depth):
            stack.append((level + 1, child.name, iter(sorted(child.children, key=key))))


def _common_scope(one: str, other: str) -> str:
    """Return what two names share up to and with a separator."""
    if one == other:
        return one[: one.rfind(_SEPARATOR) + 1]
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return one[: one.rfind(_SEPARATOR, 0, low) + 1]
