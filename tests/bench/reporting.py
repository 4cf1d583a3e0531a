"""What it costs a script to report a step: with an agent, without one, switched off.

    python -m tests.bench.reporting [--steps 5000000]

A step is what the caller's thread spends in ``j.step(i)`` or in diffusers' callback; the empty loop
is taken off. Beside it a loop that computes, bare and reported, in turn: what the reporting thread
takes of the script's own time. Take ratios, not times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

from tests.agent.reporting import ServedJobs
from tests.processes import free_port
from tierwatch_agent.jobs import URL_VARIABLE, Job, flush, job

ROUNDS = 7
BAR_STEPS = 1000
COMPUTING_STEPS = 50
COMPUTING_ADDITIONS = 400_000
"""In each step; some 20 ms."""


def seconds(loop: Callable[[], None]) -> float:
    """How long a loop takes."""
    started = time.perf_counter()
    loop()
    return time.perf_counter() - started


def loops(j: Job, steps: int) -> dict[str, Callable[[], None]]:
    """An empty loop and the two ways of reporting in it."""

    def empty() -> None:
        for i in range(steps):
            _ = i % BAR_STEPS

    def step() -> None:
        for i in range(steps):
            j.step(i % BAR_STEPS)

    def callback() -> None:
        given: dict[str, object] = {}
        for i in range(steps):
            j.callback_on_step_end(None, i % BAR_STEPS, 0, given)

    return {"empty": empty, "step": step, "callback": callback}


def microseconds_per_step(steps: int) -> dict[str, tuple[float, float]]:
    """Median and worst round of each way, the empty loop taken off."""
    with job(model="bench", steps=BAR_STEPS) as j:
        flush()
        ways = loops(j, steps)
        rounds = [{name: seconds(loop) for name, loop in ways.items()} for _ in range(ROUNDS)]
    flush()
    costs = {
        name: [(took[name] - took["empty"]) / steps * 1e6 for took in rounds]
        for name in ("step", "callback")
    }
    return {name: (statistics.median(cost), max(cost)) for name, cost in costs.items()}


def slowdown() -> list[float]:
    """Ratio of a computing loop that reports each step to the same loop bare, by round."""

    def compute(j: Job | None) -> float:
        started = time.perf_counter()
        for i in range(COMPUTING_STEPS):
            total = 0
            for n in range(COMPUTING_ADDITIONS):
                total += n
            if j is not None:
                j.step(i)
        return time.perf_counter() - started

    compute(None)
    ratios: list[float] = []
    for _ in range(ROUNDS):
        bare = compute(None)
        with job(model="bench") as j:
            ratios.append(compute(j) / bare)
        flush()
    return ratios


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5_000_000)
    steps = parser.parse_args().steps
    print(
        f"{'µs a step, median (worst) of ' + str(ROUNDS) + ' rounds':46} step()          callback"
    )
    with ServedJobs() as agent:
        for name, url in (
            ("with an agent", agent.url),
            ("without an agent", f"http://127.0.0.1:{free_port()}"),
            ("switched off", ""),
        ):
            os.environ[URL_VARIABLE] = url
            cost = microseconds_per_step(steps)
            cells = "  ".join(f"{median:5.3f} ({worst:.3f})" for median, worst in cost.values())
            print(f"{name:46} {cells}")
        os.environ[URL_VARIABLE] = agent.url
        ratios = slowdown()
        print(
            f"a computing loop that reports, to the same bare: {statistics.median(ratios):.4f}"
            f" ({min(ratios):.4f} to {max(ratios):.4f})"
        )


if __name__ == "__main__":
    main()
