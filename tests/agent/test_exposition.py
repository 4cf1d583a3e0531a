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

from tests.agent.snapshots import MIB, RTX_4080_SUPER, machine
from tierwatch_agent.catalogue import AGENT
from tierwatch_agent.exposition import render
from tierwatch_agent.snapshot import MachineSnapshot, SourceState

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


def test_a_machine_with_everything_exposes_every_family_of_the_catalogue() -> None:
    exposed = {name for name, _ in samples(render(machine(RTX_4080_SUPER)))}
    assert exposed == set(AGENT)


def test_labels_and_types_are_the_catalogue_s() -> None:
    for family in parse_openmetrics(render(machine(RTX_4080_SUPER), openmetrics=True).decode()):
        for sample in family.samples:
            metric = AGENT[sample.name]
            assert family.type == metric.type
            assert family.documentation == metric.help
            assert tuple(sample.labels) == metric.labels


def test_text_and_openmetrics_tell_the_same() -> None:
    snapshot = machine(RTX_4080_SUPER)
    text = samples(render(snapshot))
    assert text == samples(render(snapshot, openmetrics=True), parse_openmetrics)
    assert len(text) > 40


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
