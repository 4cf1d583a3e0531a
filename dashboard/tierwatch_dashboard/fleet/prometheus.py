"""The fleet as a PromQL engine knows it: every round the same few queries, whoever is scraped.

How fresh a machine's figures are is told by the samples' own timestamps, against the engine's own
clock: a machine whose scrape stopped grows old here as it does with polling. An engine that gives
no answer takes no machine down with it; each keeps its last known state.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

import msgspec

from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_agent.words import say
from tierwatch_dashboard.fleet import Reading, SourceHealth
from tierwatch_dashboard.fleet.mapping import SeriesMapping
from tierwatch_dashboard.fleet.promql import Promql, PromqlError
from tierwatch_dashboard.inventory import Machine

_log = logging.getLogger(__name__)

LATE_SECONDS = 15.0
"""A sample older than this is said to be late."""
_AT_A_TIME = 50
"""Readings delivered before others in the engine's thread have their turn."""


class _Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round found, by machine."""

    ages: dict[str, float]
    """Seconds since its last scrape, by the engine's clock."""
    scraped: dict[str, bool]
    """Whether its last scrape succeeded."""
    snapshots: dict[str, MachineSnapshot]


class PrometheusFleet:
    """Reads every machine of ``machines()`` out of one engine, and hands each to ``deliver``.

    ``deliver`` is called in the engine's thread. One round at a time: one that is due while the
    last is under way is left out.
    """

    def __init__(
        self,
        machines: Callable[[], Iterable[Machine]],
        deliver: Callable[[Reading], None],
        *,
        engine: Promql,
        series: SeriesMapping,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._machines = machines
        self._deliver = deliver
        self._engine = engine
        self._series = series
        self._now = now
        self._stopped = False
        self._under_way = False
        self._succeeded = self._failed = self._skipped = 0
        self._last: dict[str, Reading] = {}
        self._error: str | None = None
        self._answered_at: float | None = None

    def start(self) -> None:
        """Starts the engine's thread; nothing is asked before the first round."""
        self._engine.start()

    def poll_round(self) -> None:
        """Begins one round and returns at once."""
        machines = tuple(self._machines())
        if self._under_way:
            self._skipped += len(machines)
        elif not self._stopped:
            self._under_way = True
            self._engine.submit(self._round(machines))

    def stop(self) -> None:
        """Ends what is under way; no reading is delivered afterwards."""
        self._stopped = True
        self._engine.close()

    def health(self) -> SourceHealth:
        """Counts since the start, and the last reading of each machine."""
        return SourceHealth(
            succeeded=self._succeeded,
            failed=self._failed,
            skipped=self._skipped,
            last=self._last.copy(),
            error=self._error,
            lists_jobs=False,
            answered_at=self._answered_at,
        )

    async def _round(self, machines: tuple[Machine, ...]) -> None:
        began = time.perf_counter()
        try:
            found = await self._read()
            at, took = self._now(), time.perf_counter() - began
            self._noted(None, at)
            await self._hand_out(machines, lambda id_: self._reading(id_, found, at, took))
        except PromqlError as error:
            why: str = error.args[0]
            at, took = self._now(), time.perf_counter() - began
            self._noted(why, at)
            await self._hand_out(
                machines,
                lambda id_: Reading(
                    machine=id_, at=at, error=why, duration_seconds=took, source_failed=True
                ),
            )
        finally:
            self._under_way = False

    async def _read(self) -> _Round:
        """All that the engine knows, as of one moment of its own."""
        series, ask = self._series, self._engine.instant
        fresh = [each for each in await ask(series.freshness) if series.machine(each.labels)]
        moment = fresh[0].point[0] if fresh else None
        scraped, *figures = await asyncio.gather(
            ask(series.targets, moment), *(ask(query, moment) for query in series.figures)
        )
        targets = {series.machine(each.labels): each.value > 0 for each in scraped}
        targets.pop("", None)
        if not fresh and not targets:
            raise PromqlError(
                say(
                    "{where} has no series of {exporter}: does it scrape them, and is the url, "
                    "or X-Scope-OrgID under headers, the right one?",
                    where=self._engine.where,
                    exporter=series.exporter,
                )
            )
        moments = {series.machine(each.labels): each.value for each in fresh}
        samples = (sample for found in figures for sample in found)
        # Beside this thread, which also carries the questions that a page waits for.
        snapshots = await asyncio.to_thread(series.snapshots, samples, moments)
        return _Round(
            ages={id_: max(0.0, (moment or at) - at) for id_, at in moments.items()},
            scraped=targets,
            snapshots=snapshots,
        )

    def _reading(self, id_: str, found: _Round, at: float, took: float) -> Reading:
        snapshot, age = found.snapshots.get(id_), found.ages.get(id_, 0.0)
        where = self._engine.where
        error = None
        if snapshot is None and id_ in found.scraped:
            error = say("{where} cannot scrape it", where=where)
        elif snapshot is None:
            label = f'machine="{id_}"'
            error = say(
                "{where} has no target of it, with the label {label}", where=where, label=label
            )
        elif age > LATE_SECONDS:
            error = say("{where} has had no sample of it lately", where=where)
        # Its figures are as old as their samples, whenever they are asked for.
        heard_at = at if snapshot is None else at - age
        return Reading(
            machine=id_, at=heard_at, snapshot=snapshot, error=error, duration_seconds=took
        )

    async def _hand_out(
        self, machines: tuple[Machine, ...], reading_of: Callable[[str], Reading]
    ) -> None:
        last: dict[str, Reading] = {}
        for number, machine in enumerate(machines, start=1):
            if self._stopped:
                return
            reading = reading_of(machine.id)
            if reading.error is None:
                self._succeeded += 1
            else:
                self._failed += 1
            # When it was asked for: what no answer came to keeps the moment of the last that did.
            before = self._last.get(machine.id, reading)
            asked_at = before.at if reading.source_failed else self._answered_at or reading.at
            last[machine.id] = msgspec.structs.replace(reading, snapshot=None, at=asked_at)
            self._deliver(reading)
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        self._last = last

    def _noted(self, error: str | None, at: float) -> None:
        if error is None:
            self._answered_at = at
            if self._error is not None:
                _log.info("%s answers again", self._engine.where)
        elif error != self._error:
            _log.error("%s: %s", self._engine.where, error)
        self._error = error
