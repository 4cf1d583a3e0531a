"""The running dashboard: its parts put together, and what each does in the background."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from tierwatch_dashboard import metrics
from tierwatch_dashboard.alerts.alerting import Alerting
from tierwatch_dashboard.app import Services, create_app
from tierwatch_dashboard.audit import AuditLog
from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.config import Config, ConfigError
from tierwatch_dashboard.database import DatabaseError, open_database
from tierwatch_dashboard.duty import Duty
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.shared import SHARED_EVERY_SECONDS
from tierwatch_dashboard.fleet.state import FleetState
from tierwatch_dashboard.fleet.trend import Trends
from tierwatch_dashboard.ground import Ground
from tierwatch_dashboard.history.available_at import AvailableAt
from tierwatch_dashboard.history.energy import EnergyLog
from tierwatch_dashboard.history.holdings import HoldingStore
from tierwatch_dashboard.history.job_feed import JobFeed
from tierwatch_dashboard.history.jobs import JobStore
from tierwatch_dashboard.history.lows import lows
from tierwatch_dashboard.history.past import Past
from tierwatch_dashboard.history.verdicts import VerdictStore
from tierwatch_dashboard.history.watches import WatchStore
from tierwatch_dashboard.inventory import Inventory, InventoryError
from tierwatch_dashboard.inventory_change import Change
from tierwatch_dashboard.inventory_file import InventoryFile
from tierwatch_dashboard.inventory_stored import place_of
from tierwatch_dashboard.last_hour import HOUR, LastHour
from tierwatch_dashboard.lease import RENEWED_EVERY_SECONDS
from tierwatch_dashboard.production import Production
from tierwatch_dashboard.recording import Recorder
from tierwatch_dashboard.reports import Reports
from tierwatch_dashboard.scheduler import Background, Job
from tierwatch_dashboard.sources import open_sources
from tierwatch_dashboard.verdict import Memory
from tierwatch_dashboard.web.fleet import look

_log = logging.getLogger(__name__)

MEMORY_SECONDS = 20.0
"""How often verdict memories are stored: well within the gap that counts as not watching."""

LOOK_SECONDS = 0.25
"""How often open pages' look at the fleet is taken anew. With what passes between two questions of
a page (``fleet/page.html``) it stays under 2 s from a change that is known to one that is seen."""

LAST_HOUR_SECONDS = 10.0
"""How often the last hour's jobs are counted."""

PRODUCTION_SECONDS = 30.0
"""How often ended jobs are added to what the studio can make: of a million it takes a second."""

HEARD_WITHIN_SECONDS = 20.0
"""How long that waits after a start for machines that are not heard yet."""

COUNTED_ELSEWHERE_SECONDS = 60.0
"""The same, where an engine counts them out of an hour of samples."""


class Dashboard:
    """Every part of a dashboard, wired and not yet running. ConfigError says why it cannot be."""

    def __init__(self, config: Config) -> None:
        self._inventory_is_shared = config.inventory == "database"
        try:
            engine = open_database(config.database)
        except DatabaseError as error:
            raise ConfigError(str(error)) from error
        self._started = time.monotonic()
        self._audit = AuditLog(engine)
        try:
            self._inventory_file = InventoryFile(place_of(config, engine, self._audit))
        except (ConfigError, InventoryError, DatabaseError) as error:
            engine.dispose()
            raise ConfigError(str(error)) from error
        self._database = engine
        self._verdicts = VerdictStore(engine)
        self._duty = Duty(engine, self._verdicts)
        self._watches = WatchStore(engine)
        self._jobs = JobStore(engine)
        self._holdings = HoldingStore(engine)
        self._trends = Trends()
        self._fleet, self._history, self._counted = open_sources(
            config, engine, lambda: self._inventory_file.current.machines, self._deliver
        )
        self._last_hour = LastHour(self._counted or self._jobs, time.time)
        self._recorder = Recorder(
            self._history.append,
            self._verdicts.append_changes,
            self._jobs.append,
            self._holdings.append,
            holders=self._holdings.current(),
        )
        self._state = FleetState(
            self._inventory_file,
            time.time,
            memories=self._load_memories(),
            on_change=self._take_change,
        )
        self._production = Production(
            JobFeed(engine), Ground(self._state.view, AvailableAt(engine)), time.time
        )
        self._inventory_file.listen(self._follow)
        self._alerting = Alerting(
            engine,
            self._state.views,
            lambda: self._inventory_file.current,
            self._fleet.health,
            time.time,
        )
        self._background = Background(self._work(config))
        self.app = create_app(
            Services(
                state=self._state,
                history=self._history,
                jobs=self._jobs,
                last_hour=self._last_hour,
                inventory_file=self._inventory_file,
                now=time.time,
                trends=self._trends,
                source=self._fleet.health,
                inventory_is_stored=self._inventory_is_shared,
                database_error=lambda: self._duty.error,
                look_seconds=2 * LOOK_SECONDS,
                past=Past(engine, self._holdings, self._verdicts),
                alerts=self._alerting,
                editor=self._inventory_file,
                audit=self._audit,
                production=None if self._counted else self._production,
                reports=Reports(
                    self._verdicts, self._watches, self._jobs, EnergyLog(engine), time.time
                ),
            )
        )
        metrics.expose(
            self.app,
            metrics.Observed(
                state=self._state,
                inventory_file=self._inventory_file,
                source=self._fleet.health,
                recorder=self._recorder.health,
                jobs=self._background.health,
                alerting=self._alerting.health,
                works=lambda: self._duty.works,
            ),
        )

    def start(self) -> None:
        """Begins to ask, judge and record."""
        self._recall_trends()
        self._fleet.start()
        try:
            self._keep_duty()
        except DatabaseError:
            _log.exception("the database gives no answer: it is asked again")
        self._background.start()

    def stop(self) -> None:
        """Ends all work and commits what was not yet committed."""
        self._background.stop()
        self._fleet.stop()
        self._alerting.stop()
        try:
            self._recorder.write()
            if self._duty.works:
                self._save_memories()
        except DatabaseError:
            _log.exception("the last readings could not be stored")
        self._duty.release()
        self.close()

    def close(self) -> None:
        """Lets go of the database; all there is to do for one that never started."""
        self._history.close()
        self._database.dispose()

    def _deliver(self, reading: Reading) -> None:
        self._show(reading)
        if not self._duty.works:
            return
        self._duty.tell(reading)
        if self._counted is None:
            self._recorder.take(reading)

    def _add_to_production(self) -> None:
        # By its machine a job's card is known: what is told of them comes first.
        views = self._state.views()
        waited = time.monotonic() - self._started
        if waited >= HEARD_WITHIN_SECONDS or all(v.snapshot or v.error for v in views):
            self._production.refresh()

    def _show(self, reading: Reading) -> None:
        self._state.receive(reading)
        self._trends.take(reading)

    def _take_change(self, change: StateChange) -> None:
        if self._duty.works:
            self._recorder.take_change(change)
        else:
            self._duty.note(change)

    def _keep_duty(self) -> None:
        if self._duty.renew():
            for change in self._duty.unwritten(time.time()):
                self._recorder.take_change(change)
            self._fleet.poll_round()

    def _exchange(self) -> None:
        machines = [machine.id for machine in self._inventory_file.current.machines]
        self._duty.exchange(machines, self._show)

    def _follow(self, inventory: Inventory, by: str | None, change: Change | None) -> None:
        """Writes down what changed of the inventory, and has it hold at once."""
        try:
            # One in the database is written down by whoever changes it there.
            if not self._inventory_is_shared:
                self._audit.take(inventory, by, change)
        except DatabaseError:
            # What was changed holds; the next change's entry, or the next start's, tells it too.
            _log.exception("a change of the inventory could not be written down")
        self._state.judge(time.time())

    def _recall_trends(self) -> None:
        now = time.time()
        try:
            self._trends.fill(lows(self._database, now - HOUR, now))
        except DatabaseError:
            _log.exception("the last hour could not be read: its lines on the fleet page begin now")

    def _work(self, config: Config) -> tuple[Job, ...]:
        interval = config.poll_interval_seconds
        counting = LAST_HOUR_SECONDS if self._counted is None else COUNTED_ELSEWHERE_SECONDS
        everybody_s = (
            Job(name="inventory", every_seconds=1.0, run=self._inventory_file.refresh),
            Job(name="judge", every_seconds=1.0, run=lambda: self._state.judge(time.time())),
            # What waits was heard while this dashboard worked, even if another does by now.
            Job(name="record", every_seconds=interval, run=self._recorder.write),
            Job(name="poll", every_seconds=interval, run=self._poll),
            Job(
                name="look",
                every_seconds=LOOK_SECONDS,
                run=lambda: look(self.app),
                at_leisure=True,
            ),
            Job(name="last_hour", every_seconds=counting, run=self._last_hour.refresh),
        )
        if self._counted is None:
            kept = Job(
                name="production", every_seconds=PRODUCTION_SECONDS, run=self._add_to_production
            )
            everybody_s = (*everybody_s, kept)
        shared = (
            Job(name="duty", every_seconds=RENEWED_EVERY_SECONDS, run=self._keep_duty),
            Job(name="exchange", every_seconds=SHARED_EVERY_SECONDS, run=self._exchange),
        )
        of_one = (
            Job(name="memories", every_seconds=MEMORY_SECONDS, run=self._save_memories),
            Job(name="watch", every_seconds=MEMORY_SECONDS, run=self._beat),
            Job(name="roll_up", every_seconds=60.0, run=lambda: self._history.roll_up(time.time())),
            Job(name="prune", every_seconds=3600.0, run=self._prune),
            *self._alerting.work(),
        )
        return (
            *everybody_s,
            *(shared if self._duty.is_shared else ()),
            *(msgspec.structs.replace(job, run=self._where_it_works(job.run)) for job in of_one),
        )

    def _poll(self) -> None:
        if self._duty.asks:
            self._fleet.poll_round()

    def _where_it_works(self, run: Callable[[], object]) -> Callable[[], object]:
        """A job of the one dashboard that does the work; the others leave it."""
        return lambda: run() if self._duty.works else None

    def _prune(self) -> None:
        self._history.prune(time.time())
        self._verdicts.prune(time.time())
        self._watches.prune(time.time())
        self._jobs.prune(time.time())
        self._holdings.prune(time.time())
        self._alerting.prune(time.time())

    def _beat(self) -> None:
        # A dashboard that is told nothing sees nothing.
        if self._fleet.health().error is None:
            self._watches.beat(time.time())

    def _save_memories(self) -> None:
        memories = self._state.memories()
        self._verdicts.save_memories({id_: msgspec.json.encode(m) for id_, m in memories.items()})

    def _load_memories(self) -> dict[str, Memory]:
        memories: dict[str, Memory] = {}
        for machine, document in self._verdicts.load_memories().items():
            try:
                memories[machine] = msgspec.json.decode(document, type=Memory)
            except msgspec.DecodeError as error:
                _log.warning(
                    "%s: its clocks start anew, what was stored is not read: %s", machine, error
                )
        return memories
