"""Names of variables in all commands, and the command objects."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.arrays import assert_same
from tests.support.command import outcome
from tests.support.expected import FIXTURES, Expected
from tests.support.object_graphs import (
    TRAINED,
    graph_of,
    trained,
    with_objects,
    write_objects,
)
from tfbundle.checkpoint.objects import OBJECT_GRAPH_KEY
from tfbundle.cli.main import cli
from tfbundle.proto import SavedModel, TensorProto


class TestOtherCommands:
    def test_ls_has_names_of_variables(self) -> None:
        code, out, _ = outcome("ls", TRAINED[0], "--json")
        assert code == 0
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.objects is not None
            names = checkpoint.objects.variable_names
        for row in json.loads(out)["tensors"]:
            assert row["variable"] == names.get(row["name"])
        lines = outcome("ls", TRAINED[0], "conv/*")[1].splitlines()
        assert [line.split()[-1] for line in lines[:-1]] == ["variable", "conv/bias", "conv/kernel"]
        # Keys come first: no name of a variable is examined where one of them matches.
        assert len(outcome("ls", TRAINED[0], "*kernel*")[1].splitlines()) == 2 + 9
        assert outcome("ls", TRAINED[0], "conv/kernels")[0] == 2

    def test_ls_without_names(self, tmp_path: Path) -> None:
        _, out, _ = outcome("ls", FIXTURES / "tf-1.15.5" / "training")
        assert "variable" not in out
        for name in ("weights.index", "weights.data-00000-of-00001"):
            (tmp_path / name).write_bytes((TRAINED[0].parent / name).read_bytes())
        assert "conv/kernel" in outcome("ls", tmp_path)[1]
        (tmp_path / "weights.data-00000-of-00001").unlink()
        code, out, error = outcome("ls", tmp_path)
        assert code == 0
        assert error == (
            f"tfbundle: the values cannot be read: {tmp_path / 'weights.data-00000-of-00001'} does not exist; "
            f"'tfbundle verify {tmp_path}' lists what is missing\n"
        )
        assert "conv/kernel" not in out
        assert "layer_with_weights-0/kernel" in out

    def test_show_takes_names_of_variables(self) -> None:
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.objects is not None
            (key,) = checkpoint.objects.keys_of("conv/kernel")
        code, out, _ = outcome("show", TRAINED[0], "conv/kernel", "--json")
        assert (code, json.loads(out)["name"]) == (0, key)
        assert json.loads(out) == json.loads(outcome("show", TRAINED[0], key, "--json")[1])
        assert "conv/kernel" not in outcome("show", TRAINED[0], "conv/kernel", "0,0")[1].splitlines()[0]
        code, _, error = outcome("show", TRAINED[0], "conv/kernels")
        assert (code, "there is no tensor 'conv/kernels'" in error) == (2, True)

    def test_show_of_a_name_that_several_variables_have(self, tmp_path: Path) -> None:
        graph = graph_of(
            {"children": [("a", 1), ("b", 2)]}, {"key": "v", "full_name": "same"}, {"key": "w", "full_name": "same"}
        )
        path = write_objects(tmp_path / "model", graph, v=np.arange(1), w=np.arange(2))
        code, _, error = outcome("show", path, "same")
        assert (code, error.endswith("are called 'same'; pass a key of 'v', 'w'\n")) == (2, True)
        code, _, error = outcome("convert", path, tmp_path / "out.npz", "--names", "s*")
        assert (code, error.endswith("are called 'same'; pass a key of 'v', 'w'\n")) == (2, True)

    def test_export_takes_names_of_variables(self, tmp_path: Path) -> None:
        """As in load, what was chosen by a variable's name is called so, and what was chosen by its key by that."""
        out = tmp_path / "out.npz"
        wanted = tfbundle.load(TRAINED[0], names="conv/*")
        assert set(wanted) == {"conv/bias", "conv/kernel"}
        assert outcome("convert", TRAINED[0], out, "--names", "conv/*")[0] == 0
        with np.load(out) as found:
            assert set(found) == set(wanted)
            for name, array in wanted.items():
                assert_same(found[name], array)
        with tfbundle.open_checkpoint(TRAINED[0]) as checkpoint:
            assert checkpoint.objects is not None
            (bias,) = checkpoint.objects.keys_of("conv/bias")
        options = ("--names", "conv/*", "--names", bias)
        assert outcome("convert", TRAINED[0], out, *options)[0] == 0
        with np.load(out) as found:
            assert set(found) == {"conv/kernel", bias}
        assert outcome("convert", TRAINED[0], out, "--names", "conv/*", "--exclude", "conv/bias")[0] == 0
        with np.load(out) as found:
            assert set(found) == {"conv/kernel"}
        code, _, error = outcome("convert", TRAINED[0], out, "--exclude", "conv/kernels")
        assert (code, "did you mean 'conv/kernel'" in error) == (2, True)

    @trained
    def test_export_of_objects_without_slots(self, tmp_path: Path, path: Path) -> None:
        out = tmp_path / "out.npz"
        with tfbundle.open_checkpoint(path) as checkpoint:
            strings = [name for name, tensor in checkpoint.items() if tensor.dtype.hasobject]
            wanted = set(checkpoint) - checkpoint.slots - set(strings)
            assert checkpoint.slots
        options = [option for name in strings for option in ("--exclude", name)]
        assert outcome("convert", path, out, "--no-slots", *options)[0] == 0
        with np.load(out) as found:
            assert set(found) == wanted

    def test_export_without_slots(self, tmp_path: Path) -> None:
        from tfbundle.conversion.convert import convert

        folder = FIXTURES / "tf-1.15.5" / "training"
        out = tmp_path / "out.npz"
        assert outcome("convert", folder, out, "--no-slots")[0] == 0
        wanted = tfbundle.load(folder, slots=False)
        for _ in range(2):
            with np.load(out) as found:
                assert set(found) == set(wanted)
                for name, array in wanted.items():
                    assert_same(found[name], array)
            convert(folder, out, slots=False)


class TestCommand:
    @pytest.fixture
    def run(self) -> Any:
        return partial(outcome, "objects")

    def test_tree(self, run: Any) -> None:
        code, out, _ = run(FIXTURES / "tf-2.4.4" / "plain-objects" / "objects")
        assert code == 0
        assert out.splitlines() == [
            "(root) #0",
            "  escaped #1",
            "    a/b.c #3  Variable  int32 []  escaped/a.Sb..c/.ATTRIBUTES/VARIABLE_VALUE",
            "    ü #4  Variable  int32 []  escaped/ü/.ATTRIBUTES/VARIABLE_VALUE",
            "  module #2",
            "    kernel #5  kernel  float32 [2,3]  module/kernel/.ATTRIBUTES/VARIABLE_VALUE",
            "    half #6  Variable  float16 [2]  module/half/.ATTRIBUTES/VARIABLE_VALUE",
            "    flags #7  Variable  bool [2]  module/flags/.ATTRIBUTES/VARIABLE_VALUE",
            "8 objects, 5 variables",
        ]
        assert "    shared -> #5" in run("--all", FIXTURES / "tf-2.4.4" / "plain-objects" / "objects")[1].splitlines()

    @trained
    def test_slots_are_called_so(self, run: Any, path: Path) -> None:
        code, out, _ = run(path)
        assert code == 0
        assert sum("  slot  " in line for line in out.splitlines()) == 16
        with tfbundle.open_checkpoint(path) as checkpoint:
            for key in checkpoint:
                assert sum(line.endswith("  " + key) for line in out.splitlines()) == (key != OBJECT_GRAPH_KEY), key

    @with_objects
    def test_json(self, run: Any, expected: Expected) -> None:
        code, out, _ = run(expected.path, "--json")
        assert code == 0
        nodes = json.loads(out)["nodes"]
        values = {value["key"]: value for node in nodes for value in node["attributes"]}
        with tfbundle.open_checkpoint(expected.path) as checkpoint:
            assert {key for key, value in values.items() if value["slot"]} == checkpoint.slots
        for key, value in values.items():
            assert value["shape"] == expected.tensors[key]["shape"]

    def test_circles_and_absent_tensors(self, run: Any, tmp_path: Path) -> None:
        graph = graph_of(
            {"children": [("layer", 1)]},
            {"children": [("model", 0), ("kernel\n", 2)], "slots": [(1, "m", 2)]},
            {"key": "w", "full_name": "dense/\x1b[31m"},
        )
        code, out, _ = run(write_objects(tmp_path / "model", graph), "--all")
        assert code == 0
        assert out.splitlines() == [
            "(root) #0",
            "  layer #1",
            r"    m of #1 #2  dense/\x1b[31m  (no such tensor)  w",
            "    model -> #0",
            r"    kernel\n #2  dense/\x1b[31m  (no such tensor)  w",
            "3 objects, 1 variable",
        ]

    def test_tables_and_iterators(self, run: Any, tmp_path: Path) -> None:
        """What they save has keys that continue after that of the attribute, as TensorFlow makes them."""
        graph = graph_of({"children": [("t", 1), ("it", 2)]}, {"key": "t/table"}, {"key": "it/ITERATOR"})
        tensors = {"t/table-keys": np.arange(2), "t/table-values": np.zeros(2, "f4"), "t/tablet": np.arange(3)}
        path = write_objects(tmp_path / "model", graph, **tensors, **{"it/ITERATOR_STATE": np.arange(4)})
        assert run(path)[1].splitlines()[1:3] == [
            "  t #1  int64 [2]  t/table-keys  float32 [2]  t/table-values",
            "  it #2  int64 [4]  it/ITERATOR_STATE",
        ]

    def test_variables_without_a_name_count(self, run: Any, tmp_path: Path) -> None:
        graph = graph_of({"children": [("v", 1), ("w", 2)]}, {"key": "v"}, {"key": "w", "full_name": "w"})
        code, out, _ = run(write_objects(tmp_path / "model", graph))
        assert code == 0
        assert out.splitlines()[-1] == "3 objects, 2 variables"

    def test_without_objects(self, run: Any) -> None:
        code, out, error = run(FIXTURES / "tf-1.15.5" / "training")
        assert (code, out) == (2, "")
        assert "stores no objects" in error
        assert len(error.splitlines()) == 1

    def test_a_saved_model_without_variables(self, run: Any, tmp_path: Path) -> None:
        """Its tensors are the constants of its graph, but objects it has nevertheless."""
        model = SavedModel(saved_model_schema_version=1)
        constant = model.meta_graphs.add().graph_def.node.add(name="c", op="Const")
        constant.attr["value"].tensor.CopyFrom(TensorProto(dtype=1, float_val=[1.0]))
        (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
        (tmp_path / "variables").mkdir()
        write_objects(tmp_path / "variables" / "variables", graph_of({"children": [("f", 1)]}, {}))
        code, out, _ = run(tmp_path)
        assert (code, out.splitlines()[-1]) == (0, "2 objects, 0 variables")

    def test_deep_chain(self, run: Any, tmp_path: Path) -> None:
        count = 3000
        chain = graph_of(*({"children": [("next", number + 1)]} for number in range(count)), {"key": "w"})
        code, out, _ = run(write_objects(tmp_path / "model", chain, w=np.arange(1)))
        assert code == 0
        assert len(out.splitlines()) == count + 2
        assert len(out) < 1_000_000

    @pytest.mark.parametrize(("columns", "lines"), [(80, 5), (24, 6)])
    def test_no_name_is_broken_on_a_terminal(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, columns: int, lines: int
    ) -> None:
        pytest.importorskip("rich")
        long = "layer/" * 10 + "kernel"
        graph = graph_of({"children": [("v", 1), ("w", 2)]}, {"key": "v", "full_name": "a/b"}, {"key": long})
        path = write_objects(tmp_path / "model", graph, v=np.zeros((4, 8), "f4"), **{long: np.zeros(2)})
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        with pytest.raises(SystemExit):
            cli(["objects", str(path)])
        drawn = capsys.readouterr().out.splitlines()
        assert all(len(line) <= columns for line in drawn if long not in line)
        assert sum(long in line for line in drawn) == 1
        assert len(drawn) == lines
