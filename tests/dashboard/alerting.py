"""Findings as rules make them, and the engine played through simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from tierwatch_dashboard.alerts import Alert, Finding, Severity, Silence
from tierwatch_dashboard.alerts.engine import Around, step
from tierwatch_dashboard.alerts.messages import Message
from tierwatch_dashboard.alerts.settings import AlertSettings, Receiver, Route

NOON = 1_795_521_600.0

OPS = Receiver(name="ops", url="json://127.0.0.1/ops")
ARTISTS = Receiver(name="artists", url="json://127.0.0.1/artists")
SETTINGS = AlertSettings(
    receivers=(OPS,),
    routes=(Route(receivers=("ops",)),),
    group_wait_seconds=2.0,
    repeat_seconds=14400.0,
)


def finding(
    rule: str = "MachineBelowTier",
    machine: str = "render-01",
    *,
    severity: Severity = "warning",
    for_seconds: float = 0.0,
    says: str = "cannot do what it is assigned to.",
    **labels: str,
) -> Finding:
    return Finding(
        rule=rule,
        severity=severity,
        for_seconds=for_seconds,
        labels={"machine": machine, **labels},
        summary=f"{machine} {says}",
        todo="Look at it.",
    )


def down(machine: str) -> Finding:
    return finding("MachineDown", machine, severity="critical", says="is down.")


class World:
    """The engine's past and present; ``pass_time`` gives the messages that it made meanwhile."""

    def __init__(self, settings: AlertSettings = SETTINGS) -> None:
        self.settings = settings
        self.around = Around()
        self.now = NOON
        self.alerts: dict[str, Alert] = {}

    def pass_time(
        self,
        seconds: float,
        found: Iterable[Finding] | Callable[[float], Iterable[Finding]],
        *,
        every: float = 1.0,
    ) -> list[Message]:
        """Step after step; ``found``: what holds all along, or by seconds since noon."""
        messages: list[Message] = []
        until = self.now + seconds
        while self.now < until:
            self.now += every
            holding = found(self.now - NOON) if callable(found) else found
            taken = step(self.alerts, holding, self.around, self.settings, self.now)
            self.alerts = taken.alerts
            messages.extend(taken.messages)
        return messages

    def acknowledge(self) -> None:
        """Somebody looks after all that fires."""
        self.alerts = {
            fingerprint: msgspec.structs.replace(
                alert, acknowledged_at=self.now, acknowledged_by="mia", note="on it"
            )
            for fingerprint, alert in self.alerts.items()
        }

    def states(self) -> dict[str, str]:
        """Each alert's state by its rule and machine."""
        return {f"{a.rule} {a.labels['machine']}": a.state for a in self.alerts.values()}

    def silence(self, silence: Silence) -> None:
        """From now on this silence is there."""
        self.around = msgspec.structs.replace(
            self.around, silences=(*self.around.silences, silence)
        )


def kinds(messages: Iterable[Message]) -> list[str]:
    """What the messages are, in order."""
    return [message.kind for message in messages]
