"""Files of a checkpoint that are in the right folder, but under another name.

Browsers number a second download (``NAME (1)``, ``NAME.1``), leave an unfinished one under another name
(``NAME.crdownload``), add a suffix for the assumed type (``NAME.txt``), or truncate the suffix (``NAME.data``). File
managers mark copies (``NAME - Copy``, ``NAME_1``), and syncing programs mark conflicts (``NAME (conflicted copy)``,
``NAME.sync-conflict-...``). Editors keep backups (``NAME~``), other programs keep the escapes or the query of a URL,
and some files are still compressed (``NAME.gz``). Two names are alike if they are equal without these additions, or if
one is the other with more after it (``NAME-1``). The numbers of a data file may have fewer digits (``data-0-of-1``).
An index must also have matching content, and a data file a matching size.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from urllib.parse import unquote

from tfbundle.checkpoint.find.names import index_path, is_sidecar, parse_shard, prefix_of_member, shard_path
from tfbundle.errors import MissingFileError, TfBundleError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import PACKED, FileKind
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.storage.base import Listing, Location

_QUERY = re.compile(r"\?.*\Z", re.DOTALL)
_COPY = re.compile(
    r"""
    \Acopy\ of\                                                                   # Windows until 2006
    | (?:\ -\ |[ _-])(?:copy|kopie|kopia|copie|copia|cópia)(?:[ _-]?\d{1,3})?(?=\.|\s|\Z)   # Windows, macOS
    | \s?\((?:\d{1,3}|(?:another\ )?copy(?:\ \d{1,3})?|\d{1,3}(?:st|nd|rd|th)\ copy)\)      # browsers, GNOME
    | \s?\([^()]{0,80}(?:conflict|conflit|konflikt|copy)[^()]{0,80}\)              # Dropbox, Nextcloud, Seafile
    | \s?\[[^][]{0,80}conflict[^][]{0,80}\] | \.sync-conflict-\d{8}-\d{6}(?:-[a-z2-7]{7})?   # pCloud; Syncthing
    | \ \d{1,2}(?=\.|\Z)                                                          # macOS, iCloud
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ENDS = re.compile(
    r"(?:\.(?:\d{1,3}|txt|bin|dat|file|unknown|bak|old|orig|backup|html?|part|partial|filepart|incomplete|tmp|swp"
    r"|inprogress|temp|crdownload|opdownload|download|fdmdownload|downloading|drivedownload|nextcloud|owncloud|mega"
    r"|aria2|gz|gzip|bz2|xz|lzma|zst|zstd|lz4|zip|7z|rar|tar)|\.tmp[._-]?[0-9a-f]{3,}|_\d{1,3}|_?\.gstmp|~)+\Z",
    re.IGNORECASE,
)
# The numbers of a data file, in a plain name.
_NUMBERS = re.compile(r"(?<=data-)(\d{1,18})-of-(\d{1,18})(?!\d)")
_UNFINISHED = re.compile(
    r"(?:\.(?:part|partial|filepart|incomplete|inprogress|tmp|temp|crdownload|opdownload|download|fdmdownload|downloading"
    r"|drivedownload|nextcloud|owncloud|mega|aria2)|\.tmp[._-]?[0-9a-f]{3,}|_?\.gstmp)\Z",
    re.IGNORECASE,
)
# How many files with another suffix are opened to find an index.
_MOST_OPENED = 20
# How many folders below are searched for a data file.
_MOST_SEARCHED = 20
# Smaller files have the same size by chance.
_FEWEST_BYTES = 64


def original_name(name: str) -> str:
    """Return the name that a file had before it was downloaded, copied or compressed, as far as it can be inferred."""
    return _ENDS.sub("", _COPY.sub("", _QUERY.sub("", unquote(name))))


def _plain(name: str) -> str:
    """Return a key that is equal for names that are alike."""
    plain = re.sub(r"[^a-z0-9]+", "-", original_name(name).casefold())
    return _NUMBERS.sub(lambda numbers: f"{int(numbers[1]):05d}-of-{int(numbers[2]):05d}", plain)


def is_alike(name: str, other: str) -> bool:
    """Return whether two names differ only in case and in additions by copying and downloading."""
    return _plain(name) == _plain(other)


def _begins_with(name: str, start: str) -> bool:
    """Return whether a name is another one with an addition, which a letter or digit cannot begin."""
    return name.casefold().startswith(start.casefold()) and not name[len(start) : len(start) + 1].isalnum()


def may_be_renamed(name: str) -> bool:
    """Return whether a file may have been renamed; sidecars do not count, except for copies and downloads."""
    return not is_sidecar(name) or (not name.startswith((".", "~", "#")) and original_name(name) != name)


def is_stray_copy(name: str, listing: Listing) -> bool:
    """Return whether a sidecar may represent a file of a checkpoint that is absent, by their names."""
    original = original_name(name)
    return may_be_renamed(name) and prefix_of_member(original) is not None and original not in listing


def advise_missing_shard(prefix: Location, shard: int, count: int, needed: int | None = None) -> str:
    """Return advice about a missing data file, which may be in the folder under another name.

    ``needed`` is its least size in bytes according to the index.
    """
    otherwise = "copy it next to the index"
    try:
        listing = prefix.parent.list()
    except OSError:
        return otherwise
    wanted = shard_path(prefix.name, shard, count)
    if wanted in listing.names:
        try:
            prefix.beside(wanted).open().close()
        except MissingFileError as error:  # It is a broken link.
            return str(error)
    begin = prefix.name + ".data" if count == 1 else wanted

    def is_wanted(name: str) -> bool:
        plain = _plain(name)
        numbers = _NUMBERS.search(plain)
        if numbers is not None and int(numbers[1]) < int(numbers[2]) != count:
            return False  # It is one of another number of data files.
        return plain in (_plain(wanted), _plain(begin)) or _begins_with(name, begin)

    alike = [name for name in _free_names(listing) if name != wanted and is_wanted(name)]
    if len(alike) > 1 and needed is not None:
        alike = [name for name in alike if _size(listing, name) >= needed] or alike
    if len(alike) == 1:
        return _advise_renaming(prefix.beside(alike[0]), listing, wanted, needed)
    if alike:
        return f"{', '.join(alike[:3])} exist: rename the right one to {wanted}"
    suffix = shard_path("", shard, count)
    others = [name for name in _free_names(listing) if name.endswith(suffix) and name != wanted]
    if len(others) == 1:
        return f"{others[0]} exists without an index: if it is of the same checkpoint, rename it to {wanted}"
    if not others and needed is not None and needed >= _FEWEST_BYTES:
        same = [name for name in _free_names(listing) if _size(listing, name) == needed]
        if len(same) == 1 and prefix_of_member(same[0]) is None:
            return f"{same[0]} has the {needed} bytes that the index lists: if it is this file, rename it to {wanted}"
    return _describe_placeholder(wanted, listing) or _find_elsewhere(prefix.parent, wanted, listing) or otherwise


def _describe_placeholder(wanted: str, listing: Listing) -> str:
    """Return advice about a hidden file that represents ``wanted``: iCloud's, or an interrupted transfer."""
    start = f".{wanted}."
    for name in listing.names[bisect_left(listing.names, start) :]:
        if not name.startswith(start):
            break
        if name == f"{start}icloud":
            return f"{name} exists, so the file is only in iCloud: download it there"
        if name != f"{start}crc":  # Hadoop's checksum of a file that is not there.
            return f"{name} exists, probably of an interrupted transfer: copy {wanted} again"
    return ""


def _find_elsewhere(folder: Location, wanted: str, listing: Listing) -> str:
    """Return advice about a file of this name in the folder above, or in a folder below."""
    below = (folder.join(name) for name in listing.names if listing.is_folder(name))
    for other in (folder.parent, *islice(below, _MOST_SEARCHED)):
        if (location := other.join(wanted)).is_file():
            return f"{location} exists: move it next to the index"
    return ""


def _advise_renaming(location: Location, listing: Listing, wanted: str, needed: int | None) -> str:
    name = location.name
    packed = describe_packed(location, wanted)
    if packed:
        return packed
    size = _size(listing, name)
    if needed is not None and size < needed:
        return f"{name} exists, but is incomplete ({size} of {needed} bytes): download it again, as {wanted}"
    if needed is None and _UNFINISHED.search(name):
        return f"{name} exists, perhaps incomplete: download it again, or rename it to {wanted}"
    return f"{name} exists: rename it to {wanted}"


def describe_packed(location: Location, wanted: str) -> str:
    """Return advice about a compressed file that would be ``wanted`` if it were unpacked; ``""`` for other files."""
    try:
        kind = kind_of(location)
    except (TfBundleError, OSError):
        return ""
    return f"{location.name} is {kind.value}: unpack it, as {wanted}" if kind in PACKED else ""


def _free_names(listing: Listing, own: str | None = None) -> Iterator[str]:
    """Yield the files in a folder that belong neither to an index nor to other programs.

    ``own`` is the prefix of an index that is about to be renamed, together with its files.
    """
    for name in listing.names:
        shard = parse_shard(name)
        if shard is not None and shard.number < shard.total:
            is_listed = shard.prefix != own and index_path(shard.prefix) in listing
        else:
            is_listed = False
        if not is_listed and may_be_renamed(name):
            yield name


def _size(listing: Listing, name: str) -> int:
    facts = listing.stat(name)
    return -1 if facts is None else facts.size


def advise_missing_index(prefix: Location) -> str:
    """Return advice about a missing index whose data files exist."""
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
        f"{others[0]} exists without data files: if it is of the same checkpoint, rename it to "
        f"{index_path(prefix.name)}"
    )


def describe_renamed_index(prefix: Location, listing: Listing) -> str:
    """Return which file next to a prefix is its index under another name, and what to rename; ``""`` if there is none.

    ``listing`` is that of the prefix's folder.
    """
    wanted = index_path(prefix.name)
    others = [name for name in listing.names if name != wanted]
    alike = [name for name in others if is_alike(name, wanted) or _begins_with(name, wanted)]
    # With another suffix, only the content can identify it.
    begun = [name for name in others if name.startswith(f"{prefix.name}.") and prefix_of_member(name) is None]
    for name in dict.fromkeys((*alike, *begun[:_MOST_OPENED])):
        if holds_index(prefix.beside(name)):
            data = _data_to_rename(prefix, name, listing)
            text = f"{name} is an index: rename it to {wanted}"
            return f"{text}, and {data[0]}{_and_others(len(data) - 1)}" if data else text
    packed = (describe_packed(prefix.beside(name), wanted) for name in alike)
    return next(filter(None, packed), "") or _describe_placeholder(wanted, listing)


def _data_to_rename(prefix: Location, index: str, listing: Listing) -> list[str]:
    """Return which data files have to be renamed together with an index, each with its new name."""
    renamed = []
    for name in _free_names(listing, prefix_of_member(index)):
        found = re.search(r"data-(\d{5,18})-of-(\d{5,18})", _plain(name))
        if found is not None:
            wanted = shard_path(prefix.name, int(found[1]), int(found[2]))
            if name != wanted and (is_alike(name, wanted) or _begins_with(name, wanted)):
                renamed.append(f"{name} to {wanted}")
    return renamed


def _and_others(count: int) -> str:
    return "" if not count else f" and {count} more data file{'' if count == 1 else 's'} accordingly"


def holds_index(location: Location) -> bool:
    """Return whether a file is the index of a V2 checkpoint, by its content."""
    try:
        return location.stat() is not None and kind_of(location) is FileKind.BUNDLE_INDEX
    except (TfBundleError, OSError):
        return False


def index_name_for(name: str) -> str:
    """Return the name to give to an index that has another name."""
    original = original_name(name)
    if not original.lower().endswith(INDEX_SUFFIX):
        return "PREFIX" + INDEX_SUFFIX
    return original[: -len(INDEX_SUFFIX)] + INDEX_SUFFIX
