"""The tensors that are moving averages of variables, and the variables that they can replace.

In TensorFlow 1 they are recognised by name: ``tf.train.ExponentialMovingAverage`` saves ``w/ExponentialMovingAverage``
with ``w``, after the scope in which it was created (``average_parts`` for partitioned variables). In TensorFlow 2 the
object graph identifies them, in one of two ways:

* The optimizers of TensorFlow Addons list a slot ``average`` for each variable.
* Keras optimizers with ``use_ema=True`` have a list ``_model_variables_moving_average``. Those of Keras 3 have the
  variables in the same order in ``_trainable_variables``; those of Keras 2 have no such list, and the full name of the
  average of ``dense/kernel`` is ``Adam/average/dense/kernel``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import NamedTuple

from tfbundle.checkpoint.objects import VARIABLE_VALUE, Node, ObjectGraph
from tfbundle.checkpoint.slot_names import AVERAGE
from tfbundle.conversion.average_parts import Part, is_alike, join_parts, parts_of, variable_of_only_part
from tfbundle.errors import UnsupportedError
from tfbundle.tensors.mapping import TensorMapping
from tfbundle.tensors.tensor import Tensor

_SLOT = "average"
_LIST = "_model_variables_moving_average"
_VARIABLES = "_trainable_variables"
_KERAS_2_NAME = re.compile(r"(?:[^/]+/)?average/(?P<variable>.+)", re.DOTALL)
# How many scopes before a variable's name are examined.
_MOST_SCOPES = 32


class Averages(NamedTuple):
    """The moving averages of a source.

    ``variables`` has the stored name of each with that of its variable, which need not be stored. If the average of a
    variable is stored in several tensors, ``joined`` has the whole tensor by the name of the first one, and ``firsts``
    the name of the first one for each of the others.
    """

    variables: dict[str, str]
    joined: dict[str, Tensor]
    firsts: dict[str, str]


def averages_of(source: TensorMapping, excluded: Collection[str] = ()) -> Averages:
    """Return the moving averages of ``source``, except those in ``excluded``.

    Raises ``KeyError`` if there are none, and ``UnsupportedError`` for averages whose variable cannot be determined,
    and for averages of only some parts of a variable.
    """
    names = [name for name in source if name.endswith(AVERAGE) and name != AVERAGE and name not in excluded]
    found: dict[str, str] = {}
    by_variable: defaultdict[str, list[Part]] = defaultdict(list)
    for name in names:
        tensor, scopes = source[name], name.removesuffix(AVERAGE)
        parts = parts_of(tensor, scopes, source)
        found[name] = parts[0].variable if parts else _variable_of(tensor, scopes, source)
        if parts:
            by_variable[found[name]] += parts
    joined: dict[str, Tensor] = {}
    firsts: dict[str, str] = {}
    for parts in by_variable.values():
        first = parts[0].tensor.name
        joined[first] = join_parts(parts, source.prefix)
        firsts.update({part.tensor.name: first for part in parts if part.tensor.name != first})
    objects = source.objects
    if objects is not None:
        for average, variables in _by_objects(objects):
            if average not in source or average in excluded:
                continue
            if len(variables) != 1:
                reason = f"there are {len(variables)} of its name" if variables else "there is none of its name"
                raise UnsupportedError(
                    f"it is a moving average, but its variable cannot be determined: {reason}; leave it out "
                    "(--exclude)",
                    path=source.prefix,
                    tensor=average,
                )
            found[average] = variables[0]
    if not found:
        raise KeyError(f"{source.prefix} has no moving averages, such as w{AVERAGE} of a variable w")
    return Averages(found, joined, firsts)


def _variable_of(tensor: Tensor, scopes: str, source: TensorMapping) -> str:
    """Return the variable of an average: that named ``scopes``, or its end; otherwise the name is all there is."""
    rest = scopes
    for _ in range(_MOST_SCOPES):
        if rest in source and (rest == scopes or is_alike(source[rest], tensor)):
            return rest
        rest = rest.partition("/")[2]
        if not rest:
            break
    return variable_of_only_part(tensor, scopes, source) or scopes


def _by_objects(objects: ObjectGraph) -> Iterator[tuple[str, list[str]]]:
    """Yield each moving average with the variables that it may belong to."""
    for number in objects.with_slots:
        for slot in objects[number].slots:
            average, variable = _key(objects, slot.number), _key(objects, slot.original)
            if slot.name == _SLOT and average is not None and variable is not None:
                yield average, [variable]
    for number in objects.with_child(_LIST):
        yield from _of_keras(objects, objects[number])


def _of_keras(objects: ObjectGraph, optimizer: Node) -> Iterator[tuple[str, list[str]]]:
    lists = {child.name: _members(objects, child.number) for child in optimizer.children if child.name in _LISTS}
    variables = lists.get(_VARIABLES)
    for place, number in lists[_LIST].items():
        average = _key(objects, number)
        if average is None:
            continue
        if variables is not None:
            variable = _key(objects, variables[place]) if place in variables else None
            yield average, [] if variable is None else [variable]
        else:
            match = _KERAS_2_NAME.fullmatch(objects.variable_names.get(average, ""))
            yield average, objects.keys_of(match["variable"]) if match is not None else []


_LISTS = (_LIST, _VARIABLES)


def _members(objects: ObjectGraph, number: int) -> dict[str, int]:
    """Return the nodes in a list, by position."""
    return {child.name: child.number for child in objects[number].children if child.name.isdecimal()}


def _key(objects: ObjectGraph, number: int) -> str | None:
    return next((value.key for value in objects[number].attributes if value.name == VARIABLE_VALUE), None)
