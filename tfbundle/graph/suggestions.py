"""What a person may have meant by a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Collection

# Comparing two names takes a tenth of a millisecond, and graphs have a hundred thousand.
_MOST_COMPARED = 2000
_LONGEST_NAME = 500


def suggest_names(name: object, names: Collection[str]) -> str:
    """The end of an error's message: the closest of ``names``, or how many there are.

    Of many names only those are compared that share their scope or their last part with the wanted one.
    """
    text = str(name)
    if len(names) > _MOST_COMPARED:
        scope, slash, last = text.rpartition("/")
        candidates = [other for other in names if other.startswith(scope + slash) and slash]
        candidates += [other for other in names if other.rpartition("/")[2] == last]
        candidates.sort(key=lambda other: abs(len(other) - len(text)))
    else:
        candidates = list(names)
    candidates = [other for other in candidates[:_MOST_COMPARED] if len(other) <= _LONGEST_NAME]
    close = difflib.get_close_matches(text[:_LONGEST_NAME], dict.fromkeys(candidates), n=3)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else f"; there are {len(names)} others"
