"""What the documents promise is there: metrics, settings, commands, sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs.make_metrics import PAGE, page

from tierwatch_agent.catalogue import AGENT, DASHBOARD
from tierwatch_agent.config import ENVIRONMENT, Config
from tierwatch_agent.gpus import SOURCES
from tierwatch_agent.tiers import DEFAULT_TIERS
from tierwatch_agent.wording import gib

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_metrics_is_the_catalogue_s() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make docs"


@pytest.mark.parametrize("metric", [*AGENT.values(), *DASHBOARD.values()], ids=lambda m: m.name)
def test_names_follow_prometheus_conventions(metric: object) -> None:
    name, kind = metric.name, metric.type  # type: ignore[attr-defined]
    assert re.fullmatch(r"tierwatch_[a-z0-9_]+", name)
    assert (kind == "counter") == name.endswith("_total")
    assert (kind == "info") == name.endswith("_info")
    assert not re.search(r"_(percent|mib|mb|gb|milliwatts|mhz|ms)(_|$)", name)


@pytest.mark.parametrize("setting", [s for s in Config.__struct_fields__ if s != "source"])
def test_readme_names_each_setting_of_the_agent(setting: str) -> None:
    assert setting in README or setting.upper() in README


def test_readme_names_each_source_and_variable() -> None:
    for source in SOURCES:
        assert source in README
    for variable in ENVIRONMENT.values():
        assert variable.removeprefix("TIERWATCH_AGENT") in README


def test_readme_s_table_of_tiers_is_the_default_ladder() -> None:
    for tier in DEFAULT_TIERS:
        row = next(line for line in README.splitlines() if line.startswith(f"| {tier.name} |"))
        assert tier.purpose in row
        if tier.vram_gb:
            assert f"{tier.vram_gb:g} GB card, {gib(tier.floor_bytes)} available" in row


def test_readme_s_links_and_pictures_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
