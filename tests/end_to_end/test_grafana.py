"""Every query of every Grafana panel finds series in a real Prometheus that watches the demo."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import pytest
from grafana import generate

from tests.end_to_end.grafana_queries import Query, filled, queries_of
from tests.end_to_end.prometheus_stack import PrometheusStack
from tests.end_to_end.test_demo import Demo
from tests.processes import eventually

pytestmark = pytest.mark.slow

VALUES = {"gpu": ".*", "tier": ".*", "tag": ".*", "__range": "5m", "__rate_interval": "1m"}
DEAF = "http://127.0.0.1:9/"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusStack]:
    folder = tmp_path_factory.mktemp("grafana")
    demo = Demo(folder)
    try:
        eventually(demo.verdicts, bool, "the demo's first answer")
        config = folder / ".demo" / "tierwatch.toml"
        hooks = {"studio": DEAF, "nobody": DEAF}
        stack = PrometheusStack(folder / "prometheus", config, demo.address, hooks)
        with stack:
            made = "sum(increase(tierwatch_images_generated_total[5m])) > 0"
            eventually(lambda: stack.values(made), bool, "images in Prometheus")
            yield stack
    finally:
        demo.process.send_signal(signal.SIGINT)
        demo.process.communicate(timeout=30)


@pytest.mark.parametrize("name", sorted(generate.DASHBOARDS))
def test_every_query_of_a_dashboard_finds_series(watched: PrometheusStack, name: str) -> None:
    document = json.loads((generate.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    values = {**VALUES, "machine": "render-02" if name == "machine" else ".*"}

    def silent() -> list[Query]:
        queries = queries_of(document)
        return [each for each in queries if not watched.values(filled(each.expr, values))]

    eventually(silent, lambda found: not found, "series for each query")
