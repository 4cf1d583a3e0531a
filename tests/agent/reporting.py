"""An agent's HTTP over a real socket, whose reported jobs a test may look into."""

from __future__ import annotations

import http.client
import json
import threading
import time
from types import TracebackType
from typing import Any

from tests.agent.snapshots import RTX_4080_SUPER, machine
from tests.processes import eventually
from tierwatch_agent.server import http_server
from tierwatch_agent.servers.reported import ReportedJobs
from tierwatch_agent.servers.step_reports import StepReports
from tierwatch_agent.snapshot import JobRecord, RunningJob


class ServedJobs:
    """Serves the job API from its making on. A context manager: leaving it ends it."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.reported = ReportedJobs()
        self.steps = StepReports()
        self.snapshot = machine(RTX_4080_SUPER)
        self.server = http_server(
            host, port, lambda: self.snapshot, reported=self.reported, steps=self.steps
        )
        self.server.prepare()
        self.port: int = self.server.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.serve)
        self._thread.start()

    def __enter__(self) -> ServedJobs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        to: str = "127.0.0.1",
        **headers: str,
    ) -> tuple[int, str, Any]:
        """Status, content type, and the JSON or text of an answer; bytes are sent as they are."""
        connection = http.client.HTTPConnection(to, self.port, timeout=10)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            names = {"Content-Type": "application/json", **names}
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, sent, names)
            answer = connection.getresponse()
            text, kind = answer.read().decode(), answer.headers.get("Content-Type", "")
        finally:
            connection.close()
        is_json = kind == "application/json" and text
        return answer.status, kind, json.loads(text) if is_json else text

    def running(self) -> tuple[RunningJob, ...]:
        """The reported jobs that run."""
        return self.reported.reading(time.time()).jobs

    def finished(self, count: int) -> tuple[JobRecord, ...]:
        """The finished jobs, once there are so many."""
        return eventually(
            lambda: self.reported.reading(time.time()).finished,
            lambda records: len(records) >= count,
            f"{count} finished jobs",
        )

    def close(self) -> None:
        """Ends it, as an agent ends."""
        self.server.stop()
        self._thread.join()
