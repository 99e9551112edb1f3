"""Checkpoints with 100,000 names in many scopes, which might be optimizer slots, and a few that are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from tests.hostile.catalogue import Wanted, add

_COUNT = 100_000
_SCOPES = "a/" * 40
_MORE_SCOPES = "/".join(f"s{number}" for number in range(40))


def _add(name: str, title: str, of_one: Callable[[int], Iterable[str]], others: Iterable[str] = ()) -> None:
    """Add a case with the names that ``of_one`` makes of each number, none of which is a slot."""

    def build(folder: Path) -> Wanted:
        made = (name for number in range(_COUNT) for name in of_one(number))
        names = dict.fromkeys(islice(made, _COUNT))
        names |= dict.fromkeys((*others, "w", "w/Adam", "x/w/Adam_1", "Adam/w/m", "w/part_0/Ftrl", "x/y/w_slot_v"))
        return Wanted(folder, {"names": names, "slots": {name for name in names if name.endswith(_SLOTS)}})

    add(f"slots-{name}", "slots", build, title)


_SLOTS = ("w/Adam", "w/Adam_1", "Adam/w/m", "w/part_0/Ftrl", "w_slot_v")

_add("deep-parts", "parts of variables in 40 scopes", lambda i: [f"{_MORE_SCOPES}/w{i}/part_{i}/Adam"])
_add("repeated-scope", "parts of variables in one scope 40 times", lambda i: [f"{i}/{_SCOPES}part_{i}/Adam"], ["a"])
_add(
    "same-last-part",
    "variables in 40 scopes with the last part of other variables",
    lambda i: [f"{_SCOPES}{i}/v/Adam", f"b/{i}/v"],
)
_add(
    "other-scopes",
    "variables in 40 scopes that other variables are stored in",
    lambda i: [f"{_SCOPES}Adam/v{i}/m", f"b/v{i}"],
)
_add(
    "tables",
    "tables of embeddings in 40 scopes",
    lambda i: [f"{_SCOPES}v{i}/Adam-keys", f"b/v{i}", f"b/v{i}-keys"],
)
_add(
    "settings",
    "variables in 40 scopes, each with an optimizer's settings",
    lambda i: [f"{_SCOPES}v{i}/m", f"b/v{i}"],
    [f"{'a/' * depth}{setting}" for depth in range(1, 41) for setting in ("decay", "learning_rate")],
)
_add("digits", "names of 1,000 digits", lambda i: [f"{'1' * 1000}_{i}_/Adam"] if i < 20_000 else [])
