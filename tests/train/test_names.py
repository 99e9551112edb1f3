"""What ``tfbundle.train`` offers, and what it costs to import it."""

import subprocess
import sys

import pytest

from tfbundle import train


@pytest.mark.parametrize("name", train.__all__)
def test_names_are_there(name: str) -> None:
    assert getattr(train, name) is not None
    assert name in dir(train)


def test_names_alone_are_offered() -> None:
    from tfbundle.train import reading

    own = {name for name in dir(train) if not name.startswith("__")}
    assert own == set(train.__all__)
    assert train.__all__ == sorted(train.__all__)
    assert set(train._MODULES) <= set(train.__all__)
    assert not hasattr(train, "locate")
    assert train.load_checkpoint is reading.load_checkpoint
    with pytest.raises(AttributeError, match="has no attribute 'Savers'"):
        _ = train.Savers  # type: ignore[attr-defined]


def test_the_package_loads_nothing() -> None:
    script = "import sys, tfbundle.train; dir(tfbundle.train); print('numpy' in sys.modules, 'google' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "False"]
