"""A real ``tierwatch serve``: its process, its folder, and what it answers."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

PATIENCE_SECONDS = 60.0


class RunningDashboard:
    """One process on a free port; ``with RunningDashboard(folder) as dashboard: ...``.

    ``prelude``: Python that runs in its process first, to make its surroundings misbehave.
    """

    def __init__(self, folder: Path, *, prelude: str = "") -> None:
        self.folder = folder
        self.database = folder / "tierwatch.db"
        program = (
            f"{prelude}\nimport sys\nfrom tierwatch_dashboard.cli import main\nsys.exit(main())"
        )
        command = ["serve", "--config", str(folder / "tierwatch.toml"), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *command, "--log-format", "json"],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.log: list[dict[str, Any]] = []
        self.url = ""
        self._serves = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> RunningDashboard:
        self._serves.wait(PATIENCE_SECONDS)
        if not self.url:
            self.kill()
            raise AssertionError(f"it does not serve; it said {self.log}")
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._ended()

    def end(self) -> int:
        """Asks it to end, as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """Ends it as a power cut of the process would."""
        self.process.kill()
        self._ended()

    def get(self, path: str) -> str:
        """A page's text."""
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE_SECONDS) as answer:
            return answer.read().decode()

    def machine(self, id_: str) -> dict[str, Any]:
        """One machine of ``/api/v1/fleet``."""
        machines = json.loads(self.get("api/v1/fleet"))["machines"]
        return next(each for each in machines if each["machine"]["id"] == id_)

    def value(self, name: str, **labels: str) -> float | None:
        """A sample of its ``/metrics``."""
        for family in text_string_to_metric_families(self.get("metrics")):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        return None

    def is_ready(self) -> bool:
        """Whether each machine was asked at least once."""
        try:
            return self.get("readyz") == "ready\n"
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def committed(self) -> set[tuple[int, int]]:
        """The key of every point that another process finds in the database."""
        connection = sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=10)
        try:
            return set(connection.execute("SELECT gpu, at FROM points"))
        finally:
            connection.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.log.append(json.loads(line))
            except json.JSONDecodeError:
                self.log.append({"level": "not JSON", "message": line})
            message = self.log[-1]["message"]
            if message.startswith("dashboard on "):
                self.url = message.removeprefix("dashboard on ")
                self._serves.set()
        self._serves.set()

    def _ended(self) -> int:
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def wait_until(condition: Callable[[], object]) -> None:
    """Waits until something holds; a failure where it never does."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "it never came to pass"
        time.sleep(0.05)


def machine_table(id_: str, url: str, tier: str = "mass") -> str:
    """A machine of the inventory as TOML."""
    return f'[[machine]]\nid = "{id_}"\nurl = "{url}"\ntier = "{tier}"\n'
