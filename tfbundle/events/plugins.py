"""Decode summary values as TensorBoard's plugins do.

Each kind of series has two forms: the field of ``Summary.Value`` in which TensorFlow 1 stores it, and the tensor of
TensorFlow 2, whose kind is given by the plugin's name in the metadata (TensorBoard, ``plugins/*/metadata``)::

    histograms   HistogramProto (moments, upper bucket limits, counts)     tensor [k, 3]: left edge, right edge, count
    images       Image (height, width, encoded)                            strings: width, height, encoded, encoded ...
    audio        Audio (sample rate, frames, encoded)                      strings [k, 2]: encoded, label
    text, pr_curves, anything else                                         tensors
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np

from tfbundle.errors import FormatError, UnsupportedError
from tfbundle.events.layout import ELEMENT_FIELDS
from tfbundle.limits import MOST_REPEATED_ELEMENTS
from tfbundle.proto import HistogramProto, Summary
from tfbundle.tensors.arrays import Array
from tfbundle.tensors.dtypes import cast, numpy_dtype
from tfbundle.tensors.tensor_proto import decode_tensor

SCALARS, HISTOGRAMS, IMAGES, AUDIO, TEXT, PR_CURVES, TENSORS = (
    "scalars",
    "histograms",
    "images",
    "audio",
    "text",
    "pr_curves",
    "tensors",
)
KINDS = (SCALARS, HISTOGRAMS, IMAGES, AUDIO, TEXT, PR_CURVES, TENSORS)

# The data types of numbers that are decoded in columns.
_DATA_TYPES = {numpy_dtype(data_type): data_type for data_type in ELEMENT_FIELDS}


class Histogram(NamedTuple):
    """A histogram: ``edges`` has one more element than ``counts``; both are float64.

    The edges ascend; bucket ``i`` goes from ``edges[i]`` to ``edges[i + 1]``. As in TensorBoard, empty buckets at both
    ends of TensorFlow 1's histograms are left out, and the outermost edges are the smallest and the largest value.
    Only TensorFlow 1 stores ``min``, ``max``, ``num``, ``sum`` and ``sum_squares`` of the data; otherwise they are
    ``None``.
    """

    edges: Array
    counts: Array
    min: float | None = None
    max: float | None = None
    num: float | None = None
    sum: float | None = None
    sum_squares: float | None = None


def _decode_histogram(value: Summary.Value) -> Histogram:
    """Decode either form of a histogram."""
    if value.HasField("histo"):
        return _decode_old_histogram(value.histo)
    table = _full(value)
    if table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "fiu":
        raise FormatError(f"a histogram is a tensor of shape [k, 3], not {table.dtype} of shape {list(table.shape)}")
    table = cast(table, np.float64)
    return Histogram(np.concatenate((table[:, 0], table[-1:, 1])), table[:, 2].copy())


def _decode_old_histogram(histo: HistogramProto) -> Histogram:
    counts = np.array(histo.bucket, np.float64)
    limits = np.array(histo.bucket_limit, np.float64)
    if len(counts) != len(limits):
        raise FormatError(f"a histogram has {len(limits)} bucket limits for {len(counts)} buckets")
    filled = np.flatnonzero(counts > 0)
    moments = histo.min, histo.max, histo.num, histo.sum, histo.sum_squares
    if not len(filled):
        return Histogram(np.zeros(0), np.zeros(0), *moments)
    first, last = int(filled[0]), int(filled[-1])
    edges = np.concatenate(([histo.min], limits[first:last], [histo.max]))
    return Histogram(edges, counts[first : last + 1], *moments)


class Images(NamedTuple):
    """The images of one step: ``width`` and ``height`` in pixels, and each ``encoded`` as a PNG, JPEG or GIF file."""

    width: int
    height: int
    encoded: tuple[bytes, ...]

    def decode(self) -> list[Array]:
        """Return the pixels of each image, as decoded by Pillow; ``UnsupportedError`` if Pillow is not installed."""
        try:
            from PIL import Image  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise UnsupportedError(
                "decoding images requires Pillow: pip install pillow; .encoded works without it"
            ) from None
        arrays = []
        for data in self.encoded:
            try:
                with Image.open(io.BytesIO(data)) as image:
                    arrays.append(np.array(image))
            except Exception as error:  # Pillow raises exceptions of many types.
                raise FormatError(f"Pillow cannot decode an image of {len(data)} bytes: {error}") from None
        return arrays


def _decode_images(value: Summary.Value) -> Images:
    """Decode either form of images."""
    if value.HasField("image"):
        return Images(value.image.width, value.image.height, (value.image.encoded_image_string,))
    strings = _strings(value)
    try:
        width, height = (int(text) for text in strings[:2])
    except ValueError:
        raise FormatError("an image tensor must begin with width and height, but this one does not") from None
    return Images(width, height, tuple(strings[2:]))


class Audio(NamedTuple):
    """The audio clips of one step, each ``encoded`` as a file (usually WAV).

    ``labels`` has one label for each clip. Only TensorFlow 1 stores ``sample_rate`` (Hz), ``num_channels``,
    ``length_frames`` and ``content_type``; otherwise they are ``None``. The encoded file states them too.
    """

    encoded: tuple[bytes, ...]
    labels: tuple[str, ...]
    sample_rate: float | None = None
    num_channels: int | None = None
    length_frames: int | None = None
    content_type: str | None = None


def _decode_audio(value: Summary.Value) -> Audio:
    """Decode either form of audio."""
    if value.HasField("audio"):
        audio = value.audio
        return Audio(
            (audio.encoded_audio_string,),
            ("",),
            audio.sample_rate,
            audio.num_channels,
            audio.length_frames,
            audio.content_type,
        )
    table = _full(value)
    if not table.dtype.hasobject or table.ndim not in (1, 2) or (table.ndim == 2 and table.shape[1] != 2):
        raise FormatError(f"audio is a string tensor of shape [k, 2], not {table.dtype} of shape {list(table.shape)}")
    clips = table if table.ndim == 1 else table[:, 0]
    labels = [b""] * len(table) if table.ndim == 1 else table[:, 1]
    return Audio(tuple(clips), tuple(_text(label) for label in labels))


def _decode_text(value: Summary.Value) -> Array:
    """Return strings, usually Markdown, of any shape: an ``object`` array of ``str``."""
    table = _full(value)
    if not table.dtype.hasobject:
        raise FormatError(f"text is a string tensor, not a tensor of {table.dtype}")
    texts = np.empty(table.shape, object)
    for index, data in np.ndenumerate(table):
        texts[index] = _text(data)
    return texts


class PrCurve(NamedTuple):
    """A precision-recall curve: for each threshold from 0 to 1, counts and ratios."""

    thresholds: Array
    true_positives: Array
    false_positives: Array
    true_negatives: Array
    false_negatives: Array
    precision: Array
    recall: Array


def _decode_pr_curve(value: Summary.Value) -> PrCurve:
    """Return a curve with evenly spaced thresholds, as in TensorBoard."""
    table = _full(value)
    if table.ndim != 2 or table.shape[0] != 6 or table.dtype.hasobject:
        raise FormatError(f"a PR curve is a tensor of shape [6, thresholds], not {list(table.shape)}")
    return PrCurve(np.linspace(0, 1, table.shape[1]), *table)


def encode_number(number: Any) -> Summary.Value:
    """Return a number that was decoded in a column as a scalar tensor again."""
    value = Summary.Value()
    value.tensor.dtype = _DATA_TYPES[number.dtype]  # type: ignore[assignment]
    value.tensor.tensor_content = np.asarray(number).astype(number.dtype.newbyteorder("<")).tobytes()
    return value


def _full(value: Summary.Value) -> Array:
    """Return a tensor that is to be copied or split, and therefore must not repeat a few elements too many times."""
    table = _tensor(value)
    # Each stated element takes at least a byte; TensorFlow omits trailing elements that are all the same.
    if table.size > value.ByteSize() + MOST_REPEATED_ELEMENTS:
        raise FormatError(
            f"a tensor of the shape {list(table.shape)} has only {value.ByteSize()} bytes, far too few for a "
            "summary of its kind"
        )
    return table


def _tensor(value: Summary.Value) -> Array:
    if not value.HasField("tensor"):
        raise FormatError(f"the value holds {value.WhichOneof('value')} instead of a tensor")
    return decode_tensor(value.tensor)


def _strings(value: Summary.Value) -> list[bytes]:
    table = _full(value)
    if not table.dtype.hasobject or table.ndim != 1:
        raise FormatError(f"images are a vector of strings, not {table.dtype} of shape {list(table.shape)}")
    strings: list[bytes] = table.tolist()
    return strings


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


DECODERS: dict[str, Any] = {
    HISTOGRAMS: _decode_histogram,
    IMAGES: _decode_images,
    AUDIO: _decode_audio,
    TEXT: _decode_text,
    PR_CURVES: _decode_pr_curve,
    TENSORS: _tensor,
}
