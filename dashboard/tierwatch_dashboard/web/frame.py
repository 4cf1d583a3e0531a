"""What stands around every page: the way to the others, and the words that its script says."""

from __future__ import annotations

import msgspec
from flask import Flask, current_app, request

from tierwatch_agent.words import say
from tierwatch_dashboard.app import services
from tierwatch_dashboard.web.badge import badge
from tierwatch_dashboard.web.language import spoken


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A page that each other leads to."""

    name: str
    path: str
    below: tuple[str, ...] = ()
    """How the addresses begin that belong to it, beside its own."""


PLACES: tuple[Place, ...] = (
    Place(name=say("Fleet"), path="/", below=("/machines/",)),
    Place(name=say("Jobs"), path="/jobs"),
    Place(name=say("Alerts"), path="/alerts", below=("/alerts/",)),
    Place(name=say("Tiers"), path="/tiers", below=("/tiers/",)),
    Place(name=say("Recipes"), path="/envelope"),
    Place(name=say("Report"), path="/report"),
)
"""In the order in which they are named; one whose page a dashboard lacks is left out."""

SCRIPT_WORDS: dict[str, str] = {
    "now": say("just now"),
    "min": say("{min} min ago", min="{min}"),
    "h": say("{h} h ago", h="{h}"),
    "h min": say("{h} h {min} min ago", h="{h}", min="{min}"),
    "d": say("{d} d ago", d="{d}"),
    "d h": say("{d} d {h} h ago", d="{d}", h="{h}"),
    "lost": say(
        "The connection to the dashboard is lost. What you see is from {time}; asking again "
        "every 2 s.",
        time="{time}",
    ),
    "refused": say(
        "The dashboard answers {status}. What you see is from {time}; asking again every 2 s.",
        status="{status}",
        time="{time}",
    ),
    "gone": say(
        "The inventory no longer has this machine. What you see is from {time}.", time="{time}"
    ),
}
"""What ``tierwatch.js`` says; it fills in the braces that are left."""


def init_app(app: Flask) -> None:
    """Gives the templates what the frame shows."""
    app.add_template_global(places, "places")
    app.add_template_global(standing_in, "standing_in")
    app.add_template_global(script_words, "script_words")
    app.add_template_global(here, "here")


def places() -> list[Place]:
    """Those that this dashboard has."""
    served = {rule.rule for rule in current_app.url_map.iter_rules()}
    lacking = {"/alerts"} if badge() is None else set[str]()
    if services().production is None:
        lacking.add("/envelope")
    return [place for place in PLACES if place.path in served - lacking]


def standing_in(place: Place) -> str | None:
    """``aria-current`` of a link: the page itself, or one below it; None: elsewhere."""
    if request.path == place.path:
        return "page"
    return "true" if request.path.startswith(place.below) else None


def here() -> str:
    """The address that shows this page again."""
    if request.method != "GET":
        return "/"
    return request.full_path.removesuffix("?")


def script_words() -> dict[str, str]:
    """The script's words in the viewer's language."""
    return {name: spoken(words) for name, words in SCRIPT_WORDS.items()}
