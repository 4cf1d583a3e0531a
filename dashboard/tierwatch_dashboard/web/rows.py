"""What the fleet page shows of one machine. Pure: a view of the fleet's state to a row of words.

A row holds nothing that passes with time alone, and its figures are rounded as they are shown, so
that equal rows mean that nothing on the page needs to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.tiers import Tier
from tierwatch_dashboard.verdict import GpuVerdict, State, Verdict
from tierwatch_dashboard.web.bars import Bar, bar
from tierwatch_dashboard.web.making import now_lines

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

STATE_WORDS: dict[State, str] = {
    "down": "down",
    "stalled": "stalled",
    "below": "below",
    "at_risk": "at risk",
    "ok": "ok",
    "unassigned": "unassigned",
    "maintenance": "maintenance",
}
TROUBLE: frozenset[State] = frozenset({"down", "stalled", "below", "at_risk"})
SHOWN_REASONS = 3


class GpuLine(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU of a row."""

    name: str | None
    """"GPU 1"; None where the machine has just one."""
    state: State
    bar: Bar | None
    note: str | None
    """What stands in place of a bar."""
    utilization: int | None
    """Percent."""
    temperature: int | None
    """Degrees Celsius."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One machine of the list."""

    id: str
    state: State
    headline: str
    reasons: tuple[str, ...]
    more: int
    """Reasons that the row has no room for."""
    tier: str | None
    can_serve: str | None
    short: bool
    """It serves another tier than it is assigned to, and that is the trouble."""
    simulated: bool
    makes: tuple[str, ...]
    """What it makes now, a line for each generation server at work."""
    gpus: tuple[GpuLine, ...]
    """None of a machine that is down: its last figures say nothing of now."""


def row(view: MachineView, tiers: Sequence[Tier]) -> Row:
    """The row of one machine."""
    verdict, snapshot = view.verdict, view.snapshot
    reasons = further_reasons(verdict)
    return Row(
        id=view.machine.id,
        state=verdict.state,
        headline=verdict.headline,
        reasons=reasons[:SHOWN_REASONS],
        more=max(0, len(reasons) - SHOWN_REASONS),
        tier=verdict.tier,
        can_serve=verdict.can_serve,
        short=falls_short(verdict),
        simulated=snapshot is not None and snapshot.simulated,
        makes=now_lines(snapshot.servers) if snapshot and verdict.state != "down" else (),
        gpus=_lines(
            snapshot.gpus if snapshot and verdict.state != "down" else (),
            verdict.gpus,
            tiers,
            verdict.state,
        ),
    )


def falls_short(verdict: Verdict) -> bool:
    """Whether a machine in trouble serves another tier than it is assigned to."""
    return verdict.state in TROUBLE and verdict.can_serve != verdict.tier


def further_reasons(verdict: Verdict) -> tuple[str, ...]:
    """The verdict's reasons, without one that its headline says already."""
    said = verdict.headline.rstrip(".")
    return tuple(reason for reason in verdict.reasons if reason.rstrip(".") != said)


def _lines(
    gpus: Sequence[GpuSample],
    verdicts: Sequence[GpuVerdict],
    tiers: Sequence[Tier],
    state: State,
) -> tuple[GpuLine, ...]:
    shown = [gpu for gpu in gpus if not gpu.partitioned]
    by_index = {verdict.gpu: verdict for verdict in verdicts}
    by_name = {tier.name: tier for tier in tiers}
    lines: list[GpuLine] = []
    for gpu in shown:
        judged = by_index.get(gpu.index)
        tier = by_name.get(judged.tier) if judged and judged.tier else None
        drawn = bar(gpu, tier)
        lines.append(
            GpuLine(
                name=f"GPU {gpu.index}" if len(shown) > 1 else None,
                state=judged.state if judged else state,
                bar=drawn,
                note=None if drawn else note(gpu),
                utilization=_percent(gpu.utilization_ratio),
                temperature=_whole(gpu.temperature_celsius),
            )
        )
    return tuple(lines)


def note(gpu: GpuSample) -> str:
    """Why a GPU has no bar, in words."""
    if gpu.detail:
        return gpu.detail
    return "its memory is not known" if gpu.state == "ok" else gpu.state


def _percent(ratio: float | None) -> int | None:
    return None if ratio is None else round(100 * ratio)


def _whole(figure: float | None) -> int | None:
    return None if figure is None else round(figure)
