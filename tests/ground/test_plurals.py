"""Numbers with a noun in messages."""

from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import write_bundle
from tfbundle.plurals import plural


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (1, "1 byte"), (2, "2 bytes"), (1000, "1000 bytes")])
def test_the_form_of_the_noun(number: int, text: str) -> None:
    assert plural(number, "byte") == text


def test_one_of_something(tmp_path: Path) -> None:
    """Messages and reprs about a single byte, tensor or dimension."""
    write_bundle(tmp_path / "m", {"v": np.array([1], np.int8)})
    with tfbundle.open_checkpoint(tmp_path / "m") as checkpoint:
        assert repr(checkpoint["v"]).endswith("1 byte>")
        with pytest.raises(IndexError, match="the tensor has 1 dimension, and 2 were indexed"):
            checkpoint["v"][0, 0]
    assert "1 tensor, 1 byte verified" in repr(tfbundle.verify(tmp_path / "m"))
    data = tmp_path / "m.data-00000-of-00001"
    data.write_bytes(data.read_bytes() + b"x")
    (finding,) = tfbundle.verify(tmp_path / "m").findings
    assert "no tensor claims 1 byte at offset 1" in finding.message
