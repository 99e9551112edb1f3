"""The names of the files of a checkpoint.

::

    V2   PREFIX.index   PREFIX.data-00000-of-00002   PREFIX.data-00001-of-00002
    V1   PREFIX         or, sharded,   PREFIX-00000-of-00002   PREFIX-00001-of-00002
    with either, PREFIX.meta: the graph
    while one is being written   PREFIX_temp_<32 hex digits>/part-...   PREFIX_temp/part-...   NAME.tempstate<digits>

The names follow TensorFlow's (``core/util/tensor_bundle/naming.cc``, ``python/training/saver.py``).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import Literal, NamedTuple

from tfbundle.checkpoint.find.listings import Asked, Asking, Listings
from tfbundle.errors import TfBundleError
from tfbundle.identification.files import kind_of
from tfbundle.identification.kinds import FileKind
from tfbundle.identification.names import INDEX_SUFFIX, META_SUFFIX
from tfbundle.storage.base import Listing, Location

Format = Literal["v1", "v2"]

# TensorFlow writes at least five digits.
_SHARD = re.compile(r"\.data-(\d{5,18})-of-(\d{5,18})\Z", re.ASCII)
_V1_SHARD = re.compile(r"-(\d{5,18})-of-(\d{5,18})\Z", re.ASCII)
# Question marks represent all files of a sharded V1 checkpoint: one set of them in a state file, often two in prose.
_V1_PATTERN = re.compile(r"-\?{5,}-of-(?:\d{5,}|\?{5,})\Z", re.ASCII)
_TEMPORARY = re.compile(r"\.tempstate(\d+)\Z", re.ASCII)
_INCOMPLETE = re.compile(r"_temp(?:_[0-9a-f]{32})?\Z")
# Names that copying, downloading and syncing programs, file systems and editors give to incomplete files, placeholders,
# backups and notes. Most are suffixes of the file's own name; host names, which event files may end with, have none.
_SIDECAR = re.compile(
    r"""
    (?=[._:(\[~#]) (?:                                      # Nothing else is tried at most characters.
      _?\.gstmp\Z                                             # gsutil, gcloud
    | \._COPYING_\Z                                         # Hadoop
    | \.(?i:part|partial|filepart|incomplete|inprogress|aria2|tmp|temp)\Z  # curl, rclone, WinSCP, Hugging Face, others
    | \.(?i:crdownload|opdownload|download|gdownload|fdmdownload|downloading|uploading|copying)\Z  # browsers, others
    | \.(?:drivedownload|driveupload|!ut|!qB|!sync|bc!|mega|xltd|lftp-pget-status|ffs_tmp|ffs_lock)\Z  # cloud clients
    | \.(?i:tmp)[._-]?[0-9a-fA-F]{3,}\Z                     # many programs, with a process's number
    | \.(?:icloud|nextcloud|owncloud|cloudf?|rsls|gdoc|gsheet|rclonelink)\Z  # the same, for a file that is elsewhere
    | \.rclone_chunk\.(?:\d+|control)                       # rclone, for the parts of a divided file
    | \.(?=[0-9a-fA-F]*[a-f])(?=[0-9a-fA-F]*[A-F])[0-9a-fA-F]{8}\Z  # boto, at random; hosts have one case
    | \.tempstate\d+\Z                                      # TensorFlow
    | \.sb-[0-9a-f]{6,8}-[A-Za-z0-9]{6}\Z                  # macOS, when a program in a sandbox saves
    | \.DS_Store\Z | :com\.(?:apple|dropbox)\.[\w.]+\Z | :AFP_\w+(?::\$DATA)?\Z  # macOS, and its files on Windows
    | :?Zone\.Identifier(?::\$DATA)?\Z | :SmartScreen\Z | \.(?i:lnk|url|webloc)\Z  # Windows; shortcuts
    | \.sync-conflict-\d{8}-\d{6}                          # Syncthing
    | [(\[][^()\[\]]{0,120}(?i:conflicted\ copy|copie\ en\ conflit|in\ konflikt|copia\ en\ conflicto|sfconflict)
      [^()\[\]]{0,120}[)\]] | \[conflicted\]              # Dropbox, Nextcloud, Seafile, pCloud
    | \.(?i:lock|lck|bak|orig|rej|sw[a-p]|kate-swp)\Z | [~#]\Z | \A[~#]   # locks; editors, Syncthing
    | \.(?i:md5|md5sum|sha1|sha256|sha512|crc|crc32c?|sig|asc|torrent|metalink|dvc)\Z  # sums and notes about a file
    )
    """,
    re.VERBOSE,
)
# The start of the names that Android gives to unfinished downloads and deleted files, and AzCopy and lftp to unfinished
# downloads.
_HIDDEN = re.compile(r"\.(?:(?:pending|trashed)-\d+-|azDownload-|in\.)", re.ASCII)
# Folders of macOS and AppleTalk, of NAS (deleted files and snapshots), of copying and syncing programs, of clusters, of
# Windows and Linux, and of version control. Those that begin with a mark are known in any case of letters.
# fmt: off
_SIDECAR_FOLDERS = frozenset({
    "Network Trash Folder", "RECYCLER", "System Volume Information", "Temporary Items", "TheVolumeSettingsFolder",
    "lost+found",
    "#recycle", "#snapshot", "$recycle.bin", ".@__thumb", ".appledb", ".appledesktop", ".appledouble", ".bzr",
    ".debris", ".documentrevisions-v100", ".dropbox.cache", ".dvc", ".fseventsd", ".git", ".glusterfs", ".hg",
    ".ipynb_checkpoints", ".jj", ".minio.sys", ".rsync-partial", ".rsync-tmp", ".snap", ".snapshot", ".snapshots",
    ".spotlight-v100", ".stfolder", ".stversions", ".svn", ".sync", ".syncarchive", ".synctrash", ".temporaryitems",
    ".tmp.drivedownload", ".tmp.driveupload", ".zfs", ".~tmp~", "@eadir", "@recently-snapshot", "@recycle", "@tmp",
    "__macosx", "_darcs", "_temporary", "~snapshot",
})
# fmt: on
_STEP = re.compile(r"-(\d{1,19})\Z", re.ASCII)


class CheckpointFiles(NamedTuple):
    """A checkpoint that was found: its prefix, format, and for V1 the files that exist."""

    prefix: Location
    format: Format
    v1_files: tuple[Location, ...] = ()


class Shard(NamedTuple):
    """The parts of the name of one of several files: the prefix, its number, and the number of files."""

    prefix: str
    number: int
    total: int


def index_path(prefix: str) -> str:
    """Return the path of a V2 checkpoint's index."""
    return prefix + INDEX_SUFFIX


def shard_path(prefix: str, shard: int, count: int) -> str:
    """Return the path of a data file of a V2 checkpoint with ``count`` data files."""
    return f"{prefix}.data-{shard:05d}-of-{count:05d}"


def parse_shard(path: str) -> Shard | None:
    """Return the parts of the path of a V2 checkpoint's data file, or ``None`` for another path."""
    return _parse(_SHARD, path)


def parse_v1_shard(path: str) -> Shard | None:
    """Return the parts of the path of one file of a sharded V1 checkpoint, or ``None`` for another path."""
    return _parse(_V1_SHARD, path)


def _parse(pattern: re.Pattern[str], path: str) -> Shard | None:
    match = pattern.search(path)
    return None if match is None else Shard(path[: match.start()], int(match[1]), int(match[2]))


def data_files_in(listing: Listing, base: str) -> Iterator[str]:
    """Yield the names in a folder that begin like those of the data files of a prefix with the name ``base``."""
    begin = f"{base}.data-"
    for name in islice(listing.names, bisect_left(listing.names, begin), None):
        if not name.startswith(begin):
            break
        yield name


def prefix_of_member(path: str) -> str | None:
    """Return the prefix if ``path`` has the name of an index, a data file or a graph of a checkpoint, or ``None``."""
    for suffix in (INDEX_SUFFIX, META_SUFFIX):
        if path.endswith(suffix):
            return path[: -len(suffix)]
    match = _SHARD.search(path)
    return path[: match.start()] if match else None


def prefix_of_v1_shard(path: str) -> str | None:
    """Return the prefix if ``path`` is the name of a file, or a pattern, of a sharded V1 checkpoint, or ``None``."""
    match = _V1_SHARD.search(path) or _V1_PATTERN.search(path)
    return path[: match.start()] if match else None


def is_incomplete_folder(folder: str) -> bool:
    """Return whether a folder has the name of those in which TensorFlow collects a checkpoint until it is complete."""
    return _INCOMPLETE.search(folder.rstrip("/\\")) is not None


def temporary_token(name: str) -> str | None:
    """Return the part of a file's temporary name that identifies the save, or ``None`` for another name.

    Files that ``storage.staging`` writes together have the first digits in common; those of TensorFlow do not.
    """
    match = _TEMPORARY.search(name)
    return None if match is None else match[1][:13]


def is_sidecar(name: str) -> bool:
    """Return whether a file with this base name is a companion file of another program, or a copy in progress.

    Such a file is neither a checkpoint nor an event file, whatever else its name contains. If the caller passes its
    path, it is read nevertheless.
    """
    # macOS keeps attributes of NAME in ._NAME on other file systems; locks of Emacs begin with the second, and files of
    # office programs and of ownCloud with the third.
    if name.startswith(("._", ".#", ".~")):
        return True
    # rsync's copies have a leading dot, and so have Hadoop's checksums and swap files. A checkpoint's name may begin
    # with a dot, or be empty, and its members are known by their suffixes.
    if name.startswith("."):
        return prefix_of_member(name) is None or _HIDDEN.match(name) is not None
    return _SIDECAR.search(name) is not None


def is_sidecar_folder(name: str) -> bool:
    """Return whether a folder with this base name is one where another program keeps sidecars or deleted files."""
    if name in _SIDECAR_FOLDERS:
        return True
    folded = name.casefold()
    return folded.startswith(".trash") or (not name[:1].isalnum() and folded in _SIDECAR_FOLDERS)


def step_of(prefix: str) -> int | None:
    """Return the training step in a name such as ``model.ckpt-1000``."""
    match = _STEP.search(prefix)
    return int(match[1]) if match else None


def find_files(
    prefix: Location, format: Format | None = None, listings: Listings | None = None
) -> CheckpointFiles | None:
    """Return the checkpoint with this prefix, or ``None``.

    V2 takes precedence if both formats have the prefix and ``format`` is ``None``. ``listings`` caches folder listings
    when many prefixes are searched for.
    """
    listing = (listings or Asking()).of(prefix.parent)
    base = prefix.name
    if format != "v1" and listing.is_file(base + INDEX_SUFFIX):
        return CheckpointFiles(prefix, "v2")
    if format != "v2" and base:
        is_there = listing.is_file(base)
        # A folder that is not listed yet is listed only if the file is not a V1 checkpoint.
        if is_there and isinstance(listing, Asked) and holds_v1_table(prefix):
            return CheckpointFiles(prefix, "v1", (prefix,))
        shards = _v1_shards(base, listing)
        if shards and not (is_there and holds_v1_table(prefix)):
            return CheckpointFiles(prefix, "v1", tuple(map(prefix.beside, shards)))
        if is_there:
            return CheckpointFiles(prefix, "v1", (prefix,))
    return None


def find_shards_beside(location: Location) -> CheckpointFiles | None:
    """Return the sharded V1 checkpoint whose prefix is also the name of another file, such as a state file."""
    found = find_files(location, "v1")
    is_sharded = found is not None and location not in found.v1_files and any(map(holds_v1_table, found.v1_files))
    return found if is_sharded else None


def holds_v1_table(location: Location) -> bool:
    """Return whether a file belongs to a V1 checkpoint, by its content."""
    try:
        return kind_of(location) is FileKind.V1_TABLE
    except (TfBundleError, OSError):
        return False


def _v1_shards(base: str, listing: Listing) -> list[str]:
    # A file named PREFIX.data-00000-of-00001 belongs to a V2 checkpoint.
    if base.endswith(".data"):
        return []
    names = listing.names
    # All names that begin with the base and a minus sign; "." is the next character after that.
    begun = names[bisect_left(names, base + "-") : bisect_left(names, base + ".")]
    return [name for name in begun if _V1_SHARD.fullmatch(name, len(base))]


class Folder(NamedTuple):
    """The contents of a folder: checkpoints by prefix, data files without an index, and incomplete checkpoints."""

    v2: tuple[Location, ...]
    v1: tuple[Location, ...]
    without_index: tuple[Location, ...]
    incomplete: tuple[Location, ...]


def scan_folder(folder: Location, listing: Listing | None = None) -> Folder:
    """Return the checkpoints in a folder, by the names of their files; other names are left out.

    A V1 checkpoint in one file has no suffix; it is found if its graph (``.meta``) is next to it. Sidecars of other
    programs are not files of a checkpoint. ``listing`` is that of the folder, if it is known. Raises as
    ``Location.list`` does.
    """
    listing = folder.list() if listing is None else listing
    v2, v1, orphans, incomplete = set(), set(), set(), set()
    for name in listing.names:
        if is_sidecar(name):
            continue
        if is_incomplete_folder(name) and listing.is_folder(name):
            incomplete.add(name)
        elif name.endswith(INDEX_SUFFIX):
            if not listing.is_folder(name):
                v2.add(name[: -len(INDEX_SUFFIX)])
        elif (prefix := prefix_of_member(name)) is not None:
            if name.endswith(META_SUFFIX):
                if listing.is_file(prefix):
                    v1.add(prefix)
            elif prefix + INDEX_SUFFIX not in listing:
                orphans.add(prefix)
        elif (prefix := prefix_of_v1_shard(name)) is not None:
            v1.add(prefix)
    found = (sorted(names, key=_by_step) for names in (v2, v1 - v2, orphans, incomplete))
    return Folder(*(tuple(map(folder.join, names)) for names in found))


def holds_data(prefix: Location, listing: Listing) -> bool:
    """Return whether any data file of a prefix is more than a placeholder."""
    return any(not is_placeholder(prefix.beside(name)) for name in data_files_in(listing, prefix.name))


def is_placeholder(location: Location) -> bool:
    """Return whether a file is a web page, an error message, or a pointer of Git LFS or git-annex, not its content."""
    try:
        return kind_of(location) in (FileKind.GIT_LFS, FileKind.GIT_ANNEX, FileKind.HTML, FileKind.STORE_ERROR)
    except (TfBundleError, OSError):
        return False  # A file that cannot be read may be anything.


def _by_step(prefix: str) -> tuple[str, int]:
    """Return a key that sorts ``model-9`` before ``model-10``."""
    step = step_of(prefix)
    return (prefix, -1) if step is None else (_STEP.sub("", prefix), step)


def prefix_of(location: Location) -> Location | None:
    """Return ``prefix_of_member`` of a location."""
    base = prefix_of_member(location.name)
    return None if base is None else location.beside(base)


def v1_prefix_of(location: Location) -> Location | None:
    """Return ``prefix_of_v1_shard`` of a location."""
    base = prefix_of_v1_shard(location.name)
    return None if base is None else location.beside(base)
