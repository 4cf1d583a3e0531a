"""The stylesheet's colours that figures use; a test holds the two together."""

from __future__ import annotations

import msgspec


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """Colours as ``#rrggbb``, by the names of the stylesheet's variables."""

    ink: str
    muted: str
    hairline: str
    paper: str
    accent: str
    held: str
    reserved: str
    warm: str
    down: str
    stalled: str
    below: str
    at_risk: str
    ok: str
    holder_1: str
    holder_2: str
    holder_3: str


THEMES: dict[str, Theme] = {
    "light": Theme(
        ink="#1c2024",
        muted="#5b636b",
        hairline="#dcdfe2",
        paper="#fcfcfb",
        accent="#1f6fb2",
        held="#9aa3ac",
        reserved="#d5d9dd",
        warm="#b4460f",
        down="#b3201d",
        stalled="#8233a8",
        below="#b4460f",
        at_risk="#855600",
        ok="#1d6e41",
        holder_1="#c07a2c",
        holder_2="#8a6fb0",
        holder_3="#4f9a94",
    ),
    "dark": Theme(
        ink="#e4e7ea",
        muted="#98a1aa",
        hairline="#2c3238",
        paper="#14171a",
        accent="#6cb2ee",
        held="#69737d",
        reserved="#363d44",
        warm="#f29a63",
        down="#ff8f88",
        stalled="#d6a3f0",
        below="#f29a63",
        at_risk="#e3bf5f",
        ok="#76c897",
        holder_1="#d3924a",
        holder_2="#a48bcb",
        holder_3="#5fb0a9",
    ),
}


def faint(colour: str, strength: float) -> str:
    """A colour that lets through what is behind it; ``strength`` from 0 to 1."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength:g})"
