"""FarmHash's fingerprint against what ``tf.fingerprint`` of TensorFlow 2.21 returned."""

import pytest

from tests.support.expected import FIXTURES
from tfbundle.formats.farmhash import fingerprint64
from tfbundle.proto import FingerprintDef

VECTORS = [
    (0, 0x9AE16A3B2F90404F),
    (1, 0x57821EFDEE1B7472),
    (3, 0x1E3FFA2A6462F390),
    (4, 0xBAAB30044D602506),
    (7, 0x76A2B0A5B5938594),
    (8, 0xF712AED8E7B455C8),
    (15, 0x7F523B1E1005F314),
    (16, 0x34469B5EA8720060),
    (17, 0xE155278140559AA1),
    (32, 0x03CC67ACDFFE8974),
    (33, 0x70BA1A11A89A23AB),
    (64, 0xB0FC330ADF511708),
    (65, 0xAC91926C618750F5),
    (127, 0x650E8A29315D4D44),
    (128, 0xEF0B95F0A82BAB87),
    (129, 0x82EE9E6338DEF7AC),
    (193, 0xDA4319491BA37CB6),
    (100000, 0xB0AFF25AB1E11DA7),
]


@pytest.mark.parametrize(("size", "expected"), VECTORS, ids=[str(size) for size, _ in VECTORS])
def test_what_tensorflow_returns(size: int, expected: int) -> None:
    assert fingerprint64(bytes((i * 131 + size * 7 + (i >> 3)) & 0xFF for i in range(size))) == expected


@pytest.mark.parametrize("model", ["tf-2.15.1/keras-saved-model", "tf-2.21.0/keras-saved-model"])
def test_the_hash_of_an_index(model: str) -> None:
    folder = FIXTURES / model / "model"
    stored = FingerprintDef.FromString((folder / "fingerprint.pb").read_bytes()).checkpoint_hash
    assert fingerprint64((folder / "variables" / "variables.index").read_bytes()) == stored
