"""The files to which edited runs are written, and checks that nothing else is overwritten.

::

    source                            out                       what is written
    a file                            NAME with "tfevents"      that file
    a file, the folder of a run       any other name            a folder with files of the same names
    a tree of runs                    any other name            a folder with the same folders
    a run of one file, or merged      NAME with "tfevents"      that file

TensorBoard shows all event files of a folder as one run. A folder that already has others is therefore rejected: they
would be mixed with the output.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tfbundle.checkpoint.find.names import is_sidecar
from tfbundle.checkpoint.find.owned import check_replaceable
from tfbundle.events.files import ROOT, parts_of_run
from tfbundle.identification.names import is_event_file_name
from tfbundle.storage.base import Location


class Target(NamedTuple):
    """A file to write, and the files of a run that it is made from, in order."""

    location: Location
    run: str
    files: tuple[int, ...]


class Targets(NamedTuple):
    """All files to write, and the files to remove because merged ones replace them."""

    targets: list[Target]
    removed: list[Location]


def find_targets(out: Location, runs: Mapping[str, Sequence[Location]], *, merge: bool, overwrite: bool) -> Targets:
    """Return the target of each file of ``runs``, or with ``merge`` of each run.

    Raises ``ValueError`` if several would have the same name, and if other files are in the way.
    """
    targets = list(_targets(out, runs, merge=merge))
    named: dict[Location, Target] = {}
    for target in targets:
        other = named.setdefault(target.location.real(), target)
        if other is not target:
            raise ValueError(
                f"{other.location} and {target.location} are one file, to which links lead; edit the runs one by one"
            )
    sources = {file.real(): file for files in runs.values() for file in files}
    for target in targets:
        files = [runs[target.run][number] for number in target.files]
        check_replaceable(target.location, overwrite=overwrite, sources=files)
    by_folder: defaultdict[Location, dict[Location, Location]] = defaultdict(dict)
    for file, given in sources.items():
        by_folder[given.parent.real()][file] = given  # A link is part of the run in whose folder it is.
    removed: dict[Location, Location] = {}
    for folder in {target.location.parent.real(): None for target in targets}:
        here = by_folder[folder]
        if merge:
            removed.update({file: given for file, given in here.items() if file not in named})
        if not named.keys().isdisjoint(here):
            continue  # Files are edited in place.
        others = [file for file in _event_files(folder) if file not in named and file not in removed]
        if others:
            raise ValueError(
                f"{folder} has event files, such as {others[0].name}, and the output would become one run "
                "with them; name another folder"
            )
    if removed and not overwrite:
        raise ValueError(
            f"{next(iter(removed.values()))} is an event file of a run; name another folder, or replace it with "
            "overwrite=True"
        )
    return Targets(targets, list(removed.values()))


def _targets(out: Location, runs: Mapping[str, Sequence[Location]], *, merge: bool) -> list[Target]:
    if out.is_file() or (is_event_file_name(out.name) and not out.is_folder()):
        ((run, files),) = runs.items() if len(runs) == 1 else ((ROOT, ()),)
        if len(runs) != 1 or (len(files) > 1 and not merge):
            what = f"{len(runs)} runs" if len(runs) != 1 else f"{len(files)} files, which merge=True writes as one"
            raise ValueError(f"{out} is one file, and the source has {what}; name a folder")
        return [Target(out, run, tuple(range(len(files))))]
    targets = []
    for run, files in runs.items():
        folder = out.join(*parts_of_run(run))
        groups = [tuple(range(len(files)))] if merge else [(number,) for number in range(len(files))]
        targets += [Target(folder.join(files[group[0]].name), run, group) for group in groups]
    return targets


def _event_files(folder: Location) -> list[Location]:
    if not folder.is_folder():
        return []
    listing = folder.list()
    names = [name for name in listing.names if is_event_file_name(name) and not is_sidecar(name)]
    return [folder.join(name).real() for name in names if listing.is_file(name)]
