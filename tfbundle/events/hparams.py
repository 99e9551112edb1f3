"""Hyperparameters of a run.

The hparams plugin stores all its data in the metadata of three tags, as an ``HParamsPluginData`` each (TensorBoard,
``plugins/hparams/metadata``): the experiment (hyperparameters and metrics, usually in the root run), the start of a
session (the values) and its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from tfbundle.errors import FormatError
from tfbundle.proto import SummaryMetadata
from tfbundle.proto.plugins.hparams.api_pb2 import Experiment, Status
from tfbundle.proto.plugins.hparams.plugin_data_pb2 import HParamsPluginData

_PLUGIN = "hparams"


class HParams(NamedTuple):
    """The hyperparameters of a run.

    ``values`` are the hyperparameters of the session by name. ``metrics`` lists the metrics of the experiment, each as
    the name of a run below the session's run ("" for that run itself) and the tag of a scalar. Times are in seconds
    since 1970. Fields that the run does not state are empty or ``None``.
    """

    values: dict[str, float | str | bool | None]
    group_name: str
    start_time: float | None
    end_time: float | None
    status: str | None
    metrics: list[tuple[str, str]]
    experiment: Experiment | None


def decode_hparams(metadata: Mapping[str, SummaryMetadata]) -> HParams | None:
    """Return the hyperparameters in the metadata of a run's tags, or ``None`` if the plugin wrote nothing."""
    found = HParams({}, "", None, None, None, [], None)
    empty = True
    for tag, one in metadata.items():
        if one.plugin_data.plugin_name != _PLUGIN:
            continue
        try:
            data = HParamsPluginData.FromString(one.plugin_data.content)
        except DecodeError:
            raise FormatError(f"the metadata of {tag!r} is not a message of the hparams plugin") from None
        what = data.WhichOneof("data")
        empty &= what is None
        if what == "experiment":
            infos = data.experiment.metric_infos
            metrics = [(info.name.group, info.name.tag) for info in infos]
            found = found._replace(experiment=data.experiment, metrics=metrics)
        elif what == "session_start_info":
            start = data.session_start_info
            values: dict[str, Any] = {
                name: getattr(value, value.WhichOneof("kind") or "", None) for name, value in start.hparams.items()
            }
            found = found._replace(
                values=dict(sorted(values.items())), group_name=start.group_name, start_time=start.start_time_secs
            )
        elif what == "session_end_info":
            end = data.session_end_info
            names = Status.DESCRIPTOR.values_by_number
            status = names[end.status].name if end.status in names else str(end.status)
            found = found._replace(end_time=end.end_time_secs, status=status)
    return None if empty else found
