"""``tf.compat.v1.train.Saver`` for arrays: numbered checkpoints, of which only the latest are kept.

A save does, in this order: the data and the index, the list of the latest, the state file, the removal of
checkpoints that are no longer kept, the graph. If a step fails, the checkpoints that the state file names exist.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tfbundle.checkpoint.find.state import state_name
from tfbundle.checkpoint.loading import load
from tfbundle.checkpoint.saving import save as save_checkpoint
from tfbundle.errors import UnsupportedError
from tfbundle.graph.loading import load_meta_graph
from tfbundle.graph.meta_graph import MetaGraph
from tfbundle.graph.required_variables import required_variables
from tfbundle.identification.names import INDEX_SUFFIX
from tfbundle.plurals import plural
from tfbundle.proto import MetaGraphDef, SaverDef
from tfbundle.storage.base import Location
from tfbundle.storage.changing import make_folder
from tfbundle.storage.locations import StrPath, locate
from tfbundle.storage.replacing import replacement
from tfbundle.suggestions import suggest_names
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.tensor import Tensor
from tfbundle.train.removal import get_checkpoint_mtimes, meta_graph_filename
from tfbundle.train.rotation import Rotation
from tfbundle.train.state_file import check_name, generate_checkpoint_state_proto, relative_paths, write_state


class Saver:
    """Saves and restores variables as numpy arrays, and keeps the latest checkpoints.

    It differs from TensorFlow's in this:

    * ``save`` accepts the variables, a mapping of names to arrays, while TensorFlow accepts a session; ``restore``
      returns them. ``var_list`` has names: a list, or ``{stored: wanted}`` for variables stored under another name.
      Without it, all variables passed are saved, and all stored ones are restored.
    * A graph is written if one is passed to ``save``, or if the saver came from ``import_meta_graph``.
    * ``sharded`` writes one data file, as TensorFlow does on one device. ``reshape``, ``name``,
      ``restore_sequentially``, ``builder``, ``defer_build`` and ``filename`` concern the ops of a graph, and have
      no effect here.
    * Checkpoints of the old format (``write_version=SaverDef.V1``) are restored, but not written.
    * A missing file raises ``MissingFileError``, a missing variable ``KeyError``.
    """

    def __init__(
        self,
        var_list: Iterable[str] | Mapping[str, str] | None = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: SaverDef | None = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: int = SaverDef.V2,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:
        """Save at most ``max_to_keep`` checkpoints (0 or ``None``: all), and permanently one in so many hours.

        A ``saver_def`` replaces these settings. ``pad_step_number`` writes the step with eight digits,
        ``save_relative_paths`` stores relative paths in the state file even if the paths are absolute.
        Raises ``ValueError`` if ``var_list`` is empty, unless ``allow_empty``, or names a variable twice.
        """
        self._names = _stored_names(var_list)
        if self._names is not None and not self._names and not allow_empty:
            raise ValueError("there are no variables to save: var_list is empty")
        self._allow_empty = allow_empty
        self._pad_step_number = pad_step_number
        self._save_relative_paths = save_relative_paths
        self.meta_graph: MetaGraph | None = None
        """The graph of ``import_meta_graph``, which is written with each checkpoint; otherwise ``None``."""
        self.saver_def = SaverDef(
            # The names that TensorFlow gives to the ops of a graph's first saver.
            filename_tensor_name="save/Const:0",
            save_tensor_name="save/Identity:0" if sharded else "save/control_dependency:0",
            restore_op_name="save/restore_all",
            max_to_keep=max_to_keep,
            sharded=sharded,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            version=write_version,  # type: ignore[arg-type, unused-ignore]
        )
        """The settings as a graph stores them."""
        if saver_def is not None:
            self.saver_def = SaverDef.FromString(saver_def.SerializeToString())
        self._rotation = Rotation(self.saver_def)

    def __repr__(self) -> str:
        names = "all variables" if self._names is None else plural(len(self._names), "variable")
        return f"<Saver of {names}, max_to_keep {self.saver_def.max_to_keep}>"

    def save(
        self,
        values: Mapping[str, Any],
        save_path: StrPath,
        global_step: Any = None,
        latest_filename: str | bytes | None = None,
        meta_graph: MetaGraph | MetaGraphDef | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
    ) -> str | None:
        """Save variables under the prefix ``save_path``, or ``SAVE_PATH-STEP``, and return the prefix.

        ``values`` are arrays, or other values that ``tfbundle.save`` accepts, by name; an open checkpoint is such a
        mapping. ``global_step`` is an integer, an array of one, or the name of the variable that holds it.
        ``latest_filename`` is the name of the state file if it is not ``checkpoint``. Without ``write_state`` the
        checkpoint is not counted either. The folder is made if its parent exists. An empty saver returns ``None``.

        Raises ``KeyError`` if a variable of ``var_list`` is not among ``values``, ``ValueError`` if there are none or
        the names collide, ``UnsupportedError`` for the old format, ``OSError`` if a file cannot be written, and the
        errors of ``tfbundle.save``.
        """
        state_file = state_name(latest_filename)
        prefix = self._prefix(values, locate(save_path), global_step, state_file)
        if write_state:
            check_name(prefix)
        chosen = self._choose(values)
        graph = self.meta_graph if meta_graph is None else meta_graph
        if chosen:
            folder = prefix.parent
            make_folder(folder)
            save_checkpoint(prefix, chosen)
            if write_state:
                self._rotation.add(prefix.path)
                self._write_state(folder, prefix.path, state_file)
                self._rotation.sweep(meta_graph_suffix)
        if write_meta_graph and graph is not None:
            message = graph.proto if isinstance(graph, MetaGraph) else graph
            with replacement(meta_graph_filename(prefix, meta_graph_suffix)) as file:
                file.write(message.SerializeToString(deterministic=True))
        return prefix.path if chosen else None

    def restore(self, save_path: StrPath) -> dict[str, Array]:
        """Return the variables of ``var_list``, or all of them, as new arrays.

        Names of variables of an object-based checkpoint (TensorFlow 2) are accepted, too. Raises ``ValueError`` for
        ``None``, ``KeyError`` if a variable does not exist, and the errors of ``open_checkpoint`` and ``Tensor.read``.
        """
        if save_path is None:
            raise ValueError("save_path is None; latest_checkpoint returns None if there is no checkpoint")
        prefix = locate(save_path)
        index = prefix.plus(INDEX_SUFFIX)
        return load(index if index.is_file() else prefix, names=self._names)

    @property
    def last_checkpoints(self) -> list[str]:
        """The prefixes of the checkpoints that may still be removed, oldest first."""
        return self._rotation.prefixes

    def set_last_checkpoints(self, last_checkpoints: list[str]) -> None:
        """Adopt earlier checkpoints, oldest first; those beyond the limit are not removed."""
        self.set_last_checkpoints_with_time([(prefix, np.inf) for prefix in last_checkpoints])

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time: list[tuple[str, float]]) -> None:
        """Adopt earlier checkpoints, oldest first, with their times in seconds since 1970."""
        self._rotation.saved = [(locate(prefix).path, float(time)) for prefix, time in last_checkpoints_with_time]

    def recover_last_checkpoints(self, checkpoint_paths: Iterable[StrPath]) -> None:
        """Adopt those of the given checkpoints that exist, for a program that was restarted.

        They are given oldest first, as in ``get_checkpoint_state(folder).all_model_checkpoint_paths``.
        """
        timed = ((locate(path).path, get_checkpoint_mtimes([path])) for path in checkpoint_paths)
        self.set_last_checkpoints_with_time([(path, times[0]) for path, times in timed if times])

    def as_saver_def(self) -> SaverDef:
        """Return the settings as a graph stores them."""
        return self.saver_def

    def to_proto(self) -> SaverDef:
        """Return the result of ``as_saver_def``."""
        return self.saver_def

    @staticmethod
    def from_proto(saver_def: SaverDef) -> Saver:
        """Return a saver with these settings."""
        return Saver(saver_def=saver_def)

    def _prefix(self, values: Mapping[str, Any], save_path: Location, step: Any, latest_filename: str) -> Location:
        if self.saver_def.version != SaverDef.V2:
            raise UnsupportedError(
                "checkpoints of the format V1 are not written; leave out write_version, and TensorFlow reads the "
                "checkpoint by the same calls"
            )
        if locate(latest_filename).name != latest_filename:
            raise ValueError(f"latest_filename is a name in the checkpoint's folder, not a path: {latest_filename!r}")
        if step is not None:
            number = _step(values, step)
            return save_path.plus(f"-{number:08d}" if self._pad_step_number else f"-{number:d}")
        if save_path.name == latest_filename and not self.saver_def.sharded:
            raise ValueError(f"{save_path} would have the name of the state file; pass another latest_filename")
        return save_path

    def _choose(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values to save by the names under which they are stored, in the order of TensorFlow."""
        names = {name: name for name in values} if self._names is None else self._names
        for name in names.values():
            if name not in values:
                raise KeyError(f"there is no variable {name!r} among the values to save{suggest_names(name, values)}")
        if not names and not self._allow_empty:
            raise ValueError("there are no variables to save")
        return {stored: values[name] for stored, name in sorted(names.items())}

    def _write_state(self, folder: Location, prefix: str, latest_filename: str) -> None:
        paths = self._rotation.prefixes
        if self._save_relative_paths:
            prefix, *paths = relative_paths(folder, [prefix, *paths])
        write_state(folder, generate_checkpoint_state_proto(folder, prefix, paths), latest_filename)


def _stored_names(var_list: Iterable[str] | Mapping[str, str] | None) -> dict[str, str] | None:
    """Return the name of each variable by that under which it is stored."""
    if var_list is None:
        return None
    if isinstance(var_list, Mapping):
        return dict(var_list)
    if isinstance(var_list, str):
        raise TypeError(f"var_list is a list of names or a dict, not a str; pass [{var_list!r}]")
    names = list(var_list)
    if len(set(names)) < len(names):
        raise ValueError("var_list names a variable twice")
    return {name: name for name in names}


def _step(values: Mapping[str, Any], step: Any) -> int:
    value = values[step.removesuffix(":0")] if isinstance(step, str) else step
    if isinstance(value, Tensor):
        value = value.read()
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biu":
        raise TypeError(f"global_step is one integer, not {array.dtype} of the shape {list(array.shape)}")
    return int(array.item())


def import_meta_graph(
    meta_graph_or_file: StrPath | MetaGraph | MetaGraphDef, clear_devices: bool = False, **settings: Any
) -> Saver:
    """Return a saver of a graph's variables, with its settings; ``.meta_graph`` is the graph.

    The variables are those that the graph's saver restores, by their names in the graph. ``settings`` are
    arguments of ``Saver``; ``clear_devices`` has no effect here. It differs from TensorFlow's in this: no graph is
    created to run, a graph without variables returns an empty saver, not ``None``, and there is no ``import_scope``.

    Raises the errors of ``load_meta_graph``.
    """
    if isinstance(meta_graph_or_file, MetaGraph):
        meta_graph = meta_graph_or_file
    elif isinstance(meta_graph_or_file, MetaGraphDef):
        meta_graph = MetaGraph(meta_graph_or_file)
    else:
        meta_graph = load_meta_graph(locate(meta_graph_or_file).path)
    if meta_graph.saver is not None:
        settings.setdefault("saver_def", meta_graph.saver.proto)
    settings.setdefault("var_list", _variables(meta_graph))
    settings.setdefault("allow_empty", True)
    saver = Saver(**settings)
    saver.meta_graph = meta_graph
    return saver


def _variables(meta_graph: MetaGraph) -> dict[str, str]:
    """Return the name of each variable that a graph restores by that under which it is stored."""
    wanted = {item.names[0]: item for item in required_variables(meta_graph)}
    # Parts of a partitioned variable are stored as one tensor, which has no variable's name.
    names = {
        stored: item.variable if item.variable and len(item.parts) == 1 and not item.parts[0] else stored
        for stored, item in wanted.items()
    }
    counts = Counter(names.values())
    return {stored: name if counts[name] == 1 else stored for stored, name in names.items()}
