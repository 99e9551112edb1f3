"""The graphs in the fixtures: files that TensorFlow wrote, and what it read from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.message import Message

from tests.support.expected import FIXTURES


class ExpectedGraph(NamedTuple):
    """A file with a graph; ``kind`` is ``"graph"``, ``"meta_graph"`` or ``"saved_model"``."""

    path: Path
    kind: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        return self.path.relative_to(FIXTURES).as_posix()


def expected_graphs() -> Iterator[ExpectedGraph]:
    """Every graph file in the fixtures."""
    for file in sorted(FIXTURES.glob("*/*/EXPECTED.json")):
        for facts in json.loads(file.read_text(encoding="utf-8")).get("graphs", []):
            yield ExpectedGraph(file.parent / facts["path"], facts["kind"], facts)


def sha256_of_message(message: Message) -> str:
    """The hash as the fixtures have it."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
