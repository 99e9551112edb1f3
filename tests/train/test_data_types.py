"""``DType`` has the attributes of TensorFlow's, for every type and every reference."""

import pickle
from typing import Any

import numpy as np
import pytest

from tfbundle import train
from tfbundle.errors import FormatError, UnsupportedError

NUMBERS = [*range(1, 34), *range(101, 134)]
ATTRIBUTES = (
    "as_datatype_enum",
    "base_dtype",
    "is_bool",
    "is_complex",
    "is_floating",
    "is_integer",
    "is_numpy_compatible",
    "is_quantized",
    "is_unsigned",
    "name",
    "real_dtype",
    "size",
)
NOT_OF_NUMPY = ("variant", "resource")


@pytest.mark.parametrize("number", NUMBERS)
class TestAgainstTensorFlow:
    def test_attributes(self, tf: Any, number: int) -> None:
        ours, theirs = train.DType(number), tf.dtypes.as_dtype(number)
        for attribute in ATTRIBUTES:
            assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
            assert type(getattr(ours, attribute)) in (train.DType, type(getattr(theirs, attribute))), attribute
        assert str(ours) == str(theirs)

    def test_equality(self, tf: Any, number: int) -> None:
        ours, theirs = train.DType(number), tf.dtypes.as_dtype(number)
        assert ours == theirs
        assert theirs == ours
        assert hash(ours) == hash(theirs)
        if ours.base_dtype.name not in NOT_OF_NUMPY:  # TensorFlow knows no type of numpy's for these.
            assert np.dtype(ours.as_numpy_dtype) == np.dtype(theirs.as_numpy_dtype)
            assert number > 100 or ours.as_numpy_dtype is theirs.as_numpy_dtype or ours.is_quantized
            assert ours == theirs.as_numpy_dtype

    def test_limits(self, tf: Any, number: int) -> None:
        ours, theirs = train.DType(number), tf.dtypes.as_dtype(number)
        for name in ("min", "max"):
            try:
                limit = getattr(theirs, name)
            except TypeError:
                with pytest.raises(TypeError, match="no least and no greatest"):
                    getattr(ours, name)
            else:
                assert getattr(ours, name) == limit
                assert type(getattr(ours, name)) is type(limit)

    def test_compatibility(self, tf: Any, number: int) -> None:
        ours, theirs = train.DType(number), tf.dtypes.as_dtype(number)
        for other in NUMBERS:
            assert ours.is_compatible_with(train.DType(other)) is theirs.is_compatible_with(other)
        assert ours.is_compatible_with(number)

    def test_names(self, tf: Any, number: int) -> None:
        theirs = tf.dtypes.as_dtype(number)
        assert train.as_dtype(theirs.name) == theirs
        assert train.as_dtype(theirs) == theirs
        assert train.as_dtype(number) == number
        if number < 100 and theirs.name not in NOT_OF_NUMPY and not theirs.is_quantized:
            assert train.as_dtype(theirs.as_numpy_dtype) == theirs


class TestAsDtype:
    @pytest.mark.parametrize(
        "value", ["half", "float", "double", "float_ref", np.float32, np.dtype(">i2"), object, bool]
    )
    def test_against_tensorflow(self, tf: Any, value: Any) -> None:
        assert train.as_dtype(value) == tf.dtypes.as_dtype(value).as_datatype_enum

    @pytest.mark.parametrize("value", [None, "floats", 0, 99, 134, [], True, np.dtype("M8[s]"), np.dtype([("", "f4")])])
    def test_what_stands_for_no_type(self, value: Any) -> None:
        with pytest.raises(TypeError, match="is not a data type of TensorFlow"):
            train.as_dtype(value)


class TestDType:
    def test_equality(self) -> None:
        float32 = train.DType(1)
        for same in (train.DType(1), "float32", np.float32, np.dtype("float32"), 1):
            assert float32 == same
        for other in (train.DType(2), "float64", np.float64, np.dtype([("a", "f4")]), 2, None, [], "DT_FLOAT"):
            assert float32 != other
        assert train.DType(11) != np.int8
        assert train.DType(99) != np.int8
        assert len({train.DType(1), train.DType(1), train.DType(3)}) == 2
        assert pickle.loads(pickle.dumps(float32)) == float32
        assert repr(float32) == "DType('float32')"

    def test_unknown_numbers(self) -> None:
        dtype = train.DType(77)
        assert dtype.name == "77"
        assert [dtype.is_floating, dtype.is_integer, dtype.is_quantized] == [False, False, False]
        for attribute in ("size", "as_numpy_dtype"):
            with pytest.raises(FormatError):
                getattr(dtype, attribute)
        with pytest.raises(UnsupportedError):
            _ = train.DType(20).as_numpy_dtype
