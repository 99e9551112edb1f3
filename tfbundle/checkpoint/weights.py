"""The tensors of a checkpoint that are weights of the model, which are all that a program needs to run it.

Besides these and the optimizer's slots (``slots``), a checkpoint contains state for resuming training: counters,
variable settings of the optimizer, statistics of metrics, averages of the weights, and in TensorFlow 2 the object
graph.

With an object graph, these are not weights:

* values that are not variables, such as settings that objects saved
* variables that are children of an optimizer (``iter``, ``_learning_rate``, ``beta_1``) or members of its lists, except
  the trained variables that it also lists
* ``save_counter`` and other counters: scalar integers with a typical name
* the metrics of Keras (``keras_api/metrics/...``), and the states of its random generators

Without one, these are recognised by name, all but the last of them scalars:

* counters (``global_step``), learning rates and loss scales, by their names
* all scalars in the scope of an optimizer, which is named like one (``training/SGD/momentum``) or has a counter
  (``training/x/decay`` next to ``training/x/iter``)
* other typical settings (``beta_1``) next to a learning rate, or next to a counter without a scope
* ``w/ExponentialMovingAverage`` if ``w`` is stored too. If only the average was saved, it replaces the weight, and
  counts as one.

The name may be the key of an object, such as ``save_counter/.ATTRIBUTES/VARIABLE_VALUE``.

Strings and variants are never weights; the object graph is a string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress

from tfbundle.checkpoint.objects import VALUE_SUFFIX, VARIABLE_VALUE, ObjectGraph
from tfbundle.checkpoint.optimizer_names import is_optimizer_name
from tfbundle.checkpoint.slot_names import AVERAGE
from tfbundle.errors import TfBundleError
from tfbundle.tensors.tensor import Tensor

_COUNTER = re.compile(r"_?(?:global_)?(?:step|steps|epoch|epochs|iter|iteration|iterations|save_counter|save_count)")
_RANDOM_STATE = re.compile(r"(?:seed_generator_state|_state_var|rng_state)")
# A Keras optimizer keeps its settings in the scope of its counter. Other scopes, and the top level, may have both
# settings and weights.
_ITERATIONS = re.compile(r"_?(?:iter|iterations)(?:_\d+)?")
_RATE = re.compile(r"_?(?:current_)?(?:learning_rate|lr)(?:_\d+)?")
_SETTING = re.compile(
    r"_?(?:beta|beta_[12]|decay|epsilon|m_schedule|momentum|momentum_cache|rho|weight_decay|learning_rate_power"
    r"|l[12]_regularization_strength|l2_shrinkage_regularization_strength)(?:_\d+)?"
)
_LOSS_SCALE = re.compile(r"(?:current_loss_scale|good_steps|loss_scale|num_good_steps|num_bad_steps)(?:_\d+)?")
_METRICS = "keras_api/metrics/"
# The only list of an optimizer that contains the model's own variables.
_TRAINED = "_trainable_variables"


def find_weights(tensors: Mapping[str, Tensor], slots: frozenset[str], objects: ObjectGraph | None) -> frozenset[str]:
    """Return the names of the tensors that are weights, given the optimizer slots."""
    others = _bookkeeping_by_name(tensors) if objects is None else _bookkeeping(tensors, objects)
    texts = (name for name, tensor in tensors.items() if _is_text(tensor))
    return frozenset(tensors) - slots - frozenset(others) - frozenset(texts)


def _bookkeeping(tensors: Mapping[str, Tensor], objects: ObjectGraph) -> Iterator[str]:
    yield from _keys(objects, _owned_by_optimizers(objects))
    for node in objects:
        for child in node.children:
            if _COUNTER.fullmatch(child.name) or _RANDOM_STATE.fullmatch(child.name):
                for key in _keys(objects, (child.number,)):
                    if _RANDOM_STATE.fullmatch(child.name) or _is_number(tensors, key, "iu"):
                        yield key
        for attribute in node.attributes:
            if attribute.name != VARIABLE_VALUE:
                yield attribute.key
    yield from (name for name in tensors if name.startswith(_METRICS))


def _owned_by_optimizers(objects: ObjectGraph) -> Iterator[int]:
    """Yield the numbers of the nodes that belong to an optimizer and not to the model."""
    for number in {*objects.with_slots, *objects.with_child("_iterations")}:
        children = {child.name: child.number for child in objects[number].children}
        trained = set(_members(objects, children[_TRAINED])) if _TRAINED in children else set()
        for name, child in children.items():
            if name == _TRAINED:
                continue
            yield from {child, *_members(objects, child)} - trained


def _members(objects: ObjectGraph, number: int) -> Iterator[int]:
    return (child.number for child in objects[number].children if child.name.isdecimal())


def _keys(objects: ObjectGraph, numbers: Iterator[int] | tuple[int, ...]) -> Iterator[str]:
    return (attribute.key for number in numbers for attribute in objects[number].attributes)


def _bookkeeping_by_name(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    parts = {name: name.removesuffix(VALUE_SUFFIX).rpartition("/")[::2] for name in tensors}
    counted = {scope for scope, last in parts.values() if _ITERATIONS.fullmatch(last)}
    rated = {scope for scope, last in parts.values() if _RATE.fullmatch(last)}
    for name, (scope, last) in parts.items():
        if name.endswith(AVERAGE):
            if name.removesuffix(AVERAGE) in tensors:
                yield name
            continue
        is_setting = (
            any(pattern.fullmatch(last) for pattern in (_COUNTER, _RATE, _LOSS_SCALE))
            or (scope and scope in counted)
            or is_optimizer_name(scope.rpartition("/")[2])
            or (_SETTING.fullmatch(last) and (scope in counted or scope in rated))
        )
        is_state = name.startswith(_METRICS) or (name.endswith(VALUE_SUFFIX) and _RANDOM_STATE.fullmatch(last))
        if is_state or (is_setting and _is_number(tensors, name)):
            yield name


def _is_number(tensors: Mapping[str, Tensor], name: str, kinds: str = "iuf") -> bool:
    """Return whether a tensor is a scalar with a dtype of one of the given kinds."""
    tensor = tensors.get(name)
    with suppress(TfBundleError):
        return tensor is not None and not tensor.shape and tensor.dtype.kind in kinds
    return False


def _is_text(tensor: Tensor) -> bool:
    with suppress(TfBundleError):
        return tensor.data_type in ("DT_STRING", "DT_VARIANT")
    return False
