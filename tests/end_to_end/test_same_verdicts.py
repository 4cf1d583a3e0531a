"""One fleet, three ways to its verdicts: polled, out of Prometheus, out of VictoriaMetrics.

Real dashboards, real engines, played agents; ``pytest -s`` prints the table.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.metric_engines import Prometheus, VictoriaMetrics, agents_job
from tests.end_to_end.running_dashboard import RunningDashboard
from tests.end_to_end.verdict_scenes import SCENES, SETTINGS, Scene
from tests.fakes.agents import Agents, http
from tests.processes import eventually
from tierwatch_agent import exposition, snapshot

pytestmark = pytest.mark.slow

AWAY = Scene(machine="away", state="down")
"""Well at first; then its agent ends."""

WAYS = ("polled", "Prometheus", "VictoriaMetrics")
JUDGED = ("state", "tier", "can_serve", "could_serve")
OF_A_GPU = (
    *("gpu", "uuid", "state", "tier", "floor_bytes", "available_bytes", "headroom_bytes"),
    *("lower_bound", "can_serve", "could_serve"),
)
"""What must be equal to the byte."""


def played(scene: Scene) -> Callable[[str, asyncio.StreamWriter], Any]:
    """An agent that shows a scene, to whoever polls and whoever scrapes."""

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        shown = scene.shown(time.time())
        if head.startswith("GET /metrics"):
            writer.write(
                http(exposition.render(shown), headers=f"Content-Type: {exposition.TEXT_TYPE}\r\n")
            )
        else:
            writer.write(http(snapshot.encode(shown), headers="Content-Type: application/json\r\n"))

    return answer


def serve(folder: Path, machines: str, source: str = "") -> RunningDashboard:
    folder.mkdir()
    own = f'[dashboard]\npoll_interval = "1s"\n{source}\n'
    (folder / "tierwatch.toml").write_text(f"{own}{SETTINGS}{machines}", encoding="utf-8")
    return RunningDashboard(folder)


def states(dashboard: RunningDashboard) -> dict[str, str]:
    machines = json.loads(dashboard.get("api/v1/fleet"))["machines"]
    return {each["machine"]["id"]: each["verdict"]["state"] for each in machines}


def verdicts(dashboard: RunningDashboard) -> dict[str, dict[str, Any]]:
    machines = json.loads(dashboard.get("api/v1/fleet"))["machines"]
    return {each["machine"]["id"]: each["verdict"] for each in machines}


def judged(verdict: dict[str, Any]) -> dict[str, Any]:
    """What a verdict says in figures and names."""
    return {
        **{key: verdict.get(key) for key in JUDGED},
        "gpus": [{key: gpu.get(key) for key in OF_A_GPU} for gpu in verdict.get("gpus", ())],
    }


def carried(scene: Scene, reasons: list[str]) -> set[str]:
    """The polled reasons that series carry: those without a word that none does."""
    return {each for each in reasons if not any(words in each for words in scene.told_otherwise)}


def test_polling_prometheus_and_victoriametrics_give_the_same_verdicts(tmp_path: Path) -> None:
    scenes = (*SCENES, AWAY)
    with ExitStack() as stack:
        agents = stack.enter_context(Agents())
        urls = {scene.machine: agents.play(played(scene)) for scene in scenes}
        machines = "".join(scene.table(urls[scene.machine]) for scene in scenes)
        job = agents_job({machine: urlsplit(url).netloc for machine, url in urls.items()})
        engines = [
            stack.enter_context(kind(tmp_path / kind.name, [job]))
            for kind in (Prometheus, VictoriaMetrics)
        ]
        dashboards = [stack.enter_context(serve(tmp_path / "polled", machines))]
        for engine in engines:
            source = f'fleet = {{ source = "prometheus", url = "{engine.url}" }}'
            folder = tmp_path / f"out of {engine.name}"
            dashboards.append(stack.enter_context(serve(folder, machines, source)))
        eventually(lambda: all(d.is_ready() for d in dashboards), bool, "all know every machine")
        eventually(
            lambda: [states(each)["away"] for each in dashboards],
            lambda found: found == ["ok"] * 3,
            "the one that is to go away is well",
        )
        agents.end(urls["away"])
        expected = {scene.machine: scene.state for scene in scenes}
        for way, dashboard in zip(WAYS, dashboards, strict=True):
            eventually(
                lambda dashboard=dashboard: {
                    id_: (state, expected[id_])
                    for id_, state in states(dashboard).items()
                    if state != expected[id_]
                },
                lambda otherwise: not otherwise,
                f"the states, {way}",
            )
        # Reasons that count seconds have had their say by then.
        time.sleep(4)
        polled, *others = (verdicts(dashboard) for dashboard in dashboards)
    print(table(scenes, [polled, *others]))
    for scene in scenes:
        own = polled[scene.machine]
        for way, found in zip(WAYS[1:], others, strict=True):
            verdict = found[scene.machine]
            assert judged(verdict) == judged(own), (scene.machine, way)
            if scene is AWAY:
                continue
            missing = carried(scene, own["reasons"]) - set(verdict["reasons"])
            assert not missing, (scene.machine, way, verdict["reasons"])
            if not scene.told_otherwise:
                assert verdict["reasons"] == own["reasons"], (scene.machine, way)
                assert verdict["headline"] == own["headline"], (scene.machine, way)
            if not scene.cause_otherwise:
                assert verdict.get("cause") == own.get("cause"), (scene.machine, way)


def table(scenes: tuple[Scene, ...], ways: list[dict[str, dict[str, Any]]]) -> str:
    """State and what each way says that the polled one does not, or the other way round."""
    lines: list[str] = []
    for scene in scenes:
        own, *others = (found[scene.machine] for found in ways)
        told = [set(each["reasons"]) == set(own["reasons"]) for each in others]
        words = "the same" if all(told) else "names left out"
        lines.append(
            f"{scene.machine:<20}{own['state']:<13}"
            + "".join(f"{each['state']:<13}" for each in others)
            + words
        )
        if not all(told):
            lines += [f"    polled: {reason}" for reason in own["reasons"]]
            lines += [f"    series: {reason}" for reason in others[0]["reasons"]]
    return "\n" + "\n".join(lines)
