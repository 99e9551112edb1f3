"""The tensors that are moving averages of variables, and the variables that they can replace.

In TensorFlow 1 they are recognised by name: ``tf.train.ExponentialMovingAverage`` saves ``w/ExponentialMovingAverage``
with ``w``, after the scope in which it was created. In TensorFlow 2 the object graph identifies them, in one of two
ways:

* The optimizers of TensorFlow Addons list a slot ``average`` for each variable.
* Keras optimizers with ``use_ema=True`` have a list ``_model_variables_moving_average``. Those of Keras 3 have the
  variables in the same order in ``_trainable_variables``; those of Keras 2 have no such list, and the full name of the
  average of ``dense/kernel`` is ``Adam/average/dense/kernel``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from tfbundle.checkpoint.objects import VARIABLE_VALUE, Node, ObjectGraph
from tfbundle.checkpoint.slots import AVERAGE
from tfbundle.errors import UnsupportedError
from tfbundle.tensors.mapping import TensorMapping

_SLOT = "average"
_LIST = "_model_variables_moving_average"
_VARIABLES = "_trainable_variables"
_KERAS_2_NAME = re.compile(r"(?:[^/]+/)?average/(?P<variable>.+)", re.DOTALL)
# How many scopes before a variable's name are examined.
_MOST_SCOPES = 32


def averages_of(source: TensorMapping, excluded: Collection[str] = ()) -> dict[str, str]:
    """Return the stored name of each moving average with that of its variable, which need not be stored.

    Names in ``excluded`` are ignored. Raises ``KeyError`` if there are no averages, and ``UnsupportedError`` for
    averages of a part of a variable, and for averages whose variable cannot be determined.
    """
    names = [name for name in source if name.endswith(AVERAGE) and name != AVERAGE and name not in excluded]
    found = {name: _variable_of(name, source) for name in names}
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
    return found


def _variable_of(average: str, source: TensorMapping) -> str:
    tensor = source[average]
    if tensor.region is not None:
        raise UnsupportedError(
            f"it is the moving average of the part {tensor.region} of a variable, and parts cannot be combined; "
            "leave it out (--exclude)",
            path=source.prefix,
            tensor=average,
        )
    name = rest = average.removesuffix(AVERAGE)
    for _ in range(_MOST_SCOPES):
        if rest in source:
            return rest
        rest = rest.partition("/")[2]
        if not rest:
            break
    return name


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
