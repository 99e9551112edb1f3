"""Which tensors are an optimizer's slots: by the object graph, and by their names."""

import json
import random
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.expected import FIXTURES, Expected
from tests.support.object_graphs import (
    CHECKPOINTS,
    TRAINED,
    WEIGHTS,
    graph_of,
    trained,
    write_objects,
)
from tfbundle.checkpoint.objects import ObjectGraph
from tfbundle.checkpoint.slots import find_slots

OPTIMIZERS = json.loads((FIXTURES / "tf-1.15.5" / "optimizers" / "EXPECTED.json").read_text(encoding="utf-8"))


class TestSlots:
    @trained
    def test_fixtures(self, path: Path) -> None:
        """Adam keeps two for each of eight weights; all else stays, counters and rates included."""
        with tfbundle.open_checkpoint(path) as checkpoint:
            assert checkpoint.objects is not None
            names = checkpoint.objects.variable_names
            slots = {names[key] for key in checkpoint.slots}
            left = {names[key].removeprefix("classifier/") for key in names if key not in checkpoint.slots}
            shapes = sorted(checkpoint[key].shape for key in checkpoint.slots)
            weights = sorted(checkpoint[key].shape for key, name in names.items() if is_weight(key, name, checkpoint))
        assert len(slots) == 16
        assert shapes == sorted(weights * 2)
        assert left.issuperset(WEIGHTS)
        assert left.issuperset({"norm/moving_mean", "norm/moving_variance"})
        rest = {name for name in left if not name.startswith(("conv/", "norm/", "hidden/", "logits/"))}
        assert all(re.search(r"iter|rate|decay|beta_|count|total|Variable", name) for name in rest), rest
        found = tfbundle.load(path, slots=False)
        assert set(found) == set(tfbundle.load(path)) - checkpoint.slots

    def test_slot_variables_are_what_tensorflow_marks(self) -> None:
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.slots == {key for key in checkpoint if "/.OPTIMIZER_SLOT/" in key}

    def test_averages_of_weights_stay(self, tmp_path: Path) -> None:
        """As Keras saves ``Adam(use_ema=True)``."""
        graph = graph_of(
            {"children": [("optimizer", 1)]},
            {
                "children": [
                    ("_variables", 2),
                    ("_iterations", 3),
                    ("_model_variables_moving_average", 4),
                    ("_momentums", 5),
                    ("_u_product", 8),
                ]
            },
            {"children": [("0", 3), ("1", 6), ("2", 7), ("3", 8)]},
            {"key": "iterations"},
            {"children": [("0", 6)]},
            {"children": [("0", 7)]},
            {"key": "average"},
            {"key": "momentum"},
            {"key": "product"},
        )
        tensors = dict.fromkeys(("iterations", "average", "momentum", "product"), np.arange(2))
        path = write_objects(tmp_path / "model", graph, **tensors)
        with tfbundle.open_checkpoint(path) as checkpoint:
            assert checkpoint.slots == {"momentum"}

    def test_lists_beside_that_of_all_variables(self) -> None:
        """As the experimental optimizers of TensorFlow 2.9 keep theirs, and Adafactor of 2.11 to 2.15 some of them."""
        iterations, weight = {"key": "iterations"}, {"key": "w"}
        lists = {"children": [("0", 5)]}, {"children": [("0", 6), ("1", 3)]}
        slots = {"key": "m"}, {"key": "v"}
        names = ["iterations", "w", "m", "v"]
        for more in (("_index_dict", 7), ("_variables", 7)):
            optimizer = {
                "children": [("_iterations", 3), more, ("_momentums", 1), ("_v", 2), ("_trainable_variables", 8)]
            }
            trained = {"children": [("0", 4)]}
            graph = graph_of(optimizer, *lists, iterations, weight, *slots, {}, trained)
            assert find_slots(names, ObjectGraph(graph)) == {"m", "v"}
        module = graph_of({"children": [("_iterations", 3), ("_weights", 1)]}, *lists, iterations, weight, *slots)
        assert find_slots(names, ObjectGraph(module)) == frozenset()

    def test_powers_of_an_optimizer_of_tensorflow_1(self) -> None:
        graph = graph_of(
            {"children": [("optimizer", 1), ("beta1_power", 4)]},
            {"children": [("beta1_power", 2)], "slots": [(4, "m", 3)]},
            {"key": "power"},
            {"key": "m"},
            {"key": "w"},
        )
        assert find_slots(["power", "m", "w"], ObjectGraph(graph)) == {"power", "m"}

    @pytest.mark.parametrize("expected", [one for one in CHECKPOINTS if "training" in str(one)], ids=str)
    def test_saver(self, expected: Expected) -> None:
        with tfbundle.open_checkpoint(expected.path, format=expected.format) as checkpoint:
            slots = checkpoint.slots
        assert slots == {name for name in expected.tensors if re.search(r"/Adam(_1)?$|/Momentum$|beta._power$", name)}
        assert len(slots) == 8
        left = tfbundle.load(expected.path, slots=False)
        assert set(left) == set(expected.tensors) - slots
        assert "fc1/weights/ExponentialMovingAverage" in left
        assert "global_step" in left

    @pytest.mark.parametrize("checkpoint", OPTIMIZERS["checkpoints"], ids=lambda checkpoint: checkpoint["path"])
    def test_every_optimizer(self, checkpoint: dict[str, Any]) -> None:
        with tfbundle.open_checkpoint(FIXTURES / "tf-1.15.5" / "optimizers" / checkpoint["path"]) as opened:
            assert opened.slots == set(checkpoint["slots"])

    def test_optimizers_of_keras_with_names_of_their_own(self) -> None:
        folder = FIXTURES / "tf-1.15.5" / "keras-optimizers"
        (checkpoint,) = json.loads((folder / "EXPECTED.json").read_text(encoding="utf-8"))["checkpoints"]
        with tfbundle.open_checkpoint(folder) as opened:
            assert opened.slots == set(checkpoint["slots"])

    def test_settings_alone_make_no_slots(self) -> None:
        settings = ["x/decay", "x/learning_rate"]
        others = ["w", "w/m", "x/m", "x/w/x", "x/v/m", "y/w/m", "x/y/w/m"]
        assert find_slots([*settings, *others], None) == frozenset()
        assert find_slots([*settings, "w", "x/w/m"], None) == {"x/w/m"}
        assert find_slots([settings[0], "w", "x/w/m"], None) == frozenset()

    def test_slots_of_parts_are_left_out(self) -> None:
        path = FIXTURES / "tf-1.15.5" / "optimizers" / "all.ckpt"
        assert tfbundle.load(path)["linear/layer/weights/part_1/Ftrl"].shape == (2, 2)
        assert tfbundle.load(path, names="linear/*", slots=False).keys() == {
            "linear/layer/kernel",
            "linear/layer/weights",
        }

    @pytest.mark.parametrize(
        "slot",
        [
            "w/Adam",
            "w/Adam_1",
            "w/Adam_13",
            "w/Momentum",
            "w/RMSProp_1",
            "w/Ftrl",
            "w/Adagrad",
            "w/adam_m",
            "w/adam_v",
            "OptimizeLoss/a/w/Adam",
            "train/w/Adam_1",
            "a/b/w/Adadelta",
            "w_slot_v",
            "a/b_slot_vc",
            "Adam/w/m",
            "training/Ftrl/a/w/accumulator",
            "training/SGD_1/w/momentum",
            "training/Adam/Variable",
            "SGD_1/Variable_12",
            "training_1/Adam/m_0",
            "Adamax/u_3",
            "Nadam/vhat_0",
            "Adadelta/delta_accumulator_1",
            "SGD/moment_2",
            "a/w/.OPTIMIZER_SLOT/optimizer/m/.ATTRIBUTES/VARIABLE_VALUE",
            "beta1_power",
            "x/beta2_power",
            "beta2_power_1",
            "w/part_0/Adam",
            "a/w/t_12/Ftrl_1",
            "a/w/0/Adam",
            "a/w/w/part_1/Adagrad",
            "a/w//part_1/Adagrad",
        ],
    )
    def test_names_of_slots(self, slot: str) -> None:
        assert find_slots(["w", "a/w", "a/b", slot], None) == {slot}

    @pytest.mark.parametrize(
        "name",
        [
            "Adam",
            "Adam/w",
            "v/Adam",
            "w/Adam/b",
            "w/Adamant",
            "w/Adam_x",
            "w/ExponentialMovingAverage",
            "w/m",
            "layer/w/momentum",
            "Adam/v/m",
            "Adam/w/x",
            "v_slot_v",
            "w_slot_x",
            "my_beta1_power",
            "Variable_1",
            "layer/Variable_1",
            "Adam/m_x",
            "Adam/Variables",
            "dense/m_0",
            "o/_variables/3/.ATTRIBUTES/VARIABLE_VALUE",
            "w/m/.ATTRIBUTES/VARIABLE_VALUE",
            "w/adam",
            "w/moving_mean",
            "w/part_x/Adam",
            "w/u_0/Adam",
            "w/v/part_0/Adam",
            "v/part_0/Adam",
            "",
            "/",
            "/Adam",
        ],
    )
    def test_names_of_others(self, name: str) -> None:
        assert find_slots(["w", "a/w", name], None) == frozenset()

    def test_members_of_lists_next_to_a_counter(self) -> None:
        def keys(*names: str) -> set[str]:
            return {f"{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in names}

        slots = keys("o/_variables/3", "o/_momentums/0", "a/o/_variables/1")
        others = keys("o/_iterations", "a/o/_iterations", "o/_trainable_variables/3", "o/layers/0", "b/_variables/1")
        assert find_slots(slots | others, None) == slots

    def test_names_of_many_parts_take_no_time(self) -> None:
        names = [
            "/" * 1_000_000 + "Adam",
            "Adam/" * 200_000 + "m",
            "a/" * 500_000 + "w_slot_v",
            "0/" * 500_000 + "Adam",
            "_A" * 500_000 + "_mht_1of1-keys",
            "Adam" * 250_000 + "Optimizer_",
            "w/" + "Adam_m" * 100_000,
            "/Adam" * 200_000 + "/x",
            "a/" * 500_000 + "part_0/Adam",
        ]
        start = time.monotonic()
        assert find_slots(names, None) == frozenset()
        assert time.monotonic() - start < 5

    def test_choice_and_slots(self) -> None:
        folder = FIXTURES / "tf-1.15.5" / "training"
        assert set(tfbundle.load(folder, names="fc1/biases*", slots=False)) == {
            "fc1/biases",
            "fc1/biases/ExponentialMovingAverage",
        }
        assert tfbundle.load(folder, names=["fc1/biases/Momentum"], slots=False) == {}


def is_weight(key: str, name: str, checkpoint: tfbundle.Checkpoint) -> bool:
    weights = (*WEIGHTS, "logits/bias")
    return key not in checkpoint.slots and name.removeprefix("classifier/") in weights


@pytest.mark.parametrize(
    "slot",
    [
        *("adam_m", "adam_v", "lamb_m", "lamb_v", "lans_m", "lans_v", "lars_m", "adafactor_v", "adafactor_vr"),
        *("adafactor_vc", "adafactor_m", "momentum", "Adam", "Adam_1", "AdamAsync", "AdamWeightDecayOptimizer_1"),
        *("LAMB", "LazyAdam", "RAdamOptimizer", "AdaBelief_1", "lion_m", "adamax_v", "sgd_momentum"),
        *("LARS", "MLPerfLARSOptimizer", "DistributedAdam", "HorovodAdam_1", "DistributedMomentumOptimizer", "SM3_1"),
        *("AdaMaxOptimizer", "AMSGrad_2", "QHAdam", "nvlamb_v", "lazyadam_m", "novograd_v", "adam_vhat", "adam_v_1"),
        *("Adafactor_vr", "GGTOptimizer", "AGNOptimizer", "SomeoneElsesOptimizer_3"),
    ],
)
def test_slots_of_bert_and_its_descendants(slot: str) -> None:
    """The name after that of a variable is a slot's; where there is no such variable it is a weight's."""
    names = ["lm/w", f"lm/w/{slot}", f"other/{slot}", slot, f"lm/w/{slot}/w", f"lm/w/x{slot}"]
    assert find_slots(names, None) == {f"lm/w/{slot}"}


def test_slots_of_unknown_forks() -> None:
    """Only both names of a pair are known: one alone may be a weight, as may be an average."""
    assert find_slots(["w", "w/electra_m", "w/electra_v", "a/w/new_m", "a/w/new_v"], None) == {
        *("w/electra_m", "w/electra_v", "a/w/new_m", "a/w/new_v"),
    }
    others = ["w", "w/conv_m", "v/gate_m", "v/gate_v", "w/ModelAverageOptimizer", "w/MovingAverage", "w/optimizer"]
    assert find_slots(others, None) == frozenset()


def test_slots_of_adam_with_any_name() -> None:
    """It has powers and two slots for each variable; without the powers, or next to a known optimizer, they stay."""
    powers = ["beta1_power", "beta2_power"]
    pairs = ["w/opt", "w/opt_1", "a/v/opt", "a/v/opt_1", "scope/w/opt", "scope/w/opt_1"]
    others = [
        "w",
        "a/v",
        "w/b",
        "a/v/c_1",
        "w/ExponentialMovingAverage",
        "w/ExponentialMovingAverage_1",
        "d/e",
        "d/e_1",
    ]
    assert find_slots([*others, *pairs, *powers], None) == {*pairs, *powers}
    assert find_slots([*others, *pairs], None) == frozenset()
    usual = ["w/Adam", "w/Adam_1"]
    assert find_slots([*others, *pairs, *powers, *usual], None) == {*powers, *usual}


@pytest.mark.parametrize(
    ("slot", "is_slot"),
    [
        ("x/c/s/x/c/part_0/Momentum", True),
        ("x/c/OptimizeLoss/x/c/part_1/Adam_1", True),
        ("x/c/a/b/x/c/part_1/Adam", True),
        ("x/c/sx/c/part_1/Adam", False),
        ("x/c/s/x/d/part_1/Adam", False),
        ("x/d/s/x/d/part_1/Adam", False),
        ("x/c/s/x/c/t_1/Adam", False),
    ],
)
def test_parts_in_scopes_longer_than_the_variable(slot: str, is_slot: bool) -> None:
    assert find_slots(["x/c", slot], None) == ({slot} if is_slot else frozenset())


@pytest.mark.parametrize("name", ["Adam", "opt"])
def test_parts_as_tensorflow_stores_them(tf: Any, tmp_path: Path, name: str) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("x", partitioner=v1.fixed_size_partitioner(2)):
            parts = v1.get_variable("c", [4, 3], initializer=v1.zeros_initializer(), use_resource=False)
        with v1.variable_scope("OptimizeLoss") if name == "Adam" else v1.name_scope(""):
            v1.train.AdamOptimizer(name=name).minimize(tf.reduce_sum(parts.as_tensor()))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, str(tmp_path / "m"), write_meta_graph=False)
    assert set(tfbundle.load(tmp_path / "m", slots=False)) == {"x/c"}
    assert len(tfbundle.load(tmp_path / "m")) == (7 if name == "Adam" else 5)


def test_optimizers_of_keras_that_are_wrapped_or_forked() -> None:
    scopes = ("LazyAdam", "Addons>AdamW", "AdaBeliefOptimizer", "ProximalAdagrad", "DistributedAdam", "LossScaleAdam_1")
    slots = {f"training/{scope}/w/{slot}" for scope in scopes for slot in ("m", "accumulator")}
    slots |= {"training/Lookahead/w/slow", "training/ConditionalGradient/w/conditional_gradient"}
    averages = ["training/MovingAverage/w/average", "training/SWA/w/average", "training/adams/w/m"]
    assert find_slots(["w", *slots, *averages], None) == slots


def test_tables_of_tensorflow_recommenders_addons() -> None:
    ends = [f"_mht_{number}of2-{table}" for number in (1, 2) for table in ("keys", "values")]
    slots = {f"emb_{slot}{end}" for slot in ("Adam_m", "Adam_v", "Adagrad_accumulator") for end in ends}
    others = [f"{name}{end}" for name in ("emb", "alone_Adam_m", "emb_gate_m") for end in ends]
    assert find_slots([*slots, *others, "emb_Adam_m_mht_1of3-keys"], None) == slots


def test_embeddings_of_deeprec() -> None:
    tables = ("keys", "values", "freqs", "versions", "partition_offset", "keys_filtered")
    variable = [f"emb/part_0-{table}" for table in tables]
    slots = [f"emb/part_0/Adam{number}-{table}" for table in tables for number in ("", "_1")]
    others = ["emb/part_0/Adam-other", "alone/Adam-keys", "emb/part_0/gate-keys"]
    assert find_slots([*variable, *slots, *others], None) == set(slots)
    scoped = [f"OptimizeLoss/emb/part_0/Adagrad-{table}" for table in tables]
    assert find_slots([*variable, *scoped], None) == set(scoped)


@pytest.mark.parametrize("end", ["Adam", "m", "part_1/Adam", "Adam-keys", "x_slot_v"])
@pytest.mark.effort
def test_deep_scopes_of_many_names_take_no_time(end: str) -> None:
    names = [f"{'Adam/' * 40}{number}/{end}" for number in range(20_000)]
    start = time.process_time()
    assert find_slots(dict.fromkeys(names), None) == frozenset()
    assert time.process_time() - start < 1


def ends(name: str) -> list[str]:
    """Return a name and all that remains of it after some of its scopes."""
    scopes = name.split("/")
    return ["/".join(scopes[start:]) for start in range(len(scopes))]


@pytest.mark.parametrize("seed", range(20))
def test_any_scopes_may_precede_the_name_of_a_variable(seed: int) -> None:
    """Names of few parts, so that many of them end with others, agree with the definition."""
    choice = random.Random(seed)
    variables = {"/".join(choice.choices("ab", k=choice.randint(1, 6))) for _ in range(choice.choice([2, 20]))}
    owners = {"/".join(choice.choices("ab", k=choice.randint(1, 60))) for _ in range(100)}
    for end in ("/Adam", "_slot_v", "/Momentum-keys"):
        expected = {owner + end for owner in owners if not variables.isdisjoint(ends(owner))}
        assert find_slots([*variables, *(owner + end for owner in owners)], None) == expected
    keras = {f"x/Adam/{owner}/m" for owner in owners if not variables.isdisjoint(ends(owner))}
    assert find_slots([*variables, *(f"x/Adam/{owner}/m" for owner in owners)], None) == keras


@pytest.mark.parametrize("seed", range(10))
def test_settings_in_any_scope(seed: int) -> None:
    choice = random.Random(seed)
    variables = {"/".join(choice.choices("abc", k=choice.randint(1, 4))) for _ in range(10)}
    owners = {"/".join(choice.choices("abc", k=choice.randint(2, 8))) for _ in range(300)}
    scopes = {"/".join(choice.choices("abc", k=choice.randint(1, 3))) for _ in range(choice.choice([2, 8]))}
    settings = [f"{scope}/{setting}" for scope in scopes for setting in ("decay", "learning_rate")]
    expected = {
        f"{owner}/m"
        for owner in owners
        if any(owner.startswith(f"{scope}/") and owner[len(scope) + 1 :] in variables for scope in scopes)
    }
    assert expected
    assert find_slots([*settings, *variables, *(f"{owner}/m" for owner in owners)], None) == expected


def test_optimizers_with_scopes_inside_each_other() -> None:
    """Only the innermost four are examined."""
    settings = [f"{'o/' * depth}{setting}" for depth in range(1, 9) for setting in ("decay", "learning_rate")]
    names = [*settings, "o/o/w", "o/o/o/o/v", "o/o/o/o/o/o/o/o/w/m", "o/o/o/o/o/o/o/o/v/m"]
    assert find_slots(names, None) == {"o/o/o/o/o/o/o/o/w/m"}


def test_parts_in_scopes_that_repeat() -> None:
    """The name that ``Saver`` makes repeats the end of the variable's, which may contain its last scope again."""
    for variable, repeated in (("a/w/x/w", "w/x/w/"), ("n/a/w", "a/w/"), ("long/w", "ng/w/"), ("w/w/w/w", "w/w/w/")):
        slot = f"{variable}/{repeated}part_3/Ftrl"
        assert find_slots([variable, slot], None) == {slot}
        assert find_slots([f"{variable}x", slot], None) == frozenset()
