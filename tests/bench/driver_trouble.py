"""How long /metrics takes while the driver hangs, loses a card, is updated, goes and comes back.

    python -m tests.bench.driver_trouble

A real agent on the fake driver, scraped twenty times a second throughout; a row for each trouble.
"""

from __future__ import annotations

import http.client
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.fakes.nvml import ANY, DRIVER_NOT_LOADED, GPU_IS_LOST, Card, Driver, FakeNvml
from tests.processes import RunningAgent

CARD = Card(name="NVIDIA GeForce RTX 4090", total_mib=24564)
WELL = Driver(cards=(CARD, CARD))
PHASE_SECONDS = 8.0
HANGING_SECONDS = 45.0
"""Longer than a hanging process is given, so that its replacement is in it."""
GAP_SECONDS = 0.05


def scrape_for(agent: RunningAgent, seconds: float) -> list[float]:
    """Milliseconds of each scrape."""
    connection = http.client.HTTPConnection("127.0.0.1", agent.port, timeout=10)
    taken: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        answer.read()
        taken.append(1000 * (time.perf_counter() - started))
        if answer.status != 200:
            raise RuntimeError(f"/metrics answered {answer.status}")
        time.sleep(GAP_SECONDS)
    connection.close()
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        fake = FakeNvml(Path(name))
        fake.write(WELL)
        unloaded = replace(WELL, init_error=DRIVER_NOT_LOADED, errors={ANY: DRIVER_NOT_LOADED})
        lost = replace(WELL, cards=(CARD, replace(CARD, errors={ANY: GPU_IS_LOST})))
        updated = replace(WELL, version="580.65.06", library="570.124.06")
        phases: tuple[tuple[str, Callable[[], None], float], ...] = (
            ("all well", lambda: None, PHASE_SECONDS),
            ("every call hangs", lambda: fake.write(replace(WELL, hang=(ANY,))), HANGING_SECONDS),
            ("returned", lambda: fake.write(WELL), PHASE_SECONDS),
            ("a card is lost", lambda: fake.write(lost), PHASE_SECONDS),
            ("library outdated", lambda: fake.write(updated), PHASE_SECONDS),
            ("unloaded", lambda: fake.write(unloaded), PHASE_SECONDS),
            ("library removed", fake.remove, PHASE_SECONDS),
            ("put back", lambda: (fake.restore(), fake.write(WELL))[0], PHASE_SECONDS),
        )
        config = 'sources = ["nvml"]\n'
        with RunningAgent(Path(name), config=config, environment=fake.env) as agent:
            print(f"{'the driver':20}{'scrapes':>9}{'p50 ms':>9}{'max ms':>9}   the source then")
            for what, begin, seconds in phases:
                begin()
                taken = sorted(scrape_for(agent, seconds))
                source = agent.snapshot().sources[0]
                print(
                    f"{what:20}{len(taken):9}{taken[len(taken) // 2]:9.2f}{taken[-1]:9.2f}   "
                    f"{source.state}{f': {source.reason}' if source.reason else ''}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
