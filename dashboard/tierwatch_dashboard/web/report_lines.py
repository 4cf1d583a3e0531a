"""A weekly report as its page shows it: for each tier a bar, a table of hours and what was made.

Pure: figures to words. A bar shows all hours that a tier's machines were assigned to it; shares are
of those of which it is known whether it had them, so that weeks can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tierwatch_agent.tiers import Tier, ladder
from tierwatch_agent.words import say
from tierwatch_dashboard.report import Hours, MachineHours, Report, Share, TierHours
from tierwatch_dashboard.web.making import OUTCOMES, megapixels
from tierwatch_dashboard.web.report_words import (
    CAUSES,
    HOUR,
    hours,
    machine_words,
    percent,
    tier_words,
)

SHOWN_MACHINES = 8
"""Machines of a tier that are named, those that lost most."""

BESIDE: dict[Share, str] = {
    "maintenance": say("in maintenance"),
    "perhaps": say("not known whether it had them"),
    "unwatched": say("no dashboard watched"),
}
"""What is neither had nor lost, and the words for it."""

_LEAST_SHOWN = 0.05 * HOUR
_KILOWATT_HOUR = 3.6e6
_LEAST_KNOWN = 0.5
"""Share of the time for which power must be known before images are set against it."""

_NEARLY_ALL = 0.98


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of hours: a part of the bar and a row of the table."""

    kind: str
    label: str
    hours: str
    share: str | None
    """Of the hours that are known; None: it is none of them."""
    before: str | None
    """Its share in the week before."""
    start: float
    """Where its part of the bar begins, in percent of it."""
    width: float


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of what was made."""

    label: str
    value: str
    before: str | None
    note: str | None = None


class Loser(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that lost hours."""

    machine: str
    lost: str
    of: str
    why: str


class TierLines(msgspec.Struct, frozen=True, kw_only=True):
    """One tier's part of the page."""

    tier: str
    words: str
    share: str | None
    """Of the hours that are known, those in which it had its machines."""
    before: str | None
    assigned: str
    machines: int
    parts: tuple[Part, ...]
    figures: tuple[Figure, ...]
    losers: tuple[Loser, ...]
    more_losers: int


def tier_lines(report: Report, before: Report, tiers: Sequence[Tier]) -> tuple[TierLines, ...]:
    """Every tier that had machines, the highest first; those that are no more come last."""
    order = [tier.name for tier in reversed(ladder(tiers))]
    known = {tier.tier: tier for tier in before.tiers}
    found = sorted(
        report.tiers,
        key=lambda each: (order.index(each.tier) if each.tier in order else len(order), each.tier),
    )
    return tuple(_tier(each, known.get(each.tier)) for each in found)


def _tier(tier: TierHours, before: TierHours | None) -> TierLines:
    losers = [machine for machine in tier.machines if machine.hours.lost]
    return TierLines(
        tier=tier.tier,
        words=tier_words(tier),
        share=percent(tier.hours.able, tier.hours.known),
        before=percent(before.hours.able, before.hours.known) if before else None,
        assigned=hours(tier.hours.assigned),
        machines=len(tier.machines),
        parts=tuple(_parts(tier.hours, before.hours if before else None)),
        figures=tuple(_figures(tier, before)),
        losers=tuple(_loser(machine) for machine in losers[:SHOWN_MACHINES]),
        more_losers=max(0, len(losers) - SHOWN_MACHINES),
    )


def _parts(known: Hours, before: Hours | None) -> Iterator[Part]:
    start = 0.0
    for share, label in _labels(known):
        seconds = known.seconds.get(share, 0.0)
        width = 100 * seconds / known.assigned
        counts = share not in BESIDE
        yield Part(
            kind=share,
            label=label,
            hours=hours(seconds),
            share=percent(seconds, known.known) if counts else None,
            before=_share(share, before) if counts and before else None,
            start=round(start, 2),
            width=round(width, 2),
        )
        start += width


def _labels(known: Hours) -> Iterator[tuple[Share, str]]:
    labels: dict[Share, str] = {"able": say("had its machines")}
    for cause in known.lost:
        labels[cause] = say("lost to {cause}", cause=CAUSES[cause])
    labels.update(BESIDE)
    for share, label in labels.items():
        if share == "able" or known.seconds.get(share, 0.0) >= _LEAST_SHOWN:
            yield share, label


def _share(share: Share, known: Hours) -> str | None:
    return percent(known.seconds.get(share, 0.0), known.known)


def _figures(tier: TierHours, before: TierHours | None) -> Iterator[Figure]:
    yield Figure(
        label=say("Images"),
        value=f"{tier.images:,}",
        before=None if before is None else f"{before.images:,}",
    )
    yield Figure(
        label=say("Images per assigned hour"),
        value=_per_hour(tier) or "–",
        before=_per_hour(before),
    )
    yield Figure(
        label=say("Megapixels"),
        value=megapixels(tier.pixels),
        before=None if before is None else megapixels(before.pixels),
    )
    for outcome, word in OUTCOMES.items():
        count, earlier = tier.jobs.get(outcome, 0), before.jobs.get(outcome, 0) if before else 0
        if count or earlier or outcome == "success":
            yield Figure(
                label=say("Jobs {outcome}", outcome=word),
                value=f"{count:,}",
                before=None if before is None else f"{earlier:,}",
            )
    if tier.gpu_seconds:
        yield Figure(
            label=say("Energy of its GPUs"),
            value=_energy(tier) or say("not known"),
            before=_energy(before),
            note=_coverage(tier),
        )
        yield Figure(
            label=say("Images per kWh"),
            value=_per_kilowatt_hour(tier) or say("not known"),
            before=_per_kilowatt_hour(before),
        )


def _per_hour(tier: TierHours | None) -> str | None:
    """Set against the hours that somebody saw, as jobs were seen in no others."""
    if tier is None:
        return None
    seen = tier.hours.assigned - tier.hours.seconds.get("unwatched", 0.0)
    return f"{tier.images * HOUR / seen:,.1f}" if seen > 0 else None


def _known(tier: TierHours) -> float:
    return min(1.0, tier.power_seconds / tier.gpu_seconds) if tier.gpu_seconds else 0.0


def _energy(tier: TierHours | None) -> str | None:
    if tier is None or tier.joules is None:
        return None
    count = tier.joules / _KILOWATT_HOUR
    return say("{count} kWh", count=f"{count:,.0f}" if count >= 99.5 else f"{count:.1f}")


def _coverage(tier: TierHours) -> str | None:
    if tier.joules is None or _known(tier) >= _NEARLY_ALL:
        return None
    return say("power known for {share} of the hours", share=percent(_known(tier), 1.0))


def _per_kilowatt_hour(tier: TierHours | None) -> str | None:
    """What was made against what all of the time would have drawn."""
    if tier is None or not tier.joules or _known(tier) < _LEAST_KNOWN:
        return None
    count = tier.images * _KILOWATT_HOUR * _known(tier) / tier.joules
    said = f"{count:,.0f}" if count >= 9.95 else f"{count:.1f}"
    return said if _known(tier) >= _NEARLY_ALL else say("about {count}", count=said)


def _loser(machine: MachineHours) -> Loser:
    return Loser(
        machine=machine.machine,
        lost=hours(sum(machine.hours.lost.values())),
        of=hours(machine.hours.assigned),
        why=machine_words(machine),
    )
