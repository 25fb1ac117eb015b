"""A small web server for tests, which serves the files of a directory and fails on request."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["Fault", "Site", "serve"]

# Called for each request with the file's key and the number of its earlier requests; returns the
# fault: a status, `cut` (half of the body), `drop` (no answer), `whole` (no ranges), or "" for a
# correct answer.
Fault = Callable[[str, int], object]


class Site:
    """Settings of a server, and the requests that it received.

    Attributes:
        url: Address.
        fault: What goes wrong.
        latency: Delay before each answer (s).
        rate: Bytes per second of each answer; 0 for no limit.
        requests: Requested keys, in order, with the range.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.url = root, ""
        self.fault: Fault = lambda key, before: ""
        self.latency, self.rate = 0.0, 0
        self.requests: list[tuple[str, str]] = []


@contextmanager
def serve(root: Path) -> Iterator[Site]:
    """Serve a directory on this machine while the block runs."""
    site = Site(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            key, wanted = self.path.lstrip("/"), self.headers.get("Range", "")
            before = sum(key == k for k, _ in site.requests)
            site.requests.append((key, wanted))
            time.sleep(site.latency)
            fault = site.fault(key, before)
            file = site.root / key
            if fault == "drop":
                self.close_connection = True
                return
            if isinstance(fault, int) or not file.is_file():
                self.answer(fault if isinstance(fault, int) else 404, b"")
                return
            data, status = file.read_bytes(), 200
            if wanted and fault != "whole":
                first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted).groups()
                begin = int(first) if first else len(data) - int(last)
                if not 0 <= begin < len(data):
                    self.answer(416, b"")
                    return
                data, status = data[begin : int(last) + 1 if first and last else None], 206
            self.answer(status, data, cut=fault == "cut")

        def answer(self, status: int, data: bytes, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            data = data[: len(data) // 2] if cut else data
            self.close_connection |= cut
            step = max(site.rate // 100, 1) if site.rate else max(len(data), 1)
            for start in range(0, len(data), step):
                self.wfile.write(data[start : start + step])
                if site.rate:
                    time.sleep(step / site.rate)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
