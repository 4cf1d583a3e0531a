"""Which machines can run a recipe: now, when emptied, or never, and in what time. Pure.

The VRAM that is available, or would be with nothing else on the card, against what the recipe
needs. On a card of a kind that has made this very recipe often enough, it needs what it took there:
a server that fills its card takes more on a large one than it must have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from tierwatch_agent.snapshot import GpuSample, MachineSnapshot
from tierwatch_agent.tiers import GIGABYTE, Tier, empty_bytes
from tierwatch_agent.wording import gib, lift
from tierwatch_agent.words import say
from tierwatch_dashboard.envelope import CardFigures, Envelope, Name, Recipe
from tierwatch_dashboard.fit import Fit, Need, fit, is_safe, need
from tierwatch_dashboard.fitness import available_bytes, is_lower_bound
from tierwatch_dashboard.inventory import Machine
from tierwatch_dashboard.qualifying import BEST_FIRST, Kind, card_gb
from tierwatch_dashboard.quantiles import weighted
from tierwatch_dashboard.verdict import Verdict

_DEAD, _SECRET = say("the GPU does not answer"), say("the GPU does not tell its memory")

TimedBy = Literal["card", "sizes"]
"""Whether a time was measured of this recipe on such cards, or follows from other sizes."""


class View(Protocol):
    """A machine as the fleet's state knows it."""

    @property
    def machine(self) -> Machine:
        """What the team decided of it."""
        ...

    @property
    def verdict(self) -> Verdict:
        """Whether it is heard, among others."""
        ...

    @property
    def snapshot(self) -> MachineSnapshot | None:
        """The last it had, however old."""
        ...


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for."""

    model: str
    width: int
    height: int
    batch: int = 1


class Possible(msgspec.Struct, frozen=True, kw_only=True):
    """How one machine stands to a recipe, by its best GPU. Bytes, seconds."""

    machine: str
    gpu: str | None
    """The GPU's index; None: the machine has none, or was never heard."""
    card: str | None
    kind: Kind
    words: str
    """Why, in a clause: "15.1 GiB available", "12 GB card"."""
    lift: str | None
    """What would make room; None: nothing is needed, or nothing is known."""
    need_bytes: int | None
    """What the recipe needs on this card."""
    available_bytes: int | None
    seconds: float | None
    """How long one job takes, its model loaded; None: nothing comparable ran on such a card."""
    timed_by: TimedBy | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to what was asked."""

    name: Name
    need: Need
    recipe: Recipe | None
    """None: this very recipe was not made yet."""
    machines: tuple[Possible, ...]
    """Each machine by its best GPU: the best first, and of those alike the fastest."""
    gpus: tuple[Possible, ...]
    """The same of every GPU."""


def servers_of(envelope: Envelope, model: str) -> list[str]:
    """The kinds of server that made something with a model, that of the most jobs first."""
    jobs: dict[str, int] = {}
    for recipe in envelope.by_model.get(model, ()):
        jobs[recipe.name.server] = jobs.get(recipe.name.server, 0) + recipe.jobs
    return sorted(jobs, key=lambda server: (-jobs[server], server))


def find(
    envelope: Envelope,
    asked: Asked,
    views: Sequence[View],
    line_of: Callable[[Sequence[Recipe]], Fit | None] = fit,
) -> Found | None:
    """Which machines can run what is asked for; None: the model was never used here."""
    server = next(iter(servers_of(envelope, asked.model)), None)
    if server is None:
        return None
    name = Name(server, asked.model, asked.width, asked.height, asked.batch)
    recipes = [r for r in envelope.by_model[asked.model] if r.name.server == server]
    wanted = need(name, recipes, line_of(recipes))
    recipe = envelope.recipes.get(name)
    own = {each.card: each for each in recipe.cards} if recipe else {}
    paces = _paces(recipes)
    every = [possible for view in views for possible in _possibles(view, wanted, own, paces, name)]
    every.sort(key=lambda each: (*_order(each), each.machine, each.gpu or ""))
    best: dict[str, Possible] = {}
    for possible in every:
        best.setdefault(possible.machine, possible)
    return Found(
        name=name,
        need=wanted,
        recipe=recipe,
        machines=tuple(best.values()),
        gpus=tuple(every),
    )


def _possibles(
    view: View,
    wanted: Need,
    own: Mapping[str, CardFigures],
    paces: Mapping[str, float],
    name: Name,
) -> Iterator[Possible]:
    gpus = [gpu for gpu in (view.snapshot.gpus if view.snapshot else ()) if not gpu.partitioned]
    silent = view.verdict.state == "down" or view.snapshot is None
    for gpu in gpus:
        known = own.get(gpu.name)
        bytes_ = wanted.need_bytes
        if known and known.need_bytes and is_safe(known):
            bytes_ = min(known.need_bytes, bytes_ or known.need_bytes)
        kind, words, remedy = _judged(gpu, bytes_, wanted.at_least_bytes, silent=silent)
        seconds, timed_by = None, None
        if kind != "never":
            seconds, timed_by = _seconds(known, paces.get(gpu.name), name)
        yield Possible(
            machine=view.machine.id,
            gpu=gpu.index,
            card=gpu.name,
            kind=kind,
            words=words,
            lift=remedy,
            need_bytes=bytes_,
            available_bytes=None if silent else available_bytes(gpu),
            seconds=seconds,
            timed_by=timed_by,
        )
    if not gpus:
        yield Possible(
            machine=view.machine.id,
            gpu=None,
            card=None,
            kind="unknown" if silent else "never",
            words=say("the machine is not heard") if silent else say("no GPU"),
            lift=None,
            need_bytes=wanted.need_bytes,
            available_bytes=None,
            seconds=None,
            timed_by=None,
        )


def _judged(
    gpu: GpuSample, wanted: int | None, at_least: int, *, silent: bool
) -> tuple[Kind, str, str | None]:
    """Kind, words and what would make room."""
    available = available_bytes(gpu)
    if gpu.memory is not None and empty_bytes(gpu) < (at_least if wanted is None else wanted):
        total = gpu.memory.total_bytes
        if gpu.memory.unified:
            return "never", say("it shares {size}", size=gib(total)), None
        return "never", say("{size} GB card", size=card_gb(total)), None
    if silent:
        return "unknown", say("the machine is not heard"), None
    if available is None:
        dead = gpu.state in ("lost", "unreadable")
        return "unknown", _DEAD if dead else _SECRET, None
    has = say("{size} available", size=gib(available))
    if wanted is None:
        return "unknown", has, None
    if available >= wanted:
        return "now", has, None
    if is_lower_bound(gpu):
        return "unknown", say("at least {size} available", size=gib(available)), None
    # A floor of its own, so that what makes room is said as it is of a tier.
    floor = Tier(name="", vram_gb=wanted / GIGABYTE, purpose="", allowance_gb=0)
    return "emptied", has, lift(gpu, floor)


def _paces(recipes: Sequence[Recipe]) -> dict[str, float]:
    """Seconds per megapixel of a model by card, over all its sizes."""
    found: dict[str, list[tuple[float, float]]] = {}
    for recipe in recipes:
        for figures in recipe.cards:
            if figures.seconds_per_megapixel is not None:
                pace = (figures.seconds_per_megapixel, float(figures.jobs))
                found.setdefault(figures.card, []).append(pace)
    return {card: weighted(pairs, 0.5) for card, pairs in found.items()}


def _seconds(
    known: CardFigures | None, pace: float | None, name: Name
) -> tuple[float | None, TimedBy | None]:
    if known and known.seconds_per_image is not None:
        return known.seconds_per_image * name.batch, "card"
    return (None, None) if pace is None else (pace * name.work, "sizes")


def _order(found: Possible) -> tuple[int, bool, float, float]:
    """The best first; of those alike the fastest, then the one with the most room."""
    seconds = found.seconds
    return (
        BEST_FIRST.index(found.kind),
        seconds is None,
        seconds or 0.0,
        -(found.available_bytes or 0),
    )
