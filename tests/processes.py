"""Real processes under test: started, asked over HTTP, watched until something holds, ended."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tierwatch_agent import snapshot as contract
from tierwatch_agent.snapshot import MachineSnapshot

PATIENCE_SECONDS = 60.0
"""How long a test waits for what must come: bounds a failure, asserts no speed."""

T = TypeVar("T")


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(read: Callable[[], T], holds: Callable[[T], object], what: str) -> T:
    """Reads until it holds; the last reading where it never does is in the error."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        seen = read()
        if holds(seen):
            return seen
        if time.monotonic() > until:
            raise AssertionError(f"never came: {what}; last seen: {seen}")
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one that ended and is not reaped yet does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Served:
    """A process that serves HTTP on the loopback. A context manager: leaving it ends it."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.log = folder / f"{module.split('.')[0]}-{self.port}.log"
        self._stream = self.log.open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments, "--listen", f"127.0.0.1:{self.port}"],
            env={**os.environ, **(environment or {})},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._stream,
            stderr=self._stream,
        )

    def __enter__(self) -> Served:
        self.wait_until_it_answers()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait_until_it_answers(self) -> None:
        """Waits for its first answer; its log is in the error where it ends instead."""

        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.said()}")
            try:
                return self.get("/healthz")[0] == 200
            except OSError:
                return False

        eventually(answers, bool, f"an answer of {self.log.name}: {self.said()}")

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of one page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def sample(self, name: str, **labels: str) -> float | None:
        """One sample of its /metrics; None where it is absent."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(encoding="utf-8")

    def end(self) -> int:
        """Ends it as a service manager does; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._stream.close()


class RunningAgent(Served):
    """A real ``tierwatch-agent run``."""

    def __init__(
        self,
        folder: Path,
        *,
        config: str = "",
        environment: Mapping[str, str] | None = None,
        machine: str = "render-01",
        port: int | None = None,
    ) -> None:
        file = folder / f"{machine}-agent.toml"
        # What it must know after a restart is this test's, as its folder is.
        state = (
            "" if "state_dir" in config else f"state_dir = {json.dumps(str(folder / 'state'))}\n"
        )
        file.write_text(state + config, encoding="utf-8")
        super().__init__(
            "tierwatch_agent.cli",
            ["run", "--config", str(file), "--machine", machine],
            folder=folder,
            environment=environment,
            port=port,
        )

    def __enter__(self) -> RunningAgent:
        self.wait_until_it_answers()
        return self

    def snapshot(self) -> MachineSnapshot:
        """Its current snapshot."""
        return contract.decode(self.get("/api/v1/snapshot")[1].encode())

    def until(self, holds: Callable[[MachineSnapshot], object], what: str) -> MachineSnapshot:
        """The first snapshot of which it holds."""
        return eventually(self.snapshot, holds, what)
