"""What ComfyUI's log says of the running job: tqdm's steps, and memory that ran short. Pure.

ComfyUI marks its log subscription as internal: nothing but steps and strain hangs on it.
"""

from __future__ import annotations

import re

from tierwatch_agent.servers.step_pace import StepPace
from tierwatch_agent.words import phrase

BAR = re.compile(r"\|\s*(\d{1,7})/(\d{1,7})\s*\[[^\]]*?(?:([\d.]+)(it/s|s/it))?\]")
"""``25%|##   | 5/20 [00:02<00:06,  2.10it/s]``: step, steps, rate, its unit."""
ENDED = "Prompt executed in"
STRAINS = (
    ("retrying with tiled VAE", phrase("decodes in tiles for want of memory")),
    (
        "out of memory error, increasing steps",
        phrase("computes attention in pieces for want of memory"),
    ),
    (r"\bloaded partially", phrase("keeps a part of the model in system memory")),
    ("Got an OOM", phrase("ran out of memory and unloads its models")),
)
"""What the log says, and what it means. Of several, the last one said counts."""


class LogReader:
    """Takes a server's log as it comes; knows the running job's steps and strain."""

    def __init__(self) -> None:
        self.pace = StepPace()
        self.told_seconds_per_step: float | None = None
        """By tqdm's own rate; None until it has one."""
        self.strained: str | None = None

    def take(self, text: str, at: float) -> None:
        """One write to the log."""
        if ENDED in text:
            self.pace, self.told_seconds_per_step, self.strained = StepPace(), None, None
            return
        for said, meaning in STRAINS:
            if re.search(said, text):
                self.strained = meaning
        bars = BAR.findall(text)
        if not bars:
            return
        step, steps, rate, unit = bars[-1]
        self.pace.advance(int(step), int(steps), at)
        self.told_seconds_per_step = _seconds(rate, unit)

    @property
    def seconds_per_step(self) -> float | None:
        """Measured here, or else as tqdm tells it."""
        return self.pace.seconds_per_step or self.told_seconds_per_step


def _seconds(rate: str, unit: str) -> float | None:
    try:
        number = float(rate)
    except ValueError:
        return None
    if number <= 0:
        return None
    return number if unit == "s/it" else 1 / number
