"""Each number that decides what ``tfbundle.verify`` says, from both of its sides."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import tfbundle
from tests.support.bundle_writer import Saved, data_file, write_bundle
from tests.support.command import run
from tests.support.expected import FIXTURES
from tfbundle.identification.kinds import FileKind
from tfbundle.storage.locations import locate
from tfbundle.verification import causes, saved_models
from tfbundle.verification.causes import DamagedFile, find_causes
from tfbundle.verification.file_causes import find_table_end, find_transfer_causes, find_zeros

# Bytes that are no text, no zeros, no line feeds, and never the same at a small distance.
BYTES = np.random.default_rng(7).integers(128, 256, 4 << 10, np.uint8)
SAVED_MODEL = FIXTURES / "tf-2.21.0" / "saved-model-with-asset" / "model"


def take(size: int, start: int = 0) -> np.ndarray:
    return BYTES[start : start + size]


def transfer_causes(
    tmp_path: Path, data: bytes, end: int | None = None, kind: FileKind = FileKind.UNKNOWN
) -> list[str]:
    path = tmp_path / "file"
    path.write_bytes(data)
    source = locate(path).open()
    try:
        return list(find_transfer_causes(source, kind, end))
    finally:
        source.close()


def damage(prefix: Path, places: Sequence[int]) -> None:
    data = bytearray(data_file(prefix).read_bytes())
    for place in places:
        data[place] ^= 1
    data_file(prefix).write_bytes(data)


@pytest.mark.parametrize("count", [99, 100, 101])
def test_files_that_are_looked_at(tmp_path: Path, count: int) -> None:
    (tmp_path / "empty").touch()
    assert len(find_causes([DamagedFile(locate(tmp_path / "empty"))] * count, ())) == min(count, 100)


@pytest.mark.parametrize(("zeros", "expected"), [(31, False), (32, True)])
def test_zeros_at_the_end_of_a_data_file(tmp_path: Path, zeros: int, expected: bool) -> None:
    write_bundle(tmp_path / "m", {"a": take(100)})
    data_file(tmp_path / "m").write_bytes(take(100 - zeros).tobytes() + bytes(zeros))
    found = tfbundle.verify(tmp_path / "m").causes
    assert any(f"ends in {zeros} zero bytes" in cause for cause in found) is expected


@pytest.mark.parametrize(
    ("size", "largest", "expected"), [(7, 64, False), (8, 64, True), (64, 64, True), (65, 64, False)]
)
def test_bytes_that_prove_that_others_were_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, largest: int, expected: bool
) -> None:
    monkeypatch.setattr(causes, "_MOST_MOVED", largest)
    write_bundle(tmp_path / "m", {"a": take(100), "b": take(size, 100), "c": take(100, 300)})
    data = data_file(tmp_path / "m").read_bytes()
    data_file(tmp_path / "m").write_bytes(data[:50] + data[53:])
    found = tfbundle.verify(tmp_path / "m").causes
    assert any("lost 3 bytes in a transfer" in cause for cause in found) is expected


@pytest.mark.parametrize(
    ("tensors", "damaged", "expected"),
    [(1, 1, False), (2, 1, False), (2, 2, True), (3, 1, False), (3, 2, True), (4, 2, False), (4, 3, True)],
)
def test_how_many_tensors_are_of_another_checkpoint(tmp_path: Path, tensors: int, damaged: int, expected: bool) -> None:
    write_bundle(tmp_path / "m", {f"t{number}": take(100, number * 100) for number in range(tensors)})
    damage(tmp_path / "m", range(50, damaged * 100, 100))
    found = tfbundle.verify(tmp_path / "m").causes
    assert any("belongs to another checkpoint than the index" in cause for cause in found) is expected


@pytest.mark.parametrize(("count", "expected"), [(7, False), (8, True)])
@pytest.mark.parametrize(
    ("mark", "words"),
    [("\ufffd", "was read and saved as UTF-8 text"), ("\xe9", "was read as Latin-1 and saved as UTF-8")],
)
def test_marks_of_text(tmp_path: Path, mark: str, words: str, count: int, expected: bool) -> None:
    found = transfer_causes(tmp_path, b"\0\1\2" + mark.encode() * count)
    assert any(words in cause for cause in found) is expected


@pytest.mark.parametrize(("size", "expected"), [(1, True), (4096, True), (4097, False)])
def test_length_of_a_message(tmp_path: Path, size: int, expected: bool) -> None:
    found = transfer_causes(tmp_path, (b"no such file, " * 300)[:size])
    assert any("bytes of text, which begin" in cause for cause in found) is expected


@pytest.mark.parametrize("size", [99, 100, 101])
def test_how_much_of_a_message_is_quoted(tmp_path: Path, size: int) -> None:
    (found,) = transfer_causes(tmp_path, b"no!" + b"x" * (size - 3))
    assert found.endswith(f", which begin with 'no!{'x' * (min(size, 100) - 3)}'")


@pytest.mark.parametrize(("size", "expected"), [(63, False), (64, True)])
@pytest.mark.parametrize(("digits", "words"), [(b"0123456789abcdef", "xxd -r -p"), (b"Base+64/", "base64 -d")])
def test_length_of_what_was_encoded(tmp_path: Path, digits: bytes, words: str, size: int, expected: bool) -> None:
    found = transfer_causes(tmp_path, (digits * 16)[:size], end=size - 1)
    assert any(words in cause for cause in found) is expected


@pytest.mark.parametrize(
    ("pairs", "end", "expected"), [(1, None, False), (2, None, True), (1, 10, True), (0, 10, False), (1, 100, False)]
)
def test_line_feeds_that_prove_text_mode(tmp_path: Path, pairs: int, end: int | None, expected: bool) -> None:
    found = transfer_causes(tmp_path, take(10).tobytes() + b"\r\n" * pairs, end)
    assert any("each line feed into CR LF" in cause for cause in found) is expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (1024, 1536, True),
        (1024, 1535, False),  # No sector.
        (1025, 1536, False),
        (1020, 1540, True),  # Neighbours that are zeros too.
        (1019, 1536, False),
        (1024, 1541, False),
        (1019, 2048, True),  # All at the end of the file.
    ],
)
def test_sectors_of_zeros(tmp_path: Path, start: int, end: int, expected: bool) -> None:
    data = bytearray(take(2048).tobytes())
    data[start:end] = bytes(end - start)
    (tmp_path / "file").write_bytes(data)
    source = locate(tmp_path / "file").open()
    try:
        found = find_zeros(source, 0, source.size)
    finally:
        source.close()
    assert found == ((start, end) if expected else None)


@pytest.mark.parametrize(("before", "expected"), [(8, True), (9, False)])
def test_how_a_table_begins(tmp_path: Path, before: int, expected: bool) -> None:
    """Up to 8 bytes of Snappy, an empty key, the longest size of a value, and the first tag of a header."""
    (tmp_path / "m.index").write_bytes(b"\xfe" * before + b"\0\0\x80\x80\x80\x80\x01\x08" + take(100).tobytes())
    (cause,) = find_causes([DamagedFile(locate(tmp_path / "m.index"))], ())
    assert ("does not end like a table" in cause) is expected
    assert ("neither begins nor ends like a table" in cause) is not expected


@pytest.mark.parametrize(("size", "expected"), [(4 << 20, True), ((4 << 20) + 1, False)])
def test_how_much_is_searched_for_zeros(tmp_path: Path, size: int, expected: bool) -> None:
    (tmp_path / "file").write_bytes((BYTES.tobytes() * 1025)[: size - 512] + bytes(512))
    source = locate(tmp_path / "file").open()
    try:
        assert (find_zeros(source, 0, size) is not None) is expected
    finally:
        source.close()


@pytest.mark.parametrize(("behind", "expected"), [((1 << 20) - 48, True), ((1 << 20) - 47, False)])
def test_how_far_after_a_table_its_end_is_found(tmp_path: Path, behind: int, expected: bool) -> None:
    write_bundle(tmp_path / "m", {"a": take(100)})
    footer = (tmp_path / "m.index").read_bytes()[-48:]
    (tmp_path / "file").write_bytes(footer + b"x" * behind)
    source = locate(tmp_path / "file").open()
    try:
        assert (find_table_end(source) is not None) is expected
    finally:
        source.close()


def swap_shards(prefix: Path, count: int) -> None:
    paths = [data_file(prefix, shard, count) for shard in range(count)]
    contents = [path.read_bytes() for path in paths]
    for number, path in enumerate(paths):
        path.write_bytes(contents[number - 1])


def are_swapped(prefix: Path) -> bool:
    return any("mixed up" in cause for cause in tfbundle.verify(prefix).causes)


@pytest.mark.parametrize(("count", "expected"), [(10, True), (11, False)])
def test_files_that_are_compared_with_each_other(tmp_path: Path, count: int, expected: bool) -> None:
    tensors = {f"t{shard}": Saved(take(64, shard * 64), shards=[shard]) for shard in range(count)}
    write_bundle(tmp_path / "m", tensors, num_shards=count)
    swap_shards(tmp_path / "m", count)
    assert are_swapped(tmp_path / "m") is expected


@pytest.mark.parametrize(("size", "expected"), [(31, False), (32, True), (1 << 20, True), ((1 << 20) + 1, False)])
def test_sizes_of_what_proves_a_swap(tmp_path: Path, size: int, expected: bool) -> None:
    tensors = {f"t{shard}": Saved(np.full(size, shard + 1, np.uint8), shards=[shard]) for shard in range(2)}
    write_bundle(tmp_path / "m", tensors, num_shards=2)
    swap_shards(tmp_path / "m", 2)
    assert are_swapped(tmp_path / "m") is expected


@pytest.mark.parametrize(("damaged", "expected"), [(0, True), (1, False), (2, False), (3, False)])
def test_the_three_largest_prove_a_swap(tmp_path: Path, damaged: int, expected: bool) -> None:
    sizes = (20, 30, 40, 50)
    tensors = {
        f"t{shard}{number}": Saved(take(size, 100 * (2 * number + shard)), shards=[shard])
        for shard in range(2)
        for number, size in enumerate(sizes)
    }
    write_bundle(tmp_path / "m", tensors, num_shards=2)
    swap_shards(tmp_path / "m", 2)
    for shard in range(2):
        path = data_file(tmp_path / "m", shard, 2)
        data = bytearray(path.read_bytes())
        data[sum(sizes[:damaged])] ^= 1
        path.write_bytes(data)
    assert are_swapped(tmp_path / "m") is expected


@pytest.mark.parametrize(
    ("alignment", "size", "kinds"),
    [
        (1 << 16, 1, []),
        (1 << 17, (1 << 16) + 1, []),  # A gap of 65,535 bytes.
        (1 << 17, 1 << 16, ["unclaimed"]),  # One of 65,536 bytes.
    ],
)
def test_the_largest_padding(tmp_path: Path, alignment: int, size: int, kinds: list[str]) -> None:
    write_bundle(tmp_path / "m", {"a": np.ones(size, np.uint8), "b": take(10)}, alignment=alignment)
    assert [finding.kind for finding in tfbundle.verify(tmp_path / "m").findings] == kinds


@pytest.mark.parametrize("count", [99, 100, 101, 102])
def test_overlaps_that_are_named(tmp_path: Path, count: int) -> None:
    tensors = {f"t{number:03}": Saved(take(4), lies={"offset": 0}) for number in range(count + 1)}
    write_bundle(tmp_path / "m", tensors)
    data_file(tmp_path / "m").write_bytes(take(4).tobytes())
    found = [finding for finding in tfbundle.verify(tmp_path / "m").findings if finding.kind == "overlap"]
    assert len(found) == min(count, 101)
    assert ("has more findings of this kind" in found[-1].message) is (count > 100)


@pytest.mark.parametrize("count", [99, 100, 101, 102])
def test_absent_files_that_are_named(tmp_path: Path, count: int) -> None:
    write_bundle(tmp_path / "m", {"a": take(4)}, num_shards=count + 1, leave_out=range(1, count + 1))
    found = [finding for finding in tfbundle.verify(tmp_path / "m").findings if finding.kind == "missing"]
    assert len(found) == min(count, 101)
    assert found[-1].message.startswith(f"{count - 100} more of the {count + 1} data files") is (count > 100)


@pytest.mark.parametrize("less", [0, 1])
def test_the_largest_index_that_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, less: int) -> None:
    import shutil

    model = Path(shutil.copytree(SAVED_MODEL, tmp_path / "model"))
    shutil.copy(FIXTURES / "tf-2.21.0" / "keras-saved-model" / "model" / "fingerprint.pb", model)
    index = model / "variables" / "variables.index"
    monkeypatch.setattr(saved_models, "_LARGEST_HASHED", index.stat().st_size - less)
    report = tfbundle.verify(model)
    assert [finding.kind for finding in report.findings] == ([] if less else ["checksum"])
    assert report.not_checked == ((str(model / "fingerprint.pb"),) if less else ())
    assert ("not checked: the hash in fingerprint.pb, because the index" in run("verify", model).stdout) is bool(less)
