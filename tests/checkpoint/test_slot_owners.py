"""Which variable an optimizer slot belongs to, by its name."""

from __future__ import annotations

import random

import pytest

from tfbundle.checkpoint.slot_owners import find_slot_owners

AVERAGE = "/ExponentialMovingAverage"


@pytest.mark.parametrize(
    ("slot", "others", "owner"),
    [
        ("w/Adam", ["w"], "w"),
        ("training/Adam/w/m", ["w"], "w"),
        ("training/Adam/dense/w/m", ["w", "dense/w"], "dense/w"),
        ("a/b/w/Adam", ["a", "a/b", "w"], "w"),
        ("w/part_0/Ftrl", ["w"], "w"),
        ("dense/w/part_0/Ftrl", ["dense", "dense/w"], "dense/w"),
        ("w/Adam", [f"w{AVERAGE}"], f"w{AVERAGE}"),
        ("w/Adam", ["w", f"w{AVERAGE}"], "w"),
        (f"{'scope/' * 40}w/Adam", ["scope", "w"], "w"),
        (f"w/{'scope/' * 40}Adam", ["w"], "w"),
        ("w/Adam", ["v"], None),
        ("vw/Adam", ["w", "v"], None),
        ("Adam", ["w", "Adam_1"], None),
    ],
)
def test_variable_of_a_name(slot: str, others: list[str], owner: str | None) -> None:
    assert find_slot_owners([slot, *others], {slot}, None) == ({} if owner is None else {slot: owner})


def test_no_slot_is_the_variable_of_another() -> None:
    names = ["w", "w/Adam", "w/Adam/Momentum"]
    assert find_slot_owners(names, set(names[1:]), None) == {"w/Adam": "w", "w/Adam/Momentum": "w"}
    assert find_slot_owners(names[1:], set(names[1:]), None) == {}


def by_definition(slot: str, names: set[str], slots: set[str]) -> str | None:
    """Return the variable of a slot by comparing all runs of its scopes with the names."""
    scopes = slot.split("/")[:-1]
    runs = [scopes[start:] for start in range(len(scopes))] + [scopes[:end] for end in range(len(scopes) - 1, 0, -1)]
    owners = (owner for run in runs for owner in ("/".join(run), "/".join(run) + AVERAGE))
    return next((owner for owner in owners if owner in names and owner not in slots), None)


@pytest.mark.parametrize("most", [3, 8, 60])
@pytest.mark.parametrize("seed", range(10))
def test_names_of_few_parts(seed: int, most: int) -> None:
    """Random names of few parts, so that many begin or end with others, agree with the definition."""
    choice = random.Random(seed)
    parts = ["a", "b", "ab", "", AVERAGE[1:]]
    names = {"/".join(choice.choices(parts, [9, 9, 3, 1, 2], k=choice.randint(1, most))) for _ in range(100)}
    names |= {f"{'x/' * choice.randint(0, 3)}{name}{choice.choice(['/m', '/part_0/m'])}" for name in sorted(names)[:30]}
    names -= {"", AVERAGE}
    slots = {name for name in sorted(names) if choice.random() < 0.4}
    owners = {slot: by_definition(slot, names, slots) for slot in slots}
    assert find_slot_owners(names, slots, None) == {slot: owner for slot, owner in owners.items() if owner is not None}
    assert any(owners.values())
    assert not all(owners.values())
