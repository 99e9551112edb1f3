"""A SavedModel: a folder of graphs, the variables that they share, and the files that they read.

::

    saved_model.pb  or  saved_model.pbtxt     the graphs, distinguished by their tags
    variables/variables.index, .data-*        a checkpoint
    assets/                                   vocabularies and similar files
    fingerprint.pb                            since TensorFlow 2.12
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

from tfbundle.checkpoint.checkpoint import Checkpoint, open_checkpoint
from tfbundle.checkpoint.find.saved_models import variables_prefix
from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.reading import decode_message
from tfbundle.identification.names import ASSETS, FINGERPRINT_NAME
from tfbundle.limits import LARGEST_NOTE
from tfbundle.notebook import Table, render, safe_view
from tfbundle.plurals import plural
from tfbundle.proto import AssetFileDef, FingerprintDef, SavedObjectGraph
from tfbundle.proto import SavedModel as SavedModelProto
from tfbundle.storage.locations import locate
from tfbundle.storage.stated_paths import leads_outside

_SERVE = "serve"


class Asset(NamedTuple):
    """A file that a model reads: its name, its path, and the tensor that is fed with the path."""

    name: str
    path: str
    tensor_name: str

    @property
    def exists(self) -> bool:
        """Whether the file exists."""
        return locate(self.path).is_file()


class SavedModel:
    """A SavedModel: its graphs, assets, fingerprint and variables."""

    proto: SavedModelProto
    """The message as stored in the file."""
    path: str
    """The file that the message was read from."""

    def __init__(self, proto: SavedModelProto, path: str) -> None:
        """Create a SavedModel, as ``load_saved_model`` does."""
        self.proto = proto
        self.path = path

    @property
    def folder(self) -> str:
        """The folder of the SavedModel."""
        return locate(self.path).parent.path

    @cached_property
    def meta_graphs(self) -> tuple[MetaGraph, ...]:
        """The graphs, in the order of the file; each has its ``tags``."""
        return tuple(MetaGraph(proto, path=self.path) for proto in self.proto.meta_graphs)

    def meta_graph(self, tags: str | Iterable[str] | None = None) -> MetaGraph:
        """Return the graph with exactly these tags; by default the only graph, or else the one tagged ``serve``.

        Raises ``KeyError`` if no graph has the tags, and ``UnsupportedError`` if none are passed and the choice is
        ambiguous or there is no graph.
        """
        there = " and ".join(str(list(meta.tags)) for meta in self.meta_graphs) or "none"
        if tags is None:
            if len(self.meta_graphs) == 1:
                return self.meta_graphs[0]
            tags = {_SERVE}
        wanted = {tags} if isinstance(tags, str) else set(tags)
        found = [meta for meta in self.meta_graphs if set(meta.tags) == wanted]
        if len(found) == 1:
            return found[0]
        message = f"{self.path} has {len(self.meta_graphs)} graphs, tagged {there}"
        if found or wanted == {_SERVE}:
            raise UnsupportedError(
                f"{message}; take one from tfbundle.load_saved_model(path).meta_graphs", path=self.path
            )
        raise KeyError(f"{message}, and none {sorted(wanted)}")

    @property
    def tensorflow_version(self) -> str:
        """The TensorFlow version that wrote it, such as ``"2.21.0"``; empty if not stated."""
        return self.meta_graphs[0].tensorflow_version if self.meta_graphs else ""

    @property
    def object_graph(self) -> SavedObjectGraph | None:
        """The object graph that a TensorFlow 2 program saved, or ``None``."""
        return next((meta.object_graph for meta in self.meta_graphs if meta.object_graph is not None), None)

    @cached_property
    def assets(self) -> tuple[Asset, ...]:
        """The files that the graphs read, without repetition; ``FormatError`` if one would be outside of the folder."""
        assets: dict[str, Asset] = {}
        for meta in self.meta_graphs:
            definitions = list(meta.proto.asset_file_def)
            # TensorFlow 1 stores them in a collection.
            listed = meta.collections.get("saved_model_assets", [])
            definitions += (item for item in listed if isinstance(item, AssetFileDef))
            for definition in definitions:
                name = definition.filename
                if leads_outside(name):
                    raise FormatError(f"the asset {name!r} would be outside of the SavedModel", path=self.path)
                path = locate(self.folder).join(ASSETS, name).path
                assets.setdefault(name, Asset(name, path, definition.tensor_info.name))
        return tuple(assets.values())

    @cached_property
    def fingerprint(self) -> FingerprintDef | None:
        """The contents of ``fingerprint.pb``, or ``None`` if it does not exist."""
        file = locate(self.folder).join(FINGERPRINT_NAME)
        return decode_message(file.read(LARGEST_NOTE), FingerprintDef, path=file.path) if file.is_file() else None

    def open_checkpoint(self, *, verify: bool = True) -> Checkpoint:
        """Open the checkpoint of its variables; raises ``MissingFileError`` if there is none."""
        return open_checkpoint(variables_prefix(self.folder), verify=verify)

    def __reduce__(self) -> tuple[Any, ...]:
        return SavedModel, (self.proto, self.path)

    @safe_view
    def _repr_html_(self) -> str:
        rows = (
            (", ".join(meta.tags), len(meta.proto.graph_def.node), ", ".join(sorted(meta.proto.signature_def)))
            for meta in self.meta_graphs
        )
        table = Table(("tags", "nodes", "signatures"), rows, len(self.meta_graphs), "graph")
        return render(f"SavedModel {self.folder}", {"TensorFlow": self.tensorflow_version}, table)

    def __repr__(self) -> str:
        graphs = "; ".join(", ".join(meta.tags) or "no tags" for meta in self.meta_graphs)
        return f"<SavedModel {self.folder!r}, {plural(len(self.meta_graphs), 'graph')}: {graphs}>"

    def __str__(self) -> str:
        return self.path
