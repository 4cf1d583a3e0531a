"""What a recipe takes on each kind of card: time, and memory where it ran there often. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from tierwatch_dashboard.envelope import Place, Recipe, Spot
from tierwatch_dashboard.fit import ENOUGH
from tierwatch_dashboard.quantiles import weighted

SAFE_OOM_RATIO = 0.05
"""The share of jobs out of memory up to which a card is known to have enough of it."""

Cards = Mapping[Spot, str]
"""The card at each spot; one that is there no more is missing."""


class CardFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A recipe on one kind of card. Seconds by image."""

    card: str
    jobs: int
    ooms: int
    seconds_per_image: float | None
    """Of a job that found its model loaded; None: there was none."""
    seconds_per_megapixel: float | None
    cold_seconds_per_image: float | None
    """Of a job that had to load it."""
    safe_bytes: int | None
    """What 95 of 100 jobs did with there; None: too few ran, or too many without memory."""


def by_card(recipe: Recipe, cards: Cards) -> tuple[CardFigures, ...]:
    """Each kind of card that ran it, the fastest first."""
    places: dict[str, list[Place]] = {}
    for place in recipe.places:
        if card := cards.get(place.spot):
            places.setdefault(card, []).append(place)
    found = [_figures(card, there, recipe) for card, there in places.items()]
    return tuple(sorted(found, key=lambda each: (each.seconds_per_image or 1e9, each.card)))


def pace_by_card(recipes: Sequence[Recipe], cards: Cards) -> dict[str, float]:
    """Seconds per megapixel of a model by card, over all its sizes."""
    paces: dict[str, list[tuple[float, float]]] = {}
    for recipe in recipes:
        for figures in by_card(recipe, cards):
            if figures.seconds_per_megapixel is not None:
                pace = (figures.seconds_per_megapixel, float(figures.jobs))
                paces.setdefault(figures.card, []).append(pace)
    return {card: weighted(pairs, 0.5) for card, pairs in paces.items()}


def _figures(card: str, there: Sequence[Place], recipe: Recipe) -> CardFigures:
    jobs, ooms = sum(place.jobs for place in there), sum(place.ooms for place in there)
    needs = [place.need_bytes for place in there if place.need_bytes is not None]
    is_safe = jobs >= ENOUGH and ooms <= SAFE_OOM_RATIO * jobs
    seconds = _middle([(place.seconds_per_image, place.jobs) for place in there])
    megapixels = recipe.name.width * recipe.name.height / 1e6
    return CardFigures(
        card=card,
        jobs=jobs,
        ooms=ooms,
        seconds_per_image=seconds,
        seconds_per_megapixel=None if seconds is None else seconds / megapixels,
        cold_seconds_per_image=_middle(
            [(place.cold_seconds_per_image, place.jobs) for place in there]
        ),
        safe_bytes=max(needs, default=None) if is_safe else None,
    )


def _middle(pairs: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(seconds, float(jobs)) for seconds, jobs in pairs if seconds is not None]
    return weighted(known, 0.5) if known else None
