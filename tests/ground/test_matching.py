"""Names, globs, compiled patterns and functions as ways to choose."""

import re

import pytest

from tfbundle.matching import Pattern, is_glob, select

NAMES = ["w0/kernel", "w[0]/kernel", "W0/kernel", "a/b/bias", "line\nbreak"]


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("w0/kernel", ["w0/kernel"]),
        ("w[0]/kernel", ["w[0]/kernel"]),  # A name that exists is no pattern.
        ("w[0]*", ["w0/kernel"]),
        ("w[[]0]/*", ["w[0]/kernel"]),
        ("a*bias", ["a/b/bias"]),  # The star crosses slashes.
        ("?0/kernel", ["w0/kernel", "W0/kernel"]),
        ("*", NAMES),
        ("kernel", []),
        ("", []),
        (re.compile("kernel"), NAMES[:3]),
        (re.compile("^kernel"), []),
        (str.islower, ["w0/kernel", "w[0]/kernel", "a/b/bias", "line\nbreak"]),
    ],
)
def test_select(pattern: Pattern, chosen: list[str]) -> None:
    assert select(pattern, NAMES) == chosen


@pytest.mark.parametrize(
    ("text", "expected"), [("w0/kernel", False), ("w*", True), ("w?", True), ("w[0]", True), ("]", False)]
)
def test_is_glob(text: str, expected: bool) -> None:
    assert is_glob(text) is expected
