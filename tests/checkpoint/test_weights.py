"""Which tensors are weights alone, in checkpoints that TensorFlow and Keras wrote."""

import re
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import write_bundle
from tests.support.expected import FIXTURES
from tests.support.object_graphs import TRAINED, WEIGHTS, graph_of, trained, write_objects

MOVING = ("norm/moving_mean", "norm/moving_variance")


@trained
def test_of_keras(path: Path) -> None:
    """The variables of the model, and no counter, setting, metric or slot."""
    with tfbundle.open_checkpoint(path) as checkpoint:
        assert checkpoint.objects is not None
        names = checkpoint.objects.variable_names
        weights = {names.get(key, key).removeprefix("classifier/") for key in checkpoint.weights}
        assert not checkpoint.weights & checkpoint.slots
    strangers = {name for name in weights if name not in (*WEIGHTS, *MOVING)}
    assert weights >= {*WEIGHTS, *MOVING}
    assert all(re.fullmatch(r"Variable(:0)?|history.*|logits/bias", name) for name in strangers), strangers


@pytest.mark.parametrize(
    ("folder", "count"),
    [("tf-1.15.5/training", 5), ("tf-1.15.5/keras-optimizers", 36), ("tf-1.15.5/optimizers/all.ckpt", 25)],
)
def test_by_name(folder: str, count: int) -> None:
    with tfbundle.open_checkpoint(FIXTURES / folder) as checkpoint:
        weights = checkpoint.weights
    assert len(weights) == count
    assert not any(re.search(r"global_step|/iter$|/decay$|rate|beta_|Average", name) for name in weights)


def test_thresholds_of_names(tmp_path: Path) -> None:
    """A counter has no dimensions, a setting stands beside a counter, an average beside its variable."""
    one, row = np.int64(1), np.ones(3, np.float32)
    weights = {
        "step": row,
        "w": row,
        "layer/decay": np.float32(1),
        "alone/ExponentialMovingAverage": row,
        "net/steps_up": one,
    }
    others = {
        "global_step": one,
        "a/epoch": one,
        "opt/iter": one,
        "opt/decay": np.float32(1),
        "w/ExponentialMovingAverage": row,
        "loss_scale": np.float32(1),
        "text": np.array(b"x", object),
    }
    write_bundle(tmp_path / "m", {**weights, "opt/table": row, **others})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert checkpoint.weights == {*weights, "opt/table"}


SETTINGS = ("beta_1", "decay", "epsilon", "momentum", "rho", "weight_decay", "learning_rate_power")


@pytest.mark.parametrize("end", ["", "/.ATTRIBUTES/VARIABLE_VALUE"])
@pytest.mark.parametrize("rate", ["learning_rate", "_learning_rate", "lr", "current_learning_rate", "learning_rate_1"])
def test_settings_without_an_object_graph(tmp_path: Path, rate: str, end: str) -> None:
    """Counters and rates are known by name; other settings are, next to one of them or in an optimizer's scope."""
    scalar = np.float32(0.5)
    others = {f"{name}{end}": np.int64(1) for name in ("save_counter", "_iterations", "opt/_iterations", "global_step")}
    scopes = ("", "model/", "training/SGD/", "Adam_1/")
    others |= {f"{scope}{name}{end}": scalar for scope in scopes for name in (rate, *SETTINGS)}
    others |= {f"{scope}{name}{end}": scalar for scope in ("opt/", *scopes[2:]) for name in ("any", "l2")}
    weights = {f"{name}{end}": scalar for name in ("temperature", "model/scale", "other/beta_1", "other/momentum")}
    weights |= {f"{name}{end}": np.ones(3, np.float32) for name in ("momentum", "x/learning_rate", "opt/w", "SGD/w")}
    for name in weights:
        others.pop(name, None)
    write_bundle(tmp_path / "m", {**weights, **others})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert checkpoint.objects is None
        assert checkpoint.weights == set(weights)


@trained
def test_objects_without_their_graph(path: Path, tmp_path: Path) -> None:
    """The keys alone identify the slots and weights that the object graph of the same checkpoint does."""
    with tfbundle.open_checkpoint(path) as checkpoint:
        tensors, weights, slots = tfbundle.load(path), checkpoint.weights, checkpoint.slots
    del tensors["_CHECKPOINTABLE_OBJECT_GRAPH"]
    tfbundle.save(tmp_path / "m", tensors)
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert (checkpoint.slots, checkpoint.weights) == (slots, weights)


def test_thresholds_of_objects(tmp_path: Path) -> None:
    graph = graph_of(
        {"children": [("step", 1), ("model", 2), ("optimizer", 5)]},
        {"key": "step"},
        {"children": [("step", 3), ("seed_generator_state", 4), ("epoch", 9)]},
        {"key": "rows"},
        {"key": "seed"},
        {"children": [("_iterations", 6), ("_trainable_variables", 7), ("rate", 8)]},
        {"key": "count"},
        {"children": [("0", 3)]},
        {"key": "rate"},
        {"key": "fraction"},
    )
    row = np.ones(3, np.float32)
    tensors = {"step": np.int64(1), "rows": row, "seed": row, "count": row, "rate": row, "fraction": np.float32(1)}
    write_objects(tmp_path / "m", graph, **tensors, **{"keras_api/metrics/0/total": row, "free": row})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert checkpoint.weights == {"rows", "fraction", "free"}


def test_of_a_graph() -> None:
    assert TRAINED  # The fixtures are there.
    frozen = next((FIXTURES / "tf-1.15.5" / "frozen").rglob("*.pb"))
    from tfbundle.open_tensors import open_tensors

    with open_tensors(frozen) as constants:
        assert constants.weights == set(constants)
