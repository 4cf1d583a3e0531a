"""Alerts of a studio in trouble, as a store holds them, for tests and screenshots of the pages."""

from __future__ import annotations

import msgspec

from tests.dashboard.studio import NOW
from tierwatch_dashboard.alerts import Alert, Finding, Severity
from tierwatch_dashboard.alerts.engine import Step
from tierwatch_dashboard.alerts.store import AlertStore


def firing(rule: str, severity: Severity, labels: dict[str, str], summary: str, todo: str) -> Alert:
    """One that fires for ten minutes."""
    finding = Finding(
        rule=rule, severity=severity, for_seconds=60, labels=labels, summary=summary, todo=todo
    )
    return Alert(
        fingerprint=finding.fingerprint,
        rule=rule,
        severity=severity,
        labels=labels,
        summary=summary,
        todo=todo,
        state="firing",
        since=NOW - 660,
        fired_at=NOW - 600,
    )


def down(machine: str = "render-07", **fields: object) -> Alert:
    made = firing(
        "MachineDown",
        "critical",
        {"machine": machine, "tier": "mass"},
        f"{machine} was not heard for 19 min: connection refused.",
        f"Is the machine on, and does tierwatch-agent run at http://{machine}:9838?",
    )
    return msgspec.structs.replace(made, **{"since": NOW - 1150, **fields})


def below(machine: str = "render-03", **fields: object) -> Alert:
    made = firing(
        "MachineBelowTier",
        "warning",
        {"machine": machine, "tier": "mass", "gpu": "0"},
        f"{machine} cannot serve mass: GPU 0 has 9.7 GiB available, mass needs 14.0 GiB.",
        "Ending EldenRing.exe (pid 4711), which holds 5.8 GiB, would let it serve mass.",
    )
    return msgspec.structs.replace(made, **fields)


def stalled(machine: str = "render-09", **fields: object) -> Alert:
    made = firing(
        "GenerationJobStalledOnVram",
        "critical",
        {"machine": machine, "tier": "production", "server": "comfyui-8188"},
        f"ComfyUI’s job on {machine} does not move: no step for 140 s, usually 0.9 s; 180 MiB "
        "free of 11.9 GiB.",
        "End EldenRing.exe (pid 4711), which holds 1.9 GiB, or interrupt the job and lower its "
        "resolution.",
    )
    return msgspec.structs.replace(made, **{"since": NOW - 140, **fields})


def at_risk(machine: str = "artist-yuki", **fields: object) -> Alert:
    made = firing(
        "MachineAtRisk",
        "info",
        {"machine": machine, "tier": "production"},
        f"{machine} is perhaps below production: GPU 0 has at least 8.1 GiB available.",
        "Let ComfyUI run there, so that its own figures count.",
    )
    return msgspec.structs.replace(made, **fields)


def hold(store: AlertStore, *alerts: Alert) -> None:
    """From now on these are the alerts; those that were before are over."""
    store.advance(lambda *_: Step(alerts={a.fingerprint: a for a in alerts}, messages=()))
