"""Reports of checkpoints: what is in a page, when it is written, and that it is the same each time."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.command import outcome, refusal, run
from tests.support.expected import FIXTURES

pytest.importorskip("jinja2", reason="reports need jinja2, which is not installed")


def data_of(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def names_of(tensors: Any) -> list[str]:
    names, before = [], ""
    for shared, rest in zip(tensors["shared"], tensors["rest"], strict=True):
        before = before[:shared] + rest
        names.append(before)
    return names


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    return tfbundle.save(
        tmp_path / "model.ckpt-7",
        {
            "net/w": rng.standard_normal((200, 300)).astype(np.float32),
            "net/w/Adam": np.zeros((200, 300), np.float32),
            "net/b": np.array([1, np.nan, -np.inf, 0], np.float32),
            "global_step": np.array(7, np.int64),
            "labels": np.array([b"cat", b"dog"], object),
        },
    )


class TestPages:
    def test_tensors_and_their_statistics(self, checkpoint: str, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        assert tfbundle.report(checkpoint, out) == str(out)
        tensors = data_of(out)["tensors"]
        names = names_of(tensors)
        assert names == sorted(["net/w", "net/w/Adam", "net/b", "global_step", "labels"])
        w, adam, b = map(names.index, ("net/w", "net/w/Adam", "net/b"))
        values = tfbundle.load(checkpoint)["net/w"]
        statistics = tensors["statistics"]
        assert statistics["min"][w] == pytest.approx(float(values.min()), rel=1e-6)
        assert statistics["max"][w] == pytest.approx(float(values.max()), rel=1e-6)
        assert statistics["mean"][w] == pytest.approx(float(values.mean(dtype=float)), abs=1e-6)
        assert statistics["std"][w] == pytest.approx(float(values.std(dtype=float)), rel=1e-5)
        assert statistics["zeros"][adam] == 60_000
        assert (statistics["nan"][str(b)], statistics["infinite"][str(b)]) == (1, 1)
        with tfbundle.open_checkpoint(checkpoint) as opened:
            numbers = sum(tensor.size for tensor in opened.values() if tensor.dtype != object)
        assert f"<dt>Parameters</dt><dd>{numbers:,}</dd>" in out.read_text("utf-8")  # As in ls, strings are none.
        assert tensors["owner"][adam] == w
        assert tensors["state"] == "i" * 5
        assert tensors["role"][w] + tensors["role"][adam] == "ws"
        assert tensors["details"][str(names.index("labels"))]["texts"] == ["cat", "dog"]
        assert tensors["details"][str(b)]["values"] == [1, "NaN", "-∞", 0]
        with tfbundle.open_checkpoint(checkpoint) as opened:
            place = opened["net/w"].ranges[0]
        assert tensors["offset"][w] == place.offset
        assert tensors["files"][tensors["file"][w]] == Path(place.path).name

    def test_without_statistics(self, checkpoint: str, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        tfbundle.report(checkpoint, out, statistics=False)
        tensors = data_of(out)["tensors"]
        assert "statistics" not in tensors
        assert tensors["details"] == {}
        assert "Intact" in out.read_text("utf-8")

    def test_the_same_files_give_the_same_bytes(self, checkpoint: str, tmp_path: Path) -> None:
        pages = set()
        for number in range(3):
            tfbundle.report(checkpoint, tmp_path / f"{number}.html")
            pages.add((tmp_path / f"{number}.html").read_bytes())
        assert len(pages) == 1

    @pytest.mark.parametrize("statistics", [True, False])
    def test_damage_is_found_and_named(self, checkpoint: str, tmp_path: Path, statistics: bool) -> None:
        with tfbundle.open_checkpoint(checkpoint) as opened:
            place = opened["net/w"].ranges[0]
        data = bytearray(Path(place.path).read_bytes())
        data[place.offset + 1000] ^= 4
        Path(place.path).write_bytes(data)
        out = tmp_path / "report.html"
        tfbundle.report(checkpoint, out, statistics=statistics)
        tensors = data_of(out)["tensors"]
        names = names_of(tensors)
        assert [names[i] for i, state in enumerate(tensors["state"]) if state == "d"] == ["net/w"]
        assert "CRC-32C" in tensors["problem"][str(names.index("net/w"))]
        assert "1 finding" in out.read_text("utf-8")
        assert "--salvage" in out.read_text("utf-8")
        if statistics:
            assert tensors["statistics"]["min"][names.index("net/w")] is None

    @pytest.mark.parametrize("damaged", [None, 0, 1, 2])
    def test_segments_of_large_tensors(self, tmp_path: Path, damaged: int | None) -> None:
        """The threads divide tensors of several segments; the page is the same each time, and damage is in one."""
        values = np.random.default_rng(1).standard_normal((700, 4096)).astype(np.float32)
        prefix = tfbundle.save(tmp_path / "large", {f"w{i}": values + i for i in range(3)})
        if damaged is not None:
            with (tmp_path / "large.data-00000-of-00001").open("r+b") as file:
                file.seek(damaged * values.nbytes + 4321)
                file.write(b"\xff\xff")
        pages = []
        for number in range(2):
            tfbundle.report(prefix, tmp_path / f"{number}.html")
            pages.append((tmp_path / f"{number}.html").read_bytes())
        assert pages[0] == pages[1]
        tensors = data_of(tmp_path / "0.html")["tensors"]
        assert [i for i, state in enumerate(tensors["state"]) if state == "d"] == ([] if damaged is None else [damaged])
        for i in range(3):
            expected = None if i == damaged else pytest.approx(float((values + i).mean(dtype=float)), abs=1e-5)
            assert tensors["statistics"]["mean"][i] == expected
            if i != damaged:
                assert tensors["statistics"]["max"][i] == pytest.approx(float((values + i).max()), rel=1e-6)

    def test_a_missing_data_file(self, checkpoint: str, tmp_path: Path) -> None:
        Path(f"{checkpoint}.data-00000-of-00001").unlink()
        out = tmp_path / "report.html"
        tfbundle.report(checkpoint, out)
        assert data_of(out)["tensors"]["state"] == "d" * 5

    def test_a_folder_of_graphs_alone_is_not_damaged(self, tmp_path: Path) -> None:
        shutil.copytree(FIXTURES / "tf-1.15.5" / "frozen", tmp_path / "graphs")
        tfbundle.report(tmp_path / "graphs", tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text("utf-8")
        assert "Nothing to verify" in text
        assert "there is no checkpoint" not in text
        (tmp_path / "empty").mkdir()
        tfbundle.report(tmp_path / "empty", tmp_path / "report.html")
        assert "there is no checkpoint" in (tmp_path / "report.html").read_text("utf-8")

    def test_a_folder_of_several_shows_none_silently(self, tmp_path: Path) -> None:
        for step in (1, 2):
            tfbundle.save(tmp_path / f"m-{step}", {"w": np.float32(1)})
        tfbundle.report(tmp_path, tmp_path / "report.html")
        text = (tmp_path / "report.html").read_text("utf-8")
        assert "No tensors are shown: " in text
        assert "tensors" not in data_of(tmp_path / "report.html")

    def test_a_damaged_index_is_salvaged(self, tmp_path: Path) -> None:
        prefix = tfbundle.save(tmp_path / "m", {f"{i:06}/" + "n" * 900: np.float32(i) for i in range(2000)})
        index = bytearray(Path(f"{prefix}.index").read_bytes())
        index[1000] ^= 1
        Path(f"{prefix}.index").write_bytes(index)
        out = tmp_path / "report.html"
        tfbundle.report(prefix, out)
        assert 0 < len(data_of(out)["tensors"]["state"]) < 2000
        assert "Only the intact tensors are shown" in out.read_text("utf-8")

    def test_reading_and_verifying_find_the_same_as_verifying_alone(self, tmp_path: Path) -> None:
        from tfbundle.reporting.tensors import read_tensors
        from tfbundle.verification.verify import verify_rest

        prefixes = [str(path)[: -len(".index")] for path in sorted(FIXTURES.glob("*/*/*.index"))]
        assert len(prefixes) > 20
        for prefix in prefixes:
            expected = tfbundle.verify(prefix)
            try:
                tensors = tfbundle.open_checkpoint(prefix)
            except tfbundle.TfBundleError:
                continue
            with tensors:
                values = read_tensors(tensors, statistics=True, progress=None).values
            assert values is not None
            assert verify_rest(prefix, values.verified) == expected, prefix

    def test_progress_reaches_the_total(self, checkpoint: str, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        tfbundle.report(checkpoint, tmp_path / "report.html", progress=lambda *call: calls.append(call))
        assert calls[-1][0] == calls[-1][1] > 480_000
        assert calls == sorted(calls)


class TestTheOutput:
    @pytest.mark.parametrize("name", ["model.ckpt-7.index", "model.ckpt-7.data-00000-of-00001", "checkpoint"])
    def test_files_of_a_checkpoint_are_not_replaced(self, checkpoint: str, tmp_path: Path, name: str) -> None:
        (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model.ckpt-7"\n')
        before = (tmp_path / name).read_bytes()
        with pytest.raises(ValueError, match="name another file to write to"):
            tfbundle.report(checkpoint, tmp_path / name)
        assert (tmp_path / name).read_bytes() == before

    def test_an_event_file_is_not_replaced(self, checkpoint: str, tmp_path: Path) -> None:
        events = tmp_path / "events.out.tfevents.1.host"
        events.write_bytes(b"")
        with pytest.raises(ValueError, match="an event file"):
            tfbundle.report(checkpoint, events)
        tfbundle.report(checkpoint, events, overwrite=True)
        assert events.read_bytes().startswith(b"<!DOCTYPE html>")

    def test_an_older_page_is_replaced(self, checkpoint: str, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        out.write_text("old")
        tfbundle.report(checkpoint, out)
        assert out.read_text("utf-8").startswith("<!DOCTYPE html>")
        assert not list(tmp_path.glob(".*"))

    def test_nothing_is_written_about_nothing(self, tmp_path: Path) -> None:
        with pytest.raises(tfbundle.MissingFileError):
            tfbundle.report(tmp_path / "absent", tmp_path / "report.html")
        assert list(tmp_path.iterdir()) == []

    def test_the_folder_has_to_exist(self, checkpoint: str, tmp_path: Path) -> None:
        with pytest.raises(tfbundle.MissingFileError, match="there is no folder"):
            tfbundle.report(checkpoint, tmp_path / "absent" / "report.html")

    def test_without_jinja2(self, checkpoint: str, tmp_path: Path) -> None:
        code = (
            "import sys; sys.modules['jinja2'] = None\n"
            "import tfbundle\n"
            "try: tfbundle.report(sys.argv[1], sys.argv[2])\n"
            "except tfbundle.UnsupportedError as error: print(error)\n"
        )
        out = tmp_path / "report.html"
        done = subprocess.run(
            [sys.executable, "-c", code, checkpoint, str(out)], capture_output=True, text=True, check=True
        )
        assert 'pip install "tfbundle[report]"' in done.stdout
        assert not out.exists()


class TestTheCommand:
    def test_a_file(self, checkpoint: str, tmp_path: Path) -> None:
        out = tmp_path / "report.html"
        assert outcome("report", checkpoint, "-o", out) == (0, f"written: {out}\n", "")

    def test_stdout(self, checkpoint: str, tmp_path: Path) -> None:
        done = run("report", checkpoint, "-o", "-")
        tfbundle.report(checkpoint, tmp_path / "report.html")
        assert done.stdout_bytes == (tmp_path / "report.html").read_bytes()

    def test_a_file_of_the_checkpoint(self, checkpoint: str) -> None:
        assert "--overwrite" in refusal("report", checkpoint, "-o", f"{checkpoint}.index")


class TestManyTensors:
    @pytest.mark.parametrize(("most", "left_out"), [(5, 0), (4, 1), (2, 3)])
    def test_more_than_a_page_shows(
        self, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, left_out: int
    ) -> None:
        monkeypatch.setattr("tfbundle.reporting.tensors._MOST_TENSORS", most)
        tfbundle.report(checkpoint, tmp_path / "report.html")
        assert len(data_of(tmp_path / "report.html")["tensors"]["state"]) == 5 - left_out
        text = (tmp_path / "report.html").read_text("utf-8")
        assert ("more tensors are left out" in text) == bool(left_out)
        assert "5 tensors" in text  # All are verified.

    def test_the_page_stays_below_ten_megabytes(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        value = rng.standard_normal((8, 8)).astype(np.float32)
        names = (f"encoder/block_{i // 100}/layer_{i % 100}/attention/kernel" for i in range(40_000))
        prefix = tfbundle.save(tmp_path / "many", ((name, value) for name in names))
        out = tmp_path / "report.html"
        tfbundle.report(prefix, out)
        assert out.stat().st_size < 10_000_000
        tensors = data_of(out)["tensors"]
        assert len(names_of(tensors)) == 40_000
        assert tensors["leftOut"] > 0
        assert len(tensors["details"]) + tensors["leftOut"] == 40_000
        shutil.rmtree(tmp_path)

    def test_a_few_have_all_details(self, checkpoint: str, tmp_path: Path) -> None:
        tfbundle.report(checkpoint, tmp_path / "report.html")
        tensors = data_of(tmp_path / "report.html")["tensors"]
        assert tensors["leftOut"] == 0
        w = str(names_of(tensors).index("net/w"))
        assert set(tensors["details"][w]) == {"counts", "quantiles", "stride", "picture"}


@pytest.mark.parametrize(("dtype", "bits"), [("<f4", 0x7F800001), ("<f8", 0x7FF0000000000001), ("<f2", 0x7D00)])
def test_pictures_of_signalling_nans(tmp_path: Path, dtype: str, bits: int) -> None:
    stored = np.array([[bits, 0], [0, 0]], f"<u{np.dtype(dtype).itemsize}").view(dtype)
    tfbundle.save(tmp_path / "model", {"w": stored})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfbundle.report(tmp_path / "model", tmp_path / "page.html")
    assert b"NaN" in (tmp_path / "page.html").read_bytes()
