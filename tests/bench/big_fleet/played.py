"""Plays a fleet's agents on real sockets, in a process of its own, until its standard input ends.

    python -m tests.bench.big_fleet.played 1000

The first line that it prints is the machines' addresses, as JSON.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any

from tests.bench.big_fleet.machines import is_down, said
from tests.fakes.agents import Agents, says
from tests.processes import free_port
from tierwatch_agent.snapshot import encode


class PlayedFleet:
    """The process that plays; ``with PlayedFleet(1000) as fleet: fleet.urls[0]``."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.urls: list[str] = []

    def __enter__(self) -> PlayedFleet:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.big_fleet.played", str(self._count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.urls = json.loads(self.process.stdout.readline())
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.communicate()


def _play(count: int) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Agents() as agents:
        urls = [
            "" if is_down(n) else agents.play(says(lambda n=n: encode(said(n, time.time()))))
            for n in range(count)
        ]
        # Found last, so that none of them is taken by an agent.
        urls = [url or f"http://127.0.0.1:{free_port()}" for url in urls]
        print(json.dumps(urls), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _play(int(sys.argv[1]))
