"""Files of a checkpoint that lie where they belong, but under another name.

Browsers number a second download (``NAME (1)``, ``NAME.1``), leave an unfinished one under a name of its own
(``NAME.crdownload``), add what they take for the type (``NAME.txt``), or cut it off (``NAME.data``). Others keep the
escapes or the query of a URL. Two names are alike if nothing is left between them once all that is taken away. Of an
index the content has to agree, and of a data file the size.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from tfbundle.checkpoint.find.names import (
    INDEX_SUFFIX,
    index_path,
    is_sidecar,
    parse_shard,
    prefix_of_member,
    shard_path,
)
from tfbundle.errors import TfBundleError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.base import Listing, Location

_QUERY = re.compile(r"\?.*\Z", re.DOTALL)
_COPY = re.compile(r"\Acopy of |(?: -)? copy(?: \d+)?(?=\.|\s|\Z)|\s?\(\d{1,3}\)", re.IGNORECASE)
_ENDS = re.compile(
    r"(?:\.(?:\d{1,3}|txt|bin|dat|file|unknown|bak|old|orig|backup|html?|part|partial|filepart|incomplete|tmp|swp"
    r"|crdownload|opdownload|download|aria2)|_?\.gstmp|~)+\Z",
    re.IGNORECASE,
)
_UNFINISHED = re.compile(
    r"(?:\.(?:part|partial|filepart|incomplete|tmp|crdownload|opdownload|download|aria2)|_?\.gstmp)\Z", re.IGNORECASE
)
_DATA = re.compile(r"-data-(\d{5,18})-of-(\d{5,18})\Z")
# Smaller files have the same size by chance.
_FEWEST_BYTES = 64


def original_name(name: str) -> str:
    """Return the name that a file had before it was downloaded or copied, as far as it shows."""
    return _ENDS.sub("", _COPY.sub("", _QUERY.sub("", unquote(name))))


def _plain(name: str) -> str:
    """Return what is equal for names that are alike."""
    return re.sub(r"[^a-z0-9]+", "-", original_name(name).casefold())


def is_unfinished(name: str) -> bool:
    """Return whether a file is called like a download that was not finished."""
    return _UNFINISHED.search(name) is not None and not name.startswith(".")


def advise_missing_shard(prefix: Location, shard: int, count: int, needed: int | None = None) -> str:
    """Return what to do about a data file that is not there: it may lie beside its place, under another name.

    ``needed`` is how many bytes the index says it has at least.
    """
    otherwise = "copy it beside the index"
    try:
        listing = prefix.parent.list()
    except OSError:
        return otherwise
    wanted = shard_path(prefix.name, shard, count)
    forms = {_plain(wanted)}
    if count == 1:
        forms |= {_plain(prefix.name + ".data"), _plain(prefix.name + ".data-00000")}
    alike = [name for name in _free_names(listing) if name != wanted and _plain(name) in forms]
    if len(alike) > 1 and needed is not None:
        alike = [name for name in alike if _size(listing, name) >= needed] or alike
    if len(alike) == 1:
        return _advise_renaming(listing, alike[0], wanted, needed)
    if alike:
        return f"{', '.join(alike[:3])} lie there: rename the right one to {wanted}"
    suffix = shard_path("", shard, count)
    others = [name for name in _free_names(listing) if name.endswith(suffix) and name != wanted]
    if len(others) == 1:
        return f"{others[0]} lies there without an index: if it is of the same checkpoint, rename it to {wanted}"
    if not others and needed is not None and needed >= _FEWEST_BYTES:
        same = [name for name in _free_names(listing) if _size(listing, name) == needed]
        if len(same) == 1 and prefix_of_member(same[0]) is None:
            return f"{same[0]} has the {needed} bytes that the index lists: if it is this file, rename it to {wanted}"
    return otherwise


def _advise_renaming(listing: Listing, name: str, wanted: str, needed: int | None) -> str:
    size = _size(listing, name)
    if needed is not None and size < needed:
        return f"{name} lies there, but is incomplete ({size} of {needed} bytes): download it again, as {wanted}"
    if needed is None and is_unfinished(name):
        return f"{name} lies there, perhaps incomplete: download it again, or rename it to {wanted}"
    return f"{name} lies there: rename it to {wanted}"


def _free_names(listing: Listing) -> list[str]:
    """Return the files in a folder that are not what an index lists, or such as other programs keep."""
    names = []
    for name in listing.names:
        shard = parse_shard(name)
        is_listed = shard is not None and index_path(shard.prefix) in listing
        if not is_listed and (not is_sidecar(name) or is_unfinished(name)):
            names.append(name)
    return names


def _size(listing: Listing, name: str) -> int:
    facts = listing.stat(name)
    return -1 if facts is None else facts.size


def advise_missing_index(prefix: Location) -> str:
    """Return what to do about an index that is not there while its data files are."""
    otherwise = "copy it from where the checkpoint was written"
    try:
        listing = prefix.parent.list()
    except OSError:
        return otherwise
    renamed = describe_renamed_index(prefix, listing)
    if renamed:
        return renamed
    shards = map(parse_shard, listing.names)
    with_data = {shard.prefix for shard in shards if shard is not None}
    others = [
        name
        for name in listing.names
        if name.endswith(INDEX_SUFFIX) and not is_sidecar(name) and prefix_of_member(name) not in with_data
    ]
    if len(others) != 1:
        return otherwise
    return (
        f"{others[0]} lies there without data files: if it is of the same checkpoint, rename it to "
        f"{index_path(prefix.name)}"
    )


def describe_renamed_index(prefix: Location, listing: Listing) -> str:
    """Return which file beside a prefix is its index under another name, and what to rename; ``""`` for none.

    ``listing`` is of the prefix's folder.
    """
    wanted = index_path(prefix.name)
    form = _plain(wanted)
    for name in listing.names:
        if name == wanted or _plain(name) != form or not holds_index(prefix.beside(name)):
            continue
        text = f"{name} is an index: rename it to {wanted}"
        data = []
        for other in _free_names(listing):
            plain = _plain(other)
            match = _DATA.search(plain)
            if match and plain[: match.start()] == _plain(prefix.name):
                right = shard_path(prefix.name, int(match[1]), int(match[2]))
                if other != right:
                    data.append(f"{other} to {right}")
        if data:
            text += f", and {data[0]}" + (f" and {len(data) - 1} more data files likewise" if len(data) > 1 else "")
        return text
    return ""


def holds_index(location: Location) -> bool:
    """Return whether a file is the index of a V2 checkpoint, by its content."""
    try:
        return location.stat() is not None and kind_of(location) is FileKind.BUNDLE_INDEX
    except (TfBundleError, OSError):
        return False


def index_name_for(name: str) -> str:
    """Return what to call an index that is called otherwise."""
    original = original_name(name)
    return original if original.endswith(INDEX_SUFFIX) and original != name else "PREFIX" + INDEX_SUFFIX
