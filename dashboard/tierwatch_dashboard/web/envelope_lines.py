"""What the page of recipes shows, in words: recipes, which machine can run one, tiers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tierwatch_agent.wording import class_of, gib, pace
from tierwatch_agent.words import capital, commas, say, say_many
from tierwatch_dashboard.confidence import (
    CONFIDENCE_WORDS,
    Confidence,
    confidence,
    evidence,
    name_size,
)
from tierwatch_dashboard.envelope import DAYS, CardFigures, Envelope, Recipe
from tierwatch_dashboard.fit import ENOUGH, Need
from tierwatch_dashboard.possible import Found, Possible
from tierwatch_dashboard.qualifying import BEST_FIRST, Kind
from tierwatch_dashboard.servers import title
from tierwatch_dashboard.tier_evidence import TierEvidence

SHOWN = 40
"""Recipes on the page, those of the most jobs."""
LISTED = 60
"""Machines of an answer that are named."""
NAMED = 6
"""Machines of a tier that are named."""

UNKNOWN = say("not known")


class CardLine(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe's time on a kind of card."""

    card: str
    words: str


class RecipeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe of a model."""

    size: str
    query: Mapping[str, str]
    """What asks which machine can run it."""
    need: str
    need_note: str | None
    jobs: str
    ooms: str | None
    best: CardLine | None
    """The fastest card."""
    cards: tuple[CardLine, ...]
    """The others."""


class ModelLines(msgspec.Struct, frozen=True, kw_only=True):
    """What is made with one model on one kind of server."""

    model: str
    server: str
    recipes: tuple[RecipeLine, ...]


class MachineLine(msgspec.Struct, frozen=True, kw_only=True):
    """How one machine stands to what is asked for."""

    machine: str
    card: str | None
    kind: Kind
    words: str
    lift: str | None
    time: str | None


class AnswerLines(msgspec.Struct, frozen=True, kw_only=True):
    """Which machines can run what is asked for."""

    recipe: str
    sentence: str
    need: str
    confidence: Confidence
    confidence_words: str
    evidence: str
    machines: tuple[MachineLine, ...]
    more: int


class TierLine(msgspec.Struct, frozen=True, kw_only=True):
    """A tier beside its jobs."""

    tier: str
    asks: str
    jobs: str
    fits: str | None
    need: str | None
    words: str
    short: str | None
    """Which of its machines cannot run all of its jobs."""


def sentence(envelope: Envelope) -> str:
    """The studio's production in one line."""
    if not envelope.recipes:
        return say("No job tells yet what can be made here")
    machines = frozenset[str]().union(*(r.machines for r in envelope.recipes.values()))
    return say(
        "{recipes} of {models}, made on {machines} in {days} days",
        recipes=say_many("{count} recipe", "{count} recipes", len(envelope.recipes)),
        models=say_many("{count} model", "{count} models", len(envelope.by_model)),
        machines=say_many("{count} machine", "{count} machines", len(machines)),
        days=DAYS,
    )


def model_lines(envelope: Envelope) -> tuple[ModelLines, ...]:
    """The recipes of the most jobs by model, the most used first; each model's by their work."""
    recipes = sorted(envelope.recipes.values(), key=lambda r: (-r.jobs, r.name))[:SHOWN]
    by_model: dict[tuple[str, str], list[Recipe]] = {}
    for recipe in recipes:
        by_model.setdefault((recipe.name.model, recipe.name.server), []).append(recipe)
    return tuple(
        ModelLines(
            model=model,
            server=title(server),
            recipes=tuple(
                _recipe(each) for each in sorted(its, key=lambda r: (r.name.work, r.name))
            ),
        )
        for (model, server), its in by_model.items()
    )


def answer_lines(found: Found) -> AnswerLines:
    """The answer to what was asked."""
    sure = confidence(found.need)
    return AnswerLines(
        recipe=say("{model} at {size}", model=found.name.model, size=name_size(found.name)),
        sentence=_sentence(found.machines),
        need=_need(found.need),
        confidence=sure,
        confidence_words=CONFIDENCE_WORDS[sure],
        evidence=evidence(found.need),
        machines=tuple(_machine(each) for each in found.machines[:LISTED]),
        more=max(0, len(found.machines) - LISTED),
    )


def tier_lines(tiers: Iterable[TierEvidence]) -> tuple[TierLine, ...]:
    """Each tier beside what its machines' jobs needed."""
    return tuple(_tier(each) for each in tiers)


def _recipe(recipe: Recipe) -> RecipeLine:
    name = recipe.name
    timed = [
        CardLine(card=each.card, words=_time_by_card(each))
        for each in recipe.cards
        if each.seconds_per_image is not None
    ]
    return RecipeLine(
        size=name_size(name),
        query={
            "model": name.model,
            "size": f"{name.width}x{name.height}",
            "batch": str(name.batch),
        },
        need=_recipe_need(recipe),
        need_note=_worst(recipe),
        jobs=say(
            "{jobs} on {machines}",
            jobs=say_many("{count} job", "{count} jobs", recipe.jobs),
            machines=say_many("{count} machine", "{count} machines", len(recipe.machines)),
        ),
        ooms=_ooms(recipe) if recipe.ooms else None,
        best=timed[0] if timed else None,
        cards=tuple(timed[1:]),
    )


def _recipe_need(recipe: Recipe) -> str:
    if recipe.p95_bytes is not None:
        return gib(recipe.p95_bytes)
    if recipe.exceeded_bytes is not None and (recipe.measured or recipe.ooms > recipe.jobs):
        return say("over {size}", size=gib(recipe.exceeded_bytes))
    return UNKNOWN


def _worst(recipe: Recipe) -> str | None:
    if recipe.p95_bytes is None or recipe.worst_bytes is None or recipe.p50_bytes is None:
        return None
    if recipe.measured < ENOUGH:
        return say_many("of {count} job only", "of {count} jobs only", recipe.measured)
    if gib(recipe.p50_bytes) == gib(recipe.worst_bytes):
        return say("always the same")
    return say(
        "half of them {half}, the worst {worst}",
        half=gib(recipe.p50_bytes),
        worst=gib(recipe.worst_bytes),
    )


def _ooms(recipe: Recipe) -> str:
    said = say(
        "{count} ran out of memory ({percent})",
        count=recipe.ooms,
        percent=_percent(recipe.oom_ratio),
    )
    if recipe.oom_available is None:
        return said
    least, most = map(gib, recipe.oom_available)
    if least == most:
        return say("{said}, with {size} available at their start", said=said, size=most)
    return say(
        "{said}, with {least} to {most} available at their start", said=said, least=least, most=most
    )


def _time_by_card(figures: CardFigures) -> str:
    warm = pace(figures.seconds_per_image or 0.0)
    cold = figures.cold_seconds_per_image
    if cold is None or figures.seconds_per_image is None or cold < 1.2 * figures.seconds_per_image:
        return say("{warm} an image", warm=warm)
    return say("{warm} an image, {cold} with loading", warm=warm, cold=pace(cold))


def _sentence(machines: Sequence[Possible]) -> str:
    counts = {kind: sum(each.kind == kind for each in machines) for kind in BEST_FIRST}
    if counts["now"]:
        return say_many(
            "{count} of {all} machines can run it now",
            "{count} of {all} machines can run it now",
            counts["now"],
            all=len(machines),
        )
    if counts["emptied"]:
        return say_many(
            "No machine can run it now; {count} could when emptied",
            "No machine can run it now; {count} could when emptied",
            counts["emptied"],
        )
    if counts["unknown"]:
        return say("No machine is known to be able to run it")
    return say("No machine can ever run it")


def _need(need: Need) -> str:
    if need.need_bytes is None:
        if not need.at_least_bytes:
            return UNKNOWN
        return say("more than {size}", size=gib(need.at_least_bytes))
    if need.interval_bytes is None or gib(need.interval_bytes[0]) == gib(need.interval_bytes[1]):
        return gib(need.need_bytes)
    low, high = map(gib, need.interval_bytes)
    return say(
        "{need}; nine of ten jobs peak between {low} and {high}",
        need=gib(need.need_bytes),
        low=low,
        high=high,
    )


def _machine(found: Possible) -> MachineLine:
    time = None if found.seconds is None else pace(found.seconds)
    if time is not None and found.timed_by == "sizes":
        time = say("about {time}, by its other sizes", time=time)
    remedy = None
    if found.kind == "emptied":
        remedy = found.lift or say("who holds its memory is not known")
    return MachineLine(
        machine=found.machine,
        card=found.card,
        kind=found.kind,
        words=capital(found.words),
        lift=remedy,
        time=time,
    )


def _tier(each: TierEvidence) -> TierLine:
    tier = each.tier
    known = each.fit_ratio is not None and each.p95_bytes is not None
    return TierLine(
        tier=tier.name,
        asks=say("{floor} on a {size} card", floor=gib(tier.floor_bytes), size=class_of(tier)),
        jobs=say_many("{count} job", "{count} jobs", each.jobs),
        fits=None if each.fit_ratio is None else _percent(each.fit_ratio),
        need=gib(each.p95_bytes) if known and each.p95_bytes is not None else None,
        words=_proposal(each),
        short=_short(each),
    )


def _proposal(each: TierEvidence) -> str:
    if not each.jobs:
        return say("No job ran on its machines")
    if each.proposed_gb is None:
        few = each.fit_ratio is not None and each.jobs < ENOUGH
        return say("Too few jobs to judge it by") if few else say("It asks for what its jobs need")
    size = say("{size} GB", size=f"{each.proposed_gb:g}")
    if each.proposed_gb > each.tier.vram_gb:
        return say("Its floor is too low: 95 of 100 jobs would fit a {size} class", size=size)
    return say("It asks for more than they need: a {size} class would hold 95 of 100", size=size)


def _short(each: TierEvidence) -> str | None:
    named = [
        say("{machine} {percent}", machine=m.machine, percent=_percent(m.ratio))
        for m in each.machines[:NAMED]
    ]
    if not named:
        return None
    if len(each.machines) > NAMED:
        named.append(say("{count} more", count=len(each.machines) - NAMED))
    return say(
        "Of its jobs could run, with nothing else on them: {machines}", machines=commas(named)
    )


def _percent(ratio: float) -> str:
    """A share; next to all is not all, and next to none not none."""
    if 0.995 <= ratio < 1:
        return "99 %"
    return "1 %" if 0 < ratio < 0.005 else f"{100 * ratio:.0f} %"
