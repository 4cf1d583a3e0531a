"""A real Prometheus that hangs, dies and comes back, under a dashboard that reads it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.metric_engines import MetricEngine, Prometheus, agents_job
from tests.end_to_end.running_dashboard import RunningDashboard, machine_table
from tests.end_to_end.verdict_scenes import SETTINGS
from tests.fakes.agents import Agents, http, snapshot
from tests.processes import eventually
from tierwatch_agent import exposition

pytestmark = pytest.mark.slow

PLAIN_TEXT = f"Content-Type: {exposition.TEXT_TYPE}\r\n"
LONGER_THAN_DOWN_SECONDS = 12.0


async def well(_head: str, writer: Any) -> None:
    writer.write(http(exposition.render(snapshot("render-01")), headers=PLAIN_TEXT))


def serve(folder: Path, engine: MetricEngine, machine: str) -> RunningDashboard:
    fleet = f'fleet = {{ source = "prometheus", url = "{engine.url}", timeout = "1s" }}'
    own = f'[dashboard]\npoll_interval = "1s"\n{fleet}\n'
    (folder / "tierwatch.toml").write_text(f"{own}{SETTINGS}{machine}", encoding="utf-8")
    return RunningDashboard(folder)


def charts(dashboard: RunningDashboard) -> dict[str, Any]:
    return json.loads(dashboard.get("api/v1/machines/render-01/charts?range=1h"))


def test_an_engine_in_trouble_takes_no_machine_down_and_is_said(tmp_path: Path) -> None:
    with Agents() as agents:
        url = agents.play(well)
        job = agents_job({"render-01": urlsplit(url).netloc})
        with (
            Prometheus(tmp_path / "engine", [job]) as engine,
            serve(tmp_path, engine, machine_table("render-01", url)) as dashboard,
        ):
            where = urlsplit(engine.url).netloc

            def machine() -> dict[str, Any]:
                return dashboard.machine("render-01")

            def error() -> str | None:
                return machine().get("error")

            eventually(machine, lambda found: found["verdict"]["state"] == "ok", "a verdict")
            eventually(lambda: charts(dashboard)["figures"], bool, "charts")
            os.kill(engine.pid, signal.SIGSTOP)
            hangs = f"no answer from {where} within 1 s"
            eventually(error, lambda said: said == hangs, "word of an engine that hangs")
            time.sleep(LONGER_THAN_DOWN_SECONDS)
            verdict = machine()["verdict"]
            assert verdict["state"] == "ok"
            assert verdict["reasons"] == [f"This is its last known state: {hangs}."]
            assert "Nothing is told of any machine" in dashboard.get("")
            with pytest.raises(HTTPError) as refused:
                charts(dashboard)
            assert refused.value.code == 503
            assert json.loads(refused.value.read())["error"] == hangs
            refused.value.close()
            os.kill(engine.pid, signal.SIGCONT)
            eventually(machine, lambda found: found["error"] is None, "an engine that goes on")
            eventually(
                lambda: dashboard.get(""), lambda page: "Nothing is told" not in page, "no fault"
            )
            engine.end()
            away = f"{where} refuses the connection: does it run?"
            eventually(error, lambda said: said == away, "word of an engine that is away")
            time.sleep(LONGER_THAN_DOWN_SECONDS)
            assert machine()["verdict"]["state"] == "ok"
            engine.begin()
            eventually(machine, lambda found: found["error"] is None, "an engine that is back")
            assert machine()["verdict"]["state"] == "ok"
            states = [line for line in dashboard.log if "down" in line["message"]]
            assert states == []
