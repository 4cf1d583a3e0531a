"""The envelope in force, made of the jobs that are kept: new ones are added as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from tierwatch_dashboard.envelope import DAYS, Ended, Envelope, Envelopes
from tierwatch_dashboard.history.job_feed import Fed

DAY = 86400.0
AFRESH_SECONDS = DAY
"""How often it is made afresh, so that what ended more than 30 days ago counts no longer."""


class Ground(Protocol):
    """What is known of the GPU that a job ran on, by its machine and its UUID."""

    def card(self, machine: str, gpu: str | None) -> str | None:
        """Its card's name; None: not known."""
        ...

    def available_bytes(self, machine: str, gpu: str | None, moment: float) -> int | None:
        """What was available on it; None: not known."""
        ...


class Feed(Protocol):
    """The store of jobs, as ``history.job_feed`` reads it."""

    def after(self, key: int, since: float) -> Iterable[Fed]:
        """Those stored after the one of that key that ended at ``since`` or later."""
        ...


class Production:
    """``refresh`` in the background, ``current`` from any thread."""

    def __init__(self, feed: Feed, ground: Ground, now: Callable[[], float]) -> None:
        self._feed = feed
        self._ground = ground
        self._now = now
        self._envelopes = Envelopes()
        self._key = 0
        self._begun_at = float("-inf")
        self._current = Envelope()

    @property
    def current(self) -> Envelope:
        """The last that was made; the same object until a job is added."""
        return self._current

    def refresh(self) -> None:
        """Takes in what ended since; DatabaseError where the jobs cannot be read."""
        now = self._now()
        if now - self._begun_at >= AFRESH_SECONDS:
            self._envelopes, self._key, self._begun_at = Envelopes(), 0, now
        before = self._key or None
        for fed in self._feed.after(self._key, now - DAYS * DAY):
            self._envelopes.take(self._ended(fed))
            self._key = fed.key
        if self._key != before:
            self._current = self._envelopes.envelope()

    def _ended(self, fed: Fed) -> Ended:
        seconds = None if fed.duration is None else fed.duration / 1000
        end, available = fed.ended_at / 1000, None
        if fed.outcome == "oom":
            began = end - (seconds or 0.0)
            available = self._ground.available_bytes(fed.machine, fed.gpu, began)
        return Ended(
            fed.machine, fed.server, fed.gpu, fed.outcome, fed.model, fed.width, fed.height,
            fed.batch, fed.images, seconds, fed.peak_vram, end,
            self._ground.card(fed.machine, fed.gpu), available,
        )  # fmt: skip
