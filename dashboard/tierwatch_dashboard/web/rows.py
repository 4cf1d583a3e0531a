"""What the fleet page shows of one machine. Pure: a view of the fleet's state to a row of words.

A row holds nothing that passes with time alone, and its figures are rounded as they are shown, so
that equal rows mean that nothing on the page needs to change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.tiers import Tier
from tierwatch_agent.words import say
from tierwatch_dashboard.fleet.trend import Lows
from tierwatch_dashboard.verdict import WORST_FIRST, GpuVerdict, State, Verdict
from tierwatch_dashboard.web.bars import Bar, bar
from tierwatch_dashboard.web.making import Doing, now_lines
from tierwatch_dashboard.web.sparks import Spark, spark

if TYPE_CHECKING:
    from tierwatch_dashboard.fleet.state import MachineView

STATE_WORDS: dict[State, str] = {
    "down": say("down"),
    "stalled": say("stalled"),
    "below": say("below"),
    "at_risk": say("at risk"),
    "ok": say("ok"),
    "unassigned": say("unassigned"),
    "maintenance": say("maintenance"),
}
TROUBLE: frozenset[State] = frozenset({"down", "stalled", "below", "at_risk"})
SHOWN_REASONS = 3

_GPU_WORDS: dict[str, str] = {
    "ok": say("its memory is not known"),
    "asleep": say("asleep"),
    "unreadable": say("unreadable"),
    "lost": say("lost"),
}
_RANK = {state: rank for rank, state in enumerate(WORST_FIRST)}


class GpuLine(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU of a row."""

    name: str | None
    """"GPU 1"; None where the machine has just one."""
    state: State
    lead: bool
    """The machine's worst GPU, which stands for it where there is room for one."""
    bar: Bar | None
    note: str | None
    """What stands in place of a bar."""
    spark: Spark | None
    """The last hour; None: not known."""
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
    makes: tuple[Doing, ...]
    """What it makes now, a line for each generation server at work."""
    gpus: tuple[GpuLine, ...]
    """None of a machine that is down: its last figures say nothing of now."""


def row(view: MachineView, tiers: Sequence[Tier], lows: Mapping[str, Lows]) -> Row:
    """The row of one machine; ``lows``: the last hour of its GPUs, by index."""
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
            snapshot.gpus if snapshot and verdict.state != "down" else (), verdict, tiers, lows
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
    gpus: Sequence[GpuSample], verdict: Verdict, tiers: Sequence[Tier], lows: Mapping[str, Lows]
) -> tuple[GpuLine, ...]:
    shown = [gpu for gpu in gpus if not gpu.partitioned]
    by_index = {judged.gpu: judged for judged in verdict.gpus}
    by_name = {tier.name: tier for tier in tiers}
    lead = min(
        (gpu.index for gpu in shown), key=lambda index: _badness(by_index.get(index)), default=""
    )
    lines: list[GpuLine] = []
    for gpu in shown:
        judged = by_index.get(gpu.index)
        tier = by_name.get(judged.tier) if judged and judged.tier else None
        drawn = bar(gpu, tier)
        total = gpu.memory.total_bytes if gpu.memory else 0
        lines.append(
            GpuLine(
                name=say("GPU {index}", index=gpu.index) if len(shown) > 1 else None,
                state=judged.state if judged else verdict.state,
                lead=gpu.index == lead,
                bar=drawn,
                note=None if drawn else note(gpu),
                spark=spark(lows.get(gpu.index, ()), total, tier) if drawn else None,
                utilization=_percent(gpu.utilization_ratio),
                temperature=_whole(gpu.temperature_celsius),
            )
        )
    return tuple(lines)


def _badness(judged: GpuVerdict | None) -> tuple[int, float]:
    if judged is None:
        return len(_RANK), 0.0
    headroom = judged.headroom_bytes
    return _RANK[judged.state], 0.0 if headroom is None else float(headroom)


def note(gpu: GpuSample) -> str:
    """Why a GPU has no bar, in words."""
    return gpu.detail or _GPU_WORDS[gpu.state]


def _percent(ratio: float | None) -> int | None:
    return None if ratio is None else round(100 * ratio)


def _whole(figure: float | None) -> int | None:
    return None if figure is None else round(figure)
