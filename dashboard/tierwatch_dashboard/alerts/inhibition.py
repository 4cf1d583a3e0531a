"""What need not be said of something because a worse thing is said of it already. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from tierwatch_dashboard.alerts import Alert, Finding


class Inhibition(msgspec.Struct, frozen=True, kw_only=True):
    """While ``source`` holds, ``targets`` that share the values of ``equal`` make no messages."""

    source: str
    targets: tuple[str, ...] = ()
    """Empty: every rule but the source."""
    equal: tuple[str, ...] = ("machine",)


_STALLS = (
    "GenerationJobStalledOnVram",
    "GenerationJobOutOfMemory",
    "GenerationSpilledToSystemMemory",
    "GenerationJobHung",
)
_HOLD_UP = ("GenerationServerDown", *_STALLS)
"""What a queue waits for."""
_SERVER = ("machine", "server")
"""Of several servers on a machine, one that is down says nothing of the others' jobs."""

INHIBITIONS: tuple[Inhibition, ...] = (
    Inhibition(source="MachineDown"),
    Inhibition(
        source="GpuLost",
        targets=(*_STALLS, "MachineBelowTier", "MachineAtRisk", "GpuHardwareError"),
    ),
    Inhibition(source="MachineBelowTier", targets=("MachineAtRisk",)),
    Inhibition(source="GenerationServerDown", targets=_STALLS, equal=_SERVER),
    *(Inhibition(source=worse, targets=("QueueStuck",), equal=_SERVER) for worse in _HOLD_UP),
    *(Inhibition(source=worse, targets=("NoThroughput",)) for worse in _HOLD_UP),
)


class Inhibited:
    """Answers whether an alert's message is needless, given what holds now."""

    def __init__(self, holding: Iterable[Finding]) -> None:
        sources: dict[str, set[tuple[str, ...]]] = {}
        for inhibition in INHIBITIONS:
            sources.setdefault(inhibition.source, set()).add(inhibition.equal)
        self._held = {
            (finding.rule, equal, _values(finding.labels, equal))
            for finding in holding
            for equal in sources.get(finding.rule, ())
        }
        held = {rule for rule, _equal, _values in self._held}
        self._in_force = tuple(each for each in INHIBITIONS if each.source in held)

    def __contains__(self, alert: Alert) -> bool:
        """Whether something that holds makes its message needless."""
        return any(
            alert.rule != inhibition.source
            and (not inhibition.targets or alert.rule in inhibition.targets)
            and "machine" in alert.labels
            and (inhibition.source, inhibition.equal, _values(alert.labels, inhibition.equal))
            in self._held
            for inhibition in self._in_force
        )


def _values(labels: Mapping[str, str], names: Iterable[str]) -> tuple[str | None, ...]:
    return tuple(labels.get(name) for name in names)
