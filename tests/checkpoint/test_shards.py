"""How what is saved is divided among data files, and what is said of the progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.checkpoint.test_overwriting import contents


def sizes_of(folder: Path) -> list[int]:
    return [path.stat().st_size for path in sorted(folder.glob("*.data-*"))]


def tensors(*sizes: int) -> dict[str, np.ndarray]:
    return {f"v{number}": np.full(size, number, np.uint8) for number, size in enumerate(sizes)}


@pytest.mark.parametrize(
    ("given", "shard_size", "expected"),
    [
        ((10, 10, 10), 9, [10, 10, 10]),
        ((10, 10, 10), 10, [10, 10, 10]),
        ((10, 10, 10), 19, [10, 10, 10]),
        ((10, 10, 10), 20, [20, 10]),
        ((10, 10, 10), 30, [30]),
        ((10, 10, 10), 1 << 70, [30]),
        ((5, 50, 5, 5), 10, [5, 50, 10]),
        ((50, 5), 10, [50, 5]),
        ((0, 0, 10, 0, 10, 0), 10, [10, 10]),
        ((), 10, [0]),
    ],
)
def test_files_of_a_largest_size(tmp_path: Path, given: Any, shard_size: int, expected: list[int]) -> None:
    values = tensors(*given)
    tfbundle.save(tmp_path / "model", values, shard_size=shard_size)
    assert sizes_of(tmp_path) == expected
    names = {f"model.data-{number:05d}-of-{len(expected):05d}" for number in range(len(expected))}
    assert set(contents(tmp_path)) == {"model.index", *names}
    assert tfbundle.verify(tmp_path / "model").ok
    for name, value in tfbundle.load(tmp_path / "model").items():
        np.testing.assert_array_equal(value, values[name])


def test_all_ways_of_adding_are_divided(tmp_path: Path) -> None:
    with tfbundle.CheckpointWriter(tmp_path / "model", shard_size=100, sync=True) as writer:
        writer.add_chunks("chunks", (40,), np.uint8, np.ones((4, 10), np.uint8))
        writer.add("text", ["x" * 70])  # 70 bytes, one of length and four of a checksum.
        writer.add_slice("w", (80,), np.s_[:40], np.zeros(40, np.uint8))
        writer.add_slice("w", (80,), np.s_[40:], np.zeros(40, np.uint8))
        with pytest.raises(ValueError, match="leave out shard"):
            writer.add("chosen", 1, shard=0)
        assert writer.nbytes == 195
    assert sizes_of(tmp_path) == [40, 75, 80]
    assert tfbundle.load(tmp_path / "model")["w"].shape == (80,)


def test_divided_checkpoints_replace_each_other(tmp_path: Path) -> None:
    for shard_size in (10, 20, 1000, 10):
        tfbundle.save(tmp_path / "model", tensors(*[10] * 4), shard_size=shard_size)
        assert tfbundle.load(tmp_path / "model")["v3"].tolist() == [3] * 10
        assert not any("tempstate" in name for name in contents(tmp_path))


def test_what_is_given_up_leaves_no_file_of_any_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="twice"):
        tfbundle.save(tmp_path / "model", [*tensors(10, 10, 10).items(), ("v0", 1)], shard_size=10)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_place_of_a_later_file(tmp_path: Path) -> None:
    (tmp_path / "model.data-00001-of-00002").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        tfbundle.save(tmp_path / "model", tensors(10, 10), shard_size=10)
    assert [path.name for path in tmp_path.iterdir()] == ["model.data-00001-of-00002"]


@pytest.mark.parametrize(
    "options",
    [
        {"shards": 0},
        {"shards": True},
        {"shards": 1.0},
        {"shards": (1 << 20) + 1},
        {"shard_size": 0},
        {"shard_size": -1},
        {"shard_size": True},
        {"shard_size": 1.5},
        {"shards": 2, "shard_size": 5},
    ],
    ids=str,
)
def test_divisions_that_make_no_sense(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="shard"):
        tfbundle.save(tmp_path / "model", {"a": 1}, **options)
    assert not list(tmp_path.iterdir())


def test_tensorflow_reads_files_of_a_largest_size(tmp_path: Path) -> None:
    train = pytest.importorskip("tensorflow").train
    tfbundle.save(tmp_path / "model", tensors(10, 20, 30, 40), shard_size=35)
    reader = train.load_checkpoint(str(tmp_path / "model"))
    assert {name: reader.get_tensor(name).tolist() for name in reader.get_variable_to_shape_map()} == {
        name: value.tolist() for name, value in tensors(10, 20, 30, 40).items()
    }


@pytest.mark.parametrize("form", [dict, lambda values: iter(values.items())])
def test_progress_within_a_large_tensor(tmp_path: Path, form: Any) -> None:
    values = {"small": np.zeros(5, np.uint8), "large": np.zeros(3 << 20, np.uint8), "none": np.zeros(0), "text": ["ab"]}
    calls: list[tuple[int, int]] = []
    tfbundle.save(tmp_path / "model", form(values), progress=lambda *call: calls.append(call))
    total = 5 + (3 << 20) + 2
    assert calls[0][0] == 5
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert all(done <= of for done, of in calls)
    assert sum(5 < done < total - 2 for done, _ in calls) >= 10
    if form is dict:
        assert {of for _, of in calls} == {total}


def test_what_progress_raises_ends_the_save(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tfbundle.save(tmp_path / "model", {"a": np.zeros(1 << 20)}, progress=stop)
    assert not list(tmp_path.iterdir())
