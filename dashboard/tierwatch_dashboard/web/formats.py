"""How the templates say figures and moments: filters, all of them pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from flask import Flask
from markupsafe import Markup

from tierwatch_agent.wording import gib
from tierwatch_agent.words import capital, say
from tierwatch_dashboard.web.alert_lines import SEVERITY_WORDS
from tierwatch_dashboard.web.language import spoken
from tierwatch_dashboard.web.making import about, megapixels
from tierwatch_dashboard.web.rows import STATE_WORDS

UNKNOWN = say("not known")

SOURCE_WORDS: dict[str, str] = {
    "up": say("up"),
    "down": say("down"),
    "absent": say("absent"),
}
"""The state of an agent's source to the word for it."""


def percent(ratio: float | None) -> str:
    """A ratio as people read it: "97 %"."""
    return UNKNOWN if ratio is None else f"{100 * ratio:.0f} %"


def size(count: float | None) -> str:
    """Bytes in GiB."""
    return UNKNOWN if count is None else gib(count)


def moment(at: float) -> Markup:
    """A moment in UTC; the page's script says it in the viewer's zone."""
    return _time(at, "clock")


def ago(at: float) -> Markup:
    """A moment in UTC; the page's script says how long ago it was, and keeps that true."""
    return _time(at, "ago")


def code(text: str) -> Markup:
    """What stands in a sentence as it is to be typed."""
    return Markup("<code>{}</code>").format(text)


def strong(words: str) -> Markup:
    """What of a sentence counts most."""
    return Markup("<b>{}</b>").format(spoken(words))


def _time(at: float, said: str) -> Markup:
    utc = datetime.fromtimestamp(int(at), timezone.utc)
    return Markup('<time datetime="{}" data-said="{}">{}</time>').format(
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"), said, utc.strftime("%Y-%m-%d %H:%M UTC")
    )


FILTERS: dict[str, Callable[..., object]] = {
    "percent": percent,
    "gib": size,
    "megapixels": megapixels,
    "about": about,
    "capfirst": capital,
    "moment": moment,
    "ago": ago,
}
"""What the templates may say ``value|name`` with."""


def init_app(app: Flask) -> None:
    """Makes the filters known to the templates."""
    for name, format_ in FILTERS.items():
        app.add_template_filter(format_, name)
    app.add_template_global(code, "code")
    app.add_template_global(strong, "strong")
    app.add_template_global(STATE_WORDS.get, "state_word")
    app.add_template_global(SEVERITY_WORDS.get, "severity_word")
    app.add_template_global(SOURCE_WORDS.get, "source_word")
