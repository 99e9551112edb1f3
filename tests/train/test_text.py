"""``as_bytes``, ``as_text``, ``as_str`` and ``as_str_any`` beside TensorFlow's."""

from __future__ import annotations

from typing import Any

import pytest

from tfbundle.train import text

VALUES = ["a", "", "äöü", "\udcff", b"a", b"", b"\xc3\xa4", b"\xff", bytearray(b"a"), None, 7, 1.5, ["a"]]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "utf8", "nonsense"])
@pytest.mark.parametrize("value", VALUES, ids=ascii)
@pytest.mark.parametrize("name", text.__all__)
def test_against_tensorflow(tf: Any, name: str, value: Any, encoding: str) -> None:
    results: list[Any] = []
    for function in (getattr(text, name), getattr(tf.compat, name)):
        try:
            results.append(function(value, encoding))
        except (TypeError, LookupError, UnicodeError) as error:
            results.append(type(error))
    ours, theirs = results
    assert ours == theirs
    assert type(ours) is type(theirs)
