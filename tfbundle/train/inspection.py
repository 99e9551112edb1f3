"""The output of TensorFlow's ``inspect_checkpoint`` for a checkpoint."""

from __future__ import annotations

import re
from math import prod

from tfbundle.errors import UnsupportedError
from tfbundle.storage.locations import StrPath
from tfbundle.train.reading import NewCheckpointReader


def print_tensors_in_checkpoint_file(
    file_name: StrPath,
    tensor_name: str | None = None,
    all_tensors: bool = False,
    all_tensor_names: bool = False,
    count_exclude_pattern: str = "",
) -> None:
    """Print one tensor, all of them, their names, or a line for each, and how many parameters there are.

    Tensors whose name matches ``count_exclude_pattern``, a regular expression, are not counted. It differs from
    TensorFlow's in this: errors are raised as by ``open_checkpoint`` and ``Tensor.read``, while TensorFlow prints them.
    """
    reader = NewCheckpointReader(file_name)
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()

    def print_tensor(name: str, *, values: bool) -> None:
        print(f"tensor: {name} ({dtypes[name].name}) {shapes[name]}")
        if values:
            try:
                print(reader.get_tensor(name))
            except UnsupportedError:
                print("<not convertible to a numpy dtype>")

    if all_tensors or all_tensor_names:
        for name in sorted(shapes):
            print_tensor(name, values=all_tensors)
    elif not tensor_name:
        print(reader.debug_string().decode("utf-8", errors="ignore"))
    elif not reader.has_tensor(tensor_name):
        print(f"Tensor {tensor_name} not found in checkpoint")
        return
    else:
        print_tensor(tensor_name, values=True)
    print(f"# Total number of params: {_count(shapes, count_exclude_pattern)}")


def _count(shapes: dict[str, list[int]], excluded: str) -> int:
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    if excluded:
        matches = re.compile(excluded).search
        left_out = [name for name in sizes if matches(name)]
        size = sum(sizes.pop(name) for name in left_out)
        print(f"# Excluding {len(left_out)} tensors ({size} params) that match {excluded} when counting.")
    return sum(sizes.values())
