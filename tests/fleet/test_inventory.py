"""A row for each checkpoint below a folder."""

from __future__ import annotations

import csv
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.command import documents, outcome, run
from tests.support.dask_cluster import Cluster
from tests.support.expected import FIXTURES
from tfbundle.storage.folders import LocalLocation

pyarrow = pytest.importorskip("pyarrow", reason="the table is one of pyarrow")

COLUMNS = ["path", "step", "tensors", "parameters", "bytes", "dtypes", "complete", "findings"]
TENSORS: dict[str, Any] = {"w": np.ones((3, 4), np.float32), "step": np.int64(7), "name": "text"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in (10, 9):
        (tmp_path / f"run{number}").mkdir()
        for step in (2, 10):
            tfbundle.save(tmp_path / f"run{number}/model.ckpt-{step}", TENSORS, shards=2)
    tfbundle.save(tmp_path / "best", {"w": np.zeros(5, np.float16)})
    return tmp_path


def listed(table: Any) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in table.to_pylist()}


def test_the_rows(root: Path) -> None:
    table = tfbundle.inventory(root)
    assert table.column_names == COLUMNS
    names = ["best", *(f"run{number}/model.ckpt-{step}" for number in (10, 9) for step in (2, 10))]
    assert table["path"].to_pylist() == [str(root / name) for name in names]
    row = table.to_pylist()[2]
    size = sum(path.stat().st_size for path in (root / "run10").glob("model.ckpt-10.*"))
    assert list(row.values())[1:] == [10, 3, 13, size, ["float32", "int64", "string"], True, []]
    assert table["step"].to_pylist() == [None, 2, 10, 2, 10]
    assert table["dtypes"].to_pylist()[0] == ["float16"]


@pytest.mark.parametrize("folder", sorted(path.name for path in FIXTURES.iterdir() if path.is_dir()))
def test_the_fixtures(folder: str) -> None:
    """Of every version and format: what opening each of them says."""
    table = tfbundle.inventory(FIXTURES / folder)
    for row in table.to_pylist():
        if row["tensors"] is None:
            assert row["findings"]
            assert not row["complete"]
            continue
        files = [path for path in Path(row["path"]).parent.iterdir() if path.name.startswith(Path(row["path"]).name)]
        assert 0 < row["bytes"] <= sum(path.stat().st_size for path in files)
        if not row["findings"]:
            format = "v2" if Path(f"{row['path']}.index").exists() else "v1"
            with tfbundle.open_checkpoint(row["path"], format=format) as checkpoint:
                tensors = [tensor for tensor in checkpoint.values() if tensor.data_type != "DT_STRING"]
                assert row["tensors"] == len(checkpoint)
                assert row["parameters"] == sum(tensor.size for tensor in tensors)
    prefixes = {str(path)[: -len(".index")] for path in (FIXTURES / folder).rglob("*.index")}
    assert {prefix for prefix in prefixes if "_temp" not in prefix} <= set(table["path"].to_pylist())


def damage_index(prefix: Path) -> None:
    path = prefix.with_name(prefix.name + ".index")
    data = bytearray(path.read_bytes())
    data[5] ^= 1
    path.write_bytes(data)


def cut_data(prefix: Path) -> None:
    path = prefix.with_name(prefix.name + ".data-00000-of-00002")
    path.write_bytes(path.read_bytes()[:-1])


def lose_shard(prefix: Path) -> None:
    prefix.with_name(prefix.name + ".data-00001-of-00002").unlink()


def lose_index(prefix: Path) -> None:
    prefix.with_name(prefix.name + ".index").unlink()


@pytest.mark.parametrize(
    ("change", "kind", "tensors"),
    [
        (damage_index, "index", None),
        (cut_data, "truncated", 3),
        (lose_shard, "missing", 3),
        (lose_index, "missing", None),
    ],
)
def test_a_damaged_checkpoint_is_a_row_with_findings(root: Path, change: Any, kind: str, tensors: int | None) -> None:
    change(root / "run9/model.ckpt-10")
    rows = listed(tfbundle.inventory(root))
    row = rows.pop(str(root / "run9/model.ckpt-10"))
    assert not row["complete"]
    assert row["tensors"] == tensors
    assert (row["parameters"], row["dtypes"]) == ((13, ["float32", "int64", "string"]) if tensors else (None, None))
    assert [finding["kind"] for finding in row["findings"]] == [kind]
    assert row["bytes"] > 0
    assert all(other["complete"] and not other["findings"] for other in rows.values())
    assert len(rows) == 4


def test_a_folder_that_cannot_be_listed_is_a_row(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = LocalLocation.list

    def refuse(self: LocalLocation) -> Any:
        if self.name == "run9":
            raise PermissionError(13, "Permission denied", self.path)
        return real(self)

    monkeypatch.setattr(LocalLocation, "list", refuse)
    rows = tfbundle.inventory(root).to_pylist()
    assert len(rows) == 4
    assert rows[-1]["path"] == str(root / "run9")
    assert rows[-1]["findings"][0]["kind"] == "unreadable"


def test_links_and_state_files_list_nothing_twice(root: Path) -> None:
    (root / "run9/again").symlink_to(root)
    (root / "latest").symlink_to(root / "run10")
    tfbundle.train.update_checkpoint_state(root, str(root / "run10/model.ckpt-2"))
    assert tfbundle.inventory(root).num_rows == 5


def test_what_is_not_a_folder(root: Path) -> None:
    with pytest.raises(tfbundle.MissingFileError, match="there is no folder"):
        tfbundle.inventory(root / "absent")
    (root / "empty").mkdir()
    assert tfbundle.inventory(root / "empty").num_rows == 0
    assert tfbundle.inventory(root / "empty").column_names == COLUMNS


def test_results_are_equal_everywhere(root: Path, cluster: Cluster) -> None:
    for number in range(100):
        shutil.copytree(root / "run9", root / f"copies/{number}")
    damage_index(root / "copies/70/model.ckpt-2")
    found = [
        tfbundle.inventory(root, **settings)  # type: ignore[arg-type]
        for settings in ({}, {"workers": 2}, {"scheduler": cluster.address})
    ]
    assert found[0].num_rows == 205
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def test_many_checkpoints_in_one_folder_cost_no_more_each(root: Path) -> None:
    """The folder is listed once for each task, not for each checkpoint."""

    def seconds(count: int) -> float:
        folder = root / f"many{count}"
        folder.mkdir()
        for number in range(count):
            for path in root.glob("best.*"):
                shutil.copyfile(path, folder / path.name.replace("best", f"m-{number}"))
        start = time.process_time()
        assert tfbundle.inventory(folder).num_rows == count
        return (time.process_time() - start) / count

    seconds(20)
    assert seconds(1600) < 3 * min(seconds(200), seconds(201), seconds(202))


def test_the_command(root: Path, tmp_path: Path) -> None:
    status, output, errors = outcome("inventory", root)
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0].split() == ["checkpoint", "step", "tensors", "parameters", "size", "dtypes", "complete"]
    assert lines[3].split()[1:4] == ["10", "3", "13"]
    assert lines[-1].startswith("5 checkpoints, ")
    lose_shard(root / "run9/model.ckpt-10")
    assert run("inventory", root).exit_code == 1
    result = run("inventory", root, "--json", "--workers", "2")
    (document,) = documents(result.stdout)
    assert result.exit_code == 1
    assert document["path"] == str(root)
    assert document["checkpoints"] == tfbundle.inventory(root).to_pylist()


def test_the_command_writes_tables(root: Path, tmp_path: Path) -> None:
    import pyarrow.parquet

    lose_shard(root / "run9/model.ckpt-10")
    table = tfbundle.inventory(root)
    for suffix in ("parquet", "csv", "jsonl"):
        out = tmp_path / f"table.{suffix}"
        assert outcome("inventory", root, "-o", out) == (1, f"{out}: 5 checkpoints\n", "")
        if suffix == "parquet":
            assert pyarrow.parquet.read_table(out).equals(table)
        elif suffix == "csv":
            rows = list(csv.reader(out.read_text().splitlines()))
            assert rows[0] == COLUMNS
            assert rows[-1][1:4] == ["10", "3", "13"]
            assert rows[-1][5:7] == ["float32 int64 string", "False"]
            assert rows[-1][7].startswith("missing: ")
        else:
            assert [json.loads(line) for line in out.read_text().splitlines()] == table.to_pylist()
    status, _, errors = outcome("inventory", root, "-o", root / "best.index", "--format", "csv")
    assert status == 2
    assert "is a file of a checkpoint" in errors
