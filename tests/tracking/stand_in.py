"""A stand-in for a tracking server: as much of mlflow's REST interface as one stage needs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

__all__ = ["StandIn", "serve"]


class StandIn(ThreadingHTTPServer):
    """Keeps runs in memory, and their artifacts in a directory.

    Attributes:
        runs: Runs by id, as mlflow writes them in JSON.
        calls: Names of the calls that were answered.
        delay: Seconds before each answer.
    """

    daemon_threads = True

    def __init__(self, artifacts: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.artifacts = artifacts
        self.runs: dict[str, dict] = {}
        self.calls: list[str] = []
        self.delay = 0.0

    @property
    def uri(self) -> str:
        """Return the address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        """Go away: who calls from now on is refused."""
        self.shutdown()
        self.server_close()

    def answer(self, call: str, body: dict) -> dict | None:
        """Answer a call; `None` for what is not there."""
        if call == "experiments/get-by-name":
            return {"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}
        if call == "runs/create":
            run_id = uuid.uuid4().hex
            info = {"run_id": run_id, "run_uuid": run_id, "experiment_id": "1"}
            info |= {"status": "RUNNING", "lifecycle_stage": "active"}
            info |= {"artifact_uri": (self.artifacts / run_id).as_uri()}
            self.runs[run_id] = {
                "info": info,
                "data": {"metrics": [], "params": [], "tags": body.get("tags", [])},
            }
            return {"run": self.runs[run_id]}
        if call == "runs/search":
            return {"runs": []}
        run = self.runs.get(body.get("run_id", ""))
        if run is None:
            return None
        if call == "runs/update":
            run["info"] |= {k: v for k, v in body.items() if k in ("status", "end_time")}
        elif call == "runs/log-batch":
            for kind in ("metrics", "params", "tags"):
                run["data"][kind] += body.get(kind, [])
        elif call == "runs/set-tag":
            run["data"]["tags"].append({"key": body["key"], "value": body["value"]})
        elif call != "runs/get":
            return None
        return {"run": run, "run_info": run["info"]}


class _Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        self._answer(dict(parse_qsl(urlsplit(self.path).query)))

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: dict) -> None:
        time.sleep(self.server.delay)
        call = urlsplit(self.path).path.partition("/mlflow/")[2]
        found = self.server.answer(call, body)
        text = found if found is not None else {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        content = json.dumps(text).encode()
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.server.calls.append(call)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serve(artifacts: Path) -> Iterator[StandIn]:
    """Serve while the block lasts, unless it is stopped before."""
    server = StandIn(artifacts)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.stop()
