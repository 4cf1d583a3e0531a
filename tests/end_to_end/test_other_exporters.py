"""A fleet that other exporters watch already: played exporters, real engines, real dashboards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.metric_engines import MetricEngine, Prometheus, VictoriaMetrics
from tests.end_to_end.running_dashboard import RunningDashboard, machine_table
from tests.fakes.agents import Agents, says
from tests.processes import eventually
from tierwatch_agent import exposition

pytestmark = pytest.mark.slow

MIB = 2**20
PLAIN_TEXT = f"Content-Type: {exposition.TEXT_TYPE}\r\n"

DCGM_CARD = (
    'gpu="{gpu}",UUID="GPU-{gpu}",pci_bus_id="00000000:0{gpu}:00.0",device="nvidia{gpu}",'
    'modelName="NVIDIA L40S",Hostname="render-01",DCGM_FI_DRIVER_VERSION="580.95.05"'
)
DCGM = "".join(
    f"# HELP {name} {help_}\n# TYPE {name} gauge\n"
    + "".join(
        f"{name}{{{DCGM_CARD.format(gpu=gpu)}}} {value}\n" for gpu, value in enumerate(values)
    )
    for name, help_, values in (
        ("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", (40000, 9000)),
        ("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", (5568, 36568)),
        ("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory reserved (in MiB).", (500, 500)),
        ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", (37, 100)),
        ("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", (41, 9223372036854775794)),
        ("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", (96.5, 301.25)),
    )
)

SMI_INFO = (
    'compute_cap="8.9",cuda_version="13.2",driver_version="595.71.05",index="0",'
    'name="NVIDIA GeForce RTX 4080 SUPER",uuid="11111111-2222-3333-4444-555555555555"'
)
SMI_FIGURES = {
    "memory_total_bytes": 17171480576,
    "memory_used_bytes": 624951296,
    "memory_free_bytes": 16093544448,
    "memory_reserved_bytes": 455081984,
    "utilization_gpu_ratio": 0.25,
    "temperature_gpu": 43,
    "power_draw_watts": 26.2,
    "gpu_recovery_action": 0,
    "clocks_event_reasons_hw_thermal_slowdown": 1,
    "clocks_event_reasons_sw_power_cap": 0,
}
SMI = (
    "# TYPE nvidia_smi_command_exit_code gauge\nnvidia_smi_command_exit_code 0\n"
    f"# TYPE nvidia_smi_gpu_info gauge\nnvidia_smi_gpu_info{{{SMI_INFO}}} 1\n"
    + "".join(
        f"# TYPE nvidia_smi_{name} gauge\n"
        f'nvidia_smi_{name}{{uuid="11111111-2222-3333-4444-555555555555"}} {value}\n'
        for name, value in SMI_FIGURES.items()
    )
)


@pytest.fixture(params=[Prometheus, VictoriaMetrics], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[MetricEngine]:
    return request.param


@pytest.fixture
def agents() -> Iterator[Agents]:
    with Agents() as agents:
        yield agents


def job(url: str, **labels: str) -> dict[str, Any]:
    target = {"targets": [urlsplit(url).netloc], "labels": labels}
    return {"job_name": "gpus", "static_configs": [target]}


def serve(folder: Path, engine: MetricEngine, mapping: str, machines: str) -> RunningDashboard:
    fleet = f'fleet = {{ source = "prometheus", url = "{engine.url}", mapping = "{mapping}" }}'
    text = f'[dashboard]\npoll_interval = "1s"\n{fleet}\n{machines}'
    (folder / "tierwatch.toml").write_text(text, encoding="utf-8")
    return RunningDashboard(folder)


def known(dashboard: RunningDashboard, id_: str) -> dict[str, Any]:
    def machine() -> dict[str, Any]:
        return json.loads(dashboard.get(f"api/v1/machines/{id_}"))

    return eventually(machine, lambda found: found["snapshot"], "a snapshot")


def drawn(dashboard: RunningDashboard, id_: str) -> list[Any]:
    """Figures of its past, once there is one."""

    def figures() -> list[Any]:
        return json.loads(dashboard.get(f"api/v1/machines/{id_}/charts?range=1h"))["figures"]

    return eventually(figures, bool, "charts")


def test_a_fleet_of_dcgm_exporter_gets_verdicts_with_headroom_as_a_lower_bound(
    kind: type[MetricEngine], agents: Agents, tmp_path: Path
) -> None:
    url = agents.play(says(DCGM.encode(), headers=PLAIN_TEXT))
    with kind(tmp_path / "engine", [job(url)]) as engine:
        machines = machine_table("render-01", url)
        with serve(tmp_path, engine, "dcgm", machines) as dashboard:
            found = known(dashboard, "render-01")
            first, second = found["snapshot"]["gpus"]
            assert first["name"] == "NVIDIA L40S"
            assert first["driver_version"] == "580.95.05"
            assert first["memory"]["total_bytes"] == 46068 * MIB
            assert first["memory"]["reserved_bytes"] == 500 * MIB
            assert first["attribution"]["available_bytes"] == 40000 * MIB
            assert first["utilization_ratio"] == 0.37
            assert first["temperature_celsius"] == 41
            assert "temperature_celsius" not in second
            one, other = found["verdict"]["gpus"]
            assert (one["state"], one["can_serve"], one["lower_bound"]) == ("ok", "mass", True)
            assert (other["state"], other["can_serve"]) == ("at_risk", "light")
            assert found["verdict"]["state"] == "at_risk"
            doubt = "this is a lower bound: dcgm-exporter does not tell who holds VRAM."
            assert found["verdict"]["reasons"][0].endswith(doubt)
            assert len(drawn(dashboard, "render-01")) == 2
            past = json.loads(dashboard.get("api/v1/machines/render-01/series"))["series"]
            assert [series["gpu"] for series in past] == ["0", "1"]
            last = past[0]["buckets"][-1]
            assert last["total_bytes"] == 45568 * MIB
            assert last["available_bytes"] == 40000 * MIB
            assert last["utilization_ratio"] == 0.37


def test_a_fleet_of_nvidia_gpu_exporter_gets_verdicts_too(
    kind: type[MetricEngine], agents: Agents, tmp_path: Path
) -> None:
    url = agents.play(says(SMI.encode(), headers=PLAIN_TEXT))
    with kind(tmp_path / "engine", [job(url, machine="render-02")]) as engine:
        machines = machine_table("render-02", url)
        with serve(tmp_path, engine, "nvidia_gpu_exporter", machines) as dashboard:
            found = known(dashboard, "render-02")
            (gpu,) = found["snapshot"]["gpus"]
            assert gpu["index"] == "0"
            assert gpu["name"] == "NVIDIA GeForce RTX 4080 SUPER"
            assert gpu["memory"]["total_bytes"] == 17171480576
            assert gpu["attribution"]["available_bytes"] == 16093544448
            assert gpu["throttle_reasons"] == ["hw_thermal_slowdown"]
            assert found["verdict"]["can_serve"] == "mass"
            assert found["verdict"]["state"] == "at_risk"
            assert "heat slows it down" in found["verdict"]["headline"]
            assert len(drawn(dashboard, "render-02")) == 1


def test_a_host_without_a_label_is_known_by_the_address_that_is_scraped(
    agents: Agents, tmp_path: Path
) -> None:
    url = agents.play(says(SMI.encode(), headers=PLAIN_TEXT))
    with Prometheus(tmp_path / "engine", [job(url)]) as engine:
        machines = machine_table("127.0.0.1", url)
        with serve(tmp_path, engine, "nvidia_gpu_exporter", machines) as dashboard:
            assert known(dashboard, "127.0.0.1")["verdict"]["can_serve"] == "mass"
            assert len(drawn(dashboard, "127.0.0.1")) == 1
            agents.end(url)
            eventually(
                lambda: json.loads(dashboard.get("api/v1/machines/127.0.0.1"))["error"],
                lambda error: error == f"{urlsplit(engine.url).netloc} cannot scrape it",
                "word of it",
            )
