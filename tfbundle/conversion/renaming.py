r"""New names of tensors, from exact names, regular expressions, functions, and sequences of these.

::

    {"a": "b", "b": "a"}               one step: every name is looked up as it was before the step
    {re.compile(r"^bert/"): ""}        a compiled pattern replaces its matches, as re.sub does, with \1 and \g<name>
    {r"layer_(\d+)/": r"layers.\1."}   a str does so too, if no tensor has that name
    [(old, new), {...}, function]      steps in order, each applied to the names from the previous step
    str.lower                          a function from the old name to the new one

A str that is an existing name is always taken as that name, whatever characters it has; otherwise it is a regular
expression. In one step, patterns do not change a name that is listed exactly. A name or pattern that matches nothing is
an error, and so are two tensors with the same name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from tfbundle.suggestions import suggest_names

Rename: TypeAlias = "Mapping[Any, str] | Iterable[Any] | Callable[[str], str]"

_MOST_LISTED = 10


def rename_all(names: Mapping[str, str], rename: Rename | None, keys_of: Callable[[str], list[str]]) -> dict[str, str]:
    """Return the new name for each stored name in ``names``, which maps stored names to the names so far.

    ``keys_of`` returns the stored names of the variables with a name, for checkpoints of TensorFlow 2.

    Raises ``KeyError`` for a name or pattern that matches nothing, and ``ValueError`` for an invalid rule, a name that
    is empty or not a ``str``, and tensors that would have the same name.
    """
    called = apply_rules(names, rename, keys_of)
    check_distinct(called)
    return called


def apply_rules(
    names: Mapping[str, str], rename: Rename | None, keys_of: Callable[[str], list[str]], *, what: str = "tensor"
) -> dict[str, Any]:
    """Return the names as ``rename_all`` does, without checking for duplicates; ``what`` is the kind of named thing."""
    called: dict[str, Any] = dict(names)
    for step in _steps(rename):
        called = _by_function(called, step) if callable(step) else _by_rules(called, step, keys_of, what)
    return called


def _steps(rename: Rename | None) -> list[Any]:
    if rename is None:
        return []
    if callable(rename) or isinstance(rename, Mapping):
        return [rename]
    if isinstance(rename, str | bytes) or not isinstance(rename, Iterable):
        raise ValueError(f"rename must be a dict, a list of pairs or a function, not {rename!r}")
    steps: list[Any] = []
    for step in rename:
        if callable(step) or isinstance(step, Mapping):
            steps.append(step)
        elif isinstance(step, Sequence) and not isinstance(step, str | bytes) and len(step) == 2:
            steps.append({step[0]: step[1]})
        else:
            raise ValueError(f"a step of rename must be a pair (old, new), a dict or a function, not {step!r}")
    return steps


def _by_function(called: Mapping[str, str], function: Callable[[str], str]) -> dict[str, str]:
    return {key: function(name) for key, name in called.items()}


def _by_rules(
    called: Mapping[str, str], rules: Mapping[Any, str], keys_of: Callable[[str], list[str]], what: str
) -> dict[str, str]:
    """Return the names after one step: exact names first, then the patterns in order on the remaining names."""
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in called.items():
        by_name[name].append(key)
    exact: dict[str, str] = {}
    patterns: list[tuple[re.Pattern[str], Any, str]] = []
    for old, new in rules.items():
        if isinstance(old, re.Pattern):
            patterns.append((old, old.pattern, new))
            continue
        if not isinstance(old, str):
            raise ValueError(f"rename has {old!r} where a name or a compiled pattern is expected")
        keys = by_name[old] if old in by_name else [old] if old in called else keys_of(old)
        keys = [key for key in keys if key in called]
        if keys:
            exact.update(dict.fromkeys(keys, new))
        else:
            patterns.append((_compile(old, called.values(), what), old, new))
    result = {key: exact.get(key, name) for key, name in called.items()}
    for pattern, text, new in patterns:
        found = False
        for key, name in result.items():
            if key not in exact and pattern.search(name):
                found = True
                result[key] = _substitute(pattern, new, name)
        if not found:
            raise KeyError(f"no {what} is called {text!r} or matches it, so none can be renamed{_hint(text, called)}")
    return result


def _hint(text: Any, called: Mapping[str, str]) -> str:
    return suggest_names(text, dict.fromkeys(called.values())) if isinstance(text, str) else ""


def _compile(text: str, names: Iterable[str], what: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise KeyError(
            f"no {what} is called {text!r}, and it is not a regular expression ({error})"
            f"{suggest_names(text, dict.fromkeys(names))}"
        ) from None


def _substitute(pattern: re.Pattern[str], new: Any, name: str) -> str:
    try:
        return pattern.sub(new, name)
    except (re.error, IndexError, TypeError) as error:
        raise ValueError(f"{new!r} cannot replace the matches of {pattern.pattern!r}: {error}") from None


def check_distinct(called: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for a new name that is empty or not a ``str``, and for a name of several tensors."""
    for key, name in called.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"{key!r} would be called {name!r}, but a name must be a non-empty str")
    if len(set(called.values())) == len(called):
        return
    keys: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in called.items():
        keys[name].append(key)
    shared = {name: owners for name, owners in keys.items() if len(owners) > 1}
    if shared:
        lines = [
            f"{', '.join(map(repr, owners[:_MOST_LISTED]))}{_more(len(owners))} would all be called {name!r}"
            for name, owners in list(shared.items())[:_MOST_LISTED]
        ]
        raise ValueError("; ".join(lines) + _more(len(shared), " names"))


def _more(count: int, what: str = "") -> str:
    return f" and {count - _MOST_LISTED} more{what}" if count > _MOST_LISTED else ""
