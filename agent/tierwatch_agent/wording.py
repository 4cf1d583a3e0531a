"""How figures are said to people, so that a page, a terminal and an alert say them alike."""

from __future__ import annotations

GIBIBYTE = 2**30


def gib(count: float) -> str:
    """Bytes as people know them from their tools: ``"14.0 GiB"``."""
    return f"{count / GIBIBYTE:.1f} GiB"


def duration(seconds: float) -> str:
    """A span in words, in its two leading units at most: ``"42 s"``, ``"3 min 5 s"``, ``"2 h"``."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts) or "0 s"
