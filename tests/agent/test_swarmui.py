from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.servers import FAULTS, Clock, Fault
from tests.fakes.servers.a1111 import FakeA1111
from tests.fakes.servers.swarmui import FakeSwarmUI
from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading
from tierwatch_agent.servers.swarmui import SwarmUI


@pytest.fixture
def fake() -> Iterator[FakeSwarmUI]:
    fake = FakeSwarmUI()
    yield fake
    fake.stop()


@pytest.fixture
def server(fake: FakeSwarmUI) -> Iterator[SwarmUI]:
    server = SwarmUI("swarmui-7801", fake.url, timeout_seconds=0.3)
    yield server
    server.close()


def test_it_tells_its_version_and_its_queue_and_no_jobs(fake: FakeSwarmUI, server: SwarmUI) -> None:
    assert server.identify() == "0.9.6.5"
    assert server.read() == ServerReading(queue_pending=0, queue_running=0)
    fake.unfinished, fake.live = 5, 2
    assert server.read() == ServerReading(queue_pending=3, queue_running=2)


def test_one_session_is_made_and_used_on(fake: FakeSwarmUI, server: SwarmUI) -> None:
    server.identify()
    for _ in range(20):
        server.read()
    assert len(fake.sessions) == 1


def test_a_session_that_the_server_forgot_is_renewed(fake: FakeSwarmUI, server: SwarmUI) -> None:
    server.identify()
    fake.forget_sessions()
    assert server.read().queue_running == 0
    assert len(fake.sessions) == 1


def test_a_restart_is_followed(fake: FakeSwarmUI, server: SwarmUI) -> None:
    server.identify()
    fake.stop()
    with pytest.raises(ServerError, match="nothing listens there"):
        server.read()
    fake.forget_sessions()
    fake.start()
    assert server.read().queue_running == 0


def test_a_version_that_tells_only_of_ones_own_session_tells_no_queue() -> None:
    fake = FakeSwarmUI(tells_everybody=False)
    fake.unfinished, fake.live = 5, 2
    server = SwarmUI("swarmui-7801", fake.url)
    server.identify()
    assert server.read() == ServerReading()
    assert server.read() == ServerReading()
    assert fake.asked.count("POST /API/GetGlobalStatus") == 1
    server.close()
    fake.stop()


def test_a_server_that_knows_its_accounts_only_says_so() -> None:
    fake = FakeSwarmUI(open_to_strangers=False)
    server = SwarmUI("swarmui-7801", fake.url)
    with pytest.raises(ServerError, match="gives no session to who has no account"):
        server.identify()
    server.close()
    fake.stop()


def test_another_kind_of_server_is_told_apart() -> None:
    fake = FakeA1111(Clock())
    server = SwarmUI("swarmui-7801", fake.url)
    with pytest.raises(NotThisServer):
        server.identify()
    server.close()
    fake.stop()


def test_an_answer_without_a_session_is_told_apart(fake: FakeSwarmUI, server: SwarmUI) -> None:
    fake.pages["POST /API/GetNewSession"] = lambda query, body: {"hello": "world"}
    with pytest.raises(NotThisServer):
        server.identify()


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_server_in_trouble_is_down_in_words(
    fake: FakeSwarmUI, server: SwarmUI, fault: Fault, words: str
) -> None:
    server.identify()
    fake.fault = fault
    with pytest.raises(ServerError) as failure:
        server.read()
    assert words in str(failure.value)
    fake.fault = None
    assert server.read().queue_running == 0


@pytest.mark.parametrize(
    ("unfinished", "live", "reading"),
    [
        ("5", 2, ServerReading(queue_running=2)),
        (5, None, ServerReading()),
        (-1, 2, ServerReading(queue_running=2)),
        (1, 2, ServerReading(queue_pending=0, queue_running=2)),
    ],
)
def test_a_count_of_the_wrong_type_costs_that_count(
    fake: FakeSwarmUI,
    server: SwarmUI,
    unfinished: object,
    live: object,
    reading: ServerReading,
) -> None:
    fake.unfinished, fake.live = unfinished, live
    assert server.read() == reading


def test_a_status_without_counts_is_said_in_words(fake: FakeSwarmUI, server: SwarmUI) -> None:
    fake.pages["POST /API/GetGlobalStatus"] = lambda query, body: {"status": "fine"}
    with pytest.raises(ServerError, match="its status has no counts"):
        server.read()


def test_waiting_ends_when_it_is_closed(server: SwarmUI) -> None:
    server.close()
    server.wait(3600)
