"""Rules of the source that no linter has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "tfbundle"
SOURCES = {
    path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] != "proto"
}
# A module with more lines than this consists of a table.
MOST_LINES = 400
TABLES = {"graph/known_ops.py"}

# How paths are taken apart and built where ruff's TID251 does not see it.
OF_PATHS = {
    "separators": re.compile(r"""\.replace\(["']\\\\["'], ["']/["']\)|\bos\.(sep|altsep|fspath)\b"""),
    "a path that is divided": re.compile(r"\b(path|prefix)\.(r?split|r?partition|removeprefix|rstrip)\("),
    "a path that is put together": re.compile(r"""\b(path|folder) \+ f?["']/|\{(\w+\.)*(path|folder)\}/"""),
}
# The names of files in a data set are relative, and those of keys and URLs have slashes on every system.
EXCEPTIONS = {
    "cli/sarif.py": "the URI of a file",
    "errors.py": "paths as they were passed",
    "fleet/dataset.py": "names in a data set",
    "fleet/manifest.py": "names in a data set",
}


def test_modules_have_one_concept() -> None:
    lengths = {name: text.count("\n") for name, text in SOURCES.items()}
    assert {name for name, length in lengths.items() if length > MOST_LINES} == TABLES
    assert not [name for name in SOURCES if re.search(r"(^|/)(utils?|misc|helpers?|common)\b", name)]
    assert not [name for name, text in SOURCES.items() if not re.match(r'r?"""[A-Z`]', text)]


def test_no_module_imports_what_is_private_to_another() -> None:
    private = re.compile(r"^\s*from tfbundle[\w.]* import .*(?<![\w.])_(?!_)\w+", re.MULTILINE)
    assert not {name: found[0] for name, text in SOURCES.items() if (found := private.search(text))}


@pytest.mark.parametrize("kind", OF_PATHS)
def test_paths_are_taken_apart_in_storage(kind: str) -> None:
    found = {
        f"{name}: {line.strip()}"
        for name, text in SOURCES.items()
        if not name.startswith("storage/") and name not in EXCEPTIONS and OF_PATHS[kind].search(text)
        for line in text.splitlines()
        if OF_PATHS[kind].search(line)
    }
    assert not found


def test_names_of_files_are_stated_in_one_place() -> None:
    name = re.compile(r"""["'](\.index|\.meta|saved_model\.(pb|pbtxt|cpb)|fingerprint\.pb|keras_metadata\.pb)["']""")
    places = {
        place for place, text in SOURCES.items() for line in text.splitlines() if name.search(line.partition("#")[0])
    }
    # The second has the suffix in a sentence.
    assert places == {"identification/names.py", "identification/kinds.py"}
