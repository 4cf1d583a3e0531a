"""How much VRAM a model needs at a size: measured where it was made, reckoned between. Pure.

A model's peak grows with what is made at once, pixels × batch, about along a line. The line is
Theil and Sen's, a median of slopes between sizes: a size at which a server offloaded, or tiled,
moves it little, and it is a few lines of code where SciPy would be 100 MB to install. How far it
can be trusted is measured by leaving out each size in turn and predicting it from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import median
from typing import Literal

import msgspec

from tierwatch_dashboard.envelope import CardFigures, Name, Recipe
from tierwatch_dashboard.quantiles import weighted

ENOUGH = 20
"""Jobs from which on a 95th percentile is a recipe's own."""
FEW = 5
"""Jobs under which a figure is little more than an example, and no line goes by it."""
SIZES = 3
"""Sizes that a line takes, so that one can be left out."""
MOST_SIZES = 40
"""Sizes of a model that a line goes by: those of the most jobs."""

SAFE_OOM_RATIO = 0.05
"""The share of jobs out of memory up to which a card is known to have enough of it."""
CLEARLY_LESS = 0.9

Basis = Literal["seen", "card", "between", "beyond", "larger", "none"]
"""How a need is known: of this very recipe; by a card that made it, or more, in clearly less; by
the line, between sizes that were made, or beyond them; as no more than a larger size's; not at
all."""


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A model's peak by its work. Bytes; work in megapixels × batch."""

    base: float
    slope: float
    low: float
    """The 90 % interval about the line, as what to add to it: of sizes that were left out."""
    high: float
    error_bytes: float
    """How far the medians of sizes that were left out lie from what was predicted; the median."""
    least_work: float
    most_work: float
    sizes: int

    def at(self, work: float) -> float:
        """The peak to be expected, about in the middle."""
        return self.base + self.slope * work


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe needs, in bytes, and how that is known."""

    basis: Basis
    need_bytes: int | None
    """What 95 of 100 jobs do with; None: nothing is known of it but ``at_least_bytes``."""
    interval_bytes: tuple[int, int] | None
    """Where 90 of 100 jobs' peaks lie; None: too little is known."""
    at_least_bytes: int
    """What any such job needs by the evidence; 0: there is none."""
    error_bytes: int | None = None
    """By how much the line missed sizes that were left out; None: it goes by no line."""
    jobs: int = 0
    """Those that it rests on."""
    machines: int = 0
    sizes: int = 0
    by: Name | None = None
    """The recipe that it was taken from, where that is another."""
    card: str | None = None
    """The card that it was taken from, where that is one."""


def fit(recipes: Sequence[Recipe]) -> Fit | None:
    """The line of one model on one kind of server; None where it was made at too few sizes."""
    known = (recipe for recipe in recipes if recipe.measured >= FEW)
    sizes = sorted(known, key=lambda recipe: -recipe.measured)[:MOST_SIZES]
    works = {recipe.name.work for recipe in sizes}
    if len(works) < SIZES:
        return None
    base, slope = _line(sizes)
    inner = [r for r in sizes if min(works) < r.name.work < max(works)]
    # What is predicted lies mostly between, where a line misses less than at its ends.
    left_out = inner if len(inner) >= SIZES else sizes
    spread: list[tuple[float, float]] = []
    errors: list[float] = []
    for recipe in left_out:
        others = [each for each in sizes if each.name.work != recipe.name.work]
        its_base, its_slope = _line(others)
        expected = its_base + its_slope * recipe.name.work
        spread += [(peak - expected, 1 / len(recipe.peaks)) for peak in recipe.peaks]
        errors.append(abs(median(recipe.peaks) - expected))
    return Fit(
        base=base,
        slope=slope,
        low=weighted(spread, 0.05),
        high=weighted(spread, 0.95),
        error_bytes=median(errors),
        least_work=min(works),
        most_work=max(works),
        sizes=len(sizes),
    )


def need(name: Name, recipes: Sequence[Recipe], line: Fit | None) -> Need:
    """What a recipe needs, by the recipes of its model and kind of server and their line.

    A server that fills its card takes more on a large one than it must have: what a card made with
    clearly less needs no more than that.
    """
    found = _pooled(name, recipes, line)
    proven = [
        (figures.need_bytes, figures, recipe)
        for recipe in recipes
        if recipe.name.work >= name.work
        for figures in recipe.cards
        if figures.need_bytes is not None and is_safe(figures) and _is_less(figures, recipe)
    ]
    if not proven:
        return found
    least, figures, recipe = min(proven, key=lambda each: each[0])
    if found.need_bytes is not None and least >= found.need_bytes:
        return found
    return Need(
        basis="card",
        need_bytes=least,
        interval_bytes=None,
        at_least_bytes=min(found.at_least_bytes, least),
        jobs=figures.jobs,
        by=None if recipe.name == name else recipe.name,
        card=figures.card,
    )


def is_safe(figures: CardFigures) -> bool:
    """Whether a card ran a recipe often, and seldom without enough memory."""
    return figures.jobs >= ENOUGH and figures.ooms <= SAFE_OOM_RATIO * figures.jobs


def _is_less(figures: CardFigures, recipe: Recipe) -> bool:
    """Whether a recipe took clearly less on a card than it did elsewhere."""
    elsewhere = recipe.p95_bytes or recipe.worst_bytes or 0
    return (figures.need_bytes or 0) <= CLEARLY_LESS * elsewhere


def _pooled(name: Name, recipes: Sequence[Recipe], line: Fit | None) -> Need:
    """The same, as if each card took what is needed."""
    seen = next((recipe for recipe in recipes if recipe.name == name), None)
    smaller = [r for r in recipes if r.name.work <= name.work]
    at_least = max(map(_middle, smaller), default=0)
    if seen is not None and seen.measured:
        return _seen(seen, line)
    if line is not None:
        return _by_line(name, recipes, line, at_least)
    larger = [r for r in recipes if r.name.work >= name.work and r.p95_bytes is not None]
    if larger:
        next_one = min(larger, key=lambda r: r.p95_bytes or 0)
        found = _seen(next_one, None)
        return msgspec.structs.replace(
            found, basis="larger", interval_bytes=None, at_least_bytes=at_least, by=next_one.name
        )
    return Need(
        basis="none",
        need_bytes=None,
        interval_bytes=None,
        at_least_bytes=at_least,
        jobs=seen.jobs if seen else 0,
        machines=len(seen.machines) if seen else 0,
    )


def _middle(recipe: Recipe) -> int:
    """What half of a recipe's jobs need more than; 0: that is not known."""
    if recipe.p50_bytes is not None:
        return recipe.p50_bytes
    mostly_died = recipe.ooms > recipe.jobs
    return recipe.exceeded_bytes or 0 if mostly_died else 0


def _seen(recipe: Recipe, line: Fit | None) -> Need:
    """By its own jobs; where they are few, no less than their worst and than the line has it."""
    worst = max(recipe.worst_bytes or 0, recipe.exceeded_bytes or 0)
    if recipe.measured >= ENOUGH:
        figure = recipe.p95_bytes or worst
        low, high = _inner(recipe.peaks, recipe.measured)
        interval = (round(low), round(max(high, figure)))
    elif line is not None:
        middle = line.at(recipe.name.work)
        figure = max(worst, round(middle + line.high))
        interval = (min(round(middle + line.low), round(recipe.peaks[0])), figure)
    else:
        figure, interval = worst, None
    return Need(
        basis="seen",
        need_bytes=figure,
        interval_bytes=interval,
        at_least_bytes=recipe.p50_bytes or worst,
        jobs=recipe.jobs,
        machines=len(recipe.machines),
        sizes=1,
    )


def _by_line(name: Name, recipes: Sequence[Recipe], line: Fit, at_least: int) -> Need:
    beyond = not line.least_work <= name.work <= line.most_work
    middle = line.at(name.work)
    least = at_least
    if name.work > line.most_work:
        largest = max((r for r in recipes if r.peaks), key=lambda r: r.name.work)
        least = max(at_least, largest.p95_bytes or largest.exceeded_bytes or 0)
    figure = max(round(middle + line.high), least)
    jobs = [r for r in recipes if r.peaks]
    return Need(
        basis="beyond" if beyond else "between",
        need_bytes=figure,
        interval_bytes=(max(0, round(middle + line.low)), figure),
        at_least_bytes=at_least,
        error_bytes=round(line.error_bytes),
        jobs=sum(r.jobs for r in jobs),
        machines=len(frozenset[str]().union(*(r.machines for r in jobs))),
        sizes=line.sizes,
    )


def _line(sizes: Sequence[Recipe]) -> tuple[float, float]:
    """Base and slope: the weighted median of the slopes between each two sizes."""
    points = [(r.name.work, median(r.peaks), min(r.measured, ENOUGH)) for r in sizes]
    slopes = [
        ((b[1] - a[1]) / (b[0] - a[0]), min(a[2], b[2]) * abs(b[0] - a[0]))
        for a, b in combinations(points, 2)
        if a[0] != b[0]
    ]
    # What makes more needs no less.
    slope = max(0.0, weighted(slopes, 0.5)) if slopes else 0.0
    bases = [(peak - slope * work, float(weight)) for work, peak, weight in points]
    return weighted(bases, 0.5), slope


def _inner(peaks: Sequence[float], count: int) -> tuple[float, float]:
    """The bounds between which nine of ten further figures come, of ``count`` and one more."""
    low, high = (share * (count + 1) / count * len(peaks) for share in (0.05, 0.95))
    first = 1.0 if count == len(peaks) else 0.5
    return _between(peaks, low - first), _between(peaks, high - first)


def _between(values: Sequence[float], place: float) -> float:
    """The figure at a place between two."""
    place = min(max(place, 0.0), len(values) - 1.0)
    before = int(place)
    after = min(before + 1, len(values) - 1)
    return values[before] + (values[after] - values[before]) * (place - before)
