"""The highest value within a sliding window, in constant time a sample."""

from __future__ import annotations

from collections import deque


class Peak:
    """Highest of what was added in the last ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._falling: deque[tuple[float, int]] = deque()

    def add(self, at: float, value: int) -> int:
        """Adds a value and returns the peak of the window that ends at ``at`` (seconds)."""
        falling = self._falling
        while falling and falling[-1][1] <= value:
            falling.pop()
        falling.append((at, value))
        while falling[0][0] <= at - self._seconds:
            falling.popleft()
        return falling[0][1]
