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
    "is_numeric",
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
        assert int(ours) == int(theirs)

    def test_equality(self, tf: Any, number: int) -> None:
        ours, theirs = train.DType(number), tf.dtypes.as_dtype(number)
        assert ours == theirs
        assert theirs == ours
        assert hash(ours) == hash(theirs)
        if ours.base_dtype.name not in NOT_OF_NUMPY:  # TensorFlow knows no type of numpy's for these.
            assert np.dtype(ours.as_numpy_dtype) == np.dtype(theirs.as_numpy_dtype)
            assert number > 100 or ours.as_numpy_dtype is theirs.as_numpy_dtype or ours.is_quantized
            assert (ours == theirs.as_numpy_dtype) is (theirs == theirs.as_numpy_dtype)

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

    def test_limits_of_images(self, tf: Any, number: int) -> None:
        ours, theirs = train.DType(number), tf.dtypes.as_dtype(number)
        try:
            limits = theirs.limits
        except (ValueError, KeyError):
            with pytest.raises(ValueError, match="no range of intensities"):
                _ = ours.limits
        else:
            assert ours.limits == limits

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
        "value",
        [
            *("half", "float", "double", "float_ref", np.float32, np.intc, np.dtype(">i2"), np.dtype(np.longlong)),
            *(object, bool, float, np.str_, np.bytes_, np.dtype("S3"), np.dtype("U3"), np.int64(3)),
            *(np.zeros(3), np.array(1), np.float32(0.5), np.array([b"a"])),
            *(np.dtype([(name, of)]) for name, of in (("qint8", "i1"), ("quint16", "u2"), ("qint32", np.int32))),
        ],
    )
    def test_against_tensorflow(self, tf: Any, value: Any) -> None:
        """Equality and compatibility follow from it, except for numbers and arrays."""
        ours, theirs = train.as_dtype(value), tf.dtypes.as_dtype(value)
        assert ours == theirs.as_datatype_enum
        if not isinstance(value, np.ndarray):
            assert (ours == value) is True
            assert [train.DType(number) == value for number in NUMBERS] == [
                tf.dtypes.as_dtype(number) == value for number in NUMBERS
            ]

    @pytest.mark.parametrize(
        "value",
        [
            *(None, "floats", 0, 99, 134, [], True, np.dtype("M8[s]"), np.dtype([("", "f4")]), np.dtype("V4")),
            *(int, complex, str, bytes, list, type(None), train.DType, np.longdouble, np.datetime64, np.void, "f4"),
            *(np.dtype([("qint8", "i2")]), np.dtype([("qint32", ">i4")]), np.dtype([("resource", "u1")])),
        ],
    )
    def test_what_stands_for_no_type(self, value: Any) -> None:
        with pytest.raises(TypeError, match="is not a data type of TensorFlow"):
            train.as_dtype(value)
        assert all(train.DType(number) != value for number in NUMBERS[1:])


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
