"""Files whose content does not match their names: web pages, Git LFS pointers, indexes under another name."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tfbundle.checkpoint.find.names import is_sidecar, prefix_of_member, prefix_of_v1_shard
from tfbundle.checkpoint.find.renamed import is_stray_copy
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, finding_of
from tfbundle.identification.files import kind_of
from tfbundle.identification.names import is_event_file_name
from tfbundle.storage.base import Location
from tfbundle.verification.suffixes import contradiction

# Each file is opened, and folders of data sets may have more files than this.
_MOST_OPENED = 10_000


def check_names(folder: Location, prefixes: Collection[str], others: Collection[str]) -> Iterator[Finding]:
    """Yield a finding for each file whose content does not match its name.

    Files of checkpoints with these ``prefixes``, event files and ``others`` are skipped; they are checked elsewhere.
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
            continue  # A folder, a pipe, or a dangling link.
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
