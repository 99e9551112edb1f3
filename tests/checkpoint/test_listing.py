"""Lists of checkpoints: what is in a folder, whether it is complete, and the command that shows it."""

import json
import math
import os
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import Saved, data_file, encode_header, write_bundle
from tests.support.command import outcome
from tests.support.expected import FIXTURES, expected_checkpoints
from tests.support.v1_writer import write_v1
from tfbundle.checkpoint.find.names import prefix_of_v1_shard
from tfbundle.errors import MissingFileError

ARRAY = np.arange(12, dtype="f4")


def write_state(folder: Path, *paths: str, name: str = "checkpoint", more: str = "") -> None:
    """The last of the paths is the latest."""
    lines = [f"all_model_checkpoint_paths: {json.dumps(path)}" for path in paths]
    (folder / name).write_text("\n".join([f"model_checkpoint_path: {json.dumps(paths[-1])}", *lines, more]))


def listed(folder: Path, **settings: Any) -> dict[str, tuple[str, int | None, bool, bool]]:
    """Format, step, whether complete and whether in the state file, by name."""
    return {
        os.path.basename(item.prefix): (item.format, item.step, item.complete, item.in_state)
        for item in tfbundle.list_checkpoints(folder, **settings)
    }


def test_a_folder_of_many_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in range(50):
        write_bundle(tmp_path / f"model-{step}", {"w": ARRAY})
    for number in range(50):
        (tmp_path / f"records{number}-00000-of-00001").write_bytes(b"")
    stored = "".join(f'all_model_checkpoint_paths: "gone-{step}"\n' for step in range(50))
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "model-49"\n{stored}')
    asked = []
    scandir = os.scandir

    def count(folder: str) -> Any:
        asked.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", count)
    found = tfbundle.list_checkpoints(tmp_path)
    assert len(asked) <= 2
    assert [item.step for item in found] == list(range(50))
    for item in found:
        assert item.size == sum(file.stat().st_size for file in tmp_path.glob(f"model-{item.step}.*"))
    state = tfbundle.read_checkpoint_state(tmp_path)
    asked.clear()
    assert state.all_resolved == [None] * 50
    assert len(asked) == 1
    (tmp_path / "checkpoint").unlink()
    asked.clear()
    with pytest.raises(tfbundle.MissingFileError, match="100 checkpoints and no state file"):
        tfbundle.open_checkpoint(tmp_path)
    assert len(asked) <= 4  # One is of the folder above: a V1 set may be called as the folder is.


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_what_to_do_is_said_of_the_first_missing_files(tmp_path: Path, suffix: str) -> None:
    """Each is searched for among all names of the folder, which for thousands would take minutes."""
    for step in range(21):
        write_bundle(tmp_path / f"model-{step:02}", {"w": ARRAY})
        (tmp_path / f"model-{step:02}{suffix}").rename(tmp_path / f"model-{step:02}{suffix}.txt")
    problems = [item.problem or "" for item in tfbundle.list_checkpoints(tmp_path)]
    assert all("does not exist" in problem for problem in problems)
    assert ["rename it to" in problem for problem in problems] == [True] * 20 + [False]


class TestFixtures:
    def test_every_checkpoint_is_found(self) -> None:
        for format in ("v2", "v1"):
            for expected in expected_checkpoints(format):
                prefix = str(expected.path)
                prefix = prefix_of_v1_shard(prefix) or prefix
                found = [
                    item
                    for item in tfbundle.list_checkpoints(expected.path.parent)
                    if (item.prefix, item.format) == (prefix, format)
                ]
                assert len(found) == 1, expected
                assert found[0].complete == (expected.error is None), expected

    def test_training(self) -> None:
        for release in ("tf-0.12.1", "tf-1.2.1", "tf-1.4.1", "tf-1.15.5"):
            folder = FIXTURES / release / "training"
            found = tfbundle.list_checkpoints(folder)
            assert [item.step for item in found] == [20, 30, 40]
            for item in found:
                assert item.prefix == str(folder / f"model.ckpt-{item.step}")
                assert (item.format, item.complete, item.problem, item.in_state) == ("v2", True, None, True)
                files = [folder / f"model.ckpt-{item.step}{end}" for end in (".index", ".data-00000-of-00001")]
                assert item.size == sum(file.stat().st_size for file in files)
                assert item.time == max(file.stat().st_mtime for file in files)

    def test_moved(self) -> None:
        folder = FIXTURES / "tf-1.15.5" / "moved"
        assert listed(folder) == {"model.ckpt-20": ("v2", 20, True, True), "model.ckpt-30": ("v2", 30, True, True)}

    def test_sharded_v1(self) -> None:
        folder = FIXTURES / "tf-1.15.5" / "v1-sharded"
        (found,) = tfbundle.list_checkpoints(folder)
        assert found[:3] == (str(folder / "model.ckpt-5"), "v1", 5)
        assert (found.complete, found.in_state) == (True, True)
        assert found.size == sum(file.stat().st_size for file in folder.glob("model.ckpt-5-*"))

    def test_both_formats_of_one_name(self) -> None:
        found = tfbundle.list_checkpoints(FIXTURES / "tf-1.15.5" / "v1-and-v2-of-one-name")
        assert [(item.format, item.complete, item.in_state) for item in found] == [
            ("v1", True, True),
            ("v2", True, True),
        ]

    def test_strangers(self) -> None:
        assert listed(FIXTURES / "tf-2.21.0" / "folder-of-strangers") == {
            "model.ckpt-10": ("v2", 10, True, False),
            "model.ckpt-20": ("v2", 20, True, False),
        }

    def test_half_saved(self) -> None:
        assert listed(FIXTURES / "tf-2.21.0" / "half-saved") == {"model.ckpt-10": ("v2", 10, True, True)}

    def test_times_of_the_state_file(self) -> None:
        folder = FIXTURES / "tf-2.21.0" / "checkpoint-manager"
        times = tfbundle.read_checkpoint_state(folder).all_model_checkpoint_timestamps
        assert [item.time for item in tfbundle.list_checkpoints(folder)] == times

    def test_order(self) -> None:
        found = tfbundle.list_checkpoints(FIXTURES / "tf-2.21.0" / "folder-of-several-without-state-file")
        assert [item.step for item in found] == [9, 10, 100]


class TestCompleteness:
    @pytest.fixture
    def prefix(self, tmp_path: Path) -> Path:
        tensors = {"a": Saved(ARRAY, shards=[0]), "b": Saved(ARRAY, shards=[1])}
        write_bundle(tmp_path / "model-3", tensors, num_shards=2)
        return tmp_path / "model-3"

    def problem(self, folder: Path) -> str | None:
        (found,) = tfbundle.list_checkpoints(folder)
        assert found.complete == (found.problem is None)
        assert found.step == 3
        return found.problem

    def test_whole(self, prefix: Path) -> None:
        assert self.problem(prefix.parent) is None

    def test_without_a_shard(self, prefix: Path) -> None:
        data_file(prefix, 1, 2).unlink()
        problem = self.problem(prefix.parent)
        assert problem is not None
        assert "model-3.data-00001-of-00002 does not exist" in problem

    @pytest.mark.parametrize("size", [0, 47])
    def test_cut_shard(self, prefix: Path, size: int) -> None:
        path = data_file(prefix, 1, 2)
        path.write_bytes(path.read_bytes()[:size])
        problem = self.problem(prefix.parent)
        assert problem is not None
        assert "tensor 'b'" in problem
        assert f"model-3.data-00001-of-00002 has {size} bytes" in problem

    def test_longer_shard(self, prefix: Path) -> None:
        path = data_file(prefix, 1, 2)
        path.write_bytes(path.read_bytes() + b"more")
        assert self.problem(prefix.parent) is None

    def test_cut_slice(self, tmp_path: Path) -> None:
        saved = Saved(ARRAY, slices=[((0, 6),), ((6, 6),)], shards=[0, 1])
        write_bundle(tmp_path / "model-3", {"a": saved}, num_shards=2)
        assert self.problem(tmp_path) is None
        data_file(tmp_path / "model-3", 1, 2).write_bytes(b"")
        assert "tensor 'a'" in str(self.problem(tmp_path))

    def test_without_index(self, prefix: Path) -> None:
        Path(f"{prefix}.index").unlink()
        advice = "copy it from where the checkpoint was written"
        assert self.problem(prefix.parent) == f"{prefix}.index does not exist; {advice}"
        (found,) = tfbundle.list_checkpoints(prefix.parent)
        assert found.size == 96
        assert not found.in_state
        write_state(prefix.parent, "/old/model-3")
        (found,) = tfbundle.list_checkpoints(prefix.parent)
        assert found.in_state

    @pytest.mark.parametrize("content", [b"", b"<html>", bytes(100), b"\x57\xfb\x80\x8b\x24\x75\x47\xdb" * 20])
    def test_index_that_is_none(self, prefix: Path, content: bytes) -> None:
        Path(f"{prefix}.index").write_bytes(content)
        assert "model-3.index" in str(self.problem(prefix.parent))

    def test_entry_without_sense(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model-3", {"a": Saved(ARRAY, lies={"offset": -1})})
        assert "tensor 'a'" in str(self.problem(tmp_path))

    def test_many_shards_that_are_not_there(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model-3", {"a": ARRAY}, header=encode_header(99_999))
        assert "data-00000-of-99999 does not exist" in str(self.problem(tmp_path))

    @pytest.mark.parametrize("size", [0, 50, 100])
    def test_cut_v1(self, tmp_path: Path, size: int) -> None:
        """Its first entry identifies it, and so does its graph or the state file."""
        path = tmp_path / "model-3"
        write_v1(path, {"a": ARRAY})
        path.write_bytes(path.read_bytes()[:size])
        assert len(tfbundle.list_checkpoints(tmp_path)) == (size > 0)
        (tmp_path / "model-3.meta").write_bytes(b"graph")
        assert self.problem(tmp_path) is not None
        (tmp_path / "model-3.meta").unlink()
        write_state(tmp_path, "model-3")
        assert self.problem(tmp_path) is not None

    def test_v1_without_a_part(self, tmp_path: Path) -> None:
        for number in (0, 2):
            write_v1(tmp_path / f"model-3-{number:05}-of-00003", {f"a{number}": ARRAY})
        assert "model-3-00001-of-00003 is absent" in str(self.problem(tmp_path))


class TestWhatIsACheckpoint:
    def test_files_of_others(self, tmp_path: Path) -> None:
        for name in (
            "train-00000-of-00002",
            "train-00001-of-00002",
            "vectors.index",
            "notes.meta",
            "events.out.tfevents.1",
            "model",
            "empty.index",
            "x.ckpt",
        ):
            (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"something of another kind" * 5)
        (tmp_path / "folder.index").mkdir()
        (tmp_path / "model.ckpt-2_temp_0123456789abcdef0123456789abcdef").mkdir()
        assert tfbundle.list_checkpoints(tmp_path) == []

    def test_v1_by_its_content(self, tmp_path: Path) -> None:
        write_v1(tmp_path / "weights", {"a": ARRAY})
        write_v1(tmp_path / "other.ckpt-12", {"a": ARRAY})
        assert listed(tmp_path) == {"weights": ("v1", None, True, False), "other.ckpt-12": ("v1", 12, True, False)}

    def test_v1_beside_its_graph(self, tmp_path: Path) -> None:
        write_v1(tmp_path / "model.ckpt-1", {"a": ARRAY})
        (tmp_path / "model.ckpt-1.meta").write_bytes(b"graph")
        (found,) = tfbundle.list_checkpoints(tmp_path)
        assert (found.format, found.complete) == ("v1", True)
        assert found.size == (tmp_path / "model.ckpt-1").stat().st_size

    def test_checkpoints_elsewhere_that_the_state_file_lists(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        (folder / "below").mkdir(parents=True)
        write_bundle(tmp_path / "outside-1", {"a": ARRAY})
        write_bundle(folder / "below" / "model-2", {"a": ARRAY})
        write_bundle(folder / "model-3", {"a": ARRAY})
        write_state(folder, str(tmp_path / "outside-1"), "below/model-2", "/gone/model-9")
        assert [(item.prefix, item.in_state) for item in tfbundle.list_checkpoints(folder)] == [
            (str(tmp_path / "outside-1"), True),
            (str(folder / "below" / "model-2"), True),
            (str(folder / "model-3"), False),
        ]

    def test_one_place_by_two_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "run").mkdir()
        try:
            (tmp_path / "link").symlink_to(tmp_path / "run", target_is_directory=True)
        except OSError:
            pytest.skip("this system does not allow links")
        write_bundle(tmp_path / "run" / "model-1", {"a": ARRAY})
        write_state(tmp_path / "run", str(tmp_path / "link" / "model-1"))
        assert listed(tmp_path / "run") == {"model-1": ("v2", 1, True, True)}
        monkeypatch.chdir(tmp_path)
        (found,) = tfbundle.list_checkpoints("run")
        assert (found.prefix, found.in_state) == (os.path.join("run", "model-1"), True)

    def test_other_state_file(self, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model-1", {"a": ARRAY})
        write_state(tmp_path, "model-1", name="best")
        assert listed(tmp_path) == {"model-1": ("v2", 1, True, False)}
        assert listed(tmp_path, latest_filename="best") == {"model-1": ("v2", 1, True, True)}

    def test_steps(self, tmp_path: Path) -> None:
        for name in ("model.ckpt", "model.ckpt-9", "model.ckpt-10", "a-10", "model-2-best"):
            write_bundle(tmp_path / name, {"a": ARRAY})
        found = tfbundle.list_checkpoints(tmp_path)
        assert [(os.path.basename(item.prefix), item.step) for item in found] == [
            ("model-2-best", None),
            ("model.ckpt", None),
            ("model.ckpt-9", 9),
            ("a-10", 10),
            ("model.ckpt-10", 10),
        ]

    @pytest.mark.parametrize("times", ["5 6", "nan inf", "5"])
    def test_timestamps(self, tmp_path: Path, times: str) -> None:
        for name in ("model-1", "model-2"):
            write_bundle(tmp_path / name, {"a": ARRAY})
        more = "\n".join(f"all_model_checkpoint_timestamps: {time}" for time in times.split())
        write_state(tmp_path, "model-1", "model-2", more=more)
        found = [item.time for item in tfbundle.list_checkpoints(tmp_path)]
        if times == "5 6":
            assert found == [5, 6]
        else:  # They do not belong to the paths, or are no times.
            assert all(math.isfinite(time) and time > 1e9 for time in found)

    def test_no_folder(self, tmp_path: Path) -> None:
        assert tfbundle.list_checkpoints(tmp_path) == []
        with pytest.raises(MissingFileError, match="there is no folder"):
            tfbundle.list_checkpoints(tmp_path / "none")


class TestCommand:
    @pytest.fixture
    def run(self) -> Any:
        return partial(outcome, "state")

    def test_table(self, run: Any) -> None:
        folder = FIXTURES / "tf-2.21.0" / "checkpoint-manager"
        times = tfbundle.read_checkpoint_state(folder).all_model_checkpoint_timestamps
        first, second = (datetime.fromtimestamp(time, timezone.utc).isoformat(" ", "seconds")[:19] for time in times)
        size = sum(file.stat().st_size for file in folder.glob("ckpt-2.*")) / 1024
        code, out, _ = run(folder)
        assert code == 0
        assert [line.split() for line in out.splitlines()] == [
            ["checkpoint", "format", "step", "time", "(UTC)", "size", "in", "state", "complete"],
            ["ckpt-2", "v2", "2", *first.split(), f"{size:.1f}", "KiB", "yes", "yes"],
            ["*", "ckpt-3", "v2", "3", *second.split(), f"{size:.1f}", "KiB", "yes", "yes"],
            ["2", "checkpoints"],
        ]

    def test_findings(self, run: Any, tmp_path: Path) -> None:
        code, out, _ = run(FIXTURES / "tf-2.21.0" / "folder-of-strangers")
        assert code == 1
        assert [line.split() for line in out.splitlines()[-3:]] == [
            ["model.ckpt-40", "-", "-", "-", "-", "yes", "missing"],
            ["*", "model.ckpt-50", "-", "-", "-", "-", "yes", "missing"],
            ["2", "checkpoints"],
        ]
        write_bundle(tmp_path / "model-1", {"a": ARRAY})
        assert run(tmp_path)[0] == 0
        data_file(tmp_path / "model-1").unlink()
        code, out, _ = run(tmp_path)
        assert code == 1
        assert "does not exist" in out

    def test_json(self, run: Any) -> None:
        folder = FIXTURES / "tf-1.15.5" / "moved"
        code, out, _ = run("--json", folder)
        assert code == 0
        answer = json.loads(out)
        assert answer["path"] == str(folder)
        assert answer["missing"] == []
        found = answer["checkpoints"]
        assert [(item["prefix"], item["step"], item["latest"]) for item in found] == [
            (str(folder / "model.ckpt-20"), 20, False),
            (str(folder / "model.ckpt-30"), 30, True),
        ]
        assert all(item["complete"] and item["in_state"] and item["problem"] is None for item in found)
        code, out, _ = run("--json", FIXTURES / "tf-2.21.0" / "folder-of-strangers")
        assert code == 1
        assert json.loads(out)["missing"] == ["model.ckpt-40", "model.ckpt-50"]

    def test_latest_of_two_formats(self, run: Any) -> None:
        _, out, _ = run("--json", FIXTURES / "tf-1.15.5" / "v1-and-v2-of-one-name")
        assert {item["format"]: item["latest"] for item in json.loads(out)["checkpoints"]} == {"v1": False, "v2": True}

    def test_state_file_of_another_name(self, run: Any, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model-1", {"a": ARRAY})
        write_state(tmp_path, "model-1", name="best")
        assert "*" not in run(tmp_path)[1]
        assert "there is no" in run(tmp_path)[1]
        assert "*  model-1" in run(tmp_path / "best")[1]

    def test_what_lies_elsewhere_goes_by_its_path(self, run: Any, tmp_path: Path) -> None:
        for folder in ("here", "there"):
            (tmp_path / folder).mkdir()
            write_bundle(tmp_path / folder / "model-1", {"a": ARRAY})
        write_state(tmp_path / "here", str(tmp_path / "there" / "model-1"))
        lines = run(tmp_path / "here")[1].splitlines()
        assert [line[3:].split()[0] for line in lines[1:3]] == ["model-1", str(tmp_path / "there" / "model-1")]

    def test_half_saved(self, run: Any, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model-1", {"a": ARRAY})
        name = "model-2_temp_0123456789abcdef0123456789abcdef"
        (tmp_path / name).mkdir()
        write_state(tmp_path, "model-1")
        code, out, _ = run(tmp_path)
        assert (code, out.splitlines()[-1]) == (0, f"1 checkpoint, and incomplete {name}")
        assert json.loads(run("--json", tmp_path)[1])["incomplete"] == [str(tmp_path / name)]

    def test_strange_times(self, run: Any, tmp_path: Path) -> None:
        write_bundle(tmp_path / "model-1", {"a": ARRAY})
        write_state(tmp_path, "model-1", more="all_model_checkpoint_timestamps: 1e300")
        code, out, _ = run(tmp_path)
        assert code == 0
        assert "?" in out
        write_state(tmp_path, "model-1", more="all_model_checkpoint_timestamps: nan")
        assert run("--json", tmp_path)[0] == 0

    def test_refusals(self, run: Any, tmp_path: Path) -> None:
        (tmp_path / "checkpoint").write_text("nonsense")
        for path in (tmp_path, tmp_path / "none"):
            code, out, error = run(path)
            assert (code, out) == (2, "")
            assert error.startswith("tfbundle: ")
            assert len(error.splitlines()) == 1
