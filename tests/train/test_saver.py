"""``Saver`` beside TensorFlow's: after the same saves the folders are equal, to the byte."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.expected import FIXTURES
from tests.train.twins import VALUES, Clock, Theirs, assert_same_folders, tensorflow_session, tree
from tfbundle import train
from tfbundle.errors import MissingFileError, UnsupportedError
from tfbundle.proto import MetaGraphDef
from tfbundle.train.saver import Saver

HOUR = 3600


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def theirs(tf: Any) -> Iterator[Theirs]:
    with tensorflow_session(tf) as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, of what is deprecated.
        yield session


class Both:
    """A pair of savers, each with a folder of its own."""

    def __init__(self, theirs: Theirs, root: Path, **settings: Any) -> None:
        self.folders = root / "ours", root / "theirs"
        for folder in self.folders:
            folder.mkdir(exist_ok=True)
        self.session = theirs
        self.settings = settings
        self.restart()

    def restart(self) -> None:
        names = self.settings.get("var_list")
        variables = self.session.variables
        var_list = {stored: variables[name] for stored, name in names.items()} if isinstance(names, dict) else names
        if isinstance(names, list):
            var_list = [variables[name] for name in names]
        self.theirs = self.session.tf.compat.v1.train.Saver(**{**self.settings, "var_list": var_list})
        self.ours = Saver(**self.settings)

    def save(self, path: str, step: Any = None, **options: Any) -> None:
        options.setdefault("write_meta_graph", False)
        mine = self.ours.save(VALUES, os.path.join(self.folders[0], path), step, **options)
        options.pop("meta_graph", None)
        other = self.theirs.save(self.session.session, os.path.join(self.folders[1], path), step, **options)
        assert mine is not None
        assert mine.replace("/ours/", "/theirs/") == other
        self.check()

    def check(self) -> None:
        assert_same_folders(*self.folders)
        mine = [path.replace("/ours/", "/theirs/") for path in self.ours.last_checkpoints]
        assert mine == self.theirs.last_checkpoints


Make = Callable[..., Both]


@pytest.fixture
def both(theirs: Theirs, tmp_path: Path, clock: Clock) -> Make:
    def make(**settings: Any) -> Both:
        return Both(theirs, tmp_path, **settings)

    return make


class TestRotation:
    @pytest.mark.parametrize("kept", [1, 2, 5, 0, None])
    def test_max_to_keep(self, both: Make, kept: int | None) -> None:
        pair = both(max_to_keep=kept)
        for step in range(1, 8):
            pair.save("model.ckpt", step)
        assert len(list(pair.folders[0].glob("*.index"))) == (kept or 7)

    @pytest.mark.parametrize("hours", [1.0, 0.1, 2.5, 0.0, 1e-3])
    def test_one_in_so_many_hours(self, both: Make, clock: Clock, hours: float) -> None:
        pair = both(max_to_keep=2, keep_checkpoint_every_n_hours=hours)
        for step in range(1, 12):
            clock.now += 0.4 * HOUR
            pair.save("model.ckpt", step)
        kept = len(list(pair.folders[0].glob("*.index")))
        assert kept == {1.0: 5, 0.1: 11, 2.5: 3, 0.0: 11, 1e-3: 11}[hours]

    @pytest.mark.parametrize("seconds", [359.9, 360.1])
    def test_hours_are_compared_as_they_are_stored(self, both: Make, clock: Clock, seconds: float) -> None:
        pair = both(max_to_keep=1, keep_checkpoint_every_n_hours=0.1)
        clock.now += seconds
        for step in range(3):
            pair.save("m", step)
        assert (pair.folders[0] / "m-0.index").exists() is (seconds > 360)

    def test_a_prefix_that_is_saved_again(self, both: Make) -> None:
        pair = both(max_to_keep=2)
        for path, step in [("m", 1), ("m", 2), ("m", 1), ("m", 3), ("final", None), ("final", None), ("m", 1)]:
            pair.save(path, step)

    def test_recovering_after_a_restart(self, both: Make, clock: Clock) -> None:
        pair = both(max_to_keep=3)
        for step in range(4):
            pair.save("m", step)
        for folder in pair.folders:
            (folder / "m-2.index").unlink()
        pair.restart()
        lists = []
        for folder, saver in zip(pair.folders, (pair.ours, pair.theirs), strict=True):
            state = train.get_checkpoint_state(folder)
            assert state is not None
            saver.recover_last_checkpoints(list(state.all_model_checkpoint_paths))
            lists.append([Path(path).name for path in saver.last_checkpoints])
        assert lists == [["m-1", "m-3"]] * 2
        for step in range(4, 8):
            pair.save("m", step)

    def test_lists_that_are_set(self, both: Make) -> None:
        pair = both(max_to_keep=2)
        for step in range(2):
            pair.save("m", step)
        times = [("m-0", time.time() - 5 * HOUR), ("m-1", time.time())]
        for method in ("set_last_checkpoints_with_time", "set_last_checkpoints"):
            pair.restart()
            for folder, saver in zip(pair.folders, (pair.ours, pair.theirs), strict=True):
                timed = [(str(folder / name), at) for name, at in times]
                getattr(saver, method)(timed if method.endswith("time") else [name for name, _ in timed])
            for step in range(2, 5):
                pair.save("m", step)

    def test_other_files_stay(self, both: Make) -> None:
        pair = both(max_to_keep=1)
        for folder in pair.folders:
            for name in ("m-10.index", "m-1.data", "m-1.data-00000-of-00001.bak", "m-1x", "xm-1.index", "notes.txt"):
                (folder / name).write_bytes(b"x")
            (folder / "m-1.data-00003-of-00009").write_bytes(b"of an earlier save in nine shards")
        for step in range(1, 4):
            pair.save("m", step)
        assert not (pair.folders[0] / "m-1.data-00003-of-00009").exists()

    def test_a_prefix_is_not_a_pattern(self, tmp_path: Path) -> None:
        """TensorFlow would remove ``m1-1`` and ``m2-1`` as well."""
        saver = Saver(max_to_keep=1)
        for name in ("m1-1", "m2-1"):
            (tmp_path / f"{name}.index").write_bytes(b"x")
        for step in (1, 2):
            saver.save(VALUES, tmp_path / "m[12]*", step)
        assert {"m1-1.index", "m2-1.index", "m[12]*-2.index"} <= tree(tmp_path).keys()
        assert "m[12]*-1.index" not in tree(tmp_path)

    def test_what_cannot_be_removed(self, tmp_path: Path) -> None:
        saver = Saver(max_to_keep=1)
        saver.save(VALUES, tmp_path / "m", 1)
        (tmp_path / "m-1.index").unlink()
        (tmp_path / "m-1.index").mkdir()
        with pytest.warns(RuntimeWarning, match="the old checkpoint .*m-1 cannot be removed"):
            assert saver.save(VALUES, tmp_path / "m", 2) == str(tmp_path / "m-2")
        assert train.latest_checkpoint(tmp_path) == str(tmp_path / "m-2")


class TestPaths:
    @pytest.mark.parametrize("relative", [False, True])
    @pytest.mark.parametrize("path", ["m", "./m", "run/m", "run//m", "../{name}/m", "run/../m", "{folder}/m"])
    def test_state_file(
        self, theirs: Theirs, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, path: str, relative: bool
    ) -> None:
        # TensorFlow leaves the data files of what it removes after a doubled slash.
        pair = Both(theirs, tmp_path, save_relative_paths=relative, max_to_keep=3 if "//" in path else 2)
        for step in range(3):
            for folder, saver, values in zip(
                pair.folders, (pair.ours, pair.theirs), (VALUES, theirs.session), strict=True
            ):
                (folder / "run").mkdir(exist_ok=True)
                monkeypatch.chdir(folder)
                given = path.format(name=folder.name, folder=folder)
                assert saver.save(values, given, step, write_meta_graph=False) == f"{given}-{step}"
            assert_same_folders(*pair.folders)

    @pytest.mark.parametrize("step", [0, 123456, 123456789, np.int32(5), np.array(6), True])
    @pytest.mark.parametrize("padded", [False, True])
    def test_steps(self, both: Make, step: Any, padded: bool) -> None:
        pair = both(pad_step_number=padded)
        if isinstance(step, np.ndarray):  # TensorFlow has a variable here.
            saved = pair.ours.save(VALUES, pair.folders[0] / "m", step)
            assert saved == str(pair.folders[0] / ("m-00000006" if padded else "m-6"))
        else:
            pair.save("model", step)

    def test_step_by_name(self, tmp_path: Path) -> None:
        saver = Saver()
        for given in ("b", "b:0", VALUES["b"]):
            assert saver.save(VALUES, tmp_path / "m", given) == str(tmp_path / "m-7")
        with tfbundle.open_checkpoint(tmp_path / "m-7") as checkpoint:
            assert saver.save(checkpoint, tmp_path / "copy", "b") == str(tmp_path / "copy-7")
        for wrong in (1.5, np.array([1, 2]), np.array(2.0), "layer/w", b"7"):
            with pytest.raises(TypeError, match="global_step"):
                saver.save(VALUES, tmp_path / "m", wrong)

    def test_latest_filename(self, both: Make) -> None:
        pair = both()
        pair.save("m", 1, latest_filename="latest")
        pair.save("m", 2)
        pair.save("checkpoint", 3)
        for saver, values, folder in (
            (pair.ours, VALUES, pair.folders[0]),
            (pair.theirs, pair.session.session, pair.folders[1]),
        ):
            for path, latest in (("checkpoint", None), ("m", "m"), ("m", "a/b")):
                with pytest.raises(ValueError, match="latest_filename"):
                    saver.save(values, os.path.join(folder, path), latest_filename=latest)
        pair.check()

    def test_without_state(self, both: Make) -> None:
        pair = both(max_to_keep=1)
        pair.save("m", 1)
        for step in (2, 3):
            pair.save("m", step, write_state=False)
        pair.save("m", 4)
        assert (pair.folders[0] / "m-3.index").exists()

    def test_folders(self, both: Make) -> None:
        pair = both()
        pair.save("new/m", 1)
        with pytest.raises(MissingFileError):
            pair.ours.save(VALUES, pair.folders[0] / "newer" / "newest" / "m")
        with pytest.raises(ValueError, match="Parent directory"):
            pair.theirs.save(pair.session.session, str(pair.folders[1] / "newer" / "newest" / "m"))
        pair.check()

    def test_names_that_a_state_file_cannot_hold(self, tmp_path: Path) -> None:
        path = os.path.join(os.fsencode(tmp_path), b"m\xff")
        with pytest.raises(ValueError, match="not UTF-8"):
            Saver().save(VALUES, path)
        assert tree(tmp_path) == {}
        assert Saver().save(VALUES, path, write_state=False) == os.fsdecode(path)

    @pytest.mark.parametrize("name", ["mödel", 'a"b', "a'b", "a\\b", "a b", "a\nb\t\r\x01\x7f", "\u20ac\U0001f600"])
    def test_names_that_are_escaped(self, both: Make, name: str) -> None:
        pair = both()
        pair.save(name, 1)
        assert train.latest_checkpoint(pair.folders[0]) == str(pair.folders[0] / f"{name}-1")


class TestVariables:
    @pytest.mark.parametrize("names", [["layer/w"], ["b", "Z"], {"x/y": "b", "A": "layer/w"}])
    def test_var_list(self, both: Make, names: Any) -> None:
        pair = both(var_list=names)
        pair.save("m", 1)
        restored = pair.ours.restore(pair.folders[1] / "m-1")
        wanted = list(names.values()) if isinstance(names, dict) else names
        assert sorted(restored) == sorted(wanted)
        for name in wanted:
            assert_same(restored[name], VALUES[name])

    def test_restore_by_tensorflow(self, both: Make) -> None:
        pair = both()
        changed = {"layer/w": VALUES["layer/w"] * 3, "b": np.array(-1, np.int64), "Z": np.array([False])}
        prefix = pair.ours.save(changed, pair.folders[0] / "m", 1)
        pair.theirs.restore(pair.session.session, prefix)
        for name, variable in pair.session.variables.items():
            assert_same(pair.session.session.run(variable), changed[name][()])

    def test_restore_all(self, tmp_path: Path) -> None:
        saver = Saver()
        prefix = saver.save(VALUES, tmp_path / "m")
        assert prefix is not None
        restored = saver.restore(prefix)
        assert restored.keys() == VALUES.keys()
        for name, value in restored.items():
            assert_same(value, VALUES[name])
            value[...] = 0  # It is the caller's own.

    def test_a_prefix_beside_a_folder_of_its_name(self, tmp_path: Path) -> None:
        saver = Saver()
        saver.save(VALUES, tmp_path / "m")
        (tmp_path / "m").mkdir()
        assert saver.restore(tmp_path / "m").keys() == VALUES.keys()

    def test_old_formats(self) -> None:
        saver = Saver(["fc1/weights"], write_version=train.SaverDef.V1)
        path = FIXTURES / "tf-1.15.5" / "v1-training"
        prefix = train.latest_checkpoint(path)
        assert prefix is not None
        assert_same(saver.restore(prefix)["fc1/weights"], tfbundle.load(path)["fc1/weights"])
        with pytest.raises(UnsupportedError, match="V1 are not written"):
            saver.save(VALUES, path / "m")

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        saver = Saver(["layer/v"])
        with pytest.raises(KeyError, match="did you mean 'layer/w'"):
            saver.save(VALUES, tmp_path / "m")
        assert tree(tmp_path) == {}
        Saver().save(VALUES, tmp_path / "m")
        with pytest.raises(KeyError, match="layer/w"):
            saver.restore(tmp_path / "m")
        with pytest.raises(MissingFileError):
            saver.restore(tmp_path / "n")
        with pytest.raises(ValueError, match="save_path is None"):
            saver.restore(None)  # type: ignore[arg-type]

    def test_none_at_all(self, tmp_path: Path) -> None:
        for make in (lambda: Saver([]), lambda: Saver().save({}, tmp_path / "m")):
            with pytest.raises(ValueError, match="no variables"):
                make()
        assert Saver([], allow_empty=True).save(VALUES, tmp_path / "m") is None
        assert Saver(allow_empty=True).save({}, tmp_path / "m") is None
        assert tree(tmp_path) == {}
        with pytest.raises(ValueError, match="twice"):
            Saver(["a", "a"])
        with pytest.raises(TypeError, match="list of names"):
            Saver("layer/w")


class TestGraphs:
    def test_meta_graph(self, both: Make) -> None:
        pair = both(max_to_keep=2)
        graph = self.graph_of(pair)
        for step in range(4):
            pair.save("m", step, meta_graph=graph, write_meta_graph=True)
        pair.save("m", 4, meta_graph=graph, write_meta_graph=True, meta_graph_suffix="graph")
        assert "m-4.graph" in tree(pair.folders[0])
        assert "m-2.meta" in tree(pair.folders[0])  # It has another suffix than what was removed.

    def graph_of(self, pair: Both) -> Any:
        pair.theirs.export_meta_graph(str(pair.folders[1] / "g.meta"))
        (pair.folders[1] / "g.meta").rename(pair.folders[0].parent / "g.meta")
        return tfbundle.load_meta_graph(pair.folders[0].parent / "g.meta")

    def test_import(self, both: Make) -> None:
        pair = both(max_to_keep=3, keep_checkpoint_every_n_hours=0.5)
        graph = self.graph_of(pair)
        file = pair.folders[0].parent / "g.meta"
        for given in (file, str(file), graph.proto, graph):
            saver = train.import_meta_graph(given, clear_devices=True)
            assert saver.meta_graph is not None
            assert saver.as_saver_def().max_to_keep == 3
            assert saver.to_proto().keep_checkpoint_every_n_hours == 0.5
        prefix = saver.save(VALUES, pair.folders[0] / "m", 1)
        assert prefix is not None
        assert (pair.folders[0] / "m-1.meta").read_bytes() == file.read_bytes()
        restored = saver.restore(prefix)
        assert restored.keys() == VALUES.keys()

    @pytest.mark.parametrize("sharded", [False, True])
    def test_saver_def(self, theirs: Theirs, sharded: bool) -> None:
        settings: dict[str, Any] = {"max_to_keep": 7, "keep_checkpoint_every_n_hours": 0.1, "sharded": sharded}
        other = theirs.tf.compat.v1.train.Saver(**settings).as_saver_def()
        ours = Saver(**settings)
        assert ours.as_saver_def().SerializeToString() == other.SerializeToString()
        assert Saver.from_proto(other).as_saver_def() == ours.to_proto()

    def test_sharded(self, both: Make) -> None:
        pair = both(sharded=True, max_to_keep=2)
        for step in range(4):
            pair.save("m", step)

    @pytest.mark.parametrize("folder", ["training", "partial-savers", "partitioned", "optimizers"])
    def test_restores_what_the_graph_restores(self, folder: str) -> None:
        path = FIXTURES / "tf-1.15.5" / folder
        for meta in sorted(path.glob("*.meta")):
            saver = train.import_meta_graph(meta)
            assert saver.meta_graph is not None
            if saver.meta_graph.saver is None:
                assert meta.name == "exported.meta"
                continue
            stored = {tensor.name for tensor in saver.meta_graph.saver.tensors}
            restored = saver.restore(meta.with_suffix(""))
            assert len(restored) == len(stored)
            variables = {tensor.variable: tensor for tensor in saver.meta_graph.saver.tensors}
            for name, value in restored.items():
                tensor = variables.get(name)
                source = name if tensor is None else tensor.name
                assert_same(value, tfbundle.load(meta.with_suffix(""))[source])

    def test_a_graph_without_variables(self) -> None:
        saver = train.import_meta_graph(MetaGraphDef())
        assert saver.meta_graph is not None
        assert saver.save({}, "nowhere", write_meta_graph=False) is None
