"""Paths of objects in a graph after their keys have changed, so that TensorFlow finds them by the new keys.

A key is a path of children, ``model/dense/kernel/.ATTRIBUTES/VARIABLE_VALUE``::

    model/... -> net/...          the child "model" is renamed to "net", if all keys below it agree
    model/... -> ...              the children of "model" become the root's, and "model" is removed
    model/... -> a/b/...          the object at "model" moves to "a/b", and "a" is a new object
    layer_1/... -> layers/1/...   the same
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from tfbundle.checkpoint.objects import ATTRIBUTES, ObjectGraph
from tfbundle.proto import TrackableObjectGraph

_SLOT = "/.OPTIMIZER_SLOT/"
_Path: TypeAlias = "tuple[str, ...]"


def move_objects(proto: TrackableObjectGraph, objects: ObjectGraph, names: Mapping[str, str]) -> None:
    """Move objects to the paths of their new keys, where these are longer or shorter."""
    children = [{child.name: child.number for child in node.children} for node in objects]
    # By path, for each child below it: the paths that its keys move to, or None for keys that do not move here.
    moves: dict[_Path, dict[str, set[_Path | None]]] = {}
    for old, new in names.items():
        old_path, new_path = _path(old), _path(new)
        if old_path is None or new_path is None:
            continue
        same = 0
        while same < min(len(old_path), len(new_path)) and old_path[-1 - same] == new_path[-1 - same]:
            same += 1
        is_moved = same > 0 and len(old_path) != len(new_path)
        for end in range(len(old_path)):
            is_here = is_moved and end == len(old_path) - same
            target = tuple(new_path[: len(new_path) - same]) if is_here else None
            moves.setdefault(tuple(old_path[:end]), {}).setdefault(old_path[end], set()).add(target)
    tree = _Tree([dict(found) for found in children])
    for path, ends in moves.items():
        agreed = {name: next(iter(found)) for name, found in ends.items() if len(found) == 1}
        by_target: dict[_Path, set[str]] = {}
        for name, target in agreed.items():
            if target is not None:
                by_target.setdefault(target, set()).add(name)
        for target, moved in by_target.items():
            tree.move(path, target, moved, ends)
    tree.write(proto)


class _Tree:
    """The children of each object by name, which change as objects move."""

    def __init__(self, children: list[dict[str, int]]) -> None:
        self._children = children
        self._changed: set[int] = set()
        # The objects that replace others, and take over their slots.
        self._heirs: dict[int, int] = {}

    def move(self, path: _Path, target: _Path, moved: Collection[str], keyed: Collection[str]) -> None:
        """Make ``target`` refer to the children ``moved`` of the object at ``path``, or to it if these are all it has.

        ``keyed`` are its children that lead to keys; the others move too, because they are other names of these.
        """
        number = self._walk(path)
        if number is None:
            return
        is_all = len(moved) == len(keyed)
        owner = self._walk(path[:-1]) if is_all and path else None
        is_free = bool(target) and target[: len(path)] != path and self._walk(target) is None
        if owner is not None and is_free:
            self._change(owner).pop(path[-1])
            self._change(self._make(target[:-1]))[target[-1]] = number
            return
        going = dict(self._children[number])
        for name in moved:
            self._change(number).pop(name, None)
        if owner is not None:
            self._change(owner).pop(path[-1], None)
        place = self._make(target)
        for name, child in going.items():
            if name in moved or name not in keyed:
                self._change(place).setdefault(name, child)
        if is_all:
            self._heirs.setdefault(place, number)

    def write(self, proto: TrackableObjectGraph) -> None:
        """Apply the changes to the graph."""
        while len(proto.nodes) < len(self._children):
            proto.nodes.add()
        for number in sorted(self._changed):
            node = proto.nodes[number]
            del node.children[:]
            for name, child in self._children[number].items():
                node.children.add(local_name=name, node_id=child)
        for place, number in self._heirs.items():
            if not len(proto.nodes[place].slot_variables):
                proto.nodes[place].slot_variables.extend(proto.nodes[number].slot_variables)

    def _change(self, number: int) -> dict[str, int]:
        self._changed.add(number)
        return self._children[number]

    def _walk(self, path: _Path) -> int | None:
        """Return the object at the end of a path, or ``None``."""
        number: int | None = 0
        for name in path:
            number = None if number is None else self._children[number].get(name)
        return number

    def _make(self, path: _Path) -> int:
        """Return the object at the end of a path, which is created if it does not exist."""
        number = 0
        for name in path:
            if name not in self._children[number]:
                self._children.append({})
                self._change(number)[name] = len(self._children) - 1
            number = self._children[number][name]
        return number


def rename_children(proto: TrackableObjectGraph, objects: ObjectGraph, names: Mapping[str, str]) -> None:
    """Rename the children along the paths of renamed keys, where all keys of a path agree."""
    children = [{child.name: child.number for child in node.children} for node in objects]
    wanted: dict[tuple[int, str], set[str]] = {}
    for old, new in names.items():
        old_path, new_path = _path(old), _path(new)
        if old_path is None or new_path is None or len(old_path) != len(new_path):
            continue
        for edge, name in zip(_edges(children, old_path), new_path, strict=False):
            wanted.setdefault(edge, set()).add(name)
    for number, node in enumerate(proto.nodes):
        renamed = {
            child.local_name: next(iter(found))
            for child in node.children
            if len(found := wanted.get((number, child.local_name), {child.local_name})) == 1
        }
        # Two children with the same name would become one.
        taken = [renamed.get(child.local_name, child.local_name) for child in node.children]
        if len(set(taken)) == len(taken):
            for child in node.children:
                child.local_name = renamed.get(child.local_name, child.local_name)


def _path(key: str) -> list[str] | None:
    """Return the names of the children on the way to the object of a key, or ``None`` for any other key."""
    owner, sign, _ = key.partition(_SLOT)
    if not sign:
        owner, sign, _ = key.rpartition(ATTRIBUTES)
    if not sign:
        return None
    # TensorFlow escapes dots by a dot, and slashes as ".S".
    return [part.replace(".S", "/").replace("..", ".") for part in owner.split("/")]


def _edges(children: list[dict[str, int]], path: Sequence[str]) -> Iterator[tuple[int, str]]:
    number = 0
    for name in path:
        if name not in children[number]:
            return
        yield number, name
        number = children[number][name]
