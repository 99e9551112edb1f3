"""Lazy arrays beside ``load``: dask arrays, and Zarr references read by fsspec and zarr.

    python tools/bench/lazy.py [--rounds N] [--folder FOLDER] [name ...]

Writes 0.5 GB into FOLDER, by default a temporary one, then measures:

    dask        to_dask(...).compute() by threads: one chunk a tensor (verified), and chunks of 1 MB (not verified)
    zarr        every array of zarr_references
    references  zarr_references of 100,000 tensors

Needs the extras dask and zarr, and fsspec.
"""

from __future__ import annotations

import os

from side_by_side import Contender, chosen_tasks, compare

_WRITE = r"""
import os, sys
import numpy as np, tfbundle
values = {f"layer_{i}/kernel": np.full((1024, 1024), i, np.float32) for i in range(128)}
tfbundle.save(os.path.join(sys.argv[1], "big"), values)
many = ((f"layer_{i // 10}/variable_{i % 10}", np.float32([i])) for i in range(100_000))
tfbundle.save(os.path.join(sys.argv[1], "many"), many)
"""
_DASK = "import dask, dask.array, tfbundle"
_ZARR = """
import fsspec, tfbundle, zarr
def group(path):
    files = fsspec.filesystem("reference", fo=tfbundle.zarr_references(path), asynchronous=True)
    return zarr.open_group(zarr.storage.FsspecStore(files, read_only=True), mode="r")
names = [f"layer_{i}/kernel" for i in range(128)]
"""


def main() -> None:
    for task in chosen_tasks(__doc__.splitlines()[0], _WRITE, "many.index", _tasks):
        compare(task.title, task.contenders, rounds=task.rounds)


def _tasks(folder: str) -> dict[str, tuple[str, list[Contender]]]:
    big, many = (repr(os.path.join(folder, name)) for name in ("big", "many"))
    verified = Contender("tfbundle.load", "import tfbundle", f"tfbundle.load({big})")
    unverified = Contender("tfbundle.load, verify=False", "import tfbundle", f"tfbundle.load({big}, verify=False)")

    def dask(chunk_bytes: str) -> str:
        return f"dask.compute(tfbundle.open_checkpoint({big}).to_dask(chunk_bytes={chunk_bytes}))"

    return {
        "dask": (
            "0.5 GB (128 tensors) as dask arrays",
            [
                verified,
                Contender("to_dask, whole tensors", _DASK, dask("None")),
                unverified,
                Contender("to_dask, chunks of 1 MB", _DASK, dask("1 << 20")),
            ],
        ),
        "zarr": (
            "0.5 GB (128 tensors) by Zarr references",
            [
                unverified,
                verified,
                Contender(
                    "zarr_references, fsspec and zarr", _ZARR, f"g = group({big}); [g[name][...] for name in names]"
                ),
            ],
        ),
        "references": (
            "references of 100,000 tensors",
            [
                Contender("zarr_references", "import tfbundle.views.references", f"tfbundle.zarr_references({many})"),
                Contender("tfbundle.load", "import tfbundle", f"tfbundle.load({many})"),
            ],
        ),
    }


if __name__ == "__main__":
    main()
