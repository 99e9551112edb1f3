"""Importing tfbundle: quick, free of what is not needed yet, and with every public name."""

import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest

import tfbundle

ROOT = Path(tfbundle.__file__).resolve().parents[1]


def run_python(script: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


HEAVY = ("numpy", "google", "ml_dtypes", "crc32c", "snappy", "tensorflow", "click", "rich", "safetensors")


def test_import_loads_nothing_heavy() -> None:
    script = "import sys, tfbundle; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    assert not set(run_python(script).split()) & set(HEAVY)


def test_listing_the_names_loads_nothing_heavy() -> None:
    script = "import sys, tfbundle; dir(tfbundle); print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    assert not set(run_python(script).split()) & set(HEAVY)


def test_reading_never_imports_tensorflow() -> None:
    prefix = ROOT / "fixtures" / "tf-2.21.0" / "folder-without-state-file"
    script = (
        "import sys, tfbundle\n"
        f"assert tfbundle.load({str(prefix)!r})\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    modules = set(run_python(script).split())
    assert "numpy" in modules
    assert not modules & {"tensorflow", "tensorboard", "keras", "click", "rich", "safetensors"}


def test_each_public_name_is_found_first() -> None:
    """Whichever module is used first in a process; the package is imported again for each."""
    modules: dict[str, list[str]] = {}
    for name in tfbundle.__all__:
        modules.setdefault(tfbundle._MODULES.get(name, name), []).append(name)
    script = (
        "import sys, importlib\n"
        f"for names in {list(modules.values())!r}:\n"
        "    for module in [module for module in sys.modules if module.partition('.')[0] == 'tfbundle']:\n"
        "        if not module.startswith('tfbundle.proto.'):\n"  # A message type is registered once in a process.
        "            del sys.modules[module]\n"
        "    tfbundle = importlib.import_module('tfbundle')\n"
        "    for name in names:\n"
        "        assert name in dir(tfbundle)\n"
        "        assert getattr(tfbundle, name) is not None, name\n"
        "        print(name)\n"
    )
    assert sorted(run_python(script).split()) == tfbundle.__all__


def test_public_names_are_sorted_and_whole() -> None:
    assert tfbundle.__all__ == sorted(tfbundle.__all__)
    assert set(tfbundle._MODULES) <= set(tfbundle.__all__)


def test_completion_shows_public_names_alone() -> None:
    """Also once modules were loaded, which Python makes attributes of the package."""
    script = "import tfbundle, tfbundle.checkpoint.v2.store; tfbundle.load; print(*dir(tfbundle))"
    shown = {name for name in run_python(script).split() if not name.startswith("__")}
    assert shown == set(tfbundle.__all__) - {"__version__"}


def test_star_import() -> None:
    names = run_python("from tfbundle import *; print(*globals())").split()
    assert set(tfbundle.__all__) - {"__version__"} <= set(names)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'loads'"):
        _ = tfbundle.loads


def test_version() -> None:
    assert tfbundle.__version__.split(".")[0].isdigit()


def test_package_is_typed() -> None:
    assert (Path(tfbundle.__file__).parent / "py.typed").is_file()


def test_properties_that_jedi_can_read() -> None:
    """jedi 0.20 fails at a property whose type is an alias of a ``Literal``; IPython then completes no attribute."""
    public = [getattr(module, name) for module in (tfbundle, tfbundle.train) for name in module.__all__]
    properties = {
        f"{base.__name__}.{name}": value.fget
        for cls in public
        if inspect.isclass(cls)
        for base in cls.__mro__
        for name, value in vars(base).items()
        if isinstance(value, property) and base.__module__.startswith("tfbundle")
    }
    assert len(properties) > 50
    for name, getter in properties.items():
        words = re.findall(r"\w+", getter.__annotations__["return"])
        assert not [word for word in words if typing.get_origin(getter.__globals__.get(word)) is typing.Literal], name


def test_objects_have_short_reprs(tmp_path: Path) -> None:
    tfbundle.save(tmp_path / "m", {"v": [1.0, 2.0]})
    (tmp_path / "r").write_bytes(b"")
    with tfbundle.CheckpointWriter(tmp_path / "n") as writer:
        writer.add("v", np.float32(1))
        assert repr(writer) == f"<CheckpointWriter {str(tmp_path / 'n')!r}, 4 bytes>"
    reader = tfbundle.train.load_checkpoint(tmp_path / "m")
    assert repr(reader) == f"<CheckpointReader {str(tmp_path / 'm')!r}, 1 tensor>"
    assert repr(tfbundle.read_records(tmp_path / "r")) == f"<RecordIterator {str(tmp_path / 'r')!r}, at offset 0>"
    assert repr(tfbundle.train.EventAccumulator(tmp_path)) == f"<EventAccumulator {str(tmp_path)!r}>"
