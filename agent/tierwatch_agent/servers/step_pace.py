"""The steps of a running job, one bar after the other, and how long its last ones took. Pure."""

from __future__ import annotations

from collections import deque
from statistics import median

REMEMBERED = 10


class StepPace:
    """Where a job is. A new bar (another total, or a smaller step) starts over."""

    def __init__(self) -> None:
        self.step: int | None = None
        self.steps: int | None = None
        self.progressed_at: float | None = None
        """When a step was last done, or a bar begun."""
        self._stepped_at: float | None = None
        self._durations: deque[float] = deque(maxlen=REMEMBERED)

    def advance(self, step: int | None, steps: int | None, at: float) -> None:
        """Takes one sign of progress; without a step the job moved on, out of any bar."""
        if step is None or steps is None:
            self.step = self.steps = self._stepped_at = None
            self.progressed_at = at
            return
        same_bar = steps == self.steps and self.step is not None and step >= self.step
        if same_bar and step == self.step:
            return
        if same_bar and self.step is not None and self._stepped_at is not None:
            self._durations.append((at - self._stepped_at) / (step - self.step))
        elif not same_bar:
            self._durations.clear()
        self.step, self.steps = step, steps
        self.progressed_at = self._stepped_at = at

    @property
    def seconds_per_step(self) -> float | None:
        """Median of the last steps; None until two were seen."""
        return median(self._durations) if self._durations else None
