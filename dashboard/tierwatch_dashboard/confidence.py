"""How sure a recipe's need is, and what it rests on, in words. Pure."""

from __future__ import annotations

from typing import Literal

from tierwatch_agent.wording import size
from tierwatch_agent.words import say, say_many
from tierwatch_dashboard.envelope import DAYS, Name
from tierwatch_dashboard.fit import ENOUGH, FEW, Need

Confidence = Literal["good", "fair", "thin", "none"]

CONFIDENCE_WORDS: dict[Confidence, str] = {
    "good": say("well known"),
    "fair": say("fairly known"),
    "thin": say("hardly known"),
    "none": say("not known"),
}


def confidence(need: Need) -> Confidence:
    """How far to trust it."""
    if need.need_bytes is None:
        return "none"
    if need.basis == "beyond" or need.jobs < FEW:
        return "thin"
    return "good" if need.basis in ("seen", "card") and need.jobs >= ENOUGH else "fair"


def evidence(need: Need) -> str:
    """What it rests on, in one sentence without a full stop."""
    rests_on = jobs_words(need.jobs, need.machines)
    match need.basis:
        case "none" if need.jobs:
            return say("{jobs}, none of which tells its memory", jobs=rests_on)
        case "seen" if need.jobs < ENOUGH:
            return say("few jobs: {jobs}", jobs=rests_on)
        case "seen":
            return rests_on
        case "card":
            jobs = say_many("{count} job", "{count} jobs", need.jobs)
            if need.by is None:
                return say(
                    "{jobs} did with that on {card}; others took more", jobs=jobs, card=need.card
                )
            return say(
                "{jobs} at {size} did with that on {card}; others took more",
                jobs=jobs,
                size=name_size(need.by),
                card=need.card,
            )
        case "between":
            return say(
                "not made at this size yet: between {count} other sizes, {jobs}; sizes left out "
                "were missed by {error}",
                count=need.sizes,
                jobs=rests_on,
                error=size(need.error_bytes or 0),
            )
        case "beyond":
            return say(
                "extrapolated: outside the {count} sizes that were made, {jobs}; even sizes among "
                "those were missed by {error} when left out",
                count=need.sizes,
                jobs=rests_on,
                error=size(need.error_bytes or 0),
            )
        case "larger" if need.by is not None:
            return say(
                "not made at this size yet: no more than at {size}, {jobs}",
                size=name_size(need.by),
                jobs=rests_on,
            )
        case _:
            return say("nothing so large was made with it yet")


def jobs_words(jobs: int, machines: int) -> str:
    """How many jobs a figure rests on: "41 jobs on 3 machines in 30 days"."""
    return say(
        "{jobs} on {machines} in {days} days",
        jobs=say_many("{count} job", "{count} jobs", jobs),
        machines=say_many("{count} machine", "{count} machines", machines),
        days=DAYS,
    )


def name_size(name: Name) -> str:
    """A recipe's size and batch: "1024 × 1024, 4 at once"."""
    area = f"{name.width}\u00a0×\u00a0{name.height}"
    return area if name.batch == 1 else say("{size}, {count} at once", size=area, count=name.batch)
