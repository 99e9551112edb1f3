"""Whether the index of a SavedModel matches its ``fingerprint.pb`` (written by TensorFlow 2.12 and later)."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.message import DecodeError

from tfbundle.checkpoint.find.names import INDEX_SUFFIX
from tfbundle.checkpoint.find.saved_models import FINGERPRINT_NAME
from tfbundle.errors import TfBundleError
from tfbundle.findings import Finding, Report, finding_of
from tfbundle.formats.farmhash import fingerprint64
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
    message = (
        f"{index} has the hash {actual:#018x}, but {note} states {expected:#018x}; the variables were saved again or "
        "replaced after the model was saved, or the index is damaged"
    )
    return replace(report, findings=(Finding("checksum", message, index.path),))
