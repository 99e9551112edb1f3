"""Commands over URLs print what they print for the same local files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.buckets import KINDS, open_bucket
from tests.support.command import outcome
from tests.support.expected import FIXTURES
from tests.support.http_server import serving

pytest.importorskip("obstore", reason="object stores are read by obstore, which is not installed")

_FOLDERS = {
    "run": "tf-1.15.5/training",
    "model": "tf-2.21.0/keras-saved-model/model",
    "program": "programs-tf-2.21.0/reads-a-file",
    "events": "events-tf-1.15.5/restarts",
}
# Of a web server, which lists no folders, files and prefixes are read.
_ANYWHERE = [
    "ls {}/run/model.ckpt-20",
    "ls --json {}/run/model.ckpt-20",
    "ls --json {}/run/model.ckpt-20.data-00000-of-00001",
    "show --stats {}/run/model.ckpt-20 fc1/weights",
    "show --json {}/run/model.ckpt-20 fc1/weights",
    "verify {}/run/model.ckpt-20",
    "verify --json {}/run/model.ckpt-20",
    "diff {}/run/model.ckpt-20 {}/run/model.ckpt-30",
    "diff --json {}/run/model.ckpt-20 {}/run/model.ckpt-30",
    "diff {}/run/model.ckpt-20 {}/run/model.ckpt-20.index",
    "fingerprint {}/run/model.ckpt-20",
    "graph {}/run/model.ckpt-20.meta",
    "graph --json {}/run/graph.pb",
    "check {}/run/model.ckpt-20.meta {}/run/model.ckpt-20",
    "records {}/events/events.out.tfevents.1500000000.host",
    "records --json {}/events/events.out.tfevents.1500000000.host",
    "events {}/events/events.out.tfevents.1500000000.host",
    "events --json {}/events/events.out.tfevents.1500000000.host",
    "scan {}/program/model/saved_model.pb",
    "scan --json {}/program/model/saved_model.pb",
    "show {}/run/model.ckpt-20 absent",
]
_FOLDERS_TOO = [
    "ls {}/run",
    "ls --json {}/run",
    "ls {}",
    "info {}",
    "info {}/run",
    "info {}/model",
    "state {}/run",
    "state --json {}/run",
    "verify {}/run",
    "verify --all --json {}/run",
    "verify {}/model",
    "fingerprint {}/model",
    "graph {}/model",
    "check {}/model",
    "objects {}/model",
    "events {}/events",
    "events --json {}/events",
    "scan {}/model",
    "scan --json {}/program",
    "diff {}/run {}/run/model.ckpt-40",
    "info {}/run/model.ckpt-20.index",
    "info {}/run/model.ckpt-20.meta",
    "ls {}/run/absent",
]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("local") / "models"
    for name, folder in _FOLDERS.items():
        shutil.copytree(FIXTURES / folder, root / name)
    return root


@pytest.fixture(scope="module", params=KINDS)
def bucket(request: pytest.FixtureRequest, local: Path) -> Iterator[str]:
    with open_bucket(request.param) as bucket:
        for name in _FOLDERS:
            bucket.put(local / name, name)
        for key in bucket.list_keys():
            changed = bucket.modified(key)
            os.utime(local / key, (changed, changed))
        yield bucket.url


@pytest.fixture(scope="module")
def server(local: Path) -> Iterator[str]:
    with serving(local) as server:
        yield server.url


def same(command: str, local: Path, url: str) -> None:
    status, printed, complained = outcome(*command.replace("{}", str(local)).split())
    found = outcome(*command.replace("{}", url).split())
    assert (found[0], words(found[1])) == (status, words(printed.replace(str(local), url)))
    assert words(found[2]) == words(complained.replace(str(local), url))
    assert status in (0, 1, 2)
    assert printed or complained


def words(text: str) -> list[str]:
    """Return the text without what depends on the length of a path, such as the width of a column."""
    return text.replace("-", " ").split()


@pytest.mark.parametrize("command", _ANYWHERE)
def test_of_an_http_server(command: str, local: Path, server: str) -> None:
    same(command, local, server)


@pytest.mark.parametrize("command", [*_ANYWHERE, *_FOLDERS_TOO])
def test_of_a_bucket(command: str, local: Path, bucket: str) -> None:
    same(command, local, bucket)


@pytest.mark.parametrize(
    "command",
    [
        "convert {}/run/model.ckpt-20 {}/out/copy",
        "convert {}/run/model.ckpt-20 {}/out/a.npz",
        "convert --shards 2 {}/run/model.ckpt-20 {}/out/a.safetensors",
        "average {}/run {}/out/mean",
        "events {}/events --rename loss=cost --out {}/out/events",
    ],
)
def test_what_is_written(command: str, local: Path, bucket: str) -> None:
    (local / "out").mkdir()
    try:
        same(command, local, bucket)
    finally:
        shutil.rmtree(local / "out")  # The bucket of another kind of store has none.
