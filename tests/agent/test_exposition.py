"""What a scraper reads of a snapshot, by prometheus_client's own parsers and by promtool."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable

import msgspec
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.agent.snapshots import COMFYUI, MIB, RTX_4080_SUPER, machine
from tierwatch_agent.catalogue import AGENT
from tierwatch_agent.exposition import render
from tierwatch_agent.snapshot import (
    JobTotals,
    MachineSnapshot,
    Process,
    RunningJob,
    ServerSample,
    SourceState,
)

Labels = frozenset[tuple[str, str]]
Parser = Callable[[str], Iterable[Metric]]

GPU = {"gpu": "0", "uuid": "GPU-4080"}


def samples(text: bytes, parse: Parser = parse_text) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def value(snapshot: MachineSnapshot, name: str, **labels: str) -> float | None:
    return samples(render(snapshot)).get((name, frozenset(labels.items())))


def family_of(sample: str) -> str:
    """The catalogue's name for a sample's: a histogram has several."""
    return sample if sample in AGENT else sample.rpartition("_")[0]


def test_a_machine_with_everything_exposes_every_family_of_the_catalogue() -> None:
    attribution = RTX_4080_SUPER.attribution
    assert attribution is not None
    everything = msgspec.structs.replace(
        RTX_4080_SUPER,
        partitioned=True,
        recovery_action="reset",
        attribution=msgspec.structs.replace(attribution, unseen_bytes=0),
    )
    exposed = {family_of(name) for name, _ in samples(render(machine(everything)))}
    assert exposed == set(AGENT)


def test_labels_and_types_are_the_catalogue_s() -> None:
    for family in parse_openmetrics(render(machine(RTX_4080_SUPER), openmetrics=True).decode()):
        for sample in family.samples:
            metric = AGENT[family_of(sample.name)]
            assert family.type == metric.type
            assert family.documentation == metric.help
            bound = ("le",) if sample.name.endswith("_bucket") else ()
            assert tuple(sample.labels) == (*metric.labels, *bound)


def test_text_and_openmetrics_tell_the_same() -> None:
    snapshot = machine(RTX_4080_SUPER)
    text = samples(render(snapshot))
    assert text == samples(render(snapshot, openmetrics=True), parse_openmetrics)
    assert len(text) > 40


def test_what_holds_of_a_gpu_beside_its_figures_is_told_while_it_holds() -> None:
    assert b"tierwatch_gpu_condition{" not in render(machine(RTX_4080_SUPER))
    lost = msgspec.structs.replace(RTX_4080_SUPER, state="lost", recovery_action="bus reset")
    snapshot = machine(lost)
    assert value(snapshot, "tierwatch_gpu_condition", **GPU, condition="lost") == 1
    assert value(snapshot, "tierwatch_gpu_recovery_action", **GPU, action="bus reset") == 1


def test_what_other_servers_hold_is_told_apart_from_the_one_that_would_run_a_job() -> None:
    other = Process(pid=8, name="a1111", vram_bytes=2000 * MIB, server="a1111", server_pid=8)
    shared = msgspec.structs.replace(
        RTX_4080_SUPER, processes=(*(RTX_4080_SUPER.processes or ()), other)
    )
    name = "tierwatch_gpu_memory_used_by_other_servers_bytes"
    assert value(machine(RTX_4080_SUPER), name, **GPU) == 0
    assert value(machine(shared), name, **GPU) == 2000 * MIB
    silent = msgspec.structs.replace(other, vram_bytes=None)
    assert value(machine(msgspec.structs.replace(shared, processes=(silent,))), name, **GPU) is None


def test_a_zero_is_a_value_and_an_unknown_is_absent() -> None:
    snapshot = machine(msgspec.structs.replace(RTX_4080_SUPER, power_watts=None))
    assert value(snapshot, "tierwatch_gpu_fan_ratio", **GPU) == 0
    assert value(snapshot, "tierwatch_gpu_performance_state", **GPU) == 0
    assert value(snapshot, "tierwatch_gpu_utilization_ratio", **GPU) == 0
    assert b"tierwatch_gpu_power_watts" not in render(snapshot)


def test_memory_is_exact_to_the_byte() -> None:
    snapshot = machine(RTX_4080_SUPER)
    assert value(snapshot, "tierwatch_gpu_memory_total_bytes", **GPU) == 16376 * MIB
    assert value(snapshot, "tierwatch_gpu_memory_available_bytes", **GPU) == 10000 * MIB
    assert (
        value(snapshot, "tierwatch_gpu_memory_used_peak_bytes", **GPU, window="10m") == 12000 * MIB
    )


def test_a_lost_gpu_is_there_and_down_without_figures() -> None:
    lost = msgspec.structs.replace(
        RTX_4080_SUPER, state="lost", memory=None, attribution=None, power_watts=None
    )
    snapshot = machine(lost)
    assert value(snapshot, "tierwatch_gpu_up", **GPU) == 0
    assert value(snapshot, "tierwatch_gpu_memory_free_bytes", **GPU) is None


def test_a_machine_without_gpus_still_says_who_it_is_and_which_sources_answer() -> None:
    absent = SourceState(name="nvml", state="absent", reason="no NVIDIA driver")
    down = SourceState(name="amdgpu", state="down", reason="EIO")
    snapshot = machine(sources=(absent, down))
    assert value(snapshot, "tierwatch_source_up", source="nvml") is None
    assert value(snapshot, "tierwatch_source_up", source="amdgpu") == 0
    assert b'tierwatch_machine_info{machine="render-01"' in render(snapshot)


SERVER = {"server": "comfyui-8188"}


def test_a_server_s_jobs_are_told() -> None:
    snapshot = machine(RTX_4080_SUPER)
    assert value(snapshot, "tierwatch_server_up", **SERVER) == 1
    assert value(snapshot, "tierwatch_server_queue_pending", **SERVER) == 4
    finished = "tierwatch_jobs_finished_total"
    assert value(snapshot, finished, **SERVER, outcome="success") == 40
    assert value(snapshot, finished, **SERVER, outcome="oom") == 2
    assert value(snapshot, finished, **SERVER, outcome="error") == 0
    assert value(snapshot, "tierwatch_image_pixels_total", **SERVER) == 84 * 1024 * 1024
    assert value(snapshot, "tierwatch_job_progress_ratio", **SERVER) == 0.25
    assert value(snapshot, "tierwatch_job_seconds_since_progress", **SERVER) == 10.5
    assert value(snapshot, "tierwatch_job_stalled", **SERVER, cause="hang") == 1
    assert value(snapshot, "tierwatch_job_stalled", **SERVER, cause="vram") == 0


def test_a_held_queue_and_the_last_xid_are_told() -> None:
    held = msgspec.structs.replace(COMFYUI, paused=True)
    snapshot = msgspec.structs.replace(machine(RTX_4080_SUPER), servers=(held,))
    assert value(snapshot, "tierwatch_server_queue_paused", **SERVER) == 1
    last = "tierwatch_gpu_xid_last_timestamp_seconds"
    assert value(snapshot, last, **GPU, xid="79") == 1_795_555_100.0


@pytest.mark.parametrize("openmetrics", [False, True])
def test_durations_are_a_histogram(openmetrics: bool) -> None:
    text = render(machine(), openmetrics=openmetrics).decode()
    parse = parse_openmetrics if openmetrics else parse_text
    (family,) = [f for f in parse(text) if f.name == "tierwatch_job_duration_seconds"]
    buckets = [(s.labels["le"], s.value) for s in family.samples if s.name.endswith("_bucket")]
    assert buckets[0] == ("1.0", 0)
    assert buckets[3] == ("10.0", 38)
    assert buckets[-1] == ("+Inf", 42)
    assert len(buckets) == 12
    rest = {s.name: s.value for s in family.samples if "le" not in s.labels}
    assert rest == {
        "tierwatch_job_duration_seconds_sum": 312.5,
        "tierwatch_job_duration_seconds_count": 42,
    }


def test_a_server_that_does_not_answer_is_there_and_down_and_keeps_its_totals() -> None:
    down = ServerSample(id=COMFYUI.id, kind="comfyui", state="down", totals=COMFYUI.totals)
    snapshot = machine(servers=(down,))
    assert value(snapshot, "tierwatch_server_up", **SERVER) == 0
    assert value(snapshot, "tierwatch_server_queue_pending", **SERVER) is None
    assert value(snapshot, "tierwatch_jobs_finished_total", **SERVER, outcome="success") == 40


def test_progress_comes_from_the_steps_where_a_server_tells_no_share() -> None:
    job = RunningJob(id="1", step=6, steps=24)
    snapshot = machine(servers=(msgspec.structs.replace(COMFYUI, jobs=(job,)),))
    assert value(snapshot, "tierwatch_job_progress_ratio", **SERVER) == 0.25


def test_a_server_that_finished_nothing_yet_begins_at_zero() -> None:
    fresh = msgspec.structs.replace(COMFYUI, totals=JobTotals(), jobs=(), stall=None)
    snapshot = machine(servers=(fresh,))
    assert value(snapshot, "tierwatch_jobs_finished_total", **SERVER, outcome="oom") == 0
    assert value(snapshot, "tierwatch_job_duration_seconds_count", **SERVER) == 0
    assert value(snapshot, "tierwatch_job_duration_seconds_bucket", **SERVER, le="+Inf") == 0
    assert value(snapshot, "tierwatch_job_progress_ratio", **SERVER) is None


def test_names_filter_families() -> None:
    text = render(machine(RTX_4080_SUPER), names={"tierwatch_gpu_memory_free_bytes"})
    assert {name for name, _ in samples(text)} == {"tierwatch_gpu_memory_free_bytes"}


@pytest.mark.parametrize("name", ['a "quoted" card', "back\\slash", "two\nlines", "日本語"])
def test_label_values_survive_as_they_are(name: str) -> None:
    snapshot = machine(msgspec.structs.replace(RTX_4080_SUPER, name=name))
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        exposed = samples(render(snapshot, openmetrics=openmetrics), parse)
        names = [dict(labels).get("name") for family, labels in exposed if "gpu_info" in family]
        assert names == [name]


def test_promtool_has_nothing_to_complain_of() -> None:
    text = render(machine(RTX_4080_SUPER))
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
