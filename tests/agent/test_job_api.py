"""The routes by which jobs are reported, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agent.reporting import ServedJobs
from tierwatch_agent.job_api import LARGEST_BYTES, JobApi
from tierwatch_agent.servers.reported import MOST_RUNNING

JOBS = "/api/v1/jobs"
PID = os.getpid()


@pytest.fixture
def agent() -> Iterator[ServedJobs]:
    with ServedJobs() as agent:
        yield agent


def test_a_job_from_start_to_finish(agent: ServedJobs) -> None:
    about = {"pid": PID, "model": "sdxl", "width": 64, "height": 64, "batch": 2, "gpu": "0"}
    status, _, started = agent.ask("POST", JOBS, about)
    assert status == 201
    path = f"{JOBS}/{started['id']}"
    status, _, running = agent.ask("POST", f"{path}/progress", {"step": 3, "steps": 20})
    assert (status, running["step"], running["steps"]) == (200, 3, 20)
    assert [job["id"] for job in agent.ask("GET", JOBS)[2]["running"]] == [started["id"]]
    status, _, record = agent.ask("POST", f"{path}/finish", {"outcome": "success"})
    assert (status, record["images"], record["pixels"]) == (200, 2, 8192)
    assert record["gpu"] == "GPU-4080"
    assert agent.ask("GET", JOBS)[2] == {"running": [], "finished": [record]}
    assert agent.ask("POST", f"{path}/finish", {"outcome": "success"})[0] == 409
    assert agent.ask("POST", f"{path}/progress", {"step": 4})[0] == 409


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "pid"),
        ({"pid": "7"}, "pid: Expected `int`, got `str`"),
        ({"pid": 0}, "pid: Expected `int` >= 1"),
        ({"pid": PID, "width": -1}, "width: Expected `int` >= 1"),
        ({"pid": PID, "model": "x" * 201}, "model: Expected `str` of length <= 200"),
        ({"pid": PID, "steps": 10**9}, "steps: Expected `int` <= 1000000"),
        ({"pid": PID, "gpu": "3"}, "gpu: there is no GPU 3; there are: 0"),
        ({"pid": 2**32 - 1}, "pid: this machine has no process 4294967295"),
        ([1], "Expected `object`, got `array`"),
        (b"{", "not JSON: Input data was truncated"),
        (b'{"pid": 1, "model": "\xff"}', "not JSON"),
    ],
)
def test_what_cannot_be_taken_is_said_with_the_field(
    agent: ServedJobs, body: Any, words: str
) -> None:
    status, kind, text = agent.ask("POST", JOBS, body)
    assert (status, kind) == (400, "text/plain; charset=utf-8")
    assert words in text
    assert agent.running() == ()


def test_what_a_newer_reporter_tells_besides_is_left_aside(agent: ServedJobs) -> None:
    assert agent.ask("POST", JOBS, {"pid": PID, "sampler": "euler"})[0] == 201


def test_an_outcome_is_one_of_four(agent: ServedJobs) -> None:
    job_id = agent.ask("POST", JOBS, {"pid": PID})[2]["id"]
    status, _, text = agent.ask("POST", f"{JOBS}/{job_id}/finish", {"outcome": "fine"})
    assert (status, text) == (400, "outcome: Invalid enum value 'fine'\n")


def test_jobs_are_bounded_in_words(agent: ServedJobs) -> None:
    for _ in range(MOST_RUNNING):
        assert agent.ask("POST", JOBS, {"pid": PID})[0] == 201
    status, _, text = agent.ask("POST", JOBS, {"pid": PID})
    assert (status, text) == (503, "256 reported jobs run already: finish some first\n")


def test_a_report_is_bounded_and_json(agent: ServedJobs) -> None:
    assert agent.ask("POST", JOBS, b" " * (LARGEST_BYTES + 1))[0] == 413
    status, _, text = agent.ask("POST", JOBS, b"{}", Content_Type="text/plain")
    assert (status, text) == (415, "a report is JSON: Content-Type: application/json\n")


def test_a_report_without_a_length_is_refused_and_the_connection_ended(agent: ServedJobs) -> None:
    with socket.create_connection(("127.0.0.1", agent.port), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 411 ")


def test_other_methods_and_paths_say_so(agent: ServedJobs) -> None:
    job_id = agent.ask("POST", JOBS, {"pid": PID})[2]["id"]
    assert agent.ask("DELETE", JOBS)[::2] == (405, "only GET, HEAD, POST\n")
    assert agent.ask("GET", f"{JOBS}/{job_id}/finish")[::2] == (405, "only POST\n")
    assert agent.ask("GET", f"{JOBS}/{job_id}")[0] == 404
    assert agent.ask("POST", f"{JOBS}/{'0' * 32}/finish", {"outcome": "success"})[0] == 404
    assert agent.ask("HEAD", JOBS)[::2] == (200, "")


def test_a_web_page_and_a_proxy_s_client_are_refused(agent: ServedJobs) -> None:
    status, _, text = agent.ask("POST", JOBS, {"pid": PID}, Origin="http://evil.example")
    assert (status, text) == (403, "jobs are reported by programs, not by web pages\n")
    assert agent.ask("GET", JOBS, X_Forwarded_For="10.0.0.9")[0] == 403
    assert agent.running() == ()


def test_whoever_is_not_on_the_loopback_is_refused(agent: ServedJobs) -> None:

    api = JobApi(agent.reported, agent.steps, lambda: agent.snapshot)
    seen = {
        address: api.answer({"REQUEST_METHOD": "GET", "PATH_INFO": JOBS, "REMOTE_ADDR": address})[
            0
        ][:3]
        for address in (
            "127.0.0.1",
            "127.8.9.1",
            "::1",
            "::ffff:127.0.0.1",
            "192.168.1.7",
            "::2",
            "",
        )
    }
    assert seen == {
        "127.0.0.1": "200",
        "127.8.9.1": "200",
        "::1": "200",
        "::ffff:127.0.0.1": "200",
        "192.168.1.7": "403",
        "::2": "403",
        "": "403",
    }


def test_an_agent_on_the_network_refuses_its_peers_on_a_real_socket() -> None:
    address = _own_address()
    with ServedJobs(host="0.0.0.0") as agent:
        status, _, text = agent.ask("POST", JOBS, {"pid": PID}, to=address)
        expected = 201 if address.startswith("127.") else 403
        assert status == expected, text
        assert agent.ask("POST", JOBS, {"pid": PID})[0] == 201


def test_a_server_s_step_reaches_its_watch(agent: ServedJobs) -> None:
    told = {"server_port": 8188, "prompt_id": "p-1", "step": 4, "steps": 20, "event": "progress"}
    assert agent.ask("POST", "/api/v1/servers/steps", told)[::2] == (200, {"ok": True})
    report = agent.steps.get(8188)
    assert report is not None
    assert (report.step, report.steps) == (4, 20)
    status, _, text = agent.ask("POST", "/api/v1/servers/steps", {**told, "server_port": 0})
    assert (status, text) == (400, "server_port: Expected `int` >= 1\n")


def _own_address() -> str:
    """An address of this machine on its network; the loopback where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
