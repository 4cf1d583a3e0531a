"""What the weekly report says in words: hours, causes, who lost most and why. Pure."""

from __future__ import annotations

from tierwatch_agent.words import say
from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.report import MachineHours, Report, TierHours

HOUR = 3600.0

CAUSES: dict[Cause, str] = {
    "others": say("programs that are not production's"),
    "servers": say("models of another generation server"),
    "stall": say("jobs that did not move"),
    "down": say("machines that were down"),
    "heat": say("heat that slowed machines down"),
    "card": say("cards too small for the tier"),
    "gpu": say("GPUs lost or in error"),
    "unknown": say("a cause that is not known"),
}
"""Cause to what hours are lost to."""


def hours(seconds: float) -> str:
    """Seconds as hours: "0.4", "12", "1,204"; what is next to nothing is "< 0.1"."""
    count = seconds / HOUR
    if count >= 9.95:
        return f"{count:,.0f}"
    return "<\u00a00.1" if 0 < count < 0.05 else f"{count:.1f}"


def percent(part: float, whole: float) -> str | None:
    """A share: "88 %"; what is nearly all or nearly nothing is not rounded to it."""
    if whole <= 0:
        return None
    ratio = 100 * part / whole
    if 0 < ratio < 0.5:
        return "<\u00a01\u00a0%"
    if 99.5 < ratio < 100:
        return ">\u00a099\u00a0%"
    return f"{ratio:.0f}\u00a0%"


def title(report: Report) -> str:
    """The whole studio in one sentence."""
    able = sum(tier.hours.able for tier in report.tiers)
    known = sum(tier.hours.known for tier in report.tiers)
    share = percent(able, known)
    if share is None:
        return say("Nothing is known of this week.")
    return say(
        "Tiers had their machines for {able} of {known} hours: {share}.",
        able=hours(able),
        known=hours(known),
        share=share,
    )


def tier_words(tier: TierHours) -> str:
    """What a tier lost, to what, and where the most of that was."""
    known, lost = tier.hours.known, tier.hours.lost
    if not known:
        return say("It is not known when {tier} had its machines.", tier=tier.tier)
    if not lost:
        return say("{tier} had its machines all of {hours} hours.", tier=tier.tier,
                   hours=hours(known))  # fmt: skip
    cause, most = next(iter(lost.items()))
    total = sum(lost.values())
    values = {
        "tier": tier.tier,
        "lost": hours(total),
        "known": hours(known),
        "most": hours(most),
        "cause": say("{cause}: {where}", cause=CAUSES[cause], where=_worst(tier, cause)),
    }
    if len(lost) == 1:
        return say("{tier} lost {lost} of {known} hours, all of it to {cause}.", **values)
    if most > total / 2:
        return say("{tier} lost {lost} of {known} hours, most of it ({most}) to {cause}.", **values)
    return say("{tier} lost {lost} of {known} hours, the most ({most}) to {cause}.", **values)


def machine_words(machine: MachineHours) -> str:
    """What a machine lost its hours to, the most first: "programs …: eldenring.exe"."""
    cause = next(iter(machine.hours.lost))
    culprit = next(iter(machine.culprits), None)
    if culprit is None or cause not in ("others", "servers"):
        return CAUSES[cause]
    return say("{cause}: {where}", cause=CAUSES[cause], where=culprit)


def _worst(tier: TierHours, cause: Cause) -> str:
    """Where a cause cost a tier the most: "eldenring.exe on render-02", "render-10"."""
    worst = max(tier.machines, key=lambda machine: machine.hours.seconds.get(cause, 0.0))
    culprit = next(iter(worst.culprits), None)
    if culprit is None or cause not in ("others", "servers"):
        return worst.machine
    return say("{program} on {machine}", program=culprit, machine=worst.machine)
