"""The data sources for Spark and Ray: the rows that ``event_batches`` has, read by their workers."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tfbundle
from tests.support.runs import points, records, write_run

pyarrow = pytest.importorskip("pyarrow", reason="rows are those of pyarrow")

ROOT = Path(tfbundle.__file__).resolve().parents[1]
TAGS = ["loss", "val loss", "accuracy"]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for number in range(80):
        write_run(tmp_path / f"logs/run{number}", records(points(TAGS, range(number % 7))))
    (tmp_path / "logs/run3/events.out.tfevents.1").write_bytes(b"damaged" * 9)
    return tmp_path / "logs"


def expected(root: Path, **settings: Any) -> list[tuple[Any, ...]]:
    table = tfbundle.event_batches(root, troubles=tfbundle.EventTroubles(), **settings).read_all()
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True))


def in_a_process(script: str, logs: Path) -> list[list[tuple[Any, ...]]]:
    """The two lists of rows that a script prints last; the engines start servers, and print warnings of their own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(logs)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [sorted(ast.literal_eval(line)) for line in done.stdout.splitlines() if line.startswith("[(")]


SPARK = """
import sys
from pyspark.sql import SparkSession
from tfbundle.fleet.spark_source import EventDataSource
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
spark.dataSource.register(EventDataSource)
reader = spark.read.format("tfbundle")
print([tuple(row) for row in reader.load(sys.argv[1]).collect()])
reader = reader.option("tags", "*loss").option("runs", "run[12]*")
print([tuple(row) for row in reader.load(sys.argv[1]).collect()])
"""


def test_spark(logs: Path) -> None:
    pytest.importorskip("pyspark.sql.datasource", reason="PySpark 4 is not installed")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, which is not installed")
    everything, selected = in_a_process(SPARK, logs)
    assert everything == expected(logs)
    assert selected == expected(logs, tags="*loss", runs="run[12]*")
    assert len(everything) > len(selected) > 50


RAY = """
import sys, ray
from tfbundle.fleet.ray_source import EventDatasource
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
for settings in {}, {"tags": "*loss", "runs": "run[12]*"}:
    found = ray.data.read_datasource(EventDatasource(sys.argv[1], **settings))
    print([tuple(row[name] for name in ("run", "tag", "step", "wall_time", "value")) for row in found.take_all()])
"""


def test_ray(logs: Path) -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed")
    everything, selected = in_a_process(RAY, logs)
    assert everything == expected(logs)
    assert selected == expected(logs, tags="*loss", runs="run[12]*")
    assert len(everything) > len(selected) > 50


@pytest.mark.parametrize("name", ["spark_source", "ray_source"])
def test_the_adapters_are_thin(name: str) -> None:
    assert len((ROOT / f"tfbundle/fleet/{name}.py").read_text().splitlines()) < 100
