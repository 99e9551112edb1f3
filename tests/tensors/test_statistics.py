"""Statistics of chunks, joined, compared with numpy over the whole array."""

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tfbundle.tensors.distributions import BINS, QUANTILES
from tfbundle.tensors.row_statistics import summarize_rows
from tfbundle.tensors.statistics import EXACT, PICTURE, Statistics, join, make_plan, summarize


def gather(array: Any, chunk: int = 1 << 14) -> Statistics:
    flat = array.reshape(-1)
    plan = make_plan(array.shape)
    return join(plan, (summarize(flat[i : i + chunk], i, plan) for i in range(0, len(flat), chunk)))


def arrays() -> Iterator[tuple[str, Any]]:
    rng = np.random.default_rng(1)
    normal = rng.standard_normal((300, 257))
    yield "float32", normal.astype(np.float32)
    yield "float64", normal
    yield "float16", normal.astype(np.float16)
    yield "bfloat16", normal.astype(ml_dtypes.bfloat16)
    yield "float8", normal.astype(ml_dtypes.float8_e4m3fn)
    yield "far from zero", (1000 + 1e-2 * normal).astype(np.float32)
    yield "next to one", (1 + 1e-4 * normal).astype(np.float32)
    yield "one far chunk", np.concatenate([normal, 1e4 + normal]).astype(np.float32)
    yield "huge", (normal * 1e37).astype(np.float32)
    yield "tiny", (normal * 1e-38).astype(np.float32)
    yield "huge float64", normal * 1e300
    yield "constant", np.full((300, 300), np.float32(0.1))
    yield "zeros", np.zeros((300, 300), np.float32)
    yield "int64", rng.integers(-(2**62), 2**62, (300, 300))
    yield "uint64", rng.integers(0, 2**64, (300, 300), np.uint64)
    yield "int8", rng.integers(-128, 128, (300, 300), np.int8)
    yield "int4", rng.integers(-8, 8, (300, 300)).astype(ml_dtypes.int4)
    yield "bool", rng.random((300, 300)) < 0.3
    yield "scalar", np.array(3.5, np.float32)
    yield "small", np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(("name", "array"), list(arrays()), ids=[name for name, _ in arrays()])
class TestEveryType:
    def test_what_covers_all_elements(self, name: str, array: Any) -> None:
        found = gather(array)
        whole = array.astype(np.float64) if array.dtype.kind not in "iu" else array
        assert found.min == whole.min().item()
        assert found.max == whole.max().item()
        assert found.zeros == int((whole == 0).sum())
        assert (found.nan, found.infinite) == (0, 0)
        # Numbers whose squares overflow have no deviation in numpy's formula either.
        scaled = whole.astype(np.longdouble)
        assert found.mean == pytest.approx(float(scaled.mean()), rel=1e-5, abs=1e-6 * float(abs(scaled).mean()))
        if name == "huge float64":
            assert found.std is None
        else:
            assert found.std == pytest.approx(float(scaled.std()), rel=1e-4, abs=1e-7 * float(abs(scaled).max()))

    def test_histogram_and_quantiles(self, name: str, array: Any) -> None:
        found = gather(array)
        whole = np.sort(array.astype(np.float64).reshape(-1))
        places = [np.searchsorted(whole, value) / max(1, len(whole)) for value in found.quantiles]
        if found.min == found.max:
            assert found.counts == ()
            assert set(found.quantiles) <= {found.min}
        else:
            assert len(found.counts) == BINS
            scale = 1e-300 if name == "huge float64" else 1  # numpy does not divide a range of more than 1e308.
            expected = np.histogram(whole * scale, BINS, (float(found.min) * scale, float(found.max) * scale))[0]
            shares = np.array(found.counts) / sum(found.counts)
            assert np.abs(shares - expected / len(whole)).max() < 0.02
        if array.size > 1000 and len(np.unique(whole)) > 1000:
            assert places == pytest.approx(QUANTILES, abs=0.015)


class TestNumbersThatAreNotFinite:
    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
    def test_they_are_counted_and_left_out(self, dtype: Any) -> None:
        array = np.arange(50_000, dtype=np.float64).reshape(500, 100) % 97
        array[3, 4] = array[499, 99] = np.nan
        array[100] = np.inf
        array[7, 7] = -np.inf
        found = gather(array.astype(dtype))
        rest = array[np.isfinite(array)]
        assert (found.nan, found.infinite) == (2, 101)
        assert (found.min, found.max) == (0, 96)
        assert found.mean == pytest.approx(rest.mean(), rel=1e-5)
        assert found.std == pytest.approx(rest.std(), rel=1e-5)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_there_is_nothing_else(self, value: float) -> None:
        found = gather(np.full((200, 200), value, np.float32))
        assert found.nan + found.infinite == 40_000
        assert (found.min, found.max, found.mean, found.std, found.quantiles) == (None, None, None, None, ())

    def test_complex_numbers_are_only_counted(self) -> None:
        array = np.array([0, 1j, np.nan + 1j, np.inf], np.complex64)
        found = gather(array)
        assert (found.zeros, found.nan, found.infinite, found.min) == (1, 1, 1, None)


class TestSampling:
    @pytest.mark.parametrize(("size", "is_exact"), [(EXACT, True), (EXACT + 1, False)])
    def test_only_larger_tensors_are_sampled(self, size: int, is_exact: bool) -> None:
        found = gather(np.arange(size, dtype=np.float32))
        assert (found.stride == 1) == is_exact
        assert (sum(found.counts) == size) == is_exact

    def test_small_tensors_have_the_quantiles_of_numpy(self) -> None:
        array = np.random.default_rng(2).standard_normal(1001)
        assert gather(array).quantiles == pytest.approx(np.quantile(array, QUANTILES))

    @pytest.mark.parametrize("columns", [16, 17, 19, 64, 17 * 19])
    def test_every_column_is_met(self, columns: int) -> None:
        """A stride that divides the number of columns would see a few of them alone."""
        rows = (1 << 19) // columns
        array = np.broadcast_to(np.arange(columns, dtype=np.float32), (rows, columns))
        found = gather(np.ascontiguousarray(array))
        assert found.stride > 1
        assert found.quantiles[3] == pytest.approx((columns - 1) / 2, abs=max(1, columns / 50))

    def test_chunks_of_any_size_give_the_same_result(self) -> None:
        array = np.random.default_rng(3).standard_normal((1000, 99)).astype(np.float32)
        one, other = gather(array, 1 << 20), gather(array, 777)
        assert one.counts == other.counts
        assert one.quantiles == other.quantiles
        assert one.picture is not None
        assert other.picture is not None
        assert np.array_equal(one.picture.values, other.picture.values)
        assert one.mean == pytest.approx(other.mean, abs=1e-7)
        assert one.std == pytest.approx(other.std, rel=1e-6)


class TestPictures:
    def test_a_small_matrix_is_drawn_whole(self) -> None:
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        picture = gather(array).picture
        assert picture is not None
        assert (picture.rows, picture.columns) == (3, 4)
        assert picture.values.tolist() == list(range(12))

    def test_a_large_one_at_even_distances(self) -> None:
        picture = gather(np.eye(960, dtype=np.float32)).picture
        assert picture is not None
        assert (picture.rows, picture.columns) == (PICTURE, PICTURE)
        assert np.array_equal(picture.values.reshape(PICTURE, PICTURE), np.eye(PICTURE))

    @pytest.mark.parametrize(("length", "drawn"), [(PICTURE, PICTURE), (PICTURE + 1, PICTURE)])
    def test_both_sides_of_the_limit(self, length: int, drawn: int) -> None:
        picture = gather(np.arange(2 * length, dtype=np.float32).reshape(2, length)).picture
        assert picture is not None
        assert (picture.rows, picture.columns) == (2, drawn)
        assert len(set(picture.values.tolist())) == 2 * drawn

    @pytest.mark.parametrize(
        ("shape", "size"), [((3, 3, 8, 16), (48, 16)), ((1, 1, 8, 16), (8, 16)), ((8, 1, 5), (8, 5))]
    )
    def test_kernels_are_matrices_of_their_last_dimension(self, shape: Any, size: Any) -> None:
        picture = gather(np.ones(shape, np.float32)).picture
        assert picture is not None
        assert (picture.rows, picture.columns) == size

    @pytest.mark.parametrize("shape", [(), (7,), (1, 7), (7, 1), (1, 1)])
    def test_anything_else_has_none(self, shape: Any) -> None:
        assert gather(np.ones(shape, np.float32)).picture is None


class TestManyAtOnce:
    """Small tensors of one type and shape are rows of a matrix; a row has the statistics that it would have alone."""

    @pytest.mark.parametrize(("name", "array"), list(arrays()), ids=[name for name, _ in arrays()])
    @pytest.mark.parametrize("shape", [(), (1,), (7, 9), (EXACT,), (EXACT + 1,), (3, 3, 600)])
    def test_rows_are_summarized_as_tensors_are(self, name: str, array: Any, shape: Any) -> None:
        size = int(np.prod(shape))
        rows = np.resize(array, (5, size)) if array.size < 5 * size else array.reshape(-1)[: 5 * size].reshape(5, size)
        for row, found in zip(rows, summarize_rows(rows, shape), strict=True):
            assert_same(found, gather(row.reshape(shape), size))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
    @pytest.mark.parametrize("which", [[], [0], [1, 3], [0, 1, 2, 3]])
    def test_rows_that_are_not_finite(self, dtype: Any, which: list[int]) -> None:
        rows = (np.arange(80).reshape(4, 20) % 7).astype(dtype)
        for number in which:
            rows[number, number], rows[number, 19] = np.nan, -np.inf
        found = summarize_rows(rows, (4, 5))
        assert [bool(item.nan and item.infinite) for item in found] == [number in which for number in range(4)]
        for row, item in zip(rows, found, strict=True):
            assert_same(item, gather(row.reshape(4, 5)))

    def test_complex_numbers(self) -> None:
        rows = np.array([[0, 1j], [np.nan, 0]], np.complex64)
        assert [(item.zeros, item.nan, item.min) for item in summarize_rows(rows, (2,))] == [(1, 0, None), (1, 1, None)]

    def test_tensors_without_elements(self) -> None:
        assert summarize_rows(np.zeros((3, 0), np.float32), (2, 0)) == [Statistics()] * 3

    def test_many_rows(self) -> None:
        """More rows than are summarized together."""
        rows = np.random.default_rng(4).standard_normal((3000, 64)).astype(np.float32)
        found = summarize_rows(rows, (8, 8))
        assert [item.min for item in found] == rows.min(axis=1).tolist()
        assert [item.mean for item in found] == pytest.approx(rows.astype(np.float64).mean(axis=1).tolist())
        assert [item.quantiles for item in found[::999]] == [
            pytest.approx(np.quantile(row, QUANTILES)) for row in rows[::999]
        ]


def assert_same(found: Statistics, expected: Statistics) -> None:
    assert found._replace(mean=None, std=None, picture=None) == expected._replace(mean=None, std=None, picture=None)
    size = abs(expected.mean or 0) + abs(expected.std or 0)
    assert found.mean == (expected.mean if expected.mean is None else pytest.approx(expected.mean, abs=1e-6 * size))
    assert found.std == (expected.std if expected.std is None else pytest.approx(expected.std, abs=1e-6 * size))
    assert (found.picture is None) == (expected.picture is None)
    if found.picture is not None and expected.picture is not None:
        assert found.picture[:2] == expected.picture[:2]
        assert np.array_equal(found.picture.values, expected.picture.values, equal_nan=True)
