"""The same script of saves, run by TensorFlow in one folder and by this library in another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# Names in another order than that of the alphabet, which is the one in which they are stored.
VALUES = {"layer/w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(7, np.int64), "Z": np.array([True])}


class Clock:
    """``time.time`` that stands still unless a test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_700_000_000.25
        monkeypatch.setattr(time, "time", lambda: self.now)


def tree(folder: Path) -> dict[str, bytes]:
    """Return what is below a folder: the content of each file by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_same_folders(ours: Path, theirs: Path) -> None:
    """Fail unless two folders have the same files with the same bytes; in state files each may name itself."""
    mine, other = tree(ours), tree(theirs)
    assert sorted(mine) == sorted(other), (mine.keys() ^ other.keys(),)
    for name, data in mine.items():
        assert data.replace(os.fsencode(ours), b"HERE") == other[name].replace(os.fsencode(theirs), b"HERE"), name


class Theirs:
    """TensorFlow's ``Saver`` in a session of a graph with the variables of ``VALUES``."""

    def __init__(self, tf: Any, session: Any, variables: dict[str, Any]) -> None:
        self.tf = tf
        self.session = session
        self.variables = variables

    def assign(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self.variables[name].load(value, self.session)

    @property
    def meta_graph(self) -> Any:
        return self.tf.compat.v1.train.export_meta_graph()


@contextmanager
def tensorflow_session(tf: Any, values: dict[str, Any] = VALUES) -> Iterator[Theirs]:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        variables = {name: v1.Variable(value, name=name, use_resource=False) for name, value in values.items()}
        session.run(v1.global_variables_initializer())
        yield Theirs(tf, session, variables)


Script = Callable[..., None]
