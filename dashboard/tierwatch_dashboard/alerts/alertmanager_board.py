"""The board where an Alertmanager keeps the alerts: its last known state, and silences made there.

Alertmanager knows neither history nor acknowledgement: a silence with a comment does for both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from tierwatch_agent.words import phrase, say
from tierwatch_dashboard.alerts import Alert, Matcher, Severity, Silence, Window
from tierwatch_dashboard.alerts.alertmanager import Alertmanager, AlertmanagerError
from tierwatch_dashboard.alerts.board import BoardError, Origin, PastAlert, ends_later

_log = logging.getLogger(__name__)

_NO_WINDOWS = phrase("With an Alertmanager, plan maintenance as a silence of the machine.")


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What it told last."""

    alerts: tuple[Alert, ...] = ()
    silences: tuple[Silence, ...] = ()
    heard_at: float | None = None
    error: str | None = None


class AlertmanagerBoard:
    """``refresh`` in the background; what pages read never waits for the Alertmanager."""

    def __init__(self, alertmanager: Alertmanager, now: Callable[[], float]) -> None:
        self._alertmanager = alertmanager
        self._now = now
        self._name = say("Alertmanager at {url}", url=alertmanager.shown)
        self._known = _Known()

    @property
    def origin(self) -> Origin:
        """The Alertmanager, and how it fares."""
        known = self._known
        return Origin(name=self._name, heard_at=known.heard_at, error=known.error)

    def refresh(self) -> None:
        """Asks anew. Where no answer comes, what was known stays, and ``origin`` says why."""
        before = self._known
        try:
            alerts = self._alertmanager.alerts()
            silences = self._alertmanager.silences(self._now())
        except AlertmanagerError as error:
            self._known = msgspec.structs.replace(before, error=error.words)
            if before.error != str(error):
                _log.warning("%s gives no alerts: %s", self._name, error)
            return
        self._known = _Known(alerts=alerts, silences=silences, heard_at=self._now())
        if before.error is not None:
            _log.info("%s answers again", self._name)

    def current(self) -> Sequence[Alert]:
        """Its alerts as it told them last."""
        return self._known.alerts

    def history(
        self,
        limit: int,  # noqa: ARG002  the board's interface
        *,
        machine: str | None = None,  # noqa: ARG002
        rule: str | None = None,  # noqa: ARG002
        severity: Severity | None = None,  # noqa: ARG002
        before: int | None = None,  # noqa: ARG002
    ) -> Sequence[PastAlert]:
        """Nothing: an Alertmanager forgets what is over."""
        return ()

    def during(self, machine: str, start: float, end: float, limit: int) -> Sequence[Alert]:
        """Those of its alerts that still fire: it forgets what is over."""
        firing = [
            alert
            for alert in self._known.alerts
            if alert.labels.get("machine") == machine
            and alert.fired_at is not None
            and alert.fired_at <= end
            and (alert.resolved_at is None or alert.resolved_at >= start)
        ]
        return sorted(firing, key=lambda alert: alert.fired_at or 0, reverse=True)[:limit]

    def acknowledge(self, fingerprint: str, by: str, note: str) -> NoReturn:  # noqa: ARG002
        """Always refused."""
        raise BoardError(say("Alertmanager knows no acknowledgement: silence the alert instead."))

    def silences(self) -> Sequence[Silence]:
        """Its silences as it told them last."""
        return self._known.silences

    def add_silence(
        self,
        matchers: Sequence[Matcher],
        *,
        starts_at: float,
        ends_at: float,
        created_by: str,
        comment: str,
    ) -> str:
        """Makes a silence there."""
        ends_later(starts_at, ends_at, self._now())
        try:
            made = self._alertmanager.add_silence(
                matchers,
                starts_at=starts_at,
                ends_at=ends_at,
                created_by=created_by,
                # It refuses a silence without one.
                comment=comment or "made on Tierwatch's pages",
            )
        except AlertmanagerError as error:
            refused = say("{who} did not take the silence: {why}.", who=self._name, why=error.words)
            raise BoardError(refused) from error
        self.refresh()
        return made

    def end_silence(self, id_: str) -> None:
        """Ends a silence there."""
        try:
            self._alertmanager.end_silence(id_)
        except AlertmanagerError as error:
            refused = say("{who} did not end the silence: {why}.", who=self._name, why=error.words)
            raise BoardError(refused) from error
        self.refresh()

    def windows(self) -> Sequence[Window]:
        """None: with an Alertmanager, maintenance is one of its silences."""
        return ()

    def add_window(
        self,
        machine: str,  # noqa: ARG002
        *,
        starts_at: float,  # noqa: ARG002
        ends_at: float,  # noqa: ARG002
        weekly: bool = False,  # noqa: ARG002
        created_by: str = "",  # noqa: ARG002
        comment: str = "",  # noqa: ARG002
    ) -> NoReturn:
        """Always refused."""
        raise BoardError(say(_NO_WINDOWS))

    def end_window(self, id_: str) -> NoReturn:  # noqa: ARG002
        """Always refused."""
        raise BoardError(say(_NO_WINDOWS))
