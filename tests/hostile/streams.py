"""Hostile record and event files, plain and compressed."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.catalogue import Wanted, add
from tests.support.bundle_writer import encode_field, encode_shape
from tests.support.records import frame, frames, header
from tests.support.repeats import gzip_of
from tests.support.table_writer import encode_varint
from tfbundle.proto import Event, HistogramProto, SessionLog, Summary, SummaryMetadata, TensorProto

_THREE = [b"one", b"", b"three"]
_GOOD = frames(_THREE)


def _add_records(
    name: str, title: str, make: Callable[[], bytes], records: Sequence[bytes] | None = (), *, whole: bool = False
) -> None:
    """A file that holds ``records`` ahead of whatever is wrong; ``None`` leaves open what comes out."""

    def build(folder: Path) -> Wanted:
        path = folder / "data.tfrecord"
        path.write_bytes(make())
        return Wanted(path, {} if records is None else {"records": list(records)}, opens=whole)

    add(f"records-{name}", "records", build, title)


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


for _name, _length in (("2-32", 1 << 32), ("2-60", 1 << 60), ("2-63", 1 << 63), ("2-64", (1 << 64) - 1)):
    _add_records(f"length-{_name}", f"a record of 2^{_name[2:]} bytes", lambda n=_length: _GOOD + header(n), _THREE)  # type: ignore[misc]
_add_records(
    "length-minus-header", "a record whose size overflows to 0", lambda: _GOOD + header((1 << 64) - 16), _THREE
)
_add_records("length-wrong", "a record with a wrong checksum of its length", lambda: _GOOD + _flipped(_GOOD, 0), _THREE)
_add_records("data-wrong", "a record with a wrong checksum of its bytes", lambda: _GOOD + _flipped(_GOOD, 12), _THREE)
_add_records("header-cut", "a truncated header", lambda: _GOOD + _GOOD[:7], _THREE)
_add_records("data-cut", "a truncated record", lambda: _GOOD + _GOOD[:14], _THREE)
_add_records("zeros", "a file of zeros", lambda: bytes(1 << 20))
_add_records("zeros-behind", "zeros behind the records", lambda: _GOOD + bytes(1 << 20), _THREE)
_add_records("empty", "an empty record file", lambda: b"", whole=True)
_add_records("text", "a text in place of records", lambda: b"It is no record file.\n" * 1000)
_add_records("headers-alone", "10,000 headers without records", lambda: header(3) * 10_000, [])
_add_records("headers-too-long", "20,000 headers of records longer than the file", lambda: header(1 << 25) * 20_000, [])
_add_records("headers-false", "a megabyte of headers with wrong checksums", lambda: _flipped(header(3), 9) * 80_000, [])
_add_records(
    "headers-of-long-records",
    "50,000 right headers of records of 300 KB that are wrong",
    lambda: _GOOD + _flipped(frame(b"ab"), 13) + header(300_000) * 50_000 + bytes(100_000),
    _THREE,
)
_add_records("many-empty", "50,000 empty records", lambda: frame(b"") * 50_000, [b""] * 50_000, whole=True)
_add_records("many-broken", "20,000 broken records", lambda: _GOOD + _flipped(frame(b"ab"), 13) * 20_000, _THREE)

_add_records("gzip-cut", "a GZIP file that is cut", lambda: gzip.compress(_GOOD * 100)[:-20], None)
_add_records("gzip-checksum", "a GZIP file with a wrong checksum", lambda: _flipped(gzip.compress(_GOOD), -8), None)
_add_records("gzip-behind", "bytes behind a GZIP file", lambda: gzip.compress(_GOOD) + b"more", _THREE)
_add_records("gzip-in-gzip", "a GZIP file in a GZIP file", lambda: gzip.compress(gzip.compress(_GOOD)))
_add_records(
    "gzip-members",
    "20,000 empty GZIP members",
    lambda: gzip.compress(_GOOD) + gzip.compress(b"") * 20_000,
    _THREE,
    whole=True,
)
_add_records(
    "gzip-header-long",
    "a GZIP header with a name of a megabyte",
    lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * (1 << 20),
    None,
)


_ZEROS = bytes(1 << 20)
_add_records("gzip-bomb-of-zeros", "50 MB of zeros in 50 KB of GZIP", lambda: gzip_of(_ZEROS, 50))
_add_records("gzip-bomb-of-records", "20 MB of records in 20 KB of GZIP", lambda: gzip_of(frame(_ZEROS), 20), None)
_add_records(
    "gzip-bomb-of-one",
    "one record of 1 GB in 1 MB of GZIP",
    lambda: gzip_of(_ZEROS, 1000, start=header(1000 << 20), end=bytes(4)),
    [],
)
_add_records(
    "gzip-length-2-40",
    "a record of 2^40 bytes in GZIP",
    lambda: gzip.compress(_GOOD + header(1 << 40) + bytes(99)),
    _THREE,
)
_add_records("zlib-bomb-of-zeros", "50 MB of zeros in 50 KB of ZLIB", lambda: zlib.compress(bytes(50 << 20)))


def _snappy_block(size: int, stored: bytes) -> bytes:
    data = encode_varint(size) + stored
    return struct.pack(">I", len(data)) + data


def _literal(data: bytes) -> bytes:
    return bytes([(len(data) - 1) << 2]) + data


_SNAP = _snappy_block(len(_GOOD[:55]), _literal(_GOOD[:55]))
_add_records(
    "snappy-4-gib", "a Snappy block that claims 4 GiB", lambda: _SNAP + _snappy_block((1 << 32) - 1, b"\0a"), None
)
_add_records("snappy-length", "a Snappy block of 4 GiB", lambda: _SNAP + b"\xff\xff\xff\xff" + b"abc", None)
_add_records(
    "snappy-copy", "a Snappy copy from before the start", lambda: _SNAP + _snappy_block(8, b"\x00a\x0d\x7f\x00"), None
)
_add_records(
    "snappy-bomb",
    "3 MB of Snappy data that hold 64 MB",
    lambda: _SNAP + _snappy_block(1 + 64 * 1_000_000, b"\x00\0" + b"\xfe\1\0" * 1_000_000),
    None,
)
_add_records("snappy-empty-blocks", "50,000 empty Snappy blocks", lambda: _SNAP + _snappy_block(0, b"") * 50_000, None)
_add_records(
    "snappy-empty-blocks-many",
    "a megabyte of empty Snappy blocks",
    lambda: _SNAP + _snappy_block(0, b"") * 200_000,
    None,
)


# Events.


def _add_events(
    name: str,
    title: str,
    make: Callable[[], Sequence[bytes]],
    *,
    loss: Sequence[float] | None = None,
    opens: bool = True,
) -> None:
    """An event file with these records after that of the version; ``loss`` is what has to be read of it."""

    def build(folder: Path) -> Wanted:
        path = folder / "events.out.tfevents.1"
        first = Event(wall_time=1, file_version="brain.Event:2").SerializeToString()
        path.write_bytes(frames([first, *make()]))
        return Wanted(path, {} if loss is None else {"loss": list(loss)}, opens=opens)

    add(f"events-{name}", "events", build, title)


def _summary(step: int = 1, tag: str = "loss", **value: Any) -> bytes:
    summary = Summary(value=[Summary.Value(tag=tag, **value)])
    return Event(wall_time=1, step=step, summary=summary).SerializeToString()


def _scalars(*values: float) -> list[bytes]:
    return [_summary(step, simple_value=value) for step, value in enumerate(values)]


def _plugin(name: str, content: bytes = b"", data_class: int = 0) -> SummaryMetadata:
    data = SummaryMetadata.PluginData(plugin_name=name, content=content)
    return SummaryMetadata(plugin_data=data, data_class=data_class)


def _raw(value: bytes, tag: bytes = b"loss") -> bytes:
    """An event of a summary whose value's fields after the tag are given."""
    return encode_field(2, 1) + encode_field(5, encode_field(1, encode_field(1, tag) + value))


def _raw_tensor(plugin: bytes, *dims: int, rest: bytes) -> bytes:
    """An event with a tensor of a shape that no message class would let us write."""
    data_type = 7 if rest[0] >> 3 == 8 else 1
    tensor = encode_field(1, data_type) + encode_field(2, encode_shape(dims)) + rest
    metadata = encode_field(1, encode_field(1, plugin))
    return _raw(encode_field(8, tensor) + encode_field(9, metadata), b"x")


_add_events("garbage", "a record that is not an event", lambda: [*_scalars(1, 2), b"\xff\xff"], opens=False)
_add_events("empty", "empty events", lambda: [b""] * 1000 + _scalars(1, 2), loss=[1, 2])
_add_events(
    "nested-150-deep", "an event with groups nested 150 deep", lambda: [*_scalars(1), b"\x5b" * 150], opens=False
)
_add_events(
    "length-2-60", "an event with a field of 2^60 bytes", lambda: [b"\x2a" + encode_varint(1 << 60)], opens=False
)
_add_events(
    "step-odd",
    "steps and times that are out of the ordinary",
    lambda: [
        Event(
            wall_time=float("nan"), step=-(1 << 63), summary=Summary(value=[Summary.Value(tag="loss", simple_value=1)])
        ).SerializeToString(),
        Event(
            wall_time=float("inf"),
            step=(1 << 63) - 1,
            summary=Summary(value=[Summary.Value(tag="loss", simple_value=2)]),
        ).SerializeToString(),
    ],
    loss=[1, 2],
)
_add_events("tag-long", "a tag of a megabyte", lambda: [_summary(tag="t" * (1 << 20), simple_value=1)])
_add_events(
    "tag-odd",
    "tags that are paths and control codes",
    lambda: [
        _summary(tag=tag, simple_value=1) for tag in ("../../etc/passwd", "/etc/passwd", "\0", "\x1b[2J", "", "a\nb")
    ],
)
_add_events(
    "tag-not-utf-8",
    "a tag that is not UTF-8",
    lambda: [*_scalars(1, 2), _raw(b"\x15\0\0\x80\x3f", b"\xff\xfe")],
    loss=[1, 2],
)
_add_events(
    "restarts",
    "1,000 restarts, each at an earlier step",
    lambda: [
        data
        for n in range(1000)
        for data in (
            Event(step=1000 - n, session_log=SessionLog(status=SessionLog.START)).SerializeToString(),
            _summary(1000 - n, simple_value=n),
        )
    ],
)
_add_events(
    "steps-descending",
    "10,000 steps that descend",
    lambda: [_summary(10_000 - n, simple_value=n) for n in range(10_000)],
)
_add_events(
    "kinds-mixed",
    "one tag of several kinds",
    lambda: [
        *_scalars(1, 2),
        _summary(3, image=Summary.Image(width=1)),
        _summary(4, histo=HistogramProto(bucket=[1])),
        _summary(5, tensor=TensorProto(dtype=7, string_val=[b"x"]), metadata=_plugin("text")),
    ],
)
_add_events(
    "histogram-ragged",
    "a histogram with more limits than counts",
    lambda: [_summary(histo=HistogramProto(bucket_limit=[1, 2, 3], bucket=[1]))],
)
_add_events(
    "image-lies",
    "an image of 2^31 x 2^31 in 10 bytes",
    lambda: [
        _summary(
            image=Summary.Image(width=(1 << 31) - 1, height=(1 << 31) - 1, encoded_image_string=b"\x89PNG\r\n\x1a\nxx")
        )
    ],
)
_add_events(
    "audio-lies",
    "audio of 2^62 frames in 4 bytes",
    lambda: [_summary(audio=Summary.Audio(length_frames=1 << 62, num_channels=-1, encoded_audio_string=b"RIFF"))],
)
for _what, _field in (("graph-def", "graph_def"), ("meta-graph-def", "meta_graph_def")):
    _add_events(
        _what,
        f"a {_what} that is none",
        lambda field=_field: [  # type: ignore[misc]
            *_scalars(1),
            Event(**{field: b"\xff\xff"}).SerializeToString(),
        ],
        loss=[1],
    )
_add_events(
    "run-metadata",
    "run metadata that are none",
    lambda: [*_scalars(1), Event(tagged_run_metadata={"tag": "t", "run_metadata": b"\xff"}).SerializeToString()],
    loss=[1],
)
for _plugin_name in (
    "hparams",
    "custom_scalars",
    "pr_curves",
    "images",
    "audio",
    "histograms",
    "scalars",
    "text",
    "mesh",
):
    _add_events(
        f"plugin-{_plugin_name}".replace("_", "-"),
        f"garbage for the plugin {_plugin_name}",
        lambda name=_plugin_name: [  # type: ignore[misc]
            *_scalars(1),
            _summary(tag="x", tensor=TensorProto(dtype=7, string_val=[b"\xff"]), metadata=_plugin(name, b"\xff\xff")),
            _summary(tag="_hparams_/experiment", metadata=_plugin(name, b"\xff\xff")),
        ],
        loss=[1],
    )
    for _kind, _title, _dims, _rest in (
        ("2-40", "2^40 elements in four bytes", (1 << 40,), encode_field(5, bytes(4))),
        ("2-28", "2^28 elements in eight bytes", (1 << 28,), encode_field(5, struct.pack("<2f", 1, 2))),
        ("overflows", "a shape that overflows", (1 << 62, 1 << 62), encode_field(4, bytes(4))),
        ("strings", "2^27 pairs of strings in one", (1 << 27, 2), encode_field(8, b"x")),
        ("row", "a row of 2^28 strings in one", (1 << 28,), encode_field(8, b"7")),
        ("table", "2^27 rows of three numbers in one", (1 << 27, 3), encode_field(5, bytes(4))),
        ("curve", "six rows of 2^27 numbers in one", (6, 1 << 27), encode_field(5, bytes(4))),
        ("negative", "a negative dimension", (-1, 6), encode_field(4, bytes(4))),
    ):
        _add_events(
            f"tensor-{_kind}-{_plugin_name}".replace("_", "-"),
            f"{_title} for the plugin {_plugin_name}",
            lambda name=_plugin_name, dims=_dims, rest=_rest: [  # type: ignore[misc]
                *_scalars(1, 2),
                _raw_tensor(name.encode(), *dims, rest=rest),
            ],
            loss=[1, 2],
        )


def _add_packed(name: str, title: str, make: Callable[[], bytes], *, opens: bool = False) -> None:
    """A compressed event file with these bytes of records."""

    def build(folder: Path) -> Wanted:
        path = folder / "events.out.tfevents.1"
        path.write_bytes(make())
        return Wanted(path, {}, opens=opens)

    add(f"events-gzip-{name}", "events", build, title)


def _far_apart() -> bytes:
    def values(step: int) -> bytes:
        return frames(
            _summary(step, f"t{n}", tensor=TensorProto(dtype=1, tensor_shape={"dim": [{"size": 1}]}, float_val=[n]))
            for n in range(1000)
        )

    return gzip_of(frame(encode_field(6, _ZEROS)), 20, start=values(1), end=values(2))


def _layouts_reversed() -> bytes:
    """The last value of each tag is too large to be kept, and lies before that of the tag that came first."""

    def value(tag: int, size: int) -> bytes:
        tensor = TensorProto(dtype=7, string_val=[encode_field(99, bytes(size))])
        return _summary(1, f"t{tag}", tensor=tensor, metadata=_plugin("custom_scalars"))

    records = [*(value(tag, 0) for tag in range(1000)), *(value(tag, 10_000) for tag in reversed(range(1000)))]
    return gzip_of(frames(records))


def _unusual(size: int) -> bytes:
    """An event with two steps, which protobuf's own writers never write."""
    return encode_field(2, 1) * 2 + encode_field(
        5, encode_field(1, encode_field(1, b"t") + encode_field(8, encode_field(4, bytes(size))))
    )


_add_packed(
    "layouts-reversed",
    "1,000 layouts of 10 KB in GZIP, in the reverse order of their tags",
    _layouts_reversed,
    opens=True,
)
_add_packed("tags-far-apart", "1,000 tags at both ends of 20 MB in GZIP", _far_apart, opens=True)
_add_records("gzip-empty", "8 million empty records in GZIP", lambda: gzip_of(frame(b"") * 80_000, 100), None)
_add_packed("unusual", "40 MB of events of unusual form in GZIP", lambda: gzip_of(frame(_unusual(1 << 20)), 40))
_add_events("others-many", "100,000 records that are not events", lambda: [b"\xff\xff"] * 100_000, opens=False)
_add_events("unusual-small", "10,001 small events of unusual form", lambda: [_unusual(0)] * 10_001, opens=False)
_add_packed(
    "unusual-small", "50,000 small events of unusual form in GZIP", lambda: gzip_of(frame(_unusual(0)) * 1000, 50)
)
_add_events(
    "values-empty",
    "2 million empty values in one record",
    lambda: [encode_field(5, b"\x0a\0" * 2_000_000)],
    opens=False,
)
_add_events(
    "values-empty-many", "5,000 empty values in each of 10 records", lambda: [encode_field(5, b"\x0a\0" * 5_000)] * 10
)
_add_events(
    "values-empty-with-tags",
    "100,001 values of a tag alone in 101 records",
    lambda: [encode_field(5, b"\x0a\3\x0a\1t" * 1000)] * 100 + [encode_field(5, b"\x0a\3\x0a\1t")],
    opens=False,
)
_add_packed(
    "values-empty",
    "5,000 empty values in each of 400 records in GZIP",
    lambda: gzip_of(frame(encode_field(5, b"\x0a\0" * 5_000)), 400),
)
_add_events(
    "custom-scalars-many",
    "3,000 layouts of custom scalars",
    lambda: [
        _summary(tag=f"t{n}", tensor=TensorProto(dtype=7, string_val=[b""]), metadata=_plugin("custom_scalars"))
        for n in range(3000)
    ],
)
