"""The command in a process of its own, whose streams are pipes, files or terminals.

A new interpreter takes longer to import the command than most commands take. If the system can fork, a process is
therefore a copy of one that has imported it; it reads its arguments and ends as ``python -m tfbundle`` does.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

_SERVER = """
import gc, importlib, json, os, runpy, socket, sys
sys.path[0] = os.getcwd()
import rich.progress, rich.table, tfbundle.cli.main
for name in tfbundle.cli.main.COMMANDS:
    importlib.import_module(f"tfbundle.cli.{name}")
tfbundle.open_checkpoint, tfbundle.open_events
gc.freeze()
requests = socket.socket(fileno=int(sys.argv[1]))
while True:
    request, files, _, _ = socket.recv_fds(requests, 1 << 16, 4)
    if not request:
        os._exit(0)
    while not request.endswith(b"\\n"):
        request += requests.recv(1 << 16)
    child = os.fork()
    if not child:
        break
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.write(files[0], b"%d" % status)
    for file in files:
        os.close(file)
requests.close()
os.close(files[0])
for number, file in enumerate(files[1:]):
    os.dup2(file, number)
    os.close(file)
sys.argv[1:], folder, environment = json.loads(request)
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
sys.stdin = open(0, encoding="utf-8", closefd=False)
sys.stdout = open(1, "w", encoding=environment.get("PYTHONIOENCODING", "utf-8"), closefd=False)
sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
runpy.run_module("tfbundle", run_name="__main__", alter_sys=True)
"""


@cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-W", "ignore", "-c", _SERVER, str(theirs.fileno())]
        server = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
    atexit.register(lambda: (ours.close(), server.wait()))
    return ours


def start(
    *arguments: Any, stdout: int, stderr: int, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> Callable[[], int]:
    """Start the command with two open files; return a function that waits until it ends, and returns its status."""
    for package in ("click", "rich"):
        pytest.importorskip(package, reason=f"the command needs {package}, which is not installed")
    texts = list(map(str, arguments))
    if not hasattr(os, "fork"):
        command = [sys.executable, "-m", "tfbundle", *texts]
        env = {**(os.environ if env is None else env), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=cwd, env=env).wait
    end, status = os.pipe()
    with open(os.devnull, "rb") as nothing, open(status, "wb"):
        request = json.dumps([texts, str(cwd), dict(os.environ if env is None else env)]).encode() + b"\n"
        sent = socket.send_fds(_server(), [request], [status, nothing.fileno(), stdout, stderr])
        _server().sendall(request[sent:])

    def wait() -> int:
        with open(end, "rb") as file:
            return int(file.read())

    return wait


def run_process(
    *arguments: Any, stdout: int | None = None, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command, whose outputs are pipes, or for stdout an open file."""
    (out, our_stdout), (err, our_stderr) = os.pipe(), os.pipe()
    with open(out, encoding="utf-8", newline="") as out_file, open(err, encoding="utf-8", newline="") as err_file:
        with open(our_stdout, "wb"), open(our_stderr, "wb"):
            wait = start(*arguments, stdout=stdout or our_stdout, stderr=our_stderr, cwd=cwd, env=env)
        texts = out_file.read(), err_file.read()
    return subprocess.CompletedProcess(arguments, wait(), *texts)


def read_output(*arguments: Any, size: int = -1, env: Mapping[str, str] | None = None) -> tuple[int, bytes, str]:
    """Return the status, what a reader that leaves after ``size`` bytes gets from stdout, and stderr."""
    (out, our_stdout), (err, our_stderr) = os.pipe(), os.pipe()
    with open(err, encoding="utf-8") as err_file:
        with open(out, "rb", buffering=0) as out_file:
            with open(our_stdout, "wb"), open(our_stderr, "wb"):
                wait = start(*arguments, stdout=our_stdout, stderr=our_stderr, env=env)
            data = out_file.read(size)
        return wait(), data, err_file.read()
