"""What a studio makes, and what it takes: recipes with their memory and time, from its jobs. Pure.

Jobs are taken in as they end and are never read again. Each recipe keeps its figures by the place
where they were measured (a machine and its GPU), since time is a matter of the card, and since a
server that fills whatever card it is given needs less than it takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
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
    available_bytes: int | None = None
    """What was available where it ran, of a job that ran out of memory; None: not known."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe took on one GPU."""

    spot: Spot
    jobs: int
    """Those that succeeded."""
    ooms: int
    need_bytes: int | None
    """The 95th percentile of their peaks; None: no peak is known."""
    seconds_per_image: float | None
    """Median of the jobs that found their model loaded; None: there was none."""
    cold_seconds_per_image: float | None
    """Median of those that came after another model's, or first."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe: its need, its time by place, and how much is known of it. Bytes."""

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
    places: tuple[Place, ...]

    @property
    def machines(self) -> int:
        """How many machines made it."""
        return len({place.spot[0] for place in self.places if place.jobs})

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
        self._made: dict[Name, dict[Spot, _Figures]] = {}
        self._loads: dict[Spot, tuple[array[int], array[int]]] = {}
        self._loaded: dict[tuple[str, str], str | None] = {}
        self._recipes: dict[Name, Recipe] = {}
        self._sorted: dict[Spot, Load] = {}
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
        spot = (job.machine, job.gpu)
        self._news.add(name)
        places = self._made.setdefault(name, {})
        figures = places.get(spot)
        if figures is None:
            figures = places[spot] = _Figures()
        figures.take(job, is_cold=is_cold)
        self._weigh(spot, job)

    def envelope(self) -> Envelope:
        """The envelope of what was taken in so far."""
        for name in self._news:
            self._recipes[name] = _recipe(name, self._made[name])
        for spot in self._news_at:
            peaks, exceeded = self._loads[spot]
            self._sorted[spot] = Load(
                peaks=array("q", sorted(peaks)), exceeded=array("q", sorted(exceeded))
            )
        self._news.clear()
        self._news_at.clear()
        return Envelope(
            recipes=dict(self._recipes),
            loads=dict(self._sorted),
            jobs=self._jobs,
            left_out=self._left_out,
        )

    def _weigh(self, spot: Spot, job: Ended) -> None:
        bound = _bound(job) if job.outcome == "oom" else job.peak_bytes
        if bound is None:
            return
        self._news_at.add(spot)
        loads = self._loads.get(spot)
        if loads is None:
            loads = self._loads[spot] = (array("q"), array("q"))
        loads[job.outcome == "oom"].append(bound)


class _Figures:
    """What was measured of a recipe at one place."""

    __slots__ = (
        "available", "bounds", "cold", "first_at", "jobs", "last_at", "ooms", "peaks", "warm"
    )  # fmt: skip

    def __init__(self) -> None:
        self.jobs = self.ooms = 0
        self.peaks, self.bounds, self.available = array("q"), array("q"), array("q")
        self.warm, self.cold = array("f"), array("f")
        self.first_at, self.last_at = float("inf"), float("-inf")

    def take(self, job: Ended, *, is_cold: bool) -> None:
        at = job.ended_at
        self.first_at, self.last_at = min(self.first_at, at), max(self.last_at, at)
        if job.outcome == "oom":
            self.ooms += 1
            bound = _bound(job)
            if bound is not None:
                self.bounds.append(bound)
            if job.available_bytes is not None:
                self.available.append(job.available_bytes)
            return
        self.jobs += 1
        if job.peak_bytes is not None:
            self.peaks.append(job.peak_bytes)
        if job.seconds is not None:
            images = job.images if job.images is not None else job.batch or 1
            if images:
                (self.cold if is_cold else self.warm).append(job.seconds / images)


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


def _recipe(name: Name, places: Mapping[Spot, _Figures]) -> Recipe:
    figures = places.values()
    peaks = sorted(peak for each in figures for peak in each.peaks)
    bounds = sorted(bound for each in figures for bound in each.bounds)
    available = [bytes_ for each in figures for bytes_ in each.available]
    return Recipe(
        name=name,
        jobs=sum(each.jobs for each in figures),
        measured=len(peaks),
        ooms=sum(each.ooms for each in figures),
        p50_bytes=_whole(beyond(peaks, bounds, 0.5)),
        p95_bytes=_whole(beyond(peaks, bounds, 0.95)),
        worst_bytes=peaks[-1] if peaks else None,
        exceeded_bytes=bounds[-1] if bounds else None,
        oom_available=(min(available), max(available)) if available else None,
        peaks=thinned(peaks),
        first_at=min(each.first_at for each in figures),
        last_at=max(each.last_at for each in figures),
        places=tuple(_place(spot, each) for spot, each in places.items()),
    )


def _place(spot: Spot, figures: _Figures) -> Place:
    return Place(
        spot=spot,
        jobs=figures.jobs,
        ooms=figures.ooms,
        need_bytes=_whole(quantile(sorted(figures.peaks), 0.95)) if figures.peaks else None,
        seconds_per_image=median(figures.warm) if figures.warm else None,
        cold_seconds_per_image=median(figures.cold) if figures.cold else None,
    )


def _whole(figure: float | None) -> int | None:
    return None if figure is None else round(figure)
