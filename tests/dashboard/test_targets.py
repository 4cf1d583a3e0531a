"""The inventory's machines as Prometheus' targets, over HTTP and on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tests.dashboard.doubles import Studio
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.cli import main
from tierwatch_dashboard.inventory import Inventory, Machine
from tierwatch_dashboard.targets import groups

MACHINE = Machine(
    id="render-01", url="http://render-01:9838", tier="mass", tags=("floor-2", "night")
)


def test_a_target_bears_its_machine_and_what_to_choose_it_by() -> None:
    (group,) = groups([MACHINE])
    assert group.targets == ("render-01:9838",)
    assert group.labels == {
        "machine": "render-01",
        "__meta_tierwatch_tier": "mass",
        "__meta_tierwatch_tags": ",floor-2,night,",
        "__meta_tierwatch_maintenance": "false",
    }


@pytest.mark.parametrize(
    ("url", "target", "labels"),
    [
        ("http://render-01", "render-01:80", {}),
        ("https://render-01", "render-01:443", {"__scheme__": "https"}),
        ("http://[fd00::1]:9838", "[fd00::1]:9838", {}),
        (
            "https://gate/render-01/",
            "gate:443",
            {"__scheme__": "https", "__metrics_path__": "/render-01/metrics"},
        ),
    ],
)
def test_an_agent_s_address_is_scraped_as_it_is_polled(
    url: str, target: str, labels: dict[str, str]
) -> None:
    (group,) = groups([msgspec.structs.replace(MACHINE, url=url)])
    assert group.targets == (target,)
    assert {
        name: value
        for name, value in group.labels.items()
        if name in ("__scheme__", "__metrics_path__")
    } == labels


def test_what_a_machine_lacks_is_empty() -> None:
    (group,) = groups([Machine(id="a", url="http://a:1", maintenance=True)])
    assert group.labels["__meta_tierwatch_tier"] == ""
    assert group.labels["__meta_tierwatch_tags"] == ""
    assert group.labels["__meta_tierwatch_maintenance"] == "true"


def test_prometheus_is_told_of_the_inventory_in_force() -> None:
    studio = Studio()
    client = create_app(studio.services()).test_client()
    answer = client.get("/sd/prometheus")
    assert answer.mimetype == "application/json"
    assert len(answer.get_json()) == len(studio.inventory_file.current.machines)
    studio.inventory_file.current = Inventory()
    assert client.get("/sd/prometheus").json == []


def test_the_command_prints_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tierwatch.toml"
    file.write_text('[[machine]]\nid = "a"\nurl = "http://a:9838"\n', encoding="utf-8")
    assert main(["targets", "--config", str(file)]) == 0
    (group,) = json.loads(capsys.readouterr().out)
    assert group["targets"] == ["a:9838"]
    assert group["labels"]["machine"] == "a"


def test_an_inventory_that_is_none_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tierwatch.toml"
    file.write_text('[[machine]]\nid = "a"\n', encoding="utf-8")
    assert main(["targets", "--config", str(file)]) == 2
    assert "url is missing" in capsys.readouterr().err
