"""Which tensors are moving averages of which variables, so that they can take their place.

``tf.train.ExponentialMovingAverage`` saves ``w/ExponentialMovingAverage`` beside ``w``. The optimizers of TensorFlow
Addons list a slot ``average`` for each variable in the object graph.
"""

from __future__ import annotations

from tfbundle.checkpoint.objects import VARIABLE_VALUE, ObjectGraph
from tfbundle.tensors.mapping import TensorMapping

_SUFFIX = "/ExponentialMovingAverage"
_SLOT = "average"


def averages_of(source: TensorMapping) -> dict[str, str]:
    """Return the stored name of each moving average with that of its variable, which need not be stored.

    Raises ``KeyError`` where there are none.
    """
    found = {name: name.removesuffix(_SUFFIX) for name in source if name.endswith(_SUFFIX) and name != _SUFFIX}
    objects = source.objects
    if objects is not None:
        for number in objects.with_slots:
            for slot in objects[number].slots:
                if slot.name == _SLOT:
                    average, variable = _key(objects, slot.number), _key(objects, slot.original)
                    if average is not None and variable is not None and average in source:
                        found[average] = variable
    if not found:
        raise KeyError(f"{source.prefix} has no moving averages, such as w{_SUFFIX} of a variable w")
    return found


def _key(objects: ObjectGraph, number: int) -> str | None:
    return next((value.key for value in objects[number].attributes if value.name == VARIABLE_VALUE), None)
