"""Who does the work of the dashboards that share a database, and what passes between them.

On SQLite there is one dashboard, and it works. On PostgreSQL the one that holds the lease asks the
agents, judges, records and alerts; the others stand by: they serve pages of what it hears, and one
of them takes over when it is gone. What changed in between is written by whoever takes over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Engine

from tierwatch_dashboard.changes import StateChange
from tierwatch_dashboard.database import DatabaseError
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.shared import SharedReadings
from tierwatch_dashboard.history.verdicts import VerdictStore
from tierwatch_dashboard.lease import Lease

_log = logging.getLogger(__name__)


class Duty:
    """One dashboard's part in it. ``works`` and ``tell`` from any thread."""

    def __init__(self, engine: Engine, verdicts: VerdictStore) -> None:
        shared = engine.dialect.name == "postgresql"
        self._lease = Lease(engine, "dashboard") if shared else None
        self._readings = SharedReadings(engine)
        self._verdicts = verdicts
        self._lock = threading.Lock()
        self._unwritten: dict[str, StateChange] = {}
        self.error: str | None = None
        """Why the database could not be asked last; None: it could."""

    @property
    def works(self) -> bool:
        """Whether this dashboard does the work now."""
        return self._lease is None or self._lease.is_held

    @property
    def asks(self) -> bool:
        """Whether it asks the agents: it works, or cannot be told what another hears."""
        return self.works or self.error is not None

    @property
    def is_shared(self) -> bool:
        """Whether other dashboards may share the database."""
        return self._lease is not None

    def renew(self) -> bool:
        """Keeps the duty, or takes it over where nobody has it; whether it was taken just now.

        Raises:
            DatabaseError: It could not be asked for; what is held runs out.
        """
        if self._lease is None:
            return False
        before = self._lease.is_held
        try:
            taken = self._lease.renew() and not before
        except DatabaseError as error:
            self.error = str(error)
            raise
        self.error = None
        return taken

    def release(self) -> None:
        """Leaves the duty to the others at once."""
        if self._lease is not None:
            self._lease.release()

    def tell(self, reading: Reading) -> None:
        """Has the others know what was heard."""
        if self._lease is not None:
            self._readings.take(reading)

    def exchange(self, machines: Sequence[str], deliver: Callable[[Reading], None]) -> None:
        """Tells the others, or takes what they tell; ``machines``: those that there are."""
        if self._lease is None:
            return
        if self.works:
            self._readings.write(machines)
        else:
            self._readings.read(deliver)

    def note(self, change: StateChange) -> None:
        """Keeps what changed while another writes: it may not live to do so."""
        with self._lock:
            self._unwritten[change.machine] = change

    def unwritten(self, now: float) -> Iterator[StateChange]:
        """What changed while this dashboard stood by, and nobody wrote."""
        with self._lock:
            noted, self._unwritten = self._unwritten, {}
        try:
            written = {each.machine: each for each in self._verdicts.all_changes(now, now)}
        except DatabaseError:
            _log.exception("what was written last is not known: some changes may stand there twice")
            written = {}
        for change in noted.values():
            last = written.get(change.machine)
            if last is None or _told(last) != _told(change):
                yield change


def _told(change: StateChange) -> object:
    return change.state, change.tier, change.cause
