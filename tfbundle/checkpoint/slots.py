"""The tensors of a checkpoint that are optimizer slots: the values accumulated for each variable in training.

A model runs without them, and with Adam they are two thirds of the bytes. Counters and settings (``iterations``,
``learning_rate``, ``global_step``) are not slots, nor are moving averages of the weights, which are meant to replace
the weights.

Object-based checkpoints identify slots, in one of two ways:

* Optimizers of TensorFlow and of Keras up to 2.10 (later ``keras.optimizers.legacy``) list ``slot_variables``.
* Keras optimizers since then, including those of Keras 3, have a child ``_iterations`` and a list ``_variables`` of
  (nearly) all their variables, besides lists such as ``_momentums``; the experimental optimizers of 2.9 have only the
  latter. Variables that are direct children are counters or settings; members of the list
  ``_model_variables_moving_average`` are averages; all other members of the lists are slots.

In name-based checkpoints, slots are recognised by the names that ``Saver`` and the optimizers give them. If ``w`` is a
tensor of the checkpoint, these are slots, after any scope (``OptimizeLoss/w/Adam``)::

    w/Adam  w/Adam_1  w/Momentum  w/RMSProp ...   optimizers of TensorFlow 1, which name slots after themselves
    w/part_0/Ftrl  w/t_0/Adagrad                  the same in an Estimator, for a part of a partitioned variable
    Adam/w/m  training/Ftrl/w/accumulator ...     Keras optimizers in an Estimator
    x/w/m  training/x/w/accumulator ...           the same with a custom name, next to x/decay, x/learning_rate
    training/Adam/Variable_3  SGD/moment_0 ...    Keras up to 2.3, which numbers them
    w/adam_m  w/lamb_v  w/lans_m                  optimizers of BERT and its descendants
    w/adafactor_v  w/adafactor_vr  w/momentum     the same with Adafactor, and with momentum
    w/Adam-keys  w/Adam-values  w/Adam-freqs ...  DeepRec, which saves embeddings and their slots as tables
    w_slot_v  w_slot_vr  w_slot_vc  w_slot_m      Mesh TensorFlow's, such as T5's
    beta1_power  beta2_power                      powers of Adam's decay rates; not of any single variable

Keys of an object-based checkpoint may also have lost their object graph::

    w/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE      TensorFlow, and Keras up to 2.10
    optimizer/_variables/3/.ATTRIBUTES/VARIABLE_VALUE             Keras, next to optimizer/_iterations/...

``w`` may also be stored only as ``w/ExponentialMovingAverage``, if averages were saved in place of weights. A slot of a
TensorFlow 1 optimizer with a custom name is not recognised, because nothing distinguishes it from a moving average with
a custom name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterator

from tfbundle.checkpoint.objects import VALUE_SUFFIX, Node, ObjectGraph

# The last part of a name, and for Keras the part before the variable.
_BETA_POWER = re.compile(r"beta[12]_power(?:_\d+)?")
_SAVER_SLOT = re.compile(
    r"(?:AdaMax|Adadelta|Adafactor|Adagrad|AdagradDA|Adam|AdamW|AddSignOptimizer|Ftrl|LARSOptimizer|Momentum|MomentumW"
    r"|Nadam|PowerSignOptimizer|ProximalAdagrad|RMSProp|RegAdagrad|Shampoo|AdamAsync|AdagradDecay|AdagradDecayV2"
    r"|AdaBelief(?:Optimizer)?|AdaBound(?:Optimizer)?|AdafactorOptimizer|AdamOptimizer|AdamWeightDecay(?:Optimizer)?"
    r"|AdamWOptimizer|LAMB|LAMBOptimizer|LazyAdam(?:Optimizer)?|Lion|MomentumWOptimizer|NadamOptimizer|NovoGrad"
    r"|RAdam(?:Optimizer)?|RectifiedAdam|Yogi)(?:_\d+)?"
    r"|(?:adabelief|adam|adamax|adamw|lamb|lans|lars|lion|nadam|radam|sgd|yogi)_(?:m|v|momentum)|adafactor_(?:m|v|vr|vc)"
)
_MESH_SLOT = re.compile(r"_slot_(?:m|v|vr|vc)\Z")
_KERAS_SLOT = re.compile(r"accum_grad|accum_var|accumulator|linear|m|mg|momentum|rms|v|vhat")
KERAS_OPTIMIZER = re.compile(
    r"(?:Adadelta|Adafactor|Adagrad|Adam|AdamW|AdamWeightDecay|Adamax|Ftrl|LAMB|LazyAdam|Lion|Nadam|NovoGrad"
    r"|RMSprop|RectifiedAdam|SGD|SGDW|Yogi)(?:_\d+)?"
)
# The slots that Keras up to 2.3 numbers in the scope of an optimizer, with names of their own since 2.3.
_KERAS_NUMBERED = re.compile(r"Variable(?:_\d+)?|(?:accumulator|delta_accumulator|m|moment|u|v|vhat)_\d+")
# The settings that each of them saves in its scope, unless a schedule replaces the rate.
_KERAS_SETTINGS = ("decay", "learning_rate")

# The tables of an embedding in DeepRec, with and without filters, partitions and versions.
_EMBEDDING_TABLE = re.compile(
    r"-(?:keys|values|freqs|versions|partition_offset|partition_filter_offset"
    r"|(?:keys|freqs|versions)_filtered)(?:-partition_\d+)?\Z"
)

# The end of the name under which the moving average of a variable is saved, and the number at the end of a part's.
AVERAGE = "/ExponentialMovingAverage"
_PART_NUMBER = re.compile(r"\d+\Z")

# Lists of a Keras optimizer that do not contain slots.
_OTHER_LISTS = ("_model_variables_moving_average", "_trainable_variables")

# What precedes the name of a slot in its key, and the key of a member of a list.
_OBJECT_SLOT = "/.OPTIMIZER_SLOT/"
_MEMBER = re.compile(rf"(.*)/(_\w+)/\d+{re.escape(VALUE_SUFFIX)}", re.DOTALL)

# How many scopes before a variable's name are examined.
_MOST_SCOPES = 32


def find_slots(names: Collection[str], objects: ObjectGraph | None) -> frozenset[str]:
    """Return the names of optimizer slots, by the object graph of a checkpoint, or without one by their form."""
    if objects is None:
        known = _Names(names)
        return frozenset(name for name in names if _is_slot_name(name, known))
    lists: dict[int, frozenset[int]] = {}
    numbers: set[int] = set()
    optimizers = {*objects.with_slots, *objects.with_child("_iterations")}
    for node in map(objects.__getitem__, sorted(optimizers)):
        numbers.update(slot.number for slot in node.slots)
        numbers.update(_keras_slots(node, objects, lists), _beta_powers(node))
    keys = (attribute.key for number in numbers for attribute in objects[number].attributes)
    return frozenset(key for key in keys if key in names)


def _keras_slots(optimizer: Node, objects: ObjectGraph, lists: dict[int, frozenset[int]]) -> Iterator[int]:
    own = {child.name: child.number for child in optimizer.children}
    if "_iterations" not in own or not ("_variables" in own or "_index_dict" in own):
        return

    def members(number: int) -> frozenset[int]:
        if number not in lists:
            lists[number] = frozenset(child.number for child in objects[number].children if child.name.isdecimal())
        return lists[number]

    # A list belongs to one optimizer; a list with several owners is read once.
    candidates = [number for name, number in own.items() if name not in _OTHER_LISTS and number not in lists]
    kept = set(own.values()).union(*(members(own[name]) for name in _OTHER_LISTS if name in own))
    for number in candidates:
        yield from members(number) - kept


def _beta_powers(optimizer: Node) -> Iterator[int]:
    if optimizer.slots:
        yield from (child.number for child in optimizer.children if _BETA_POWER.fullmatch(child.name))


class _Names(Container[str]):
    """The names of all tensors, with the sets that are searched for each of many scopes."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self.variables = {*names, *(name.removesuffix(AVERAGE) for name in names)}
        decay, rate = (f"/{setting}" for setting in _KERAS_SETTINGS)
        ends = (name.removesuffix(decay) for name in names if name.endswith(decay))
        self.optimizer_scopes = {scope for scope in ends if scope + rate in self._names}
        self.last_parts = {name.rpartition("/")[2] for name in self.variables}

    def __contains__(self, name: object) -> bool:
        return name in self._names


def _is_slot_name(name: str, names: _Names) -> bool:
    table = _EMBEDDING_TABLE.search(name)
    if table is not None:
        return _is_slot_of_embedding(name[: table.start()], table[0], names)
    if name.endswith(VALUE_SUFFIX):
        return _is_slot_key(name, names)
    owner, _, last = name.rpartition("/")
    if _BETA_POWER.fullmatch(last):
        return True
    if _KERAS_NUMBERED.fullmatch(last) and KERAS_OPTIMIZER.fullmatch(owner.rpartition("/")[2]):
        return True
    if last == "momentum" and owner in names:
        return True  # Scopes may have this name as well, so the variable must be stored under its full name.
    if _SAVER_SLOT.fullmatch(last):
        return _is_variable(owner, names) or _is_part(owner, names)
    if _KERAS_SLOT.fullmatch(last):
        scopes = owner.split("/", _MOST_SCOPES)[:-1]
        is_called_so = any(map(KERAS_OPTIMIZER.fullmatch, scopes)) and _is_variable(owner, names)
        return is_called_so or (bool(names.optimizer_scopes) and _is_beside_settings(owner, scopes, names))
    match = _MESH_SLOT.search(name)
    return match is not None and _is_variable(name[: match.start()], names)


def _is_slot_key(key: str, names: Container[str]) -> bool:
    """Return whether a key of an object-based checkpoint is that of a slot."""
    if _OBJECT_SLOT in key:
        return True
    member = _MEMBER.fullmatch(key)
    return member is not None and member[2] not in _OTHER_LISTS and f"{member[1]}/_iterations{VALUE_SUFFIX}" in names


def _is_slot_of_embedding(name: str, table: str, names: _Names) -> bool:
    """Return whether a table in which DeepRec saves an embedding belongs to a slot, as ``w/Adam-keys`` does."""
    owner, _, last = name.rpartition("/")
    if _SAVER_SLOT.fullmatch(last) is None:
        return False
    variable = owner.rpartition("/")[2]
    if variable not in names.last_parts and variable + table not in names.last_parts:
        return False
    return any(variable + table in names or variable in names for variable in _without_scopes(owner))


def _is_variable(name: str, names: _Names) -> bool:
    """Return whether a variable was saved under this name, with or without the leading scopes."""
    if name.rpartition("/")[2] not in names.last_parts:
        return False  # This avoids the search through many scopes.
    return any(map(names.variables.__contains__, _without_scopes(name)))


def _is_beside_settings(owner: str, scopes: list[str], names: _Names) -> bool:
    """Return whether a scope is that of a Keras optimizer, by its settings, and a variable's name follows it."""
    pos = -1
    for scope in scopes:
        pos += len(scope) + 1
        if owner[:pos] in names.optimizer_scopes and owner[pos + 1 :] in names:
            return True
    return False


def _is_part(owner: str, names: Container[str]) -> bool:
    """Return whether the owner of a slot is a part of a variable, by the name that ``Saver`` makes in a scope.

    ``Saver`` removes as many characters from the slot's name ``dnn/dnn/w/part_0/Adam`` as ``dnn/w/part_0/`` has, and
    appends the rest, here ``t_0/Adam``, to the variable's name. The length of the rest depends on the scope's length.
    """
    number = _PART_NUMBER.search(owner)
    if number is None:
        return False
    pos = owner.rfind("/")
    part = f"part_{number[0]}"
    for _ in range(_MOST_SCOPES):
        rest = owner[pos + 1 :]
        if pos <= 0 or not (part.endswith(rest) or rest.endswith(part)):
            return False
        # The comparison comes first, because building and hashing each prefix would take longer.
        beyond = rest[: max(0, len(rest) - len(part))]
        if owner.endswith(beyond, 0, pos + 1) and owner[:pos] in names:
            return True
        pos = owner.rfind("/", 0, pos)
    return False


def _without_scopes(name: str) -> list[str]:
    """Return a name, and what remains of it as leading scopes are removed one by one."""
    found = [name]
    while len(found) < _MOST_SCOPES and (name := name.partition("/")[2]):
        found.append(name)
    return found
