"""What a fleet of agents answers, on real sockets, becomes readings for people.

The machines are named g and c since these have their turns at the very start of a round.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
import pytest

from tests.fakes.agents import Agents, gpu, healthy, http, raw, says, snapshot
from tierwatch_agent.snapshot import Attribution, ServerSample, Stall, encode
from tierwatch_agent.words import Packed, Words
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.polling import BEATS, PollingFleet, turn
from tierwatch_dashboard.inventory import Machine


class Fleet:
    """A PollingFleet whose rounds the test begins and whose readings it waits for."""

    def __init__(self, **urls: str) -> None:
        self.machines = tuple(Machine(id=id_, url=url) for id_, url in urls.items())
        self.readings: dict[str, list[Reading]] = {}
        self._arrived = threading.Condition()
        self.polling = PollingFleet(lambda: self.machines, self._take, interval=0.5)
        self.polling.start()

    def _take(self, reading: Reading) -> None:
        with self._arrived:
            self.readings.setdefault(reading.machine, []).append(reading)
            self._arrived.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(condition, timeout=20)

    def ask(self) -> dict[str, Reading]:
        """One round; the reading of each machine."""
        before = {m.id: len(self.readings.get(m.id, [])) for m in self.machines}
        self.polling.poll_round()
        self.wait_for(lambda: all(len(self.readings.get(i, [])) > n for i, n in before.items()))
        return {id_: self.readings[id_][-1] for id_ in before}


@pytest.fixture
def agents() -> Iterator[Agents]:
    with Agents() as agents:
        yield agents


@pytest.fixture
def fleet() -> Iterator[Callable[..., Fleet]]:
    fleets: list[Fleet] = []

    def build(**urls: str) -> Fleet:
        fleets.append(Fleet(**urls))
        return fleets[-1]

    yield build
    for built in fleets:
        built.polling.stop()


def test_each_machine_of_the_inventory_delivers_its_snapshot(
    agents: Agents, fleet: Callable[..., Fleet]
) -> None:
    readings = fleet(g=agents.play(healthy("g")), c=agents.play(healthy("c"))).ask()
    for id_, reading in readings.items():
        assert reading.error is None
        assert reading.snapshot is not None
        assert reading.snapshot.machine == id_
        assert reading.duration_seconds > 0
        assert abs(reading.at - time.time()) < 60


def test_one_connection_serves_many_rounds(agents: Agents, fleet: Callable[..., Fleet]) -> None:
    url = agents.play(healthy("g"))
    asked = fleet(g=url)
    for _ in range(4):
        asked.ask()
    assert agents.requests[url] == 4
    assert agents.connections[url] == 1


GARBAGE = raw(b"220 mail.example.org ESMTP ready, not a web server\r\n")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
NEWER = b'{"schema": 99, "machine": ["renamed"]}'
HUGE = says(b'{"schema": 1, "machine": "' + b"a" * (9 * 2**20) + b'"}')


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (says(b"<html>Welcome to nginx</html>"), "answers, but not as a Tierwatch agent: not a"),
        (says(b'{"status": "fine"}'), "answers, but not as a Tierwatch agent: not a machine snap"),
        (says(b"\xff\xfe{}"), "answers, but not as a Tierwatch agent: not a machine snapshot"),
        (says(b"no", status="404 Not Found"), "not as a Tierwatch agent: HTTP 404 for /api/v1/sn"),
        (says(b"", status="500 Internal Server Error"), "an error of its own: HTTP 500"),
        (says(NEWER), "its agent is newer (schema 99) than this dashboard can read"),
        (HUGE, "answers, but not as a Tierwatch agent: more than 8 MiB"),
        (GARBAGE, "answers, but not as a Tierwatch agent: it does not speak HTTP"),
        (raw(HEAD + b'{"schema": 1, "mach'), "closed the connection before its whole answer"),
        (raw(b""), "closed the connection without an answer"),
        (raw(HEAD, then_close=False), "no whole answer from 127.0.0.1:"),
        (raw(b"", then_close=False), "no whole answer from 127.0.0.1:"),
    ],
    ids=[
        "html", "other-json", "not-text", "404", "500", "newer-schema", "huge", "not-http",
        "closes-mid-body", "closes-at-once", "hangs-after-headers", "silent",
    ],
)  # fmt: skip
def test_what_is_no_agent_is_said_in_words(
    agents: Agents, fleet: Callable[..., Fleet], answer: object, words: str
) -> None:
    reading = fleet(g=agents.play(answer)).ask()["g"]  # type: ignore[arg-type]
    assert reading.snapshot is None
    assert words in (reading.error or "")


def test_a_redirect_is_not_followed(agents: Agents, fleet: Callable[..., Fleet]) -> None:
    elsewhere = agents.play(healthy("g"))
    redirect = raw(http(b"", status="302 Found", headers=f"Location: {elsewhere}/api\r\n"))
    reading = fleet(g=agents.play(redirect)).ask()["g"]
    assert f"it redirects to {elsewhere}/api" in (reading.error or "")
    assert agents.requests[elsewhere] == 0


def test_a_port_where_nothing_listens_asks_whether_the_agent_runs(
    fleet: Callable[..., Fleet],
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{unused.getsockname()[1]}"
        reading = fleet(g=f"http://{where}").ask()["g"]
    assert reading.error == f"connection refused: is the agent running on {where}?"


def test_a_name_that_does_not_exist_is_said(fleet: Callable[..., Fleet]) -> None:
    reading = fleet(g="http://render-01.invalid:9838").ask()["g"]
    assert reading.error == "cannot find render-01.invalid: no address is known for this name"


def test_https_to_an_agent_without_tls_is_said(agents: Agents, fleet: Callable[..., Fleet]) -> None:
    url = agents.play(raw(http(b"", status="400 Bad Request")))
    reading = fleet(g=url.replace("http:", "https:")).ask()["g"]
    assert "does its agent speak http, not https?" in (reading.error or "")


def test_an_address_that_is_none_says_how_to_write_it(fleet: Callable[..., Fleet]) -> None:
    reading = fleet(g="render-01").ask()["g"]
    assert reading.error == "'render-01' is no address of an agent: write http://HOST:9838"


def test_dead_machines_delay_nobody_and_pile_up_nowhere(
    agents: Agents, fleet: Callable[..., Fleet]
) -> None:
    silent = agents.play(raw(b"", then_close=False))
    asked = fleet(alive=agents.play(healthy("alive")), dead=silent)
    asked.polling.poll_round()
    asked.wait_for(lambda: "alive" in asked.readings)
    assert "dead" not in asked.readings
    # Rounds much faster than a dead machine's timeout: each finds its last poll under way.
    asked.wait_for(lambda: _keep_asking(asked) and asked.polling.health().skipped > 3)
    asked.wait_for(lambda: "dead" in asked.readings)
    health = asked.polling.health()
    assert health.skipped > 3
    assert health.succeeded == len(asked.readings["alive"])
    assert health.failed == len(asked.readings["dead"])
    assert agents.requests[silent] <= len(asked.readings["dead"]) + 1


def _keep_asking(asked: Fleet) -> bool:
    asked.polling.poll_round()
    return True


def test_a_changed_inventory_holds_from_the_next_round_on(
    agents: Agents, fleet: Callable[..., Fleet]
) -> None:
    asked = fleet(g=agents.play(healthy("g")), c=agents.play(healthy("c")))
    asked.ask()
    moved = agents.play(says(encode(snapshot("g", taken_at=7.0))))
    asked.machines = (
        Machine(id="g", url=moved),
        Machine(id="m", url=agents.play(healthy("m"))),
    )
    readings = asked.ask()
    assert readings["g"].snapshot is not None
    assert readings["g"].snapshot.taken_at == 7.0
    assert readings["m"].error is None
    assert set(asked.polling.health().last) == {"g", "m"}
    assert len(asked.readings["c"]) == 1


def test_an_agent_that_comes_back_is_read_again(
    agents: Agents, fleet: Callable[..., Fleet]
) -> None:
    url = agents.play(healthy("g"))
    asked = fleet(g=url)
    assert asked.ask()["g"].error is None
    agents.end(url)
    assert "connection refused" in (asked.ask()["g"].error or "")
    agents.play(healthy("g"), port=int(url.rsplit(":", 1)[1]))
    assert asked.ask()["g"].error is None


def stalling(said: Packed | None) -> bytes:
    """A machine whose job stalls, with these words for it."""
    stall = Stall(cause="hang", since=1.0, evidence="no step for 9 s", said=said)
    server = ServerSample(id="comfyui-8188", kind="comfyui", stall=stall)
    return encode(msgspec.structs.replace(snapshot("g"), servers=(server,)))


WORDS = Packed(template="no step for {time}", values={"time": "9 s"})


def test_what_a_stall_is_judged_by_is_words_where_the_agent_tells_of_what_they_are_made(
    agents: Agents, fleet: Callable[..., Fleet]
) -> None:
    known, old = agents.play(says(stalling(WORDS))), agents.play(says(stalling(None)))
    told = [evidence_in(reading) for reading in fleet(g=known, c=old).ask().values()]
    assert told == ["no step for 9 s"] * 2
    assert isinstance(told[0], Words)
    assert told[0].template == WORDS.template
    assert not isinstance(told[1], Words)


@pytest.mark.parametrize(
    "said",
    [
        Packed(template="no step for {missing}"),
        Packed(template="all is well"),
        Packed(template=""),
        Packed(template="{a}" * 100_000, values={"a": "x" * 1_000}),
        msgspec.structs.replace(WORDS, many="{count} steps", count=1),
    ],
)
def test_words_that_are_not_those_of_the_stall_do_no_harm(
    agents: Agents, fleet: Callable[..., Fleet], said: Packed
) -> None:
    evidence = evidence_in(fleet(g=agents.play(says(stalling(said)))).ask()["g"])
    assert evidence == "no step for 9 s"
    assert not isinstance(evidence, Words)


def evidence_in(reading: Reading) -> str:
    assert reading.snapshot is not None
    stall = reading.snapshot.servers[0].stall
    assert stall is not None
    return stall.evidence


def test_what_else_an_agent_says_is_words(agents: Agents, fleet: Callable[..., Fleet]) -> None:
    why = "Windows does not tell how much python.exe (pid 7) holds"
    said = Packed(
        template="{system} does not tell how much {who} holds",
        values={"system": "Windows", "who": "python.exe (pid 7)"},
    )
    attribution = Attribution(available_bytes=1, basis="none", lower_bound=True, why=why, said=said)
    lost = msgspec.structs.replace(
        gpu(), state="lost", detail="it is gone", attribution=attribution
    )
    down = ServerSample(id="comfyui-8188", kind="comfyui", state="down", reason="it has ended")
    sent = msgspec.structs.replace(snapshot("g", gpus=(lost,)), servers=(down,))
    sources = tuple(msgspec.structs.replace(each, reason="hangs") for each in sent.sources)
    sent = msgspec.structs.replace(sent, sources=sources)
    heard = fleet(g=agents.play(says(encode(sent)))).ask()["g"].snapshot
    assert heard is not None
    assert heard == sent
    assert heard.gpus[0].attribution is not None
    told = heard.gpus[0].attribution.why
    assert isinstance(told, Words)
    assert told.template == said.template
    for word in (heard.gpus[0].detail, heard.servers[0].reason, heard.sources[0].reason):
        assert isinstance(word, Words)


def test_why_there_is_no_answer_is_words(agents: Agents, fleet: Callable[..., Fleet]) -> None:
    url = agents.play(healthy("g"))
    agents.end(url)
    error = fleet(g=url).ask()["g"].error
    assert isinstance(error, Words)
    assert error.template == "connection refused: is the agent running on {where}?"


def test_turns_are_the_same_each_round_and_even_over_a_large_fleet() -> None:
    turns = [turn(f"render-{n:04}") for n in range(2000)]
    assert turns == [turn(f"render-{n:04}") for n in range(2000)]
    asked_at = Counter(turns)
    assert set(asked_at) == set(range(BEATS))
    assert all(150 < asked_at[beat] < 250 for beat in range(BEATS))


def test_nothing_is_delivered_after_the_stop(agents: Agents, fleet: Callable[..., Fleet]) -> None:
    asked = fleet(g=agents.play(healthy("g")))
    asked.ask()
    asked.polling.poll_round()
    asked.polling.stop()
    count = len(asked.readings["g"])
    asked.polling.poll_round()
    assert len(asked.readings["g"]) == count
