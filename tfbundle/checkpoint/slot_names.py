"""Optimizer slots that are recognised by their names, in checkpoints without an object graph.

``Saver`` and the optimizers name them. If ``w`` is a tensor of the checkpoint, these are slots, after any scopes
(``OptimizeLoss/w/Adam``)::

    w/Adam  w/Adam_1  w/Momentum  w/RMSProp ...   optimizers of TensorFlow 1, which name slots after themselves
    w/part_0/Ftrl  w/t_0/Adagrad                  the same in an Estimator, for a part of a partitioned variable
    Adam/w/m  training/Ftrl/w/accumulator ...     Keras optimizers in an Estimator
    x/w/m  training/x/w/accumulator ...           the same with a custom name, next to x/decay, x/learning_rate
    training/Adam/Variable_3  SGD/moment_0 ...    Keras up to 2.3, which numbers them
    w/adam_m  w/lamb_v  w/lans_m                  optimizers of BERT and its descendants
    w/adafactor_v  w/adafactor_vr  w/momentum     the same with Adafactor, and with momentum
    w/custom_m  w/custom_v                        the same with any other name, if there are both
    w/Adam-keys  w/Adam-values  w/Adam-freqs ...  DeepRec, which saves embeddings and their slots as tables
    w_Adam_m_mht_1of2-keys ...-values             TensorFlow Recommenders Addons, which does the same
    w_slot_v  w_slot_vr  w_slot_vc  w_slot_m      Mesh TensorFlow's, such as T5's
    beta1_power  beta2_power                      powers of Adam's decay rates; not of any single variable

Keys of an object-based checkpoint may also have lost their object graph::

    w/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE      TensorFlow, and Keras up to 2.10
    optimizer/_variables/3/.ATTRIBUTES/VARIABLE_VALUE             Keras, next to optimizer/_iterations/...

``w`` may also be stored only as ``w/ExponentialMovingAverage``, if averages were saved in place of weights. Of the
TensorFlow 1 optimizers with a custom name, only Adam's slots are recognised, which are pairs (``w/opt``, ``w/opt_1``)
next to the powers. Nothing distinguishes others from a moving average with a custom name.

The last part of a name determines the form that the rest must have. Mostly, the rest has to be the name of a variable
after a scope or two; see ``scoped_names``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterator, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum, auto
from functools import lru_cache

from tfbundle.checkpoint.objects import VALUE_SUFFIX, VARIABLE_VALUE
from tfbundle.checkpoint.optimizer_names import is_named_after_optimizer, is_optimizer_name
from tfbundle.checkpoint.scoped_names import find_ends, starting_with

# The end of the name under which the moving average of a variable is saved.
AVERAGE = "/ExponentialMovingAverage"

# The lists of a Keras optimizer that do not contain slots.
OTHER_LISTS = ("_model_variables_moving_average", "_trainable_variables")

BETA_POWER = re.compile(r"beta[12]_power(?:_\d+)?")
# The settings that each of them saves in its scope, unless a schedule replaces the rate.
_DECAY, _RATE = "/decay", "/learning_rate"

# The slots of any other fork of Adam, which are known by both of their names.
_PAIR = re.compile(r"[a-z][a-z0-9_]*_[mv]")
# fmt: off
_KERAS_SLOTS = frozenset({
    "accum_grad", "accum_var", "accumulator", "conditional_gradient", "grad_norm_sum", "gradients_sum", "linear",
    "lipschitz", "m", "mg", "momentum", "reward", "rms", "slow", "sma_threshold", "tilde_w", "v", "vhat",
})
# fmt: on
# The slots that Keras up to 2.3 numbers in the scope of an optimizer, with names of their own since 2.3.
_KERAS_NUMBERED = re.compile(r"Variable(?:_\d+)?|(?:accumulator|delta_accumulator|m|moment|u|v|vhat)_\d+")
_MESH_SLOT = "_slot_"
_MESH_SLOTS = ("m", "v", "vr", "vc")
# The tables of an embedding in DeepRec, with and without filters, partitions and versions.
_EMBEDDING_TABLE = re.compile(
    r"-(?:keys|values|freqs|versions|partition_offset|partition_filter_offset"
    r"|(?:keys|freqs|versions)_filtered)(?:-partition_\d+)?\Z"
)

# The end of the name of such a table in TensorFlow Recommenders Addons, which joins scopes by underscores.
_HASH_TABLE = re.compile(r"_mht_\d+of\d+-(?:keys|values)\Z")

# What precedes the name of a slot in its key, and the name of a list in the key of a member.
_OBJECT_SLOT = "/.OPTIMIZER_SLOT/"
_LIST = re.compile(r"_\w+")

# How many optimizers with scopes inside each other are examined, and how many places where the name of a partitioned
# variable may end. Names of real programs have one of each.
_MOST_NESTED = 4
_MOST_PLACES = 4
# How many scopes the name of a variable may have that precedes the whole name of a slot of its part.
_MOST_SCOPES = 16


class _Form(Enum):
    """The forms of slots, by the last part of their names."""

    BETA_POWER = auto()
    SAVER = auto()
    KERAS = auto()
    NUMBERED = auto()
    MESH = auto()
    EMBEDDING = auto()
    HASH_TABLE = auto()
    PAIR = auto()
    KEY = auto()


def find_slot_names(names: Collection[str]) -> frozenset[str]:
    """Return the names of the tensors that are optimizer slots."""
    stored = frozenset(names)
    variables = stored | {name.removesuffix(AVERAGE) for name in names if name.endswith(AVERAGE)}
    variables -= {""}  # Otherwise, all names that end in "/" would end with it.
    found: set[str] = set()
    # The candidates of each form, with what has to be the name of a variable after some scopes.
    saver: dict[str, str] = {}
    keras: dict[str, str] = {}
    others: dict[str, str] = {}
    tables: dict[str, str] = {}
    for name in names:
        owner, _, last = name.rpartition("/")
        form, end = _form_of(last)
        if form is None:
            continue
        if form is _Form.SAVER:
            saver[name] = owner
        elif form is _Form.KERAS:
            keras[name] = owner
        elif form is _Form.MESH:
            others[name] = name.removesuffix(end)
        elif form is _Form.EMBEDDING:
            others[name] = owner
            tables[name] = owner + end
        elif form is _Form.HASH_TABLE:
            if name.removesuffix(end) + end[end.index("_mht_") :] in stored:
                found.add(name)
        elif form is _Form.PAIR:
            other = "v" if name.endswith("m") else "m"
            if f"{name[:-1]}{other}" in stored:
                others[name] = owner
        elif (
            form is _Form.BETA_POWER
            or (form is _Form.NUMBERED and is_optimizer_name(owner.rpartition("/")[2]))
            or (form is _Form.KEY and _is_slot_key(name, stored))
        ):
            found.add(name)
    known = find_ends({*saver.values(), *keras.values(), *others.values(), *tables.values()}, variables)
    for candidates in (saver, others, tables):
        found.update(slot for slot, owner in candidates.items() if owner in known)
    found.update(slot for slot, owner in saver.items() if owner not in known and _is_part(owner, stored))
    found.update(_keras_slots({slot: owner for slot, owner in keras.items() if owner in known}, stored))
    if any(BETA_POWER.fullmatch(name.rpartition("/")[2]) for name in found):
        found.update(_slots_of_unknown_adam(saver.keys(), stored, variables))
    return frozenset(found)


def _slots_of_unknown_adam(known: Container[str], stored: AbstractSet[str], variables: AbstractSet[str]) -> set[str]:
    """Return the pairs of slots of an optimizer with a custom name, whose powers are stored: ``w/opt``, ``w/opt_1``.

    There are none if an optimizer with a usual name has such pairs.
    """
    pairs = {name: name.rpartition("/")[0] for name in stored if name.endswith("_1") and name[:-2] in stored}
    if any(name in known for name in pairs):
        return set()
    owners = find_ends({owner for owner in pairs.values() if owner}, variables)
    seconds = {name for name, owner in pairs.items() if owner in owners and not name[:-2].endswith(AVERAGE)}
    return seconds | {name[:-2] for name in seconds}


@lru_cache
def _form_of(last: str) -> tuple[_Form | None, str]:
    """Return the form of a slot whose name has this last part, and the end that follows the variable's name in it."""
    if is_named_after_optimizer(last):
        return _Form.SAVER, ""
    if last in _KERAS_SLOTS:
        return _Form.KERAS, ""
    if _KERAS_NUMBERED.fullmatch(last):
        return _Form.NUMBERED, ""
    if BETA_POWER.fullmatch(last):
        return _Form.BETA_POWER, ""
    if last == VARIABLE_VALUE:
        return _Form.KEY, ""
    table = _HASH_TABLE.search(last)
    if table is not None:
        end = _slot_before(last[: table.start()])
        return (_Form.HASH_TABLE, end + table[0]) if end else (None, "")
    _, mark, kind = last.rpartition(_MESH_SLOT)
    if mark and kind in _MESH_SLOTS:
        return _Form.MESH, mark + kind
    table = _EMBEDDING_TABLE.search(last)
    if table is not None and is_named_after_optimizer(last[: table.start()]):
        return _Form.EMBEDDING, table[0]
    return (_Form.PAIR if _PAIR.fullmatch(last) else None), ""


def _slot_before(name: str) -> str:
    """Return the end of a name such as ``embedding_Adam_m`` that names an optimizer and its slot, or ``""``."""
    for kind in _KERAS_SLOTS:
        if name.endswith(f"_{kind}"):
            variable, _, optimizer = name.removesuffix(f"_{kind}").rpartition("_")
            if variable and is_optimizer_name(optimizer):
                return f"_{optimizer}_{kind}"
    return ""


def _keras_slots(owners: Mapping[str, str], names: AbstractSet[str]) -> Iterator[str]:
    """Yield the slots, given with the scopes and variables that they belong to, that are in the scope of an optimizer.

    It is named like an optimizer, or contains the settings of one.
    """
    scopes = {name.removesuffix(_DECAY) for name in names if name.endswith(_DECAY)}
    scopes = {scope for scope in scopes if scope + _RATE in names}
    beside = _beside_settings(set(owners.values()), scopes, names) if scopes else ()
    for slot, owner in owners.items():
        # Scopes may be named "momentum" as well, so the variable must be stored under its full name.
        is_plain = owner in names and slot.endswith("/momentum")
        if is_plain or owner in beside or any(map(is_optimizer_name, owner.split("/"))):
            yield slot


def _beside_settings(owners: set[str], scopes: set[str], names: Container[str]) -> set[str]:
    """Return the owners that consist of a scope with a Keras optimizer's settings, and a variable's name."""
    found = set()
    starts = sorted(f"{scope}/" for scope in scopes)
    texts = {f"{owner}/" for owner in owners}
    few = len(starts) <= _MOST_NESTED
    for text, possible in ((text, starts) for text in texts) if few else starting_with(texts, set(starts)):
        for start in possible[-_MOST_NESTED:]:
            variable = text[len(start) : -1]
            if variable in names and variable and text.startswith(start):
                found.add(text[:-1])
    return found


def _is_slot_key(key: str, names: Container[str]) -> bool:
    """Return whether a key of an object-based checkpoint is that of a slot."""
    if not key.endswith(VALUE_SUFFIX):
        return False
    if _OBJECT_SLOT in key:
        return True
    scope, _, member = key.removesuffix(VALUE_SUFFIX).rpartition("/")
    optimizer, separator, owner = scope.rpartition("/")
    if not (separator and member.isdecimal() and _LIST.fullmatch(owner)) or owner in OTHER_LISTS:
        return False
    return f"{optimizer}/_iterations{VALUE_SUFFIX}" in names


def _is_part(owner: str, names: Container[str]) -> bool:
    """Return whether the owner of a slot is a part of a variable, by the name that ``Saver`` makes in a scope.

    ``Saver`` removes as many characters from the slot's name ``dnn/dnn/w/part_0/Adam`` as ``dnn/w/part_0/`` has, and
    appends the rest, here ``t_0/Adam``, to the variable's name. The length of the rest depends on the scope's length:
    ``scope/long/dnn/w/part_0/Adam`` becomes ``dnn/w/nn/w/part_0/Adam``. If the scope is longer than what is removed,
    its end remains: ``OptimizeLoss/x/c/part_0/Adam`` becomes ``x/c/s/x/c/part_0/Adam``.
    """
    variable, _, last = owner.rpartition("/")
    number = last[len(last.rstrip("0123456789")) :]
    part = f"part_{number}"
    if not (variable and number and part.endswith(last)):
        return False
    if variable in names:
        return True
    if last != part:
        return False
    end = -1
    for _ in range(_MOST_SCOPES):
        end = variable.find("/", end + 1)
        if end < 0 or 2 * end >= len(variable):
            break
        if variable.endswith(variable[:end]) and variable[-end - 1] == "/" and variable[:end] in names:
            return True
    # The end of the variable's name is repeated after it, at least its last scope.
    repeated = f"{variable}/"
    scope = repeated[repeated.rfind("/", 0, -1) + 1 :]
    lowest = max(0, len(repeated) // 2 - len(scope))
    end = len(repeated) - 1
    for _ in range(_MOST_PLACES):
        pos = repeated.rfind(scope, lowest, end)
        if pos < 0:
            return False
        end = pos + len(scope)
        if repeated.endswith(repeated[end:], 0, end) and repeated[: end - 1] in names:
            return True
        end -= 1
    return False
