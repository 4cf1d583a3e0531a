"""How a timeline tells things apart: a word, a colour, and a pattern or a mark's shape. Pure."""

from __future__ import annotations

import msgspec

from tierwatch_agent.words import say
from tierwatch_dashboard.charts.drawing import Look, Sign


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of thing is drawn: colour by the theme's name, pattern, mark at its end."""

    words: str
    colour: str
    pattern: str = ""
    mark: str = ""
    sign: str = "▬"


STATES: dict[str, Style] = {
    "ok": Style(words=say("ok"), colour="ok"),
    "at_risk": Style(words=say("at risk"), colour="at_risk", pattern="."),
    "below": Style(words=say("below"), colour="below", pattern="/"),
    "stalled": Style(words=say("stalled"), colour="stalled", pattern="x"),
    "down": Style(words=say("down"), colour="down", pattern="-"),
    "unassigned": Style(words=say("unassigned"), colour="reserved"),
    "maintenance": Style(words=say("maintenance"), colour="reserved", pattern="|"),
}
SEVERITIES: dict[str, Style] = {
    "critical": Style(words=say("critical"), colour="down", mark="diamond", sign="◆"),
    "warning": Style(words=say("warning"), colour="at_risk", mark="diamond-open", sign="◇"),
    "info": Style(words=say("info"), colour="muted", mark="circle-open", sign="○"),
}
RUNNING = "running"
"""Beside the outcomes of finished jobs."""
OUTCOMES: dict[str, Style] = {
    "success": Style(words=say("done"), colour="held"),
    RUNNING: Style(words=say("running"), colour="accent", mark="triangle-right-open", sign="▷"),
    "interrupted": Style(
        words=say("interrupted"), colour="muted", pattern=".", mark="square-open", sign="□"
    ),
    "oom": Style(
        words=say("out of memory"), colour="below", pattern="/", mark="triangle-up", sign="▲"
    ),
    "error": Style(words=say("failed"), colour="down", pattern="x", mark="x", sign="✕"),
}

HATCH = {".": "dots", "/": "hatch", "x": "grid", "-": "rows", "|": "columns"}
"""A pattern to the class of its swatch."""


def sign_of(style: Style, look: Look) -> Sign:
    """A style's line of the legend."""
    swatch = f"is-{style.colour}" + (f" as-{HATCH[style.pattern]}" if style.pattern else "")
    sign = "" if style in STATES.values() else style.sign
    return Sign(words=look.spoken(style.words), swatch=swatch, sign=sign)
