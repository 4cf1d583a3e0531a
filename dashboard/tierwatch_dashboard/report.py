"""What each tier had of its machines over a span of time, what it lost and to what. Pure.

An hour of a machine counts for the tier that it was assigned to at that hour (where its GPUs have
tiers of their own, the machine's first), and for one thing: the tier had it, lost it to a cause, it
was in maintenance, or nobody knows. A loss begins when the verdict counts it, so that a model that
is swapped costs nothing; a machine that is at risk still serves, unless heat slows it down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Literal, TypeVar, cast

import msgspec

from tierwatch_agent.snapshot import Outcome
from tierwatch_dashboard.causes import Cause
from tierwatch_dashboard.gpu_verdict import State
from tierwatch_dashboard.stretches import Span, Stretch, merged, overlap

Share = Cause | Literal["able", "maintenance", "perhaps", "unwatched"]
"""What an hour counts for: ``perhaps``: it is not known whether the machine could serve."""


_Key = TypeVar("_Key")


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine made and drew over a piece of the span."""

    jobs: Mapping[Outcome, int] = {}
    images: int = 0
    pixels: int = 0
    gpus: int = 0
    """How many GPUs of it were seen."""
    joules: float = 0.0
    power_seconds: float = 0.0
    """For how long the power of a GPU was known, added up over them."""


class Piece(msgspec.Struct, frozen=True):
    """The work of every machine over a part of the span in which none changed its tier."""

    start: float
    end: float
    work: Mapping[str, Work]


class Hours(msgspec.Struct, frozen=True):
    """Seconds of machines, by what they count for."""

    seconds: Mapping[Share, float] = {}

    @property
    def assigned(self) -> float:
        """All of them."""
        return sum(self.seconds.values())

    @property
    def able(self) -> float:
        """In which the tier had its machines."""
        return self.seconds.get("able", 0.0)

    @property
    def lost(self) -> dict[Cause, float]:
        """In which it had not, by cause, the largest first."""
        rest = ("able", "maintenance", "perhaps", "unwatched")
        lost = ((share, held) for share, held in self.seconds.items() if share not in rest)
        return cast("dict[Cause, float]", dict(sorted(lost, key=lambda each: (-each[1], each[0]))))

    @property
    def known(self) -> float:
        """In which it is known whether it had."""
        return self.able + sum(self.lost.values())


class MachineHours(msgspec.Struct, frozen=True, kw_only=True):
    """One machine's time with one tier."""

    machine: str
    tier: str
    hours: Hours
    culprits: Mapping[str, float] = {}
    """Seconds lost by the program that held the most, the worst first."""


class TierHours(msgspec.Struct, frozen=True, kw_only=True):
    """What a tier had and what was made for it."""

    tier: str
    hours: Hours
    machines: tuple[MachineHours, ...] = ()
    """Those that were assigned to it, the one that lost most first."""
    jobs: Mapping[Outcome, int] = {}
    images: int = 0
    pixels: int = 0
    joules: float | None = None
    """Of its GPUs, as far as their power is known; None: it is not."""
    power_seconds: float = 0.0
    gpu_seconds: float = 0.0
    """For how long its GPUs' power should be known."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A span of time, tier by tier."""

    start: float
    end: float
    watched: float
    """Seconds in which a dashboard watched."""
    tiers: tuple[TierHours, ...] = ()
    unassigned_images: int = 0
    """Made by machines while they were assigned to none."""


def report(
    span: Span, known: Sequence[Stretch], watched: Sequence[Span], pieces: Sequence[Piece]
) -> Report:
    """The report of a span; its tiers in no particular order.

    Args:
        span: From when to when.
        known: What each machine was, as ``stretches`` gives it.
        watched: When a dashboard watched; what it did not see counts as nothing.
        pieces: What was made; cut wherever ``cuts`` says.
    """
    seen, gpus = tuple(merged(watched)), _gpus(pieces)
    made, unassigned = _made(known, pieces)
    by_tier: dict[str, list[MachineHours]] = {}
    for key, own in _by_duty(known).items():
        by_tier.setdefault(key[1], []).append(_machine(key, own, seen))
    return Report(
        start=span[0],
        end=span[1],
        watched=overlap(span, seen),
        tiers=tuple(
            _tier(
                tier,
                machines,
                [work for key, works in made.items() if key[1] == tier for work in works],
                sum(m.hours.assigned * gpus.get(m.machine, 0) for m in machines),
            )
            for tier, machines in sorted(by_tier.items())
        ),
        unassigned_images=unassigned,
    )


def _share(state: State, cause: Cause | None) -> Share:
    if state == "maintenance":
        return "maintenance"
    if state == "down":
        return "down"
    if state == "stalled":
        return "stall"
    if state == "below":
        return cause or "unknown"
    if cause == "heat":
        return "heat"
    return "perhaps" if cause == "unknown" else "able"


def _by_duty(known: Iterable[Stretch]) -> dict[tuple[str, str], list[Stretch]]:
    found: dict[tuple[str, str], list[Stretch]] = {}
    for stretch in known:
        if stretch.tier is not None:
            found.setdefault((stretch.machine, stretch.tier), []).append(stretch)
    return found


def _machine(key: tuple[str, str], own: Sequence[Stretch], watched: Sequence[Span]) -> MachineHours:
    seconds: dict[Share, float] = {}
    culprits: dict[str, float] = {}
    for stretch in own:
        seen = overlap((stretch.start, stretch.end), watched)
        share = _share(stretch.state, stretch.cause)
        _add(seconds, share, seen)
        _add(seconds, "unwatched", stretch.end - stretch.start - seen)
        if stretch.culprit and share in ("others", "servers"):
            _add(culprits, stretch.culprit, seen)
    return MachineHours(
        machine=key[0],
        tier=key[1],
        hours=Hours(seconds),
        culprits=dict(sorted(culprits.items(), key=lambda each: (-each[1], each[0]))),
    )


def _tier(
    tier: str, machines: Sequence[MachineHours], made: Sequence[Work], gpu_seconds: float
) -> TierHours:
    seconds: dict[Share, float] = {}
    for machine in machines:
        for share, held in machine.hours.seconds.items():
            _add(seconds, share, held)
    jobs = Counter[Outcome]()
    for work in made:
        jobs.update(work.jobs)
    power_seconds = sum(work.power_seconds for work in made)
    return TierHours(
        tier=tier,
        hours=Hours(seconds),
        machines=tuple(sorted(machines, key=lambda m: (-sum(m.hours.lost.values()), m.machine))),
        jobs=dict(jobs),
        images=sum(work.images for work in made),
        pixels=sum(work.pixels for work in made),
        joules=sum(work.joules for work in made) if power_seconds else None,
        power_seconds=power_seconds,
        gpu_seconds=gpu_seconds,
    )


def _made(
    known: Sequence[Stretch], pieces: Sequence[Piece]
) -> tuple[dict[tuple[str, str], list[Work]], int]:
    """What was made, by machine and tier; and the images of machines that had none."""
    by_machine = {key: list(own) for key, own in groupby(known, key=lambda each: each.machine)}
    found: dict[tuple[str, str], list[Work]] = {}
    unassigned = 0
    for piece in pieces:
        for machine, work in piece.work.items():
            within = (s for s in by_machine.get(machine, ()) if s.start < piece.end)
            tier = next((s.tier for s in within if s.end > piece.start), None)
            if tier is None:
                unassigned += work.images
            else:
                found.setdefault((machine, tier), []).append(work)
    return found, unassigned


def _gpus(pieces: Sequence[Piece]) -> dict[str, int]:
    """How many GPUs each machine has, by the most that were seen of it at once."""
    found: dict[str, int] = {}
    for piece in pieces:
        for machine, work in piece.work.items():
            found[machine] = max(found.get(machine, 0), work.gpus)
    return found


def _add(totals: dict[_Key, float], key: _Key, seconds: float) -> None:
    if seconds > 0:
        totals[key] = totals.get(key, 0.0) + seconds
