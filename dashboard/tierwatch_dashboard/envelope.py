"""What a studio makes, and what it takes: recipes with their memory and time, from its jobs. Pure.

Jobs are taken in as they end and are never read again. Each recipe keeps its figures by the card
that they were measured on, since time is a matter of the card, and since a server that fills
whatever card it is given needs less than it takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from heapq import merge
from statistics import median
from typing import NamedTuple

import msgspec

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.quantiles import beyond, quantile, thinned

DAYS = 30
"""How far back jobs count."""

Spot = tuple[str, str | None]
"""A machine, and the UUID of the GPU; None: it is not known which."""


class Name(NamedTuple):
    """What makes two jobs the same recipe."""

    server: str
    """Kind of generation server."""
    model: str
    width: int
    height: int
    batch: int

    @property
    def work(self) -> float:
        """Megapixels made at once, by which a model's need grows."""
        return self.width * self.height * self.batch / 1e6


class Ended(NamedTuple):
    """A job that ended, with what counts of it. Moments and spans in seconds."""

    machine: str
    server: str
    """The server's id."""
    gpu: str | None
    outcome: Outcome
    model: str | None
    width: int | None
    height: int | None
    batch: int | None
    images: int | None
    seconds: float | None
    peak_bytes: int | None
    ended_at: float
    card: str | None = None
    """The name of the card that it ran on; None: not known."""
    available_bytes: int | None = None
    """What was available where it ran, of a job that ran out of memory; None: not known."""


class CardFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe took on one kind of card. Seconds by image."""

    card: str
    jobs: int
    """Those that succeeded."""
    ooms: int
    need_bytes: int | None
    """The 95th percentile of their peaks; None: no peak is known."""
    seconds_per_image: float | None
    """Median of the jobs that found their model loaded; None: there was none."""
    seconds_per_megapixel: float | None
    cold_seconds_per_image: float | None
    """Median of those that came after another model's, or first."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe: its need, its time by card, and how much is known of it. Bytes."""

    name: Name
    jobs: int
    """Those that succeeded."""
    measured: int
    """Those of them whose peak is known."""
    ooms: int
    p50_bytes: int | None
    p95_bytes: int | None
    """None: no peak is known, or more than 5 % ran out of memory beyond each that is."""
    worst_bytes: int | None
    """The largest peak of a job that succeeded."""
    exceeded_bytes: int | None
    """The most that a job had which ran out of memory all the same."""
    oom_available: tuple[int, int] | None
    """The least and the most that was available to those, where it is known."""
    peaks: tuple[float, ...]
    """Spread as all the peaks are."""
    first_at: float
    last_at: float
    machines: frozenset[str]
    """Those that made it."""
    cards: tuple[CardFigures, ...]
    """By kind of card, the fastest first; what ran on a card that is not known is left out."""

    @property
    def oom_ratio(self) -> float:
        """The share that ran out of memory, of those that came to an end of their own."""
        return self.ooms / (self.jobs + self.ooms)


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one GPU's jobs needed, sorted. Bytes."""

    peaks: Sequence[int]
    exceeded: Sequence[int]
    """Lower bounds of those that ran out of memory."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All that a studio's jobs tell, at one moment."""

    recipes: Mapping[Name, Recipe] = {}
    loads: Mapping[Spot, Load] = {}
    jobs: int = 0
    """Those that count: they succeeded or ran out of memory, and their model and size are known."""
    left_out: int = 0
    """Those that ended so too, of unknown model or size."""

    @cached_property
    def by_model(self) -> Mapping[str, Sequence[Recipe]]:
        """Each model's recipes."""
        found: dict[str, list[Recipe]] = {}
        for recipe in self.recipes.values():
            found.setdefault(recipe.name.model, []).append(recipe)
        return found


class Envelopes:
    """Takes in jobs and gives the envelope they make; what has no news is not reckoned again."""

    def __init__(self) -> None:
        self._made: dict[Name, _Made] = {}
        self._loads: dict[Spot, tuple[_Sorted, _Sorted]] = {}
        self._loaded: dict[tuple[str, str], str | None] = {}
        self._recipes: dict[Name, Recipe] = {}
        self._weights: dict[Spot, Load] = {}
        self._news: set[Name] = set()
        self._news_at: set[Spot] = set()
        self._jobs = self._left_out = 0

    def take(self, job: Ended) -> None:
        """Takes in a job; each machine's come in the order of their ends."""
        server = (job.machine, job.server)
        is_cold = self._loaded.get(server) != job.model
        self._loaded[server] = job.model
        if job.outcome not in ("success", "oom"):
            return
        name = _name(job)
        if name is None:
            self._left_out += 1
            return
        self._jobs += 1
        self._news.add(name)
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = _Made()
        made.take(job, is_cold=is_cold)
        self._weigh(job)

    def envelope(self) -> Envelope:
        """The envelope of what was taken in so far."""
        for name in self._news:
            self._recipes[name] = self._made[name].recipe(name)
        for spot in self._news_at:
            peaks, exceeded = self._loads[spot]
            self._weights[spot] = Load(peaks=peaks.all(), exceeded=exceeded.all())
        self._news.clear()
        self._news_at.clear()
        return Envelope(
            recipes=dict(self._recipes),
            loads=dict(self._weights),
            jobs=self._jobs,
            left_out=self._left_out,
        )

    def _weigh(self, job: Ended) -> None:
        bound = _bound(job) if job.outcome == "oom" else job.peak_bytes
        if bound is None:
            return
        spot = (job.machine, job.gpu)
        self._news_at.add(spot)
        loads = self._loads.get(spot)
        if loads is None:
            loads = self._loads[spot] = (_Sorted(), _Sorted())
        loads[job.outcome == "oom"].add(bound)


class _Sorted:
    """Figures that are asked for in order. What was sorted is sorted again at little cost."""

    __slots__ = ("_added", "_sorted")

    def __init__(self) -> None:
        self._sorted, self._added = array("q"), array("q")

    def add(self, figure: int) -> None:
        self._added.append(figure)

    def all(self) -> array[int]:
        if self._added:
            self._sorted = array("q", sorted((*self._sorted, *self._added)))
            self._added = array("q")
        return self._sorted


class _OnCard:
    """What was measured of a recipe on one kind of card."""

    __slots__ = ("cold", "jobs", "ooms", "peaks", "warm")

    def __init__(self) -> None:
        self.jobs = self.ooms = 0
        self.peaks = _Sorted()
        self.warm, self.cold = array("f"), array("f")

    def figures(self, card: str, name: Name) -> CardFigures:
        peaks = self.peaks.all()
        seconds = median(self.warm) if self.warm else None
        megapixels = name.width * name.height / 1e6
        return CardFigures(
            card=card,
            jobs=self.jobs,
            ooms=self.ooms,
            need_bytes=_whole(quantile(peaks, 0.95)) if peaks else None,
            seconds_per_image=seconds,
            seconds_per_megapixel=None if seconds is None else seconds / megapixels,
            cold_seconds_per_image=median(self.cold) if self.cold else None,
        )


class _Made:
    """What was measured of a recipe."""

    def __init__(self) -> None:
        self._by_card: dict[str | None, _OnCard] = {}
        self._bounds = _Sorted()
        self._machines: set[str] = set()
        self._available: tuple[int, int] | None = None
        self._first_at, self._last_at = float("inf"), float("-inf")

    def take(self, job: Ended, *, is_cold: bool) -> None:
        at = job.ended_at
        self._first_at, self._last_at = min(self._first_at, at), max(self._last_at, at)
        there = self._by_card.get(job.card)
        if there is None:
            there = self._by_card[job.card] = _OnCard()
        if job.outcome == "oom":
            there.ooms += 1
            self._take_bound(job)
            return
        there.jobs += 1
        self._machines.add(job.machine)
        if job.peak_bytes is not None:
            there.peaks.add(job.peak_bytes)
        images = job.images if job.images is not None else job.batch or 1
        if job.seconds is not None and images:
            (there.cold if is_cold else there.warm).append(job.seconds / images)

    def recipe(self, name: Name) -> Recipe:
        """All of it as it is now."""
        everywhere = self._by_card.values()
        peaks = list(merge(*(there.peaks.all() for there in everywhere)))
        bounds = self._bounds.all()
        cards = [there.figures(card, name) for card, there in self._by_card.items() if card]
        return Recipe(
            name=name,
            jobs=sum(there.jobs for there in everywhere),
            measured=len(peaks),
            ooms=sum(there.ooms for there in everywhere),
            p50_bytes=_whole(beyond(peaks, bounds, 0.5)),
            p95_bytes=_whole(beyond(peaks, bounds, 0.95)),
            worst_bytes=peaks[-1] if peaks else None,
            exceeded_bytes=bounds[-1] if bounds else None,
            oom_available=self._available,
            peaks=thinned(peaks),
            first_at=self._first_at,
            last_at=self._last_at,
            machines=frozenset(self._machines),
            cards=tuple(sorted(cards, key=lambda c: (c.seconds_per_image or 1e9, c.card))),
        )

    def _take_bound(self, job: Ended) -> None:
        bound, available = _bound(job), job.available_bytes
        if bound is not None:
            self._bounds.add(bound)
        if available is not None:
            least, most = self._available or (available, available)
            self._available = min(least, available), max(most, available)


def _name(job: Ended) -> Name | None:
    if not job.model or not job.width or not job.height:
        return None
    kind, dash, port = job.server.rpartition("-")
    server = kind if dash and port.isdecimal() else job.server
    return Name(server, job.model, job.width, job.height, job.batch or 1)


def _bound(job: Ended) -> int | None:
    """What a job that ran out of memory needed more than."""
    known = [each for each in (job.peak_bytes, job.available_bytes) if each is not None]
    return max(known, default=None)


def _whole(figure: float | None) -> int | None:
    return None if figure is None else round(figure)
