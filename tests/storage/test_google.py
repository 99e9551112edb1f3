"""Google Cloud Storage, spoken to by its XML interface, which is that of S3 but for its headers.

No server on PyPI has that interface. Here moto's S3 server answers: headers of requests that differ are translated, and
requests are not authenticated.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfbundle
from tests.support.expected import FIXTURES
from tfbundle import train
from tfbundle.storage.locations import locate
from tfbundle.storage.uploads import send

pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

TRAINING = FIXTURES / "tf-1.15.5/training"
_KEY = "AWS4-HMAC-SHA256 Credential=key/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    moto = pytest.importorskip("moto.moto_server.werkzeug_app", reason="the server is moto's, which is not installed")
    import boto3
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    answer = moto.DomainDispatcherApplication(moto.create_backend_app)

    def translated(request: dict[str, Any], start: Any) -> Any:
        request["HTTP_AUTHORIZATION"] = _KEY
        if "HTTP_X_GOOG_COPY_SOURCE" in request:
            request["HTTP_X_AMZ_COPY_SOURCE"] = request["HTTP_X_GOOG_COPY_SOURCE"]
        return answer(request, start)

    server = make_server("127.0.0.1", 0, translated, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    names = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=endpoint, **names).create_bucket(Bucket="google")
    account = tmp_path_factory.mktemp("account") / "account.json"
    empty = {"client_email": "", "private_key": "", "private_key_id": ""}
    account.write_text(json.dumps({"gcs_base_url": endpoint, "disable_oauth": True, **empty}))
    yield {"service_account_path": str(account), "client_options": {"allow_http": True}}
    server.shutdown()
    thread.join()


def test_reading(options: dict[str, Any]) -> None:
    for path in TRAINING.iterdir():
        send(str(path), locate(f"gs://google/run/{path.name}", options))  # type: ignore[arg-type]
    wanted = tfbundle.load(TRAINING)
    found = tfbundle.load("gs://google/run", storage_options=options)
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
    assert [item.step for item in tfbundle.list_checkpoints("gs://google/run", storage_options=options)] == [20, 30, 40]
    assert tfbundle.verify("gs://google/run", storage_options=options).ok
    with pytest.raises(tfbundle.MissingFileError, match="there is no checkpoint gs://google/absent"):
        tfbundle.load("gs://google/absent", storage_options=options)


def test_writing(options: dict[str, Any]) -> None:
    place = locate("gs://google/out/model", options)
    values = np.arange(6 << 20, dtype=np.float32)  # Two parts.
    for factor in (1, 2):
        tfbundle.save(place, {"x": values * factor})
        assert np.array_equal(tfbundle.load(place)["x"], values * factor)
    assert locate("gs://google/out", options).list().names == ["model.data-00000-of-00001", "model.index"]
    saver = train.Saver(max_to_keep=1)
    for step in range(3):
        saver.save({"x": np.float32(step)}, locate("gs://google/saver/model", options), global_step=step)
    listed = tfbundle.list_checkpoints("gs://google/saver", storage_options=options)
    assert [item.step for item in listed] == [2]


def test_a_version_that_changes(options: dict[str, Any], tmp_path: Path) -> None:
    place = locate("gs://google/changed/model", options)
    tfbundle.save(place, {"x": np.arange(100_000, dtype=np.float32)})
    with tfbundle.open_checkpoint(place) as checkpoint:
        tensor = checkpoint["x"]
        tensor[:10]
        tfbundle.save(place, {"x": np.zeros(100_000, np.float32)})
        with pytest.raises(tfbundle.FormatError, match="was overwritten"):
            tensor.read()
