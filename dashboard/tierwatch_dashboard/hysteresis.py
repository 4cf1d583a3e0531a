"""How long something has been wrong, with short reliefs counted in. Pure."""

from __future__ import annotations

import msgspec


class Spell(msgspec.Struct, frozen=True):
    """A time of trouble. Moments are Unix seconds.

    A relief shorter than ``clear_for`` does not end it, so a single good sample sets no clock back;
    once the relief has lasted that long, the spell is over.
    """

    since: float
    relief_since: float | None = None

    def seconds(self, now: float) -> float:
        """How long the trouble has lasted, to the relief where there is one."""
        return (now if self.relief_since is None else self.relief_since) - self.since


def advance(spell: Spell | None, trouble: bool, now: float, clear_for: float) -> Spell | None:
    """The spell after one more look; None: there is none."""
    if trouble:
        return Spell(spell.since if spell else now)
    if spell is None:
        return None
    relief_since = now if spell.relief_since is None else spell.relief_since
    return None if now - relief_since >= clear_for else Spell(spell.since, relief_since)
