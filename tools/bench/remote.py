"""A checkpoint on an HTTP server of this machine: tfbundle, verified, beside obstore, which only moves the bytes.

    python tools/bench/remote.py [--rounds N] [--folder FOLDER] [name ...]

Writes its own file (0.5 GB, 128 tensors) and serves it from a process that sends files by the system, then measures:

    load    all tensors, verified; obstore reads the file as a whole, or in ranges of 16 MB on 8 threads
"""

from __future__ import annotations

import subprocess
import sys

from side_by_side import Contender, chosen_tasks, compare

_WRITE = r"""
import os, sys
import numpy as np, tfbundle
rng = np.random.default_rng(0)
tensors = {f"layer_{i:03}": rng.standard_normal((1024, 1024), np.float32) for i in range(128)}
tfbundle.save(os.path.join(sys.argv[1], "big"), tensors)
"""
_SERVER = r"""
import http.server, os, re, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_HEAD(self):
        self.answer(False)
    def do_GET(self):
        self.answer(True)
    def answer(self, has_body):
        try:
            file = open("." + self.path, "rb")
        except OSError:
            self.send_error(404)
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
            start, end = 0, size
            if found and found[1]:
                start, end = int(found[1]), min(size, int(found[2] or size - 1) + 1)
            elif found:
                start = max(0, size - int(found[2]))
            self.send_response(206 if found else 200)
            self.send_header("Content-Length", str(end - start))
            self.send_header("ETag", f'"{size}"')
            self.send_header("Last-Modified", self.date_time_string(0))
            if found:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.end_headers()
            if has_body:
                self.wfile.flush()
                self.connection.sendfile(file, start, end - start)
    def log_message(self, *arguments):
        pass
os.chdir(sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
"""

_OBSTORE = """
import obstore
from obstore.store import HTTPStore
store = HTTPStore.from_url({url!r}, client_options={{"allow_http": True}})
"""
_RANGES = """
from concurrent.futures import ThreadPoolExecutor
size = obstore.head(store, "big.data-00000-of-00001")["size"]
buffer = bytearray(size)
def fetch(start):
    end = min(size, start + (16 << 20))
    buffer[start:end] = memoryview(obstore.get_range(store, "big.data-00000-of-00001", start=start, end=end))
"""


def main() -> None:
    """Serve the checkpoint while the contenders run."""
    servers: list[subprocess.Popen[str]] = []

    def tasks(folder: str) -> dict[str, tuple[str, list[Contender]]]:
        servers.append(subprocess.Popen([sys.executable, "-c", _SERVER, folder], stdout=subprocess.PIPE, text=True))
        assert servers[0].stdout is not None
        url = f"http://127.0.0.1:{int(servers[0].stdout.readline())}"
        return {"load": ("0.5 GB from an HTTP server", _contenders(url))}

    try:
        for task in chosen_tasks(__doc__ or "", _WRITE, "big.index", tasks):
            compare(task.title, task.contenders, rounds=task.rounds)
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def _contenders(url: str) -> list[Contender]:
    whole = _OBSTORE.format(url=url)
    return [
        Contender("tfbundle.load, verified", "import tfbundle", f"tfbundle.load({url + '/big'!r})"),
        Contender("obstore, one request", whole, 'obstore.get(store, "big.data-00000-of-00001").bytes()'),
        Contender(
            "obstore, ranges",
            whole + _RANGES,
            "with ThreadPoolExecutor(8) as pool: list(pool.map(fetch, range(0, size, 16 << 20)))",
        ),
    ]


if __name__ == "__main__":
    main()
