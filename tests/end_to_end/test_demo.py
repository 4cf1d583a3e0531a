"""``tierwatch demo``: the simulated studio comes up, tells its stories and leaves no trace."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import eventually, free_port, is_alive

pytestmark = pytest.mark.slow


class Demo:
    """A running demo, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tierwatch_dashboard.cli", "demo", "--listen", self.address],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )

    def verdicts(self) -> dict[str, Any]:
        """State and headline by machine; empty until it answers."""
        machines = self._ask("fleet").get("machines", ())
        return {
            m["machine"]["id"]: (m["verdict"]["state"], m["verdict"]["headline"]) for m in machines
        }

    def jobs(self) -> dict[str, Any]:
        """What runs and what is finished."""
        return self._ask("jobs")

    def _ask(self, what: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://{self.address}/api/v1/{what}", timeout=5) as found:
                return json.load(found)
        except OSError:
            return {}


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    if demo.process.poll() is None:
        demo.process.send_signal(signal.SIGINT)
    demo.process.wait(timeout=30)
    assert demo.process.stdout is not None
    demo.process.stdout.close()


def test_the_studio_tells_its_stories_and_ends_without_a_trace(demo: Demo, tmp_path: Path) -> None:
    assert demo.process.stdout is not None
    assert f"http://{demo.address}/" in demo.process.stdout.readline()
    seen = eventually(
        demo.verdicts,
        lambda now: (
            now.get("render-02", [""])[0] == "below" and now.get("render-10", [""])[0] == "down"
        ),
        "the game's victim below its tier, and the dead machine down",
    )
    assert len(seen) == 13
    assert seen["render-02"][1] == "Cannot serve mass now: eldenring.exe holds 6.0 GiB of GPU 0"
    assert seen["render-04"][0] == "at_risk"
    assert "at least" in seen["render-04"][1]
    assert seen["render-08"][0] == "below"
    assert "can never serve production" in seen["render-08"][1]
    assert seen["render-01"][0] == "ok"
    assert seen["draft-01"][0] == "ok"
    assert seen["this-machine"][0] == "unassigned"
    jobs = eventually(demo.jobs, lambda now: now.get("finished"), "the first finished jobs")
    # What else runs on this machine is real, and shown as such.
    told = [each for each in jobs["finished"] if each["machine"] != "this-machine"]
    assert told
    assert all(each["job"]["server"].startswith("simulated-") for each in told)
    simulated = [each for each in jobs["running"] if each["machine"] != "this-machine"]
    assert {each["server"]["kind"] for each in simulated} == {"simulated"}
    assert len(simulated) > 10

    started = psutil.Process(demo.process.pid).children(recursive=True)
    assert len(started) > 20
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=30) == 0
    eventually(lambda: [p for p in started if is_alive(p)], lambda alive: not alive, "their end")
    assert [path.name for path in tmp_path.iterdir()] == [".demo"]
