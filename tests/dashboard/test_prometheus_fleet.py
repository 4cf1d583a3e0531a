"""The fleet out of a PromQL engine that misbehaves: played on real sockets, asked as it is in use.

How real engines answer is held in ``tests/end_to_end/test_same_verdicts.py``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.fakes.agents import Agents, http, raw
from tests.processes import eventually, free_port
from tierwatch_dashboard.fleet import Reading, mapping
from tierwatch_dashboard.fleet.prometheus import PrometheusFleet
from tierwatch_dashboard.fleet.promql import Promql
from tierwatch_dashboard.fleet.promql_settings import PromqlSettings
from tierwatch_dashboard.inventory import Machine

NOW = 1_795_555_200.0
Series = list[tuple[dict[str, str], float]]


class Engine:
    """Answers instant queries from a table: what a query holds to the series it finds."""

    def __init__(self, agents: Agents) -> None:
        self.found: dict[str, Series] = {
            "timestamp(": [({"machine": "a"}, NOW - 2)],
            "(up)": [({"machine": "a"}, 1)],
            "snapshot_timestamp_seconds|": [
                ({"__name__": "tierwatch_snapshot_timestamp_seconds", "machine": "a"}, NOW - 3)
            ],
        }
        self.misbehaves: Callable[[asyncio.StreamWriter], Any] | None = None
        self.heads: list[str] = []
        self.queries: list[dict[str, list[str]]] = []
        self.url = agents.play(self._answer)

    async def _answer(self, request: str, writer: asyncio.StreamWriter) -> None:
        head, _, body = request.partition("\r\n\r\n")
        self.heads.append(head)
        asked = parse_qs(body)
        self.queries.append(asked)
        if self.misbehaves is not None:
            await self.misbehaves(writer)
            return
        query = asked["query"][0]
        result = [
            {"metric": labels, "value": [NOW, repr(float(value))]}
            for sign, series in self.found.items()
            if sign in query
            for labels, value in series
        ]
        document = {"status": "success", "data": {"resultType": "vector", "result": result}}
        writer.write(http(json.dumps(document).encode()))

    def says(self, status: str, body: bytes = b"", headers: str = "") -> None:
        """From now on it says this to every question."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(http(body, status=status, headers=headers))

        self.misbehaves = answer


class Fleet:
    """A source that reads machines ``a`` and ``b``, round by round."""

    def __init__(self, **settings: Any) -> None:
        self.readings: list[Reading] = []
        self.source = PrometheusFleet(
            lambda: [Machine(id=id_, url=f"http://{id_}:9838") for id_ in ("a", "b")],
            self.readings.append,
            engine=Promql(PromqlSettings(**{"timeout_seconds": 5.0, **settings})),
            series=mapping.load("tierwatch"),
            now=lambda: NOW + 1000,
        )

    def round(self) -> dict[str, Reading]:
        """What one round delivers."""
        before = len(self.readings)
        self.source.poll_round()
        eventually(lambda: len(self.readings), lambda n: n == before + 2, "a round")
        return {reading.machine: reading for reading in self.readings[before:]}


@contextmanager
def reading(**settings: Any) -> Iterator[Fleet]:
    fleet = Fleet(**settings)
    fleet.source.start()
    try:
        yield fleet
    finally:
        fleet.source.stop()


@pytest.fixture
def agents() -> Iterator[Agents]:
    with Agents() as agents:
        yield agents


@pytest.fixture
def engine(agents: Agents) -> Engine:
    return Engine(agents)


def why(engine: Engine, **settings: Any) -> str:
    """What is said of a round that came to nothing."""
    with reading(url=engine.url, **settings) as fleet:
        found = fleet.round()
        assert {each.source_failed for each in found.values()} == {True}
        assert found["a"].snapshot is None
        health = fleet.source.health()
        assert health.error == found["a"].error == found["b"].error
        assert health.failed == 2
        return health.error or ""


def test_a_reading_is_as_old_as_its_samples(engine: Engine) -> None:
    with reading(url=engine.url) as fleet:
        found = fleet.round()
        assert found["a"].snapshot is not None
        assert found["a"].snapshot.taken_at == NOW - 3
        assert found["a"].at == NOW + 1000 - 2
        assert found["a"].error is None
        health = fleet.source.health()
        assert (health.succeeded, health.failed, health.error) == (1, 1, None)
        assert health.last["a"].at == NOW + 1000


def test_a_machine_without_series_is_told_from_one_that_is_not_scraped(engine: Engine) -> None:
    engine.found["(up)"].append(({"machine": "b"}, 0))
    where = engine.url.removeprefix("http://")
    with reading(url=engine.url) as fleet:
        assert fleet.round()["b"].error == f"{where} cannot scrape it"
        engine.found["(up)"].pop()
        told = fleet.round()["b"]
        assert told.error == f'{where} has no target of it, with the label machine="b"'
        assert not told.source_failed


def test_samples_that_are_late_are_said_to_be(engine: Engine) -> None:
    engine.found["timestamp("] = [({"machine": "a"}, NOW - 60)]
    with reading(url=engine.url) as fleet:
        found = fleet.round()["a"]
        assert found.snapshot is not None
        assert found.at == NOW + 1000 - 60
        assert "has had no sample of it lately" in (found.error or "")


def test_a_round_asks_ten_questions_as_of_the_engine_s_own_moment(engine: Engine) -> None:
    with reading(url=engine.url) as fleet:
        fleet.round()
        assert len(engine.queries) == 10
        engine.found["timestamp("] = [({"machine": f"m{n}"}, NOW) for n in range(5000)]
        fleet.round()
    assert len(engine.queries) == 20
    assert "time" not in engine.queries[0]
    assert {asked["time"][0] for asked in engine.queries[1:10]} == {repr(NOW)}
    assert all(asked["partial_response"] == ["false"] for asked in engine.queries)


def test_an_engine_that_never_answers_costs_its_timeout_and_no_more(engine: Engine) -> None:
    async def hangs(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    engine.misbehaves = hangs
    where = engine.url.removeprefix("http://")
    with reading(url=engine.url, timeout_seconds=0.3) as fleet:
        assert fleet.round()["a"].error == f"no answer from {where} within 0.3 s"
        engine.misbehaves = None
        assert fleet.round()["a"].error is None
        assert fleet.source.health().error is None


def test_a_trickle_is_no_answer_either(engine: Engine) -> None:
    async def trickles(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            writer.write(b"{")
            await asyncio.sleep(0.05)

    engine.misbehaves = trickles
    assert "within 0.3 s" in why(engine, timeout_seconds=0.3)


def test_rounds_that_are_due_meanwhile_are_left_out(engine: Engine) -> None:
    async def hangs(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    engine.misbehaves = hangs
    with reading(url=engine.url, timeout_seconds=2.0) as fleet:
        fleet.source.poll_round()
        fleet.source.poll_round()
        assert fleet.source.health().skipped == 2


def test_nothing_is_delivered_once_it_is_stopped(engine: Engine) -> None:
    async def hangs(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0)

    engine.misbehaves = hangs
    with reading(url=engine.url) as fleet:
        fleet.source.poll_round()
        eventually(lambda: engine.queries, bool, "a question")
        fleet.source.stop()
        assert fleet.readings == []
        fleet.source.poll_round()
        assert fleet.readings == []


def test_what_an_engine_refuses_is_said_with_the_mend(engine: Engine) -> None:
    where = engine.url.removeprefix("http://")
    error = json.dumps({"status": "error", "errorType": "x", "error": "too many series"})
    engine.says("422 Unprocessable Entity", error.encode())
    assert why(engine) == f"{where} answers with an error: too many series"
    engine.says("503 Service Unavailable", b"<html>")
    assert why(engine) == f"{where} answers with an error: HTTP 503"
    engine.says("401 Unauthorized")
    assert why(engine).startswith(f"{where} refuses the dashboard (HTTP 401): mend user, bearer")
    engine.says("404 Not Found")
    assert "has no query API there (HTTP 404): the url must be" in why(engine)
    engine.says("200 OK", b"<html>")
    assert f"{where} answers, but not as Prometheus does" in why(engine)
    engine.says("200 OK", b'{"status": "success", "data": {"result": [{"metric": 1}]}}')
    assert f"{where} answers, but not as Prometheus does" in why(engine)


def test_a_redirect_is_not_followed_since_it_would_take_the_secret_along(
    engine: Engine, agents: Agents
) -> None:
    other = Engine(agents)
    engine.says("307 Temporary Redirect", headers=f"Location: {other.url}/api/v1/query\r\n")
    assert why(engine, bearer="s3cret").endswith("give that as url")
    assert other.heads == []


def test_nobody_there_is_said(agents: Agents) -> None:
    port = free_port()
    with reading(url=f"http://127.0.0.1:{port}") as fleet:
        error = fleet.round()["a"].error
    assert error == f"127.0.0.1:{port} refuses the connection: does it run?"


def test_a_connection_that_is_cut_is_said(agents: Agents) -> None:
    url = agents.play(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"))
    with reading(url=url) as fleet:
        assert fleet.round()["a"].error == f"{url.removeprefix('http://')} broke off its answer"


def test_an_engine_that_knows_nobody_is_another_s(engine: Engine) -> None:
    engine.found.clear()
    assert "has no series of Tierwatch's agents: does it scrape them" in why(engine)


def test_a_value_that_is_no_number_is_unknown(engine: Engine) -> None:
    engine.found["snapshot_timestamp_seconds|"] += [
        ({"__name__": f"tierwatch_host_memory_{name}_bytes", "machine": "a"}, value)
        for name, value in (("total", 64.0), ("available", float("nan")))
    ]
    with reading(url=engine.url) as fleet:
        snapshot = fleet.round()["a"].snapshot
    assert snapshot is not None
    assert snapshot.host is None


def test_questions_are_signed_and_bear_the_headers(engine: Engine, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n", encoding="utf-8")
    headers = {"X-Scope-OrgID": "studio"}
    with reading(url=engine.url, bearer_file=token, headers=headers) as fleet:
        fleet.round()
        assert all("Authorization: Bearer first" in head for head in engine.heads)
        assert all("X-Scope-OrgID: studio" in head for head in engine.heads)
        engine.heads.clear()
        token.write_text("second\n", encoding="utf-8")
        fleet.round()
        assert all("Authorization: Bearer second" in head for head in engine.heads)
        token.unlink()
        error = fleet.round()["a"].error
        assert error is not None
        assert error.startswith(f"the secret in {token} cannot be read")


def test_a_user_signs_with_the_password_of_a_file(engine: Engine, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("päss\n", encoding="utf-8")
    with reading(url=engine.url, user="tierwatch", password_file=password) as fleet:
        fleet.round()
    pair = base64.b64encode("tierwatch:päss".encode()).decode()
    assert f"Authorization: Basic {pair}" in engine.heads[0]


def test_tls_is_held_to_the_authority_that_is_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    # Both ends show a certificate.
    context.verify_mode = ssl.CERT_REQUIRED
    with Agents(tls=context) as agents:
        engine = Engine(agents)
        url = engine.url.replace("http://", "https://")
        with reading(url=url, ca_file=certificate, cert_file=certificate, key_file=key) as fleet:
            assert fleet.round()["a"].error is None
        with reading(url=url, cert_file=certificate, key_file=key) as fleet:
            error = fleet.round()["a"].error
        assert error is not None
        assert "is not trusted" in error
