"""What makes a model's program run: its loading, its savers, and the requests of callers.

::

    load     init and main ops (signature __saved_model_init_op, collections saved_model_main_op, legacy_init_op and
             saved_model_init_op), initialisers of tables, _create_resource, _initialize and _destroy_resource of
             resources, restore functions of objects
    restore  the restore op of a saver, which loaders run with the path of the variables
    save     the save op of a saver, which is run with the path that a caller chose
    call     signatures, train ops, functions of the object graph, save functions of objects
    other    in a SavedModel nothing leads there; the caller of any other graph may fetch any node
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import NamedTuple

from tfbundle.errors import TfBundleError
from tfbundle.graph.collections import Collections
from tfbundle.proto import AssetFileDef, MetaGraphDef, SavedObject, SavedObjectGraph, SaverDef, TensorInfo
from tfbundle.scanning.reach import Entry

_INIT_SIGNATURE = "__saved_model_init_op"
_TRAIN_SIGNATURE = "__saved_model_train_op"
_LOAD_COLLECTIONS = {
    "saved_model_main_op": "the main op",
    "legacy_init_op": "the init op",
    "saved_model_init_op": "the init op",
    "table_initializer": "the initialiser of tables",
}
_LOAD_FUNCTIONS = ("_create_resource", "_initialize", "_destroy_resource")
_FUNCTIONS = ("function", "bare_concrete_function")
_ASSET_PATHS = "asset_filepaths"
_ASSETS = "saved_model_assets"
_SAVERS = "savers"
# Objects of a model; the largest have about half as many.
_MOST_OBJECTS = 80_000
# Of the way that leads to an object the last steps are named.
_LONGEST_WAY = 8


class Captured(NamedTuple):
    """What a function of the object graph is handed beside its caller's arguments: an asset, or a constant's node."""

    asset: str | None = None
    node: str | None = None


class EntryPoints(NamedTuple):
    """Everything that makes a program run, and the values that are fed to it then.

    ``filename_tensors`` are the tensors that savers are fed the path of a checkpoint through, ``assets`` names of asset
    files by the tensor that loading feeds with the path of one; tensors are ``NODE:OUTPUT``. ``captured`` has, by
    function, the values that are passed after the arguments of a caller. ``problems`` describes what could not be read.
    """

    load: list[Entry]
    restore: list[Entry]
    save: list[Entry]
    call: list[Entry]
    filename_tensors: set[str]
    assets: dict[str, str]
    captured: dict[str, list[Captured]]
    problems: list[str]


def no_entry_points() -> EntryPoints:
    """Return those of a graph that nothing is known of."""
    return EntryPoints([], [], [], [], set(), {}, {}, [])


def entry_points(meta: MetaGraphDef) -> EntryPoints:
    """Return those of a meta graph."""
    found = no_entry_points()
    _signatures(meta, found)
    _collections(meta, found)
    if meta.HasField("saver_def"):
        _saver(meta.saver_def, found)
    for asset in meta.asset_file_def:
        found.assets[_tensor_of(asset.tensor_info.name)] = asset.filename
    if meta.HasField("object_graph_def"):
        _Objects(meta.object_graph_def, [asset.filename for asset in meta.asset_file_def]).add_to(found)
    return found


def _node_of(tensor: str) -> str:
    return tensor.lstrip("^").partition(":")[0]


def _tensor_of(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"


def _signatures(meta: MetaGraphDef, found: EntryPoints) -> None:
    for name, signature in sorted(meta.signature_def.items()):
        nodes = tuple(_node_of(tensor) for output in signature.outputs.values() for tensor in _tensors(output, 8))
        if name == _INIT_SIGNATURE:
            found.load.append(Entry("the init op", nodes))
        elif name == _TRAIN_SIGNATURE:
            found.call.append(Entry("the train op", nodes))
        else:
            found.call.append(Entry(f"the signature {name}", nodes))


def _tensors(info: TensorInfo, depth: int) -> Iterator[str]:
    kind = info.WhichOneof("encoding")
    if kind == "coo_sparse":
        sparse = info.coo_sparse
        yield from (sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name)
    elif kind == "composite_tensor" and depth:
        for part in info.composite_tensor.components:
            yield from _tensors(part, depth - 1)
    elif kind == "name":
        yield info.name


def _collections(meta: MetaGraphDef, found: EntryPoints) -> None:
    collections = Collections(meta.collection_def)
    for name, label in _LOAD_COLLECTIONS.items():
        nodes = tuple(_node_of(item) for item in _items(collections, name, found) if isinstance(item, str))
        if nodes:
            found.load.append(Entry(label, nodes))
    for item in _items(collections, "saved_model_train_op", found):
        if isinstance(item, str):
            found.call.append(Entry("the train op", (_node_of(item),)))
    for item in _items(collections, _ASSET_PATHS, found):
        if isinstance(item, str):
            found.assets.setdefault(_node_of(item), "")
    for item in _items(collections, _ASSETS, found):
        if isinstance(item, AssetFileDef):
            found.assets[_tensor_of(item.tensor_info.name)] = item.filename
    for item in _items(collections, _SAVERS, found):
        if isinstance(item, SaverDef):
            _saver(item, found)


def _items(collections: Collections, name: str, found: EntryPoints) -> list[object]:
    if name not in collections:
        return []
    try:
        return [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in collections[name]]
    except TfBundleError as error:
        found.problems.append(f"the collection {name!r} cannot be read: {error.message}")
        return []


def _saver(saver: SaverDef, found: EntryPoints) -> None:
    if saver.filename_tensor_name:
        found.filename_tensors.add(_tensor_of(saver.filename_tensor_name))
    if saver.restore_op_name:
        found.restore.append(Entry("the saver's restore op", (_node_of(saver.restore_op_name),)))
    if saver.save_tensor_name:
        found.save.append(Entry("the saver", (_node_of(saver.save_tensor_name),)))


class _Objects:
    """The objects that a TensorFlow 2 program saved: which functions they have, and how each is reached."""

    def __init__(self, graph: SavedObjectGraph, assets: list[str]) -> None:
        self._nodes = graph.nodes
        self._concrete = graph.concrete_functions
        self._assets = assets

    def add_to(self, found: EntryPoints) -> None:
        nodes = self._nodes
        if len(nodes) > _MOST_OBJECTS:
            found.problems.append(
                f"the object graph has {len(nodes)} objects, more than the {_MOST_OBJECTS} that a scan reads"
            )
            return
        for number, node in enumerate(nodes):
            kind = node.WhichOneof("kind")
            if kind in _FUNCTIONS:
                way = partial(self._way, number)
                found.call.append(Entry("the function ", functions=_functions_of(node), of=way))
            elif kind == "resource":
                for child in (*node.children, *node.dependencies):
                    if child.local_name in _LOAD_FUNCTIONS:
                        self._add(found.load, child.node_id, f"{child.local_name} of ", number)
            for name in node.saveable_objects:
                saveable = node.saveable_objects[name]
                self._add(found.load, saveable.restore_function, "the restore function of ", number)
                self._add(found.call, saveable.save_function, "the save function of ", number)
        for name in self._concrete:
            found.captured[name] = [self._captured(number) for number in self._concrete[name].bound_inputs]

    def _add(self, entries: list[Entry], number: int, label: str, owner: int) -> None:
        if 0 <= number < len(self._nodes):
            functions = _functions_of(self._nodes[number])
            if functions:
                entries.append(Entry(label, functions=functions, of=partial(self._way, owner)))

    def _captured(self, number: int) -> Captured:
        if not 0 <= number < len(self._nodes):
            return Captured()
        node = self._nodes[number]
        kind = node.WhichOneof("kind")
        if kind == "asset":
            index = node.asset.asset_file_def_index
            return Captured(asset=self._assets[index] if 0 <= index < len(self._assets) else None)
        return Captured(node=node.constant.operation) if kind == "constant" else Captured()

    @cached_property
    def _ways(self) -> Mapping[int, tuple[int, str]]:
        """Return for each object that the root leads to the object before it and the name of the step."""
        ways: dict[int, tuple[int, str]] = {0: (-1, "root")}
        waiting = [0] if len(self._nodes) else []
        for number in waiting:
            for child in self._nodes[number].children:
                if child.node_id not in ways and 0 <= child.node_id < len(self._nodes):
                    ways[child.node_id] = (number, child.local_name)
                    waiting.append(child.node_id)
        return ways

    def _way(self, number: int) -> str:
        ways = self._ways
        if number not in ways:
            return f"object {number}, which has no path of names"
        steps: list[str] = []
        while number > 0 and len(steps) < _LONGEST_WAY:
            number, step = ways[number]
            steps.append(step)
        return ".".join(reversed(steps)) or "root"


def _functions_of(node: SavedObject) -> tuple[str, ...]:
    kind = node.WhichOneof("kind")
    if kind == "function":
        return tuple(node.function.concrete_functions)
    return (node.bare_concrete_function.concrete_function_name,) if kind == "bare_concrete_function" else ()
