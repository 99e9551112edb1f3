"""The variables of a SavedModel that are not in ``variables/``, or have another name.

::

    saved_model.pb   variables (1)/variables.index     the folder was renamed
    saved_model.pb   variables/variables.index.txt     its files were renamed, or are still compressed
    saved_model.pb   variables.index                   its files are in the folder above
    saved_model.pb   variables.zip                     the folder is still packed
"""

from __future__ import annotations

from tfbundle.checkpoint.find.renamed import (
    describe_packed,
    describe_renamed_index,
    holds_index,
    is_alike,
    may_be_renamed,
)
from tfbundle.checkpoint.find.saved_models import variables_prefix
from tfbundle.identification.names import INDEX_SUFFIX, VARIABLES
from tfbundle.storage.base import Listing, Location

_INDEX = VARIABLES + INDEX_SUFFIX
# How many files of a folder are opened to determine whether one is an index.
_MOST_OPENED = 100


def describe_missing_variables(folder: Location) -> str:
    """Return the message about the folder of a SavedModel without ``variables/variables.index``, with advice."""
    prefix = variables_prefix(folder)
    advice = advise_variables(folder)
    return f"the SavedModel {folder} has no variables: {prefix}.index does not exist{f'; {advice}' if advice else ''}"


def advise_variables(folder: Location) -> str:
    """Return which files in a SavedModel's folder may be its variables, and where they belong; ``""`` if none may."""
    try:
        listing = folder.list()
        below = folder.join(VARIABLES).list() if listing.is_folder(VARIABLES) else None
    except OSError:
        return ""
    return (
        (_within(variables_prefix(folder), below) if below is not None else "")
        or _in_other_folders(folder, listing)
        or _beside(folder, listing)
    )


def _within(prefix: Location, listing: Listing) -> str:
    renamed = describe_renamed_index(prefix, listing)
    if renamed:
        return f"in {prefix.parent}, {renamed}"
    there = _indexes_in(listing, prefix.parent)
    return f"{prefix.beside(there[0])} exists: rename it to {_INDEX}, and its data files" if len(there) == 1 else ""


def _in_other_folders(folder: Location, listing: Listing) -> str:
    for name in listing.names:
        location = folder.join(name)
        if name == VARIABLES or not may_be_renamed(name) or not listing.is_folder(name):
            continue
        try:
            there = _indexes_in(location.list(), location)
        except OSError:
            continue
        there = there if is_alike(name, VARIABLES) else [index for index in there if is_alike(index, _INDEX)]
        if there:
            return f"the folder {location} contains {there[0]}: rename the folder to {VARIABLES}"
    return ""


def _beside(folder: Location, listing: Listing) -> str:
    there = _indexes_in(listing, folder)
    if there:
        called = "" if there[0] == _INDEX else f", as {_INDEX}"
        return f"{folder.join(there[0])} exists: move it and its data files to the folder {VARIABLES}{called}"
    alike = (folder.join(name) for name in listing.names if name != VARIABLES and is_alike(name, VARIABLES))
    return next(filter(None, (describe_packed(location, VARIABLES) for location in alike)), "")


def _indexes_in(listing: Listing, folder: Location) -> list[str]:
    """Return the names of the indexes in a folder, recognised by content."""
    names = [name for name in listing.names if may_be_renamed(name)][:_MOST_OPENED]
    return [name for name in names if holds_index(folder.join(name))]
