"""Our rendering beside prometheus_client's, of the same families: time per document, memory.

python -m tests.bench.exposition
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable

import msgspec
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.agent.snapshots import RTX_4080_SUPER, machine
from tierwatch_agent.exposition import render

GPUS = 8
ROUNDS = 200
RSS = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmRSS')][0])"


class Prepared:
    """A collector whose families are ready: prometheus_client's rendering alone is timed."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def milliseconds(make: Callable[[], bytes]) -> float:
    """Median time of one document."""
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        make()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def imported_mib(statement: str) -> float:
    """RSS of a fresh interpreter that has imported it."""
    command = [sys.executable, "-c", f"{statement}\n{RSS}"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024


def main() -> None:
    gpus = [
        msgspec.structs.replace(RTX_4080_SUPER, index=str(i), uuid=f"GPU-{i}") for i in range(GPUS)
    ]
    snapshot = machine(*gpus)
    text = render(snapshot)
    registry = CollectorRegistry()
    registry.register(Prepared(text_string_to_metric_families(text.decode())))
    ours = milliseconds(lambda: render(snapshot))
    theirs = milliseconds(lambda: generate_latest(registry))
    bare = imported_mib("import msgspec")
    ours_mib = imported_mib("import tierwatch_agent.exposition") - bare
    theirs_mib = imported_mib("import msgspec, prometheus_client") - bare
    print(f"{GPUS} GPUs, {len(text)} bytes     ours    prometheus_client    ratio")
    print(f"ms a document          {ours:8.2f} {theirs:20.2f} {ours / theirs:8.2f}")
    print(f"MiB to import          {ours_mib:8.1f} {theirs_mib:20.1f} {ours_mib / theirs_mib:8.2f}")


if __name__ == "__main__":
    main()
