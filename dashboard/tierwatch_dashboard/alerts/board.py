"""What pages read of alerts, and what a person does about them: kept here, or by Alertmanager."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tierwatch_agent.words import say
from tierwatch_dashboard.alerts import Alert, Matcher, Severity, Silence, Window


class BoardError(Exception):
    """What was asked for cannot be done; the text says why, and the mend, to people."""


class PastAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert of the history; ``key`` grows from one that fired to the next."""

    key: int
    alert: Alert


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Another program that alerts come from, and how it fares."""

    name: str
    """"Alertmanager at http://alerts:9093"; bears no secret."""
    heard_at: float | None
    """When it answered last, in Unix seconds; None: not yet."""
    error: str | None
    """Why its last answer did not come, in words; None: it did."""


class AlertBoard(Protocol):
    """Safe to use from several threads. What changes something raises BoardError where it cannot.

    A silence's matchers see an alert's labels and, as Alertmanager's do, ``alertname`` and
    ``severity`` (``matchers.labels_of``).
    """

    @property
    def origin(self) -> Origin | None:
        """Where alerts are kept, if not here; None: here."""
        ...

    def current(self) -> Sequence[Alert]:
        """Every alert that fires or is about to, in any order."""
        ...

    def history(
        self,
        limit: int,
        *,
        machine: str | None = None,
        rule: str | None = None,
        severity: Severity | None = None,
        before: int | None = None,
    ) -> Sequence[PastAlert]:
        """Alerts that fired, over or not, the latest first; ``before``: the key to go on from."""
        ...

    def during(self, machine: str, start: float, end: float, limit: int) -> Sequence[Alert]:
        """A machine's alerts that fired at some time in a span, the latest first."""
        ...

    def acknowledge(self, fingerprint: str, by: str, note: str) -> None:
        """Says that someone looks after a firing alert."""
        ...

    def silences(self) -> Sequence[Silence]:
        """Those that are not over, in any order."""
        ...

    def add_silence(
        self,
        matchers: Sequence[Matcher],
        *,
        starts_at: float,
        ends_at: float,
        created_by: str,
        comment: str,
    ) -> str:
        """Makes a silence and gives its id."""
        ...

    def end_silence(self, id_: str) -> None:
        """Ends a silence now."""
        ...

    def windows(self) -> Sequence[Window]:
        """Maintenance that goes on or is to come, in any order."""
        ...

    def add_window(
        self,
        machine: str,
        *,
        starts_at: float,
        ends_at: float,
        weekly: bool = False,
        created_by: str = "",
        comment: str = "",
    ) -> str:
        """Plans maintenance of a machine and gives its id."""
        ...

    def end_window(self, id_: str) -> None:
        """Ends maintenance now, and every later week of it."""
        ...


def ends_later(starts_at: float, ends_at: float, now: float) -> None:
    """BoardError where a silence would end before it begins, or is over already."""
    if ends_at <= starts_at:
        raise BoardError(say("This silence would end before it begins: choose a later end."))
    if ends_at <= now:
        raise BoardError(
            say("This silence would be over already: choose an end that is yet to come.")
        )
