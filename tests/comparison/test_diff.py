"""``tfbundle.diff``: values are compared, not how they are stored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tfbundle
import tfbundle.comparison.diff
from tests.support.arrays import DTYPES, object_array, sample_array
from tests.support.bundle_writer import FULL, VARIANT, Saved, numpy_type, write_bundle
from tests.support.command import run
from tests.support.expected import FIXTURES, expected_checkpoints
from tests.support.v1_writer import V1Saved, write_v1
from tfbundle import Change

MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)


def only_change(tmp_path: Path, a: Any, b: Any) -> Change:
    write_bundle(tmp_path / "a", {"same": MATRIX, "v": a})
    write_bundle(tmp_path / "b", {"same": MATRIX, "v": b})
    found = tfbundle.diff(tmp_path / "a", tmp_path / "b")
    assert found
    assert (found.added, found.removed, found.same) == ((), (), 1)
    (change,) = found.changed
    assert change.name == "v"
    return change


def assert_equal(tmp_path: Path, a: Any, b: Any) -> None:
    write_bundle(tmp_path / "a", {"v": a})
    write_bundle(tmp_path / "b", {"v": b})
    found = tfbundle.diff(tmp_path / "a", tmp_path / "b")
    assert not found
    assert found.same == 1


def test_added_removed_and_changed(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", {"gone": MATRIX, "shape": MATRIX, "type": MATRIX, "v": MATRIX, "same": MATRIX})
    changed = MATRIX.copy()
    changed[2, 1] += 1
    tensors = {"new": MATRIX, "shape": MATRIX.T, "type": MATRIX.astype(np.int32), "v": changed, "same": MATRIX}
    write_bundle(tmp_path / "b", tensors)
    found = tfbundle.diff(tmp_path / "a", str(tmp_path / "b.index"))
    assert found
    assert found.added == ("new",)
    assert found.removed == ("gone",)
    assert found.same == 1
    assert found.changed == (
        Change("shape", ("DT_FLOAT", "DT_FLOAT"), ((6, 4), (4, 6))),
        Change("type", ("DT_FLOAT", "DT_INT32"), ((6, 4), (6, 4))),
        Change("v", ("DT_FLOAT", "DT_FLOAT"), ((6, 4), (6, 4)), 1, 1.0, pytest.approx(0.1)),
    )
    back = tfbundle.diff(tmp_path / "b", tmp_path / "a")
    assert (back.added, back.removed) == (found.removed, found.added)
    assert [change.differing for change in back.changed] == [None, None, 1]


def test_nan_equals_nan_and_zero_equals_negative_zero(tmp_path: Path) -> None:
    payload = np.array([0x7FC00001], np.uint32).view(np.float32)[0]
    a = np.array([np.nan, payload, 0.0, np.inf], np.float32)
    b = np.array([payload, np.nan, -0.0, np.inf], np.float32)
    assert_equal(tmp_path, a, b)


@pytest.mark.parametrize(("dtype", "bits"), [("<f4", 0x7F800001), ("bfloat16", 0x7F81), ("<f2", 0x7D00)])
def test_signalling_nans_are_nans(tmp_path: Path, dtype: str, bits: int) -> None:
    name = np.dtype(dtype if dtype.startswith("<") else getattr(ml_dtypes, dtype))
    signalling = np.array([bits, 0], f"u{name.itemsize}").view(name)
    number = np.array([1, 0], name)
    change = only_change(tmp_path, signalling, number)
    assert (change.differing, change.nans) == (1, 1)
    assert_equal(tmp_path, signalling, np.array([np.nan, 0], name))


@pytest.mark.parametrize("dtype", ["<c8", "<c16"])
def test_signalling_nans_in_complex_numbers(tmp_path: Path, dtype: str) -> None:
    half = np.dtype(dtype).itemsize // 2
    bits = {4: 0x7F800001, 8: 0x7FF0000000000001}[half]
    signalling = np.array([bits, 0, 0, bits], f"<u{half}").view(dtype)
    change = only_change(tmp_path, signalling, np.array([1, 2], dtype))
    assert (change.differing, change.nans) == (2, 2)
    assert_equal(tmp_path, signalling, np.array([np.nan, complex(0, np.nan)], dtype))


def test_nan_against_numbers_and_infinity(tmp_path: Path) -> None:
    a = np.array([np.nan, 1.0, 4.0, 0.0])
    b = np.array([2.0, np.nan, 3.0, 0.0])
    change = only_change(tmp_path, a, b)
    assert (change.differing, change.largest_absolute, change.largest_relative, change.nans) == (3, 1.0, 0.25, 2)
    change = only_change(tmp_path, np.array([np.nan]), np.array([1.0]))
    assert (change.differing, change.largest_absolute, change.largest_relative, change.nans) == (1, None, None, 1)
    change = only_change(tmp_path, np.array([np.inf, 1.0]), np.array([2.0, 2.0]))
    assert (change.largest_absolute, change.largest_relative, change.nans) == (np.inf, np.inf, 0)
    change = only_change(tmp_path, np.array([np.inf]), np.array([-np.inf]))
    assert (change.largest_absolute, change.largest_relative) == (np.inf, np.inf)


@pytest.mark.parametrize(
    ("dtype", "a", "b", "absolute"),
    [
        ("int64", -(2**63), 2**63 - 1, 2**64 - 1),
        ("uint64", 0, 2**64 - 1, 2**64 - 1),
        ("int64", 2**62, 2**62 + 1, 1),
        ("uint8", 3, 250, 247),
        ("int8", -128, 127, 255),
        ("bool", False, True, 1),
        ("int4", -8, 7, 15),
        ("uint4", 0, 15, 15),
        ("int2", -2, 1, 3),
    ],
)
def test_integers_are_exact(tmp_path: Path, dtype: str, a: int, b: int, absolute: int) -> None:
    change = only_change(tmp_path, np.array([a, 1], numpy_type(dtype)), np.array([b, 1], numpy_type(dtype)))
    assert (change.differing, change.largest_absolute) == (1, absolute)
    assert isinstance(change.largest_absolute, int)
    assert change.largest_relative == pytest.approx(absolute / max(abs(a), abs(b)))


def test_complex_numbers(tmp_path: Path) -> None:
    a, b = np.array([3 + 4j, np.nan], np.complex64), np.array([0, np.nan], np.complex64)
    change = only_change(tmp_path, a, b)
    assert (change.differing, change.largest_absolute, change.largest_relative) == (1, 5.0, 1.0)


def test_renamed_and_empty_tensors(tmp_path: Path) -> None:
    """A tensor goes by its name; one without elements differs by type or shape alone."""
    write_bundle(tmp_path / "a", {"old": MATRIX, "none": np.zeros((0, 3)), "some": np.zeros((0, 3))})
    write_bundle(tmp_path / "b", {"new": MATRIX, "none": np.zeros((0, 3)), "some": np.zeros((2, 0))})
    found = tfbundle.diff(tmp_path / "a", tmp_path / "b")
    assert (found.removed, found.added, found.same) == (("old",), ("new",), 1)
    assert found.changed == (Change("some", ("DT_DOUBLE", "DT_DOUBLE"), ((0, 3), (2, 0))),)


@pytest.mark.parametrize(
    ("dtype", "a", "b", "absolute", "relative"),
    [
        ("bfloat16", 1.0, 1.0078125, 2**-7, 2**-7 / 1.0078125),
        ("float16", 65504.0, -65504.0, 131008.0, 2.0),
        ("float32", 1e38, -3e38, 4e38, 4 / 3),
        ("float64", 1e-300, 0.0, 1e-300, 1.0),
        ("float64", 1.5e308, -1.5e308, np.inf, np.inf),
    ],
)
def test_floats_that_their_own_type_cannot_subtract(
    tmp_path: Path, dtype: str, a: float, b: float, absolute: float, relative: float
) -> None:
    change = only_change(tmp_path, np.array([a, 7], numpy_type(dtype)), np.array([b, 7], numpy_type(dtype)))
    assert (change.differing, change.nans) == (1, 0)
    assert change.largest_absolute == pytest.approx(absolute)
    assert change.largest_relative == pytest.approx(relative)


def test_strings_and_variants(tmp_path: Path) -> None:
    change = only_change(tmp_path, object_array([b"a", b"b", b"c"]), object_array([b"a", b"", b"cc"]))
    assert (change.differing, change.largest_absolute, change.largest_relative) == (2, None, None)
    variants = [Saved(object_array([b"\x0a" + bytes([len(name)]) + name]), VARIANT) for name in (b"one", b"two")]
    change = only_change(tmp_path, *variants)
    assert (change.data_types, change.differing) == (("DT_VARIANT", "DT_VARIANT"), 1)
    assert_equal(tmp_path, variants[0], variants[0])


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(tmp_path: Path, name: str) -> None:
    array = sample_array(name, (5, 3))
    sliced = Saved(array, slices=[(FULL, (0, 2)), (FULL, (2, 1))], shards=[1, 0])
    write_bundle(tmp_path / "a", {"v": array})
    write_bundle(tmp_path / "b", {"v": sliced}, num_shards=2, byteorder="big", alignment=64)
    assert not tfbundle.diff(tmp_path / "a", tmp_path / "b")
    other = sample_array(name, (5, 3), seed=1)
    write_bundle(tmp_path / "c", {"v": other})
    (change,) = tfbundle.diff(tmp_path / "a", tmp_path / "c").changed
    wide = [
        array if name == "object" else array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
        for array in (array, other)
    ]
    unequal = wide[0] != wide[1]
    if name != "object":
        unequal &= ~(np.isnan(wide[0]) & np.isnan(wide[1]))
    assert change.differing == unequal.sum()


def test_formats_are_compared_by_value(tmp_path: Path) -> None:
    tensors = {"a": MATRIX, "b": object_array([b"x", b""]), "c": np.array(7, np.int64)}
    write_v1(tmp_path / "old", {**tensors, "a": V1Saved(MATRIX, slices=[((0, 2), FULL), ((2, 4), FULL)])})
    write_bundle(tmp_path / "new", tensors)
    assert not tfbundle.diff(tmp_path / "old", tmp_path / "new")
    for folder in ("tf-0.12.1", "tf-1.15.5"):
        path = next((FIXTURES / folder / "v1-and-v2-of-one-name").glob("*.index")).with_suffix("")
        with (
            tfbundle.open_checkpoint(path, format="v1") as old,
            tfbundle.open_checkpoint(path, format="v2") as new,
        ):
            found = tfbundle.diff(old, new)
            wanted = [name for name in old if name in new and not _same(old[name], new[name])]
        assert [change.name for change in found.changed] == wanted


def _same(a: Any, b: Any) -> bool:
    return bool(a.dtype == b.dtype and a.shape == b.shape and a.read().tobytes() == b.read().tobytes())


@pytest.mark.parametrize("expected", [*expected_checkpoints("v2"), *expected_checkpoints("v1")], ids=str)
def test_fixtures_equal_themselves(expected: Any) -> None:
    path = str(expected.path).replace("-?????-of-00004", "")
    if not tfbundle.verify(path, format=expected.format).ok:
        pytest.skip("TensorFlow does not read all of it either")
    found = tfbundle.diff(path, path, format=expected.format)
    assert not found
    assert found.same == len(expected.tensors)


def test_equal_checksums_prove_nothing(tmp_path: Path) -> None:
    """Two tensors with one CRC-32C, which anyone can make."""
    # Adding a multiple of the CRC's polynomial leaves the CRC as it is.
    polynomial = int(f"{0x11EDC6F41:033b}"[::-1], 2)
    a = np.zeros(8, np.uint8)
    b = np.frombuffer(polynomial.to_bytes(8, "little"), np.uint8)
    places = [write_bundle(tmp_path / name, {"v": array})["v"][0] for name, array in (("a", a), ("b", b))]
    assert places[0] == places[1]
    assert tfbundle.diff(tmp_path / "a", tmp_path / "b").changed[0].differing == np.count_nonzero(b)


@given(st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_runs_of_chunks_are_cut_alike(first: list[int], second: list[int]) -> None:
    length = max(sum(first), sum(second))
    runs = []
    for sizes in (first, second):
        ends = np.cumsum([*sizes, length - sum(sizes)])
        runs.append(iter(np.split(np.arange(length), ends[:-1])))
    pairs = list(tfbundle.comparison.diff._side_by_side(*runs))
    for a, b in pairs:
        assert a.tolist() == b.tolist()
    assert [value for a, _ in pairs for value in a] == list(range(length))


def test_damage_at_the_end_is_noticed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_bundle(tmp_path / name, {"v": MATRIX, "w": MATRIX})
    write_bundle(tmp_path / "c", {"v": Saved(MATRIX, lies={"crc": 1}), "w": MATRIX})
    for pair in (("a", "c"), ("c", "a")):
        found = tfbundle.diff(*(tmp_path / name for name in pair))
        assert found
        assert (found.changed, found.same) == ((), 1)
        assert [(finding.kind, finding.tensor) for finding in found.unreadable] == [("checksum", "v")]
        result = run("diff", *(tmp_path / name for name in pair))
        assert result.exit_code == 1
        assert "! v  checksum: " in result.stdout
        assert result.stdout.endswith("0 changed, 1 unreadable, 1 the same\n")


def test_tensors_are_chosen(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", {"v": MATRIX, "w": MATRIX, "gone": MATRIX})
    write_bundle(tmp_path / "b", {"v": MATRIX, "w": -MATRIX, "new": MATRIX})
    found = tfbundle.diff(tmp_path / "a", tmp_path / "b", names=["v", "new"])
    assert (found.added, found.removed, found.changed, found.same) == (("new",), (), (), 1)
    found = tfbundle.diff(tmp_path / "a", tmp_path / "b", exclude="[wgn]*")
    assert (not found, found.same) == (True, 1)
    with pytest.raises(KeyError, match="none"):
        tfbundle.diff(tmp_path / "a", tmp_path / "b", names="none")
    assert (
        repr(tfbundle.diff(tmp_path / "a", tmp_path / "b")) == "<Diff: 1 removed, 1 added, 1 changed, 1 the same ('w')>"
    )


def test_progress(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", {"v": MATRIX, "w": object_array([b"abc"]), "x": MATRIX})
    write_bundle(tmp_path / "b", {"v": MATRIX, "w": object_array([b"abc"])})
    seen: list[tuple[int, int]] = []
    tfbundle.diff(tmp_path / "a", tmp_path / "b", progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (96 + 8, 96 + 8)


def test_memory_is_bounded(tmp_path: Path) -> None:
    import tracemalloc

    large = np.zeros(8 << 20, np.float32)
    write_bundle(tmp_path / "a", {"v": large})
    large[-1] = 1
    write_bundle(tmp_path / "b", {"v": Saved(large, slices=[((0, 5 << 20),), ((5 << 20, 3 << 20),)])})
    del large
    tracemalloc.start()
    assert tfbundle.diff(tmp_path / "a", tmp_path / "b").changed[0].differing == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_command(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", {"gone\n": MATRIX, "v": np.array([np.inf, 1]), "same": MATRIX, "t": MATRIX})
    write_bundle(tmp_path / "b", {"new": MATRIX, "v": np.array([2.0, 1]), "same": MATRIX, "t": MATRIX[0]})
    result = run("diff", str(tmp_path / "a"), str(tmp_path / "b"))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "- gone\\n",
        "+ new",
        "~ t  float32 [6,4] became float32 [4]",
        "~ v  1 of 2 elements, by at most inf (relative inf)",
        "1 tensor removed, 1 added, 2 changed, 1 the same",
    ]
    result = run("diff", str(tmp_path / "a"), str(tmp_path / "b"), "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["added"] == ["new"]
    assert found["changed"][1]["largest_absolute"] == "Infinity"
    result = run("diff", str(tmp_path / "a"), str(tmp_path / "a"))
    assert (result.exit_code, result.stdout) == (0, "0 tensors removed, 0 added, 0 changed, 4 the same\n")
    result = run("diff", str(tmp_path / "a"), str(tmp_path / "none"))
    assert result.exit_code == 2


def test_command_chooses_tensors(tmp_path: Path) -> None:
    write_bundle(tmp_path / "a", {"v": MATRIX, "w[0]": MATRIX, "w0": MATRIX, "gone": MATRIX})
    write_bundle(tmp_path / "b", {"v": MATRIX, "w[0]": -MATRIX, "w0": -MATRIX, "new": MATRIX})
    paths = (tmp_path / "a", tmp_path / "b")

    def names(*options: str) -> tuple[list[str], list[str], list[str], int]:
        result = run("diff", *paths, "--json", *options)
        found = json.loads(result.stdout)
        changed = [change["name"] for change in found["changed"]]
        assert result.exit_code == bool(found["added"] or found["removed"] or changed)
        return found["removed"], found["added"], changed, found["same"]

    assert names("--names", "v") == ([], [], [], 1)
    assert names("--names", "new", "--names", "gone") == (["gone"], ["new"], [], 0)
    assert names("--names", "w[0]") == ([], [], ["w[0]"], 0)
    assert names("--exclude", "w*", "--exclude", "new") == (["gone"], [], [], 1)
    assert names("--names", "w*", "--exclude", "w0") == ([], [], ["w[0]"], 0)
    for option in ("--names", "--exclude"):
        result = run("diff", *paths, option, "none*", option, "v")
        assert result.exit_code != 0
        assert "none*" in result.output


@pytest.mark.parametrize("reverse", [False, True])
def test_a_model_that_keras_3_exported(reverse: bool) -> None:
    """Each variable is stored twice, under keys that the checkpoint of the model has not."""
    paths = [FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model", FIXTURES / "tf-2.21.0" / "checkpoint-manager"]
    found = tfbundle.diff(*(paths[::-1] if reverse else paths))
    removed, added = (found.added, found.removed) if reverse else (found.removed, found.added)
    assert removed == ()
    assert all(name.startswith(("history/", "optimizer/", "save_counter/", "step/")) for name in added)
    names = [
        (change.other_name, change.name) if reverse else (change.name, change.other_name) for change in found.changed
    ]
    assert len(names) == 10
    assert not [a for a, _ in names if not a.startswith("variables/")]
    with tfbundle.open_checkpoint(paths[0]) as saved, tfbundle.open_checkpoint(paths[1]) as managed:
        for a, b in names:
            assert saved.objects.variable_names[a] == managed.objects.variable_names[b]
            assert not np.array_equal(saved[a].read(), managed[b].read())


@pytest.mark.parametrize("version", ["tf-2.4.4", "tf-2.15.1"])
def test_a_model_that_keras_2_saved(version: str) -> None:
    paths = [FIXTURES / version / "keras-saved-model" / "model", FIXTURES / version / "checkpoint-manager"]
    found = tfbundle.diff(*paths)
    assert found.added
    assert all(name.startswith("keras_api/") for name in found.removed)
    with tfbundle.open_checkpoint(paths[0]) as saved, tfbundle.open_checkpoint(paths[1]) as managed:
        for change in found.changed:
            other = change.other_name or change.name
            assert saved.objects.variable_names[change.name] == managed.objects.variable_names[other]
            assert not np.array_equal(saved[change.name].read(), managed[other].read())


@pytest.mark.effort
def test_many_small_tensors_take_little_memory(tmp_path: Path) -> None:
    """No more than the two indexes, some hundred bytes for each tensor, and a batch."""
    import tracemalloc

    count = 14_000
    value = np.float32([1])
    write_bundle(tmp_path / "a", {f"layer/{number:06}": value for number in range(count)})
    tfbundle.diff(tmp_path / "a", tmp_path / "a", names="layer/000000")  # Imports what it needs.
    tracemalloc.start()
    assert tfbundle.diff(tmp_path / "a", tmp_path / "a").same == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1000 * count


def test_an_iterator_of_names_selects_them_in_both(tmp_path: Path) -> None:
    for name, value in (("a", 0), ("b", 1)):
        write_bundle(tmp_path / name, {"v": MATRIX + value, "w": MATRIX})
    found = tfbundle.diff(tmp_path / "a", tmp_path / "b", names=iter(["v", "w"]), exclude=iter(["w"]))  # type: ignore[arg-type]
    assert (found.removed, found.added, found.same, [change.name for change in found.changed]) == ((), (), 0, ["v"])
    with pytest.raises(KeyError, match="names in a list or dict are exact"):
        tfbundle.diff(tmp_path / "a", tmp_path / "b", names=["v*"])


@pytest.mark.parametrize("names", [5, b"v", 1.5, [5], [b"v"]])
def test_names_that_are_not_names(tmp_path: Path, names: Any) -> None:
    write_bundle(tmp_path / "a", {"v": MATRIX})
    checks: list[Callable[[], object]] = [
        lambda: tfbundle.load(tmp_path / "a", names=names),
        lambda: tfbundle.diff(tmp_path / "a", tmp_path / "a", names=names),
        lambda: tfbundle.fingerprint(tmp_path / "a", names=names),
        lambda: tfbundle.convert(tmp_path / "a", tmp_path / "o.npz", exclude=names),
        lambda: tfbundle.zarr_references(tmp_path / "a", names=names),
    ]
    for check in checks:
        with pytest.raises(TypeError, match=r"^expected a (name, a glob|list of names, which are str)"):
            check()
