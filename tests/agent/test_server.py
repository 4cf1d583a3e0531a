"""The agent's pages over a real socket."""

from __future__ import annotations

import gzip
import http.client
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.agent.snapshots import RTX_4080_SUPER, machine
from tierwatch_agent import exposition
from tierwatch_agent import snapshot as contract
from tierwatch_agent.server import http_server
from tierwatch_agent.snapshot import MachineSnapshot

PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What Prometheus 2.42 sends."""


class Agent:
    """A served snapshot that the test may swap, and one connection to it."""

    def __init__(self) -> None:
        self.snapshot: MachineSnapshot = machine(RTX_4080_SUPER)
        self.server = http_server("127.0.0.1", 0, lambda: self.snapshot)
        self.server.prepare()
        self.thread = threading.Thread(target=self.server.serve)
        self.thread.start()
        self.connection = http.client.HTTPConnection(*self.server.socket.getsockname())

    def get(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, headers=names)
        answer = self.connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def close(self) -> None:
        self.connection.close()
        self.server.stop()
        self.thread.join()


@pytest.fixture
def agent() -> Iterator[Agent]:
    agent = Agent()
    yield agent
    agent.close()


def test_metrics_are_text_unless_openmetrics_is_preferred(agent: Agent) -> None:
    _, headers, body = agent.get("/metrics")
    assert headers["content-type"] == exposition.TEXT_TYPE
    assert body == exposition.render(agent.snapshot)
    _, headers, body = agent.get("/metrics", Accept=PROMETHEUS_ACCEPT)
    assert headers["content-type"] == exposition.OPENMETRICS_TYPE
    assert body == exposition.render(agent.snapshot, openmetrics=True)
    _, headers, _ = agent.get(
        "/metrics", Accept="application/openmetrics-text;q=0.2,text/plain;q=0.9"
    )
    assert headers["content-type"] == exposition.TEXT_TYPE


def test_gzip_where_it_is_accepted(agent: Agent) -> None:
    _, headers, body = agent.get("/metrics", Accept_Encoding="gzip, deflate")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body) == exposition.render(agent.snapshot)
    _, headers, _ = agent.get("/metrics", Accept_Encoding="gzip;q=0, identity")
    assert "content-encoding" not in headers


def test_names_filter_as_prometheus_exporters_do(agent: Agent) -> None:
    _, _, body = agent.get("/metrics?name[]=tierwatch_gpu_up&name[]=tierwatch_gpu_info")
    families = {line.split("{")[0] for line in body.decode().splitlines() if line[0] != "#"}
    assert families == {"tierwatch_gpu_up", "tierwatch_gpu_info"}


def test_one_snapshot_is_rendered_once(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[MachineSnapshot] = []

    def counting(snapshot: MachineSnapshot, **how: Any) -> bytes:
        rendered.append(snapshot)
        return exposition.render(snapshot, **how)

    monkeypatch.setattr("tierwatch_agent.server.render", counting)
    for _ in range(3):
        agent.get("/metrics")
        agent.get("/metrics", Accept_Encoding="gzip")
    assert len(rendered) == 1
    agent.snapshot = msgspec.structs.replace(agent.snapshot, taken_at=2.0)
    agent.get("/metrics")
    assert rendered[1:] == [agent.snapshot]


def test_the_snapshot_is_json_and_not_sent_twice(agent: Agent) -> None:
    status, headers, body = agent.get("/api/v1/snapshot", Accept_Encoding="gzip")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert contract.decode(gzip.decompress(body)) == agent.snapshot
    status, _, body = agent.get("/api/v1/snapshot", If_None_Match=headers["etag"])
    assert (status, body) == (304, b"")
    agent.snapshot = msgspec.structs.replace(agent.snapshot, taken_at=2.0)
    status, _, _ = agent.get("/api/v1/snapshot", If_None_Match=headers["etag"])
    assert status == 200


def test_health_says_when_the_sampler_is_stuck(agent: Agent) -> None:
    status, _, body = agent.get("/healthz")
    assert status == 503
    assert b"the sampler is stuck" in body
    agent.snapshot = msgspec.structs.replace(agent.snapshot, taken_at=4e9)
    assert agent.get("/healthz")[0] == 200


def test_what_is_not_there_says_so_and_head_has_no_body(agent: Agent) -> None:
    assert agent.get("/nothing")[0] == 404
    assert agent.get("/metrics", method="POST")[0] == 405
    status, headers, body = agent.get("/metrics", method="HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1000
    assert b"render-01" in agent.get("/")[2]
