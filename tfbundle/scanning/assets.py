"""Suspicious files next to a graph: assets outside of the model's folder, and code among the assets."""

from __future__ import annotations

from collections.abc import Iterator

from tfbundle.identification.names import ASSETS, EXTRA_ASSETS
from tfbundle.proto import MetaGraphDef
from tfbundle.scanning.contents import Content
from tfbundle.scanning.report import ScanFinding
from tfbundle.storage.stated_paths import leads_outside

_HEAD = 512
_BINARIES = (
    (b"\x7fELF", "a program or library for Linux"),
    (b"MZ", "a program or library for Windows"),
    (b"\xcf\xfa\xed\xfe", "a program or library for macOS"),
    (b"\xce\xfa\xed\xfe", "a program or library for macOS"),
    (b"\xca\xfe\xba\xbe", "a program for macOS, or a Java class"),
)
_SCRIPTS = (".py", ".pyc", ".sh", ".bat", ".ps1", ".js", ".so", ".dll", ".dylib")
_PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
# Folders of a SavedModel that hold files for the model.
_ASSET_FOLDERS = (ASSETS, EXTRA_ASSETS)


def asset_findings(meta: MetaGraphDef, path: str) -> Iterator[ScanFinding]:
    """Yield a finding for each asset whose name leads out of the model's folder."""
    for asset in meta.asset_file_def:
        if asset.filename and leads_outside(asset.filename):
            yield ScanFinding(
                "asset-outside",
                "high",
                f"the asset {asset.filename!r} is outside of the model's folder",
                path,
                node=asset.tensor_info.name.partition(":")[0] or None,
                argument=asset.filename,
            )


def code_findings(content: Content, *, is_pickle: bool) -> Iterator[ScanFinding]:
    """Yield a finding for a file that is a program, a library, a script or a pickle."""
    head = content.head(_HEAD)
    lower = content.name.lower()
    binary = next((words for magic, words in _BINARIES if head.startswith(magic)), None)
    is_asset = bool(set(content.folders) & set(_ASSET_FOLDERS))
    if binary is not None:
        words, severity = binary, "medium" if is_asset else "low"
    elif is_pickle or lower.endswith(_PICKLES):
        words, severity = "a pickle, which runs code when it is loaded", "medium" if is_asset else "low"
    elif head.startswith(b"#!") or lower.endswith(_SCRIPTS):
        words, severity = "a script or compiled code", "low" if is_asset else "info"
    else:
        return
    yield ScanFinding(
        "extra-code", severity, f"{content.name} is {words}", content.path, trigger="unreachable", argument=content.name
    )
