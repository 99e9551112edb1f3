"""The names that optimizers have, and that they give to slots: ``Adam``, ``DistributedMomentum_1``, ``lamb_v``.

An optimizer is named after its class, and a slot of TensorFlow 1 after its optimizer. Wrappers such as Horovod's put a
word before the name, forks append one, and TensorFlow appends a number where a name is taken. Names are compared by
their ends, without regular expressions, because a hostile file has any number of long ones.
"""

from __future__ import annotations

from functools import lru_cache

# The ends of names; a capitalised word may precede.
# fmt: off
_ENDS = (
    "AMSGrad", "AdaBelief", "AdaBound", "AdaDelta", "AdaGrad", "AdaMax", "AdaMod", "Adadelta", "Adafactor", "Adagrad",
    "AdagradDA", "AdagradDecay", "AdagradDecayV2", "AdagradV2", "Adam", "AdamAsync", "AdamDelta", "AdamGS", "AdamP",
    "AdamW", "AdamWeightDecay", "Adamax", "AddSign", "COCOB", "ConditionalGradient", "Ftrl", "GGT", "LAMB", "LARS",
    "Lamb", "Lars", "Lion", "Lookahead", "Momentum", "MomentumW", "Muon", "NAdam", "Nadam", "NovoGrad", "Novograd",
    "Padam", "PowerSign", "RAdam", "RMSProp", "RMSprop", "Radam", "Ranger", "SGD", "SGDW", "SM3", "Shampoo", "Yogi",
)
# Those of BERT and its descendants begin the names of slots.
_LOWER = frozenset({
    "adabelief", "adabound", "adafactor", "adagrad", "adam", "adamax", "adamw", "amsgrad", "lamb", "lans", "lars",
    "lazy_adam", "lazyadam", "lion", "nadam", "novograd", "nvlamb", "radam", "ranger", "rmsprop", "sgd", "sm3", "yogi",
})
# fmt: on
_LOWER_KINDS = ("m", "v", "vr", "vc", "vhat", "momentum", "accumulator")
_CLASS = "Optimizer"
_PACKAGE = "Addons>"


@lru_cache
def is_optimizer_name(name: str) -> bool:
    """Return whether an optimizer may have this name: that of a known one, or one that ends with ``Optimizer``."""
    name = without_number(name).removeprefix(_PACKAGE)
    if not (name.isalnum() and name.isascii() and name[0].isupper()):
        return False
    # An optimizer of averages stores averages in its slots.
    return name.removesuffix(_CLASS).endswith(_ENDS) or (name.endswith(_CLASS) and "Average" not in name)


def is_named_after_optimizer(slot: str) -> bool:
    """Return whether the last part of a slot's name is that of an optimizer, or one with a kind: ``lamb_v``."""
    if is_optimizer_name(slot):
        return True
    optimizer, _, kind = without_number(slot).rpartition("_")
    return kind in _LOWER_KINDS and (optimizer in _LOWER or is_optimizer_name(optimizer))


def without_number(name: str) -> str:
    """Return a name without the number that TensorFlow appends to one that is taken, such as ``_1``."""
    start = name.rstrip("0123456789")
    return start[:-1] if start != name and start.endswith("_") else name
