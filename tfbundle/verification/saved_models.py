"""Whether the index of a SavedModel matches its ``fingerprint.pb`` (written by TensorFlow 2.12 and later).

Saving over the variables of a SavedModel replaces the index and then the fingerprint (``checkpoint.v2.model_note``). If
the process is stopped between these two steps, the new fingerprint still exists under its temporary name.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace

from google.protobuf.message import DecodeError

from tfbundle.checkpoint.find.names import temporary_token
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, Report, finding_of
from tfbundle.formats.farmhash import fingerprint64
from tfbundle.identification.names import FINGERPRINT_NAME, INDEX_SUFFIX
from tfbundle.limits import LARGEST_NOTE
from tfbundle.proto import FingerprintDef
from tfbundle.storage.base import Location

# Hashing 8 MiB takes a second. The index of a SavedModel usually has a few KiB; larger ones are not hashed.
_LARGEST_HASHED = 4 << 20


def check_fingerprint(folder: Location, prefix: Location) -> Report:
    """Compare the hash of the index of a SavedModel's variables with the hash in its fingerprint.

    If the index is too large to hash, the fingerprint is listed as not checked.
    """
    note, index = folder.join(FINGERPRINT_NAME), prefix.plus(INDEX_SUFFIX)
    report = Report(folder.path)
    if not note.is_file():
        return report
    try:
        expected = FingerprintDef.FromString(note.read(LARGEST_NOTE)).checkpoint_hash
    except DecodeError:
        return replace(report, findings=(Finding("wrong-file", f"{note} is not a FingerprintDef", note.path),))
    except (TfBundleError, OSError) as error:
        return replace(report, findings=(finding_of(error, "wrong-file"),))
    facts = index.stat()
    if not expected or facts is None:
        return report
    if facts.size > _LARGEST_HASHED:
        return replace(report, not_checked=(note.path,))
    try:
        actual = fingerprint64(index.read(_LARGEST_HASHED))
    except (TfBundleError, OSError) as error:
        return replace(report, findings=(finding_of(error, "index"),))
    if actual == expected:
        return report
    path = shlex.quote(prefix.path)
    repair = f"tfbundle convert {path} {path} --overwrite"
    interrupted = _find_interrupted(note, index, actual)
    if interrupted is not None:
        left, is_last = interrupted
        way = f"rename {left} to {note.name}" if is_last else f"write the variables again: {repair}"
        message = (
            f"{note} is the fingerprint of the variables before the last save, which was interrupted before it "
            f"replaced {note.name}; the new variables are in place; to complete the save, {way}"
        )
        return replace(report, findings=(Finding("wrong-file", message, note.path),))
    message = (
        f"{index} has the hash {actual:#018x}, but {note} states {expected:#018x}; the variables were saved again or "
        "replaced after the model was saved, or the index is damaged; to keep variables that are intact, write them "
        f"again with a new fingerprint: {repair}"
    )
    return replace(report, findings=(Finding("checksum", message, index.path),))


def _find_interrupted(note: Location, index: Location, actual: int) -> tuple[Location, bool] | None:
    """Return the fingerprint that an interrupted save left, and whether it is that of the index with this hash.

    If it is not, the save was stopped while data files had temporary names (``storage.staging``): the last version of
    the index still has one too, with the same digits.
    """
    others = {temporary_token(name) for name in index.parent.list().names if name.startswith(f"{index.name}.")}
    for name in note.parent.list().names:
        token = temporary_token(name)
        if token is None or not name.startswith(f"{note.name}."):
            continue
        with suppress(DecodeError, TfBundleError, OSError):
            left = note.beside(name)
            is_last = FingerprintDef.FromString(left.read(LARGEST_NOTE)).checkpoint_hash == actual
            if is_last or token in others:
                return left, is_last
    return None
