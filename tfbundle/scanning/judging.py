"""The severity of an op's argument: which values are harmless, and how a finding describes the others."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from tfbundle.scanning.op_effects import Effect
from tfbundle.scanning.values import Hole, Text
from tfbundle.storage.stated_paths import split_path

FROM_CALLER = "comes from the caller"
NOT_KNOWN = "unknown"

# PrintV2 writes to these, or else to a file.
_TERMINALS = (b"", b"stderr", b"stdout", b"log(info)", b"log(warning)", b"log(error)")
# A device of this process: a job of another name is another machine.
_OTHER_JOB = re.compile(rb"/job:(?!localhost\b)", re.IGNORECASE)
# The number of characters that are shown of a long argument.
_LONGEST = 300
_MOST_SHOWN = 8
# Bytes of the values that a finding keeps in full, for policies.
_MOST_KEPT = 16 << 10

RULE_OF_CLASS = {
    "reads": "reads-files",
    "writes": "writes-files",
    "lists": "lists-files",
    "network": "network",
    "python": "python-code",
    "program": "program-in-data",
    "native": "native-code",
    "process": "process",
    "configuration": "configuration",
}
"""The rule of the findings of each class of ops."""


class Judgement(NamedTuple):
    """What values make of an op: the rule, the severities when called and when loaded, and the argument in words.

    ``arguments`` are the values themselves, and none where one of them is open.
    """

    rule: str
    called: str
    loaded: str
    argument: str | None
    arguments: tuple[str, ...] = ()


def judge(effect: Effect, texts: list[Text], *, is_open: bool) -> Judgement | None:
    """Return the judgement of an op with these values, or ``None`` if they are harmless.

    ``is_open`` means that the graph is not part of a model that is loaded as a whole, but one that a separate program
    runs, as when it trains.
    """
    rule, called, loaded = RULE_OF_CLASS[effect.op_class], effect.called, effect.loaded
    judged = effect.judged
    data = [text.data for text in texts]
    if effect.op_class in ("reads", "writes") and texts and all(_is_own(text, effect) for text in texts):
        return None
    if judged == "unless-empty" and all(item == b"" for item in data):
        return None
    if judged == "unless-terminal" and all(item in _TERMINALS for item in data):
        return None
    if judged == "unless-built-in" and all(
        item is not None and (item in (b"", b"local://") or item.startswith(b"bytes://")) for item in data
    ):
        return None
    if judged == "unless-local":
        if all(item is not None and not _OTHER_JOB.search(item) for item in data):
            return None
        if None in data:
            called = loaded = "info"  # The devices of a dataset that several read from come along in its values.
    if judged == "debug-urls":
        texts = [
            text for text, item in zip(texts, data, strict=True) if item is None or not item.startswith(b"memcbk:")
        ]
        if not texts:
            return None
        if not any(str(text).startswith("file:") for text in texts):
            rule = RULE_OF_CLASS["network"]
    if judged == "program":
        known = [describe_bytes(item) for item in data if item is not None]
        return Judgement(rule, called, loaded, known[0] if known else describe(texts))
    if is_open and judged == "records":
        called = loaded = "info"  # Records that are damaged are not read, so that no other file is.
    if is_open and judged == "checkpoint" and effect.op_class == "reads":
        called = "info"  # A program that trains starts with the values of another checkpoint, and reads nothing else.
    is_known = all(text.data is not None for text in texts) and sum(text.size for text in texts) <= _MOST_KEPT
    arguments = tuple(map(str, texts)) if is_known else ()
    return Judgement(rule, called, loaded, describe(texts), arguments)


def _is_own(text: Text, effect: Effect) -> bool:
    """Return whether a path is that of an asset, or is below the path that the saver was given."""
    first = text.parts[0] if text.parts else None
    if not isinstance(first, Hole):
        return False
    if first.kind == "asset":
        return effect.op_class == "reads" and len(text.parts) == 1
    # What follows the path of the saver must not lead elsewhere, as "/../../x" does.
    rest = text.parts[1:]
    leads_elsewhere = any(
        ".." in split_path(part.decode("latin-1")) if isinstance(part, bytes) else part.kind != "shard" for part in rest
    )
    return first.kind == "saver" and effect.judged == "checkpoint" and not leads_elsewhere


def describe(texts: list[Text]) -> str | None:
    """Return values as the argument of a finding, or ``None`` if there are none."""
    if not texts:
        return None
    holes = [text.only_hole for text in texts]
    if all(hole is not None and hole.kind == "unknown" for hole in holes):
        return NOT_KNOWN
    if all(hole is not None and hole.kind == "caller" for hole in holes):
        return FROM_CALLER
    shown = ", ".join(text.start(_LONGEST + 1) for text in texts[:_MOST_SHOWN])
    if len(texts) > _MOST_SHOWN:
        shown += f", and {len(texts) - _MOST_SHOWN} more"
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def describe_bytes(data: bytes) -> str:
    """Return a summary of a program that is not decoded."""
    return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}"
