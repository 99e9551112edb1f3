"""Files in a folder that are not what their names say: web pages, pointers of Git LFS, indexes under another name."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tfbundle.checkpoint.find.names import is_sidecar, prefix_of_member, prefix_of_v1_shard
from tfbundle.checkpoint.find.renamed import is_stray_copy
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.identification.files import is_event_file_name, kind_of
from tfbundle.storage.base import Location
from tfbundle.verification.suffixes import contradiction

# Folders of data sets have more files, and each is opened.
_MOST_OPENED = 10_000


def check_names(folder: Location, prefixes: Collection[str], others: Collection[str]) -> Iterator[Finding]:
    """Yield a finding for each file that is not what its name says.

    What belongs to the checkpoints with these ``prefixes``, event files and ``others`` are left to their own checks.
    """
    listing = folder.list()
    names = (
        name
        for name in listing.names
        if name not in others
        and not is_event_file_name(name)
        and (not is_sidecar(name) or is_stray_copy(name, listing))
        and not {name, prefix_of_member(name), prefix_of_v1_shard(name)}.intersection(prefixes)
    )
    opened = 0
    for name in names:
        if listing.stat(name) is None:
            continue  # A folder, a pipe, or a link that leads nowhere.
        opened += 1
        if opened > _MOST_OPENED:
            return
        location = folder.join(name)
        try:
            problem = contradiction(name, kind_of(location), listing)
        except (TfBundleError, OSError) as error:
            yield finding_of(error, "wrong-file")
        else:
            if problem is not None:
                yield Finding("wrong-file", f"{location} {problem}", location.path)
