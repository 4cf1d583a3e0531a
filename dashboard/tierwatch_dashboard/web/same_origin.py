"""Who may change something: the dashboard's own pages, and no other site in a viewer's browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, abort, request

from tierwatch_agent.words import say

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MEND = say(
    "Open the page anew and do it there. Behind a proxy, have it pass on the Host header that "
    "the browser sent."
)


def guard(blueprint: Blueprint) -> None:
    """Refuses with 403, in words, what another site makes a viewer's browser send."""
    blueprint.before_request(_check)


def is_own(site: str | None, origin: str | None, host: str) -> bool:
    """Whether a request comes from a page of ``host``.

    ``site`` is its Sec-Fetch-Site, which browsers send over TLS and to loopback; ``origin`` its
    Origin, which they send with every form. A request with neither is not believed.
    """
    if site is not None:
        return site == "same-origin"
    return origin is not None and urlsplit(origin).netloc.lower() == host.lower()


def _check() -> None:
    if request.method in _SAFE:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if not is_own(site, origin, request.host):
        came = (
            say(
                "Nothing was changed: this came from {origin}, not from {host}.",
                origin=origin,
                host=request.host,
            )
            if origin
            else say("Nothing was changed: this came from a page that does not say which it is.")
        )
        abort(403, say("{sentence} {more}", sentence=came, more=_MEND))
