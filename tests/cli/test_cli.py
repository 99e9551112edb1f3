"""The command: what it prints, to users and to programs, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("click", reason="the command needs click, which is not installed")
pytest.importorskip("rich", reason="the command needs rich, which is not installed")

import tfbundle
from tests.support.arrays import DTYPES, object_array, sample_array
from tests.support.bundle_writer import FULL, STRING, Saved, write_bundle
from tests.support.command import on_terminal, refusal, run, run_json
from tests.support.expected import FIXTURES, Expected, expected_checkpoints, numpy_name
from tests.support.processes import read_output, run_process
from tfbundle.cli.index import parse_index
from tfbundle.cli.main import COMMANDS
from tfbundle.printable import escape_name, format_shape, format_size, unescape_name

ROOT = Path(__file__).resolve().parents[2]
NAMES = FIXTURES / "tf-2.21.0" / "names"
MATRIX = np.arange(24, dtype=np.float32).reshape(6, 4)


def process(*arguments: Any, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command in a new interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "tfbundle", *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", cwd=ROOT, check=False, **settings,
    )  # fmt: skip


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


# The command as such.


def test_version_and_help() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tfbundle {tfbundle.__version__}\n", "")
    done = process("--help")
    assert done.returncode == 0
    assert all(re.search(rf"^  {name}  +\w", done.stdout, re.MULTILINE) for name in COMMANDS)
    assert process().stdout == done.stdout
    for name in COMMANDS:
        text = run(name, "--help").stdout
        assert f"Usage: tfbundle {name} " in text
        assert "\\b" not in text
    assert "  tfbundle convert run/model.ckpt-1000 model.safetensors\n" in run("convert", "--help").stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['tfbundle', '--help']\n"
        "from tfbundle.__main__ import main\n"
        "try: main()\n"
        "finally: print(sorted({'numpy', 'google', 'rich', 'ml_dtypes'} & {*sys.modules}), file=sys.stderr)\n"
    )
    done = python(code)
    assert (done.returncode, done.stderr) == (0, "[]\n")


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra(package: str) -> None:
    """``None`` among the modules makes an import fail as an absent package does."""
    code = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv = ['tfbundle', 'ls', {str(NAMES)!r}]\n"
        "sys.stdout.isatty = lambda: True\n"
        "from tfbundle.__main__ import main\n"
        "main()\n"
    )
    done = python(code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tfbundle: the command needs {package}; pip install 'tfbundle[cli]'\n"


def test_any_other_import_error_is_not_hidden() -> None:
    done = python("import sys; sys.modules['tfbundle.cli.output'] = None\nfrom tfbundle.__main__ import main\nmain()")
    assert done.returncode == 1
    assert "tfbundle.cli.output" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lss"], "No such command 'lss'"),
        (["events", "shwo", "x", "loss"], "No such command or path 'shwo'; did you mean 'show'?"),
        (["events", "stats", "x"], "No such command or path 'stats'; the commands are list, show,"),
        (["events", "nowhere"], "there is no file or folder nowhere"),
        (["verify", "x", "y"], "Got unexpected extra argument"),
        (["verify", "x", NAMES / "bundle.index"], "a file of this name exists: quote patterns"),
        (["ls"], "Missing argument 'PATH'"),
        (["ls", "x", "--sort", "y"], "'y' is not one of"),
        (["ls", "no\nwhere"], "there is no checkpoint no\\nwhere"),
        (["show", "nowhere", "x"], "there is no checkpoint nowhere"),
        (["ls", "x", "--colour"], "--colour"),
        (["convert", "x", "y.pt"], "does not name an output format"),
        (["ls", os.curdir], "no checkpoint"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refusal(*arguments)


def test_what_the_system_refuses_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX})

    def refuse(*arguments: Any) -> None:
        raise PermissionError(13, "Permission denied", "b.index")

    monkeypatch.setattr("tfbundle.cli.ls.open_tensors", refuse)
    assert "Permission denied" in refusal("ls", tmp_path / "b")


def test_too_little_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("tfbundle.cli.ls.open_tensors", refuse)
    assert "not enough memory" in refusal("ls", "x")


def test_a_damaged_index_is_one_line(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX})
    index = tmp_path / "b.index"
    index.write_bytes(index.read_bytes()[:-1])
    assert str(index) in refusal("ls", tmp_path / "b")


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tfbundle.cli.ls.open_tensors", interrupt)
    result = run("ls", "x")
    assert (result.exit_code, result.output) == (130, "")


@pytest.mark.skipif(os.name != "posix", reason="pipes break otherwise on this system")
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_broken_pipe_is_quiet(tmp_path: Path, extra: list[str]) -> None:
    write_bundle(tmp_path / "b", {f"tensor{number:05}": MATRIX[0, 0] for number in range(5000)})
    status, _, said = read_output("ls", tmp_path / "b", *extra, size=10)
    assert (status, said) == (141, "")


# Names.


@given(st.binary(max_size=8).map(lambda data: data.decode("utf-8", "surrogateescape")) | st.text(max_size=6))
def test_names_are_printed_in_a_form_that_comes_back(name: str) -> None:
    if any("\ud800" <= character <= "\udfff" and not "\udc80" <= character <= "\udcff" for character in name):
        return  # No file holds such a name.
    printed = escape_name(name)
    assert printed.isprintable()
    assert printed == printed.strip()
    printed.encode()
    assert unescape_name(printed) == name


def test_every_name_is_listed_and_can_be_shown() -> None:
    wanted = list(json.loads((NAMES / "EXPECTED.json").read_text(encoding="utf-8"))["tensors"])
    wanted.sort(key=lambda name: name.encode("utf-8", "surrogateescape"))
    assert [tensor["name"] for tensor in run_json("ls", NAMES)["tensors"]] == wanted
    lines = run_process("ls", NAMES).stdout.splitlines()[1:-1]
    printed = [re.split(r" +\[\] ", line)[0] for line in lines]
    assert printed == list(map(escape_name, wanted))
    for text, name in zip(printed, wanted, strict=True):
        assert run_json("show", NAMES, "--", text)["name"] == name
        assert [tensor["name"] for tensor in run_json("ls", NAMES, "--", text.replace("[", "[[]"))["tensors"]] == [name]


def test_a_checkpoint_without_tensors(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {}, num_shards=0)
    assert run_json("ls", tmp_path / "b")["total"] == {"tensors": 0, "parameters": 0, "nbytes": 0, "shards": 0}
    assert run("ls", tmp_path / "b").stdout.splitlines()[-1] == "0 tensors, 0 parameters, 0 B"
    assert run_json("verify", tmp_path / "b")["ok"]
    for name in ("out.npz", "out.safetensors"):
        assert run("convert", tmp_path / "b", tmp_path / name).exit_code == 0
    with np.load(tmp_path / "out.npz") as written:
        assert written.files == []


def test_names_that_the_terminal_cannot_show() -> None:
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = process("ls", NAMES, "gr*", env=environment)
    assert done.returncode == 0
    printed = done.stdout.splitlines()[1].split(" ")[0]
    assert printed.isascii()
    assert run_json("show", NAMES, printed)["name"].startswith("größe")


def test_what_ls_prints_wins_over_what_it_looks_like(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"a\0": MATRIX, "a\\x00": MATRIX + 1, "c\\t": MATRIX})
    assert run_json("show", tmp_path / "b", "a\\x00")["name"] == "a\0"
    assert run_json("show", tmp_path / "b", "a\\\\x00")["name"] == "a\\x00"
    assert run_json("show", tmp_path / "b", "c\\t")["name"] == "c\\t"


def test_help_fits_80_columns_and_cuts_nothing() -> None:
    groups = run("--help").stdout, run("events", "--help").stdout
    for text in groups:
        commands = text.partition("Commands:\n")[2]
        assert commands
        assert "..." not in commands
    # A shell would run the two halves of a broken line.
    assert '\n      eval "$(_TFBUNDLE_COMPLETE=bash_source tfbundle)"\n' in groups[0]
    for name in COMMANDS:
        assert max(map(len, run(name, "--help").stdout.splitlines())) <= 80


def test_an_unknown_name_brings_a_suggestion(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"conv1/weights": MATRIX})
    assert "did you mean 'conv1/weights'" in refusal("show", tmp_path / "b", "conv/weights")
    assert "did you mean 'conv1/weights'" in refusal("ls", tmp_path / "b", "conv/weights")
    assert "matches 'conv2*'" in refusal("ls", tmp_path / "b", "conv2*")


# ls.

CHECKPOINTS = [expected for format in ("v1", "v2") for expected in expected_checkpoints(format) if not expected.error]


@pytest.mark.parametrize("expected", CHECKPOINTS, ids=lambda case: f"{case.format}-{case}")
def test_ls_lists_what_tensorflow_lists(expected: Expected) -> None:
    listed = run_json("ls", expected.path, "--format", expected.format)
    assert listed["format"] == expected.format
    found = {tensor["name"]: tensor for tensor in listed["tensors"]}
    wanted = {name: facts for name, facts in expected.tensors.items() if "shape" in facts}
    assert found.keys() >= wanted.keys()
    for name, facts in wanted.items():
        assert (found[name]["error"], found[name]["whole_shape"]) == (None, facts["shape"])
        assert numpy_name(found[name]["dtype"]) == numpy_name(facts["dtype"])
    assert listed["total"]["tensors"] == len(found)
    assert listed["total"]["nbytes"] == sum(tensor["nbytes"] for tensor in listed["tensors"])


def test_ls_for_people(tmp_path: Path) -> None:
    long = "scope/" * 30 + "w"
    tensors = {
        "b": MATRIX[0],
        "a": Saved(MATRIX, slices=[((0, 4), FULL), ((4, 2), FULL)], shards=[0, 1]),
        "words": object_array([b"x" * 3000]),
        "scalar": np.int64(7).reshape(()),
        long: MATRIX,
    }
    write_bundle(tmp_path / "b", tensors, num_shards=2)
    result = run("ls", tmp_path / "b")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "name    shape  dtype       size  shard",
        "a       [6,4]  float32     96 B  0,1 (2 slices)",
        "b       [4]    float32     16 B  0",
        "scalar  []     int64        8 B  0",
        f"{long}  [6,4]  float32     96 B  0",
        "words   [1]    string   2.9 KiB  0",
        "5 tensors, 53 parameters, 3.1 KiB, 2 shards",
    ]


def test_ls_chooses_and_sorts(tmp_path: Path) -> None:
    tensors = {
        "a": Saved(MATRIX[:2], shards=[1]),
        "b": np.zeros((3, 100), np.int8),
        "c": np.zeros((), np.float64),
        "d/Adam": Saved(np.zeros((2, 5), np.float16), shards=[1]),
    }
    write_bundle(tmp_path / "b", tensors, num_shards=2)

    def order(*arguments: str) -> list[str]:
        return [tensor["name"] for tensor in run_json("ls", tmp_path / "b", *arguments)["tensors"]]

    assert order() == order("--sort", "name") == ["a", "b", "c", "d/Adam"]
    assert order("--sort", "size") == ["b", "a", "d/Adam", "c"]
    assert order("--sort", "shape") == ["c", "a", "d/Adam", "b"]
    assert order("--sort", "dtype") == ["d/Adam", "a", "c", "b"]
    assert order("--sort", "shard") == ["b", "c", "a", "d/Adam"]
    assert order("[ab]") == ["a", "b"]
    assert order("*Adam", "c") == ["c", "d/Adam"]
    assert run_json("ls", tmp_path / "b", "[ab]")["total"] == {
        "tensors": 2, "parameters": 308, "nbytes": 332, "shards": 2,
    }  # fmt: skip


def test_ls_needs_no_data_files(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX}, leave_out=[0])
    assert run_json("ls", tmp_path / "b")["tensors"][0]["nbytes"] == MATRIX.nbytes


def test_ls_with_a_broken_entry(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"bad": Saved(MATRIX, lies={"shape": (5, 5)}), "good": MATRIX})
    listed = run_json("ls", tmp_path / "b", status=1)
    bad, good = listed["tensors"]
    assert "100" in bad["error"]
    assert bad["nbytes"] is None
    assert good["error"] is None
    result = run("ls", tmp_path / "b")
    assert result.exit_code == 1
    assert re.search(r"^bad +\? +\? +\? +tensor 'bad'", result.stdout, re.MULTILINE)
    assert re.search(r"^good +\[6,4\]", result.stdout, re.MULTILINE)


def test_ls_of_either_format() -> None:
    both = FIXTURES / "tf-1.15.5" / "v1-and-v2-of-one-name"
    (prefix,) = {path.with_suffix("") for path in both.glob("*.index")}
    assert run_json("ls", prefix)["format"] == "v2"
    assert run_json("ls", prefix, "--format", "v1")["format"] == "v1"


# show.


@pytest.mark.parametrize("name", DTYPES)
def test_show_gives_statistics_and_values_of_every_dtype(tmp_path: Path, name: str) -> None:
    array = sample_array(name, (9, 11), seed=4)
    write_bundle(
        tmp_path / "b",
        {
            "t": array,
            "empty": array[:0],
            "scalar": array[0, 0].reshape(()) if name != "object" else object_array([b"x"], ()),
        },
    )
    assert run("show", tmp_path / "b", "t").exit_code == 0
    assert run("show", tmp_path / "b", "scalar").exit_code == 0
    assert run("show", tmp_path / "b", "empty").stdout.endswith("values\n[]\n")
    shown = run_json("show", tmp_path / "b", "t")
    if name == "object":
        lengths = [len(element) for element in array.ravel()]
        assert shown["statistics"] == {
            "min_length": min(lengths), "max_length": max(lengths), "total_length": sum(lengths),
        }  # fmt: skip
        assert [[text.encode("utf-8", "surrogateescape") for text in row] for row in shown["values"]] == array.tolist()
        return
    statistics = shown["statistics"]
    if array.dtype.kind == "c":
        assert (statistics["nan"], statistics["infinite"]) == (np.isnan(array).sum(), np.isinf(array).sum())
        assert statistics["mean"] is None
        assert len(shown["values"][0][0]) == 2
        return
    numbers = array.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    assert (statistics["min"], statistics["max"]) == (pytest.approx(finite.min()), pytest.approx(finite.max()))
    with np.errstate(over="ignore"):
        if np.isfinite(finite.std()):
            assert statistics["mean"] == pytest.approx(finite.mean())
            assert statistics["std"] == pytest.approx(finite.std())
    assert statistics["zeros"] == (numbers == 0).sum()
    assert (statistics["nan"], statistics["infinite"]) == (np.isnan(numbers).sum(), np.isinf(numbers).sum())
    with np.errstate(all="ignore"):
        for row, wanted in zip(shown["values"], numbers.tolist(), strict=True):
            for value, number in zip(row, wanted, strict=True):
                assert float(value) == number or np.isnan(number)


def test_statistics_of_chunks_are_those_of_the_whole(tmp_path: Path) -> None:
    """Far from zero, where sums of squares would lose all digits; and integers that no float holds."""
    array = np.random.RandomState(0).normal(1e6, 1e-2, 700_000)
    array[[5, 500_000, 600_000]] = np.nan, np.inf, -np.inf
    integers = np.array([2**63 - 1, -(2**63), 0], np.int64)
    write_bundle(tmp_path / "b", {"x": array, "i": integers, "none": array[5:6]})
    statistics = run_json("show", tmp_path / "b", "x")["statistics"]
    finite = array[np.isfinite(array)]
    assert statistics["mean"] == pytest.approx(finite.mean(), rel=1e-12)
    assert statistics["std"] == pytest.approx(finite.std(), rel=1e-6)
    assert (statistics["nan"], statistics["infinite"], statistics["zeros"]) == (1, 2, 0)
    statistics = run_json("show", tmp_path / "b", "i")["statistics"]
    assert (statistics["min"], statistics["max"]) == (-(2**63), 2**63 - 1)
    assert run_json("show", tmp_path / "b", "none")["statistics"]["mean"] is None


def test_show_for_people(tmp_path: Path) -> None:
    placed = write_bundle(tmp_path / "b", {"a": MATRIX, "m": MATRIX})
    lines = run("show", tmp_path / "b", "m").stdout.splitlines()
    facts = dict(line.split(None, 1) for line in lines[: lines.index("values")])
    assert (facts["name"], facts["shape"], facts["dtype"]) == ("m", "[6,4]", "float32 (DT_FLOAT)")
    assert facts["size"] == "24 elements, 96 B"
    (place,) = placed["m"]
    assert facts["stored"].startswith(f"b.data-00000-of-00001, 96 bytes at offset {place.offset}, CRC-32C 0x")
    assert (facts["min"], facts["max"], facts["mean"], facts["zeros"]) == ("0", "23", "11.5", "1")
    assert len(facts["histogram"]) == 24
    assert run_json("show", tmp_path / "b", "m")["statistics"]["histogram"] == np.histogram(MATRIX, 40)[0].tolist()
    assert "\n".join(lines[lines.index("values") + 1 :]) == str(MATRIX)


@pytest.mark.parametrize("shape", [(5000,), (300, 7), (8, 8, 8, 8), (20, 2, 3, 40)])
def test_a_large_tensor_is_shortened_as_numpy_does(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    write_bundle(tmp_path / "b", {"m": array})
    shown = run("show", tmp_path / "b", "m").stdout.partition("values\n")[2].rstrip("\n")
    with np.printoptions(linewidth=100):
        assert re.sub(r" +", " ", shown) == re.sub(r" +", " ", str(array))
    assert run_json("show", tmp_path / "b", "m")["values"] is None


def test_of_many_dimensions_the_first_part_is_shown(tmp_path: Path) -> None:
    array = np.arange(8**5, dtype=np.int32).reshape((8,) * 5)
    write_bundle(tmp_path / "b", {"m": array})
    shown = run("show", tmp_path / "b", "m").stdout.partition("values of [0,...]\n")[2].rstrip("\n")
    assert re.sub(r" +", " ", shown) == re.sub(r" +", " ", str(array[0]))


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("0", (0,)),
        ("-1", (-1,)),
        ("-2:,0", (slice(-2, None), 0)),
        ("0:4,:", (slice(0, 4), slice(None))),
        (":", (slice(None),)),
        ("...,-1", (..., -1)),
        ("::2, 1", (slice(None, None, 2), 1)),
        ("::-1,3:0:-2", (slice(None, None, -1), slice(3, 0, -2))),
        ("5:2", (slice(5, 2),)),
        ("+1", (1,)),
        ("1:2:", (slice(1, 2),)),
    ],
)
@pytest.mark.parametrize("dashes", [True, False])
def test_show_reads_a_part(tmp_path: Path, text: str, index: tuple[Any, ...], dashes: bool) -> None:
    assert parse_index(text) == index
    words = object_array([b"%d\0" % number for number in range(24)], (6, 4))
    write_bundle(tmp_path / "b", {"m": MATRIX, "w": words})
    arguments = ["--", text] if dashes else [text]
    shown = json.loads(run("show", "--json", tmp_path / "b", "m", *arguments).stdout)
    assert (shown["values"], shown["statistics"]) == (MATRIX[index].tolist(), None)
    shown = json.loads(run("show", "--json", tmp_path / "b", "w", *arguments).stdout)
    wanted = words[index]
    assert shown["values"] == (
        np.vectorize(bytes.decode, [object])(wanted).tolist() if np.size(wanted) else wanted.tolist()
    )
    lines = run("show", tmp_path / "b", "m", *arguments).stdout.splitlines()
    assert lines[5] == f"values (part of shape [{','.join(map(str, np.shape(MATRIX[index])))}], not verified)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "1;2",
        "[0",
        "[[0]]",
        "0,,1",
        "1.0",
        "0x1",
        "None",
        "::0",
        "1:2:3:4",
        "....",
        "__import__('os')",
        "1_0",
        "٣",
        "9" * 20,
    ],
)
def test_what_is_not_an_index(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an index|step 0"):
        parse_index(text)
    write_bundle(tmp_path / "b", {"m": MATRIX})
    refusal("show", tmp_path / "b", "m", text)


@pytest.mark.parametrize("text", ["6", "0,0,0", "...,...", "0,-5"])
def test_an_index_out_of_bounds(tmp_path: Path, text: str) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX})
    assert "[6,4]" in refusal("show", tmp_path / "b", "m", text)


def test_show_of_damage(tmp_path: Path) -> None:
    """The facts are shown; values are not."""
    write_bundle(tmp_path / "b", {"m": Saved(MATRIX, lies={"crc": 1})})
    result = run("show", tmp_path / "b", "m")
    assert result.exit_code == 2
    assert "values" not in result.stdout
    assert "CRC-32C" in result.stderr
    refusal("show", tmp_path / "b", "m", "--json")


def test_show_of_slices(tmp_path: Path) -> None:
    boxes = [(FULL, (0, 3)), (FULL, (3, 1))]
    write_bundle(tmp_path / "b", {"m": Saved(MATRIX, slices=boxes, shards=[0, 1])}, num_shards=2)
    shown = run_json("show", tmp_path / "b", "m")
    assert shown["slices"] == [[[0, 6], [0, 3]], [[0, 6], [3, 4]]]
    assert [Path(piece["path"]).name for piece in shown["ranges"]] == ["b.data-00000-of-00002", "b.data-00001-of-00002"]
    assert shown["values"] == MATRIX.tolist()
    stored = re.findall(r"^stored +(.*)$", run("show", tmp_path / "b", "m").stdout, re.MULTILINE)
    assert [place.partition(" in ")[0] for place in stored] == ["[0:6, 0:3]", "[0:6, 3:4]"]
    lying = Saved(MATRIX, slices=[((row, 1), FULL) for row in range(6)], slice_lies={2: {"raw": None}})
    write_bundle(tmp_path / "c", {"m": lying})
    result = run("show", tmp_path / "c", "m")
    assert result.exit_code == 2
    assert "[2:3, 0:4]" in result.stdout
    assert "region [2:3, 0:4]" in result.stderr


def test_show_of_long_strings(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"s": Saved(object_array([b"\n" * 1000, b"short"]), data_type=STRING)})
    shown = run("show", tmp_path / "b", "s").stdout.partition("values\n")[2]
    assert "... (1000 bytes)" in shown
    assert "b'short'" in shown
    assert run_json("show", tmp_path / "b", "s")["values"][0] == "\n" * 1000


def test_show_of_variants() -> None:
    path = FIXTURES / "tf-2.21.0" / "variants"
    for tensor in run_json("ls", path, "*list*")["tensors"]:
        assert "<variant 'tensorflow::TensorList'>" in run("show", path, tensor["name"]).stdout
        assert run_json("show", path, tensor["name"])["statistics"] == {}


# verify.


def test_verify_of_what_is_whole(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX, "n": MATRIX})
    result = run("verify", tmp_path / "b")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "file                    size  intact            state",
        "b.index                150 B  1 block           ok",
        "b.data-00000-of-00001  192 B  2 stored tensors  ok",
        f"{tmp_path / 'b'}: ok; 2 tensors, 192 B verified",
    ]
    report = run_json("verify", tmp_path / "b")
    assert report["ok"] is True
    assert report["findings"] == []
    assert (report["tensors"], report["nbytes"]) == (2, 192)


def test_verify_lists_the_damage(tmp_path: Path) -> None:
    tensors = {"a": Saved(MATRIX, lies={"crc": 1}), "b": MATRIX, "c": Saved(MATRIX, shards=[1])}
    write_bundle(tmp_path / "b", tensors, num_shards=2, leave_out=[1])
    result = run("verify", tmp_path / "b")
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        "file                    size  intact           state",
        "b.index                175 B  1 block          ok",
        "b.data-00000-of-00002  192 B  1 stored tensor  1 finding",
        "b.data-00001-of-00002      -  -                missing",
        "",
        "missing: the data file b.data-00001-of-00002 does not exist (shard 1 of 2); copy it next to the index",
        "finding   tensor  bytes  offset  file",
        "checksum  a          96       0  b.data-00000-of-00002",
        "",
        "next: copy or download b.data-00000-of-00002 again from the original location",
        f"next: save the intact part, 1 of 3 known tensors: tfbundle convert {tmp_path / 'b'} OUT.npz --salvage",
        f"{tmp_path / 'b'}: 2 findings; 3 tensors, 96 B verified",
    ]
    report = run_json("verify", tmp_path / "b", status=1)
    assert report["ok"] is False
    kinds = {finding["kind"]: finding for finding in report["findings"]}
    assert kinds["checksum"]["tensor"] == "a"
    assert (kinds["checksum"]["offset"], kinds["checksum"]["shard"]) == (0, 0)
    assert kinds["missing"]["path"].endswith("b.data-00001-of-00002")


def test_verify_of_something_else(tmp_path: Path) -> None:
    page = tmp_path / "b.index"
    page.write_text("<!DOCTYPE html><html></html>")
    result = run("verify", page)
    assert result.exit_code == 1
    assert "HTML" in result.stdout


# export. What is written is tested in test_export.py.


@pytest.mark.parametrize(
    ("path", "format"),
    [
        ("tf-1.15.5/training", "v2"),
        ("tf-1.15.5/training/model.ckpt-20.meta", "v2"),
        ("tf-1.15.5/v1-training/model.ckpt-20", "v1"),
        ("tf-0.12.1/v1-partitioned/model.ckpt-3", "v1"),
        ("tf-1.15.5/v1-sharded/model.ckpt-5", "v1"),
        ("tf-1.15.5/v1-sharded/model.ckpt-5-00002-of-00004", "v1"),
        ("tf-1.15.5/saved-model-of-two/model", "v2"),
        ("tf-1.15.5/saved-model-as-text/model/saved_model.pbtxt", "v2"),
        ("tf-2.21.0/keras-saved-model/model/saved_model.pb", "v2"),
        ("tf-1.15.5/frozen/frozen.pb", "graph"),
        ("tf-1.2.1/frozen/frozen.pbtxt", "graph"),
    ],
)
def test_whatever_holds_tensors_will_do(tmp_path: Path, path: str, format: str) -> None:
    listed = run_json("ls", FIXTURES / path)
    assert listed["format"] == format
    numbers = [tensor for tensor in listed["tensors"] if tensor["dtype"] != "string"]
    assert numbers
    assert run_json("show", FIXTURES / path, numbers[0]["name"])["shape"] == numbers[0]["shape"]
    assert run_json("verify", FIXTURES / path)["tensors"] == len(listed["tensors"])
    exported = run_json("convert", FIXTURES / path, tmp_path / "out.safetensors")
    assert (exported["tensors"], exported["nbytes"]) == (len(numbers), sum(tensor["nbytes"] for tensor in numbers))


def test_convert_reads_its_options(tmp_path: Path) -> None:
    tensors = {
        "a/w": sample_array("bfloat16", (3,)),
        "a/w/Adam": MATRIX,
        "b\\\udcff": MATRIX,
        "n": np.arange(3, dtype=np.int64),
        "s": object_array([b"x"]),
    }
    write_bundle(tmp_path / "b", tensors)
    out = tmp_path / "out.npz"
    assert "'s'" in refusal("convert", tmp_path / "b", out)
    arguments = ["--names", "a/*", "--names", "[bn]*", "--exclude", "*Adam", "--exclude", "b\\\\\\xff"]
    assert "bfloat16=float32" in refusal("convert", tmp_path / "b", out, *arguments)
    result = run("convert", tmp_path / "b", out, *arguments, "--cast", "float64", "--cast", "int64=int32")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        f"2 tensors left out: excluded\n1 tensor left out: not chosen\n{out}: 2 tensors, 36 B\n",
        "",
    )
    with np.load(out) as found:
        assert {name: found[name].dtype.name for name in found.files} == {"a/w": "float64", "n": "int32"}
    written = run_json("convert", tmp_path / "b", tmp_path / "x", "--to", "npz", "--names", "n")
    assert written == {
        "path": str(tmp_path / "x"),
        "format": "npz",
        "tensors": 1,
        "nbytes": 24,
        "files": [str(tmp_path / "x")],
        "left_out": {"left out: not chosen": 4},
    }
    assert "no tensor" in refusal("convert", tmp_path / "b", out, "--exclude", "z")
    assert "float33" in refusal("convert", tmp_path / "b", out, "--cast", "float33")


def test_conversion_of_damage_keeps_the_old_file(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"m": Saved(MATRIX, lies={"crc": 1})})
    out = tmp_path / "out.npz"
    out.write_bytes(b"old")
    assert "tensor 'm'" in refusal("convert", tmp_path / "b", out)
    assert out.read_bytes() == b"old"


# Terminals.


def test_a_terminal_gets_a_table_that_cuts_nothing(tmp_path: Path) -> None:
    names = ["[bold]x[/bold]", ":smile:", "scope/" * 30 + "w"]
    write_bundle(tmp_path / "b", dict.fromkeys(names, MATRIX))
    written, _ = on_terminal("ls", tmp_path / "b", stream="stdout")
    assert "\x1b[" in written
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    facts = f"    {format_shape(MATRIX.shape)}  float32  {format_size(MATRIX.nbytes)}  0"
    lines = [f"{name}\n{facts}" for name in sorted(names, key=str.encode)]
    assert "\n".join(lines) in plain.replace("\r", "")


@pytest.mark.parametrize(("columns", "lines"), [(120, 1), (60, 1), (40, 2)])
def test_a_terminal_that_is_narrow(tmp_path: Path, columns: int, lines: int) -> None:
    """No name is broken, and what belongs to it is beside it or below it."""
    write_bundle(tmp_path / "b", {"layer/kernel": MATRIX, "x" * 20: MATRIX})
    written, _ = on_terminal("ls", tmp_path / "b", stream="stdout", columns=columns)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written).splitlines()
    first, second = plain[lines : 2 * lines], plain[2 * lines : 3 * lines]
    assert " ".join(first).split()[:3] == ["layer/kernel", format_shape(MATRIX.shape), "float32"]
    assert " ".join(second).split()[:3] == ["x" * 20, format_shape(MATRIX.shape), "float32"]
    assert first[-1][first[-1].index("float32") :] == second[-1][second[-1].index("float32") :]
    assert plain[3 * lines].startswith("2 tensors")


def test_a_mark_stays_before_its_name(tmp_path: Path) -> None:
    for name in ("model-1", "model-2"):
        write_bundle(tmp_path / name, {"m": MATRIX})
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "model-2" all_model_checkpoint_paths: "model-2"')
    written, _ = on_terminal("state", tmp_path, stream="stdout", columns=40)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", written).splitlines()
    assert lines[0] == "   checkpoint"
    assert lines[3:7:3] == ["   model-1", "*  model-2"]
    assert lines[4].startswith("    v2")
    assert max(map(len, lines)) <= 40
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", lines[4])
    assert re.fullmatch(r" +\d+ B  yes +yes", lines[8])


@pytest.mark.skipif(os.name == "nt", reason="only a POSIX shell closes it so")
def test_closed_output(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"m": MATRIX})
    done = subprocess.run(
        [sys.executable, "-m", "tfbundle", "ls", str(tmp_path / "b")],
        stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1), cwd=ROOT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


def test_progress_is_for_terminals(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", {"m": np.zeros(1 << 22, np.uint8)})
    written, other = on_terminal("verify", tmp_path / "b", stream="stderr")
    assert "verifying" in written
    assert other.endswith("verified\n")
    written, other = on_terminal("convert", tmp_path / "b", tmp_path / "out.npz", stream="stderr")
    assert "converting" in written
    assert "\x1b" not in other
    for command in ("verify",), ("show", "m"):
        done = run_process(command[0], tmp_path / "b", *command[1:])
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1 << 31, "2.0 GiB"),
        (1 << 62, "4.0 EiB"),
        (1 << 70, "1.0 ZiB"),
        (1 << 95, "32768.0 YiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize("name", ["run.py", "README.md", "notes.json", "a.csv", "page.html"])
def test_files_that_are_texts_are_called_so(tmp_path: Path, name: str) -> None:
    """What was passed is said, and neither a reason for damage nor what a parser expected."""
    is_page = name.endswith("html")
    (tmp_path / name).write_bytes(b"<html></html>" if is_page else b"import os\n# a text\n")
    words = "an HTML page, probably of a failed download" if is_page else "a text file"
    for command in ("ls", "state", "graph", "records", "fingerprint"):
        text = refusal(command, tmp_path / name)
        assert f"{tmp_path / name} is {words}" in text
        assert text.count(";") == 1
    result = run("verify", tmp_path / name)
    assert result.exit_code == 1
    assert f"wrong-file: {tmp_path / name} is {words}" in result.stdout
    assert "probably:" not in result.stdout
    assert "next:" not in result.stdout
    (tmp_path / "model.ckpt").write_bytes((tmp_path / name).read_bytes())
    assert "probably:" in run("verify", tmp_path / "model.ckpt").stdout


def test_a_broken_state_file_says_where(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("model_checkpoint_path m-1")
    assert "line 1, column" in refusal("state", tmp_path)
    (tmp_path / "checkpoint").write_text("latest: m-1")
    assert "line 1, column" in refusal("state", tmp_path)
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "m-1"', encoding="utf-16")
    for arguments in (("state", tmp_path), ("ls", tmp_path), ("ls", tmp_path / "checkpoint")):
        assert "checkpoint is text in UTF-16, but state files are in UTF-8" in refusal(*arguments)
