"""The events that TensorBoard's ``EventAccumulator`` returns, and how the points of a run become these.

An event is a value with its wall time and step; each kind has a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.events.assembly import Stored
from tfbundle.events.series import ScalarSeries
from tfbundle.proto import HistogramProto, Summary, TensorProto


@dataclass(frozen=True)
class ScalarEvent:
    """A number, when it was written (seconds since 1970), and the training step."""

    wall_time: float
    step: int
    value: float


@dataclass(frozen=True)
class HistogramValue:
    """A histogram: ``bucket`` counts the values up to each ``bucket_limit``."""

    min: float
    max: float
    num: float
    sum: float
    sum_squares: float
    bucket_limit: list[float]
    bucket: list[float]


@dataclass(frozen=True)
class HistogramEvent:
    """A histogram at a step."""

    wall_time: float
    step: int
    histogram_value: HistogramValue


@dataclass(frozen=True)
class CompressedHistogramEvent:
    """The values at some points of a distribution: pairs of the point, in hundredths of a percent, and the value."""

    wall_time: float
    step: int
    compressed_histogram_values: list[tuple[float, float]]


@dataclass(frozen=True)
class ImageEvent:
    """An image as encoded in the file, such as a PNG; width and height in pixels."""

    wall_time: float
    step: int
    encoded_image_string: bytes
    width: int
    height: int


@dataclass(frozen=True)
class AudioEvent:
    """An audio clip as encoded in the file; the rate in hertz, the length in frames."""

    wall_time: float
    step: int
    encoded_audio_string: bytes
    content_type: str
    sample_rate: float
    length_frames: int


@dataclass(frozen=True)
class TensorEvent:
    """A tensor as a message; ``make_ndarray`` returns it as an array."""

    wall_time: float
    step: int
    tensor_proto: TensorProto


def time_and_step(stored: Stored, index: int) -> tuple[float, int]:
    """Return the wall time and the step of a point."""
    return float(stored.points.walls[index]), int(stored.points.steps[index])


def read_value(tag: str, stored: Stored, index: int) -> Summary.Value:
    """Return the message of a point; its errors name the tag."""
    try:
        return stored.read(index)
    except TfBundleError as error:
        raise error.locate(tensor=tag) from None


def scalar_events(tag: str, stored: Stored, kept: list[int]) -> list[ScalarEvent]:
    """Return the numbers at the indexes ``kept``."""
    columns = stored.points.walls, stored.points.steps, ScalarSeries(tag, stored.points, None, stored.read).values
    return [ScalarEvent(*row) for row in zip(*(column[kept].tolist() for column in columns), strict=True)]


def histogram_events(tag: str, stored: Stored, kept: list[int]) -> list[HistogramEvent]:
    """Return the histograms at the indexes ``kept``."""
    return [HistogramEvent(*time_and_step(stored, at), _histogram(read_value(tag, stored, at).histo)) for at in kept]


def _histogram(proto: HistogramProto) -> HistogramValue:
    moments = proto.min, proto.max, proto.num, proto.sum, proto.sum_squares
    return HistogramValue(*moments, list(proto.bucket_limit), list(proto.bucket))


def compressed_events(
    points: Sequence[float], tag: str, stored: Stored, kept: list[int]
) -> list[CompressedHistogramEvent]:
    """Return the histograms at the indexes ``kept``, as values at ``points``."""
    return [
        CompressedHistogramEvent(event.wall_time, event.step, _compress(event.histogram_value, points))
        for event in histogram_events(tag, stored, kept)
    ]


def image_events(tag: str, stored: Stored, kept: list[int]) -> list[ImageEvent]:
    """Return the images at the indexes ``kept``."""
    events = []
    for index in kept:
        image = read_value(tag, stored, index).image
        events.append(ImageEvent(*time_and_step(stored, index), image.encoded_image_string, image.width, image.height))
    return events


def audio_events(tag: str, stored: Stored, kept: list[int]) -> list[AudioEvent]:
    """Return the audio clips at the indexes ``kept``."""
    events = []
    for index in kept:
        clip = read_value(tag, stored, index).audio
        head = *time_and_step(stored, index), clip.encoded_audio_string, clip.content_type
        events.append(AudioEvent(*head, clip.sample_rate, clip.length_frames))
    return events


def _compress(histogram: HistogramValue, points: Sequence[float]) -> list[tuple[float, float]]:
    """Return the value at each point of a distribution, assuming that values are spread evenly within each bucket."""
    if not histogram.num:
        return [(point, 0.0) for point in points]
    if len(histogram.bucket) > len(histogram.bucket_limit):
        raise FormatError(
            f"a histogram has {len(histogram.bucket)} buckets, but only {len(histogram.bucket_limit)} limits"
        )
    counts = np.array(histogram.bucket)
    with np.errstate(all="ignore"):
        ends = (counts * points[-1] / (counts.sum() or 1.0)).cumsum()
        starts = np.concatenate([[0.0], ends[:-1]]) if len(ends) else ends
        values = []
        for point in points:
            first = int(np.searchsorted(ends, point, side="right"))
            filled = np.flatnonzero(ends[first:] != starts[first:])
            if not len(filled):
                break
            bucket = first + int(filled[0])
            start, end = starts[bucket], ends[bucket]
            low = max(histogram.bucket_limit[bucket - 1], histogram.min) if bucket and start else histogram.min
            high = min(histogram.bucket_limit[bucket], histogram.max)
            values.append((point, low + (point - start) * float(high - low) / (end - start)))
    return values + [(point, histogram.max) for point in points[len(values) :]]
