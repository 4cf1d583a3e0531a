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

INHIBITIONS: tuple[Inhibition, ...] = (
    Inhibition(source="MachineDown"),
    Inhibition(
        source="GpuLost",
        targets=(*_STALLS, "MachineBelowTier", "MachineAtRisk", "GpuHardwareError"),
    ),
    Inhibition(source="MachineBelowTier", targets=("MachineAtRisk",)),
    Inhibition(source="GenerationServerDown", targets=("QueueStuck", "NoThroughput", *_STALLS)),
    *(Inhibition(source=stall, targets=("QueueStuck", "NoThroughput")) for stall in _STALLS),
)


class Inhibited:
    """Answers whether an alert's message is needless, given what holds now."""

    def __init__(self, holding: Iterable[Finding]) -> None:
        self._by_source: dict[str, set[tuple[str | None, ...]]] = {}
        sources = {inhibition.source: inhibition.equal for inhibition in INHIBITIONS}
        for finding in holding:
            if finding.rule in sources:
                values = _values(finding.labels, sources[finding.rule])
                self._by_source.setdefault(finding.rule, set()).add(values)

    def __contains__(self, alert: Alert) -> bool:
        """Whether something that holds makes its message needless."""
        return any(
            alert.rule != inhibition.source
            and (not inhibition.targets or alert.rule in inhibition.targets)
            and "machine" in alert.labels
            and _values(alert.labels, inhibition.equal)
            in self._by_source.get(inhibition.source, ())
            for inhibition in INHIBITIONS
        )


def _values(labels: Mapping[str, str], names: Iterable[str]) -> tuple[str | None, ...]:
    return tuple(labels.get(name) for name in names)
