"""Which machines can run a recipe, asked over HTTP: read from an address, and answered once.

An answer holds until a machine or a job has news; what many ask for is not worked out for each.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import cast

from flask import abort, current_app

from tierwatch_agent.words import say
from tierwatch_dashboard.app import Services, services
from tierwatch_dashboard.envelope import Envelope, Recipe
from tierwatch_dashboard.fit import Fit, fit
from tierwatch_dashboard.model_names import meant, not_known
from tierwatch_dashboard.possible import Asked, Found, View, find

LONGEST_SIDE = 16384
MOST_AT_ONCE = 64
SIZE_PATTERN = "^[0-9]{2,5}x[0-9]{2,5}$"

_KEPT = 64
_EXTENSION = "tierwatch_asking"
_SIZE = re.compile(r"\s*([0-9]{2,5})\s*[x×*]\s*([0-9]{2,5})\s*", re.ASCII | re.IGNORECASE)


class AskedWrong(ValueError):
    """What is asked for cannot be; ``words`` name it and its mend."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


class ModelNotKnown(AskedWrong):
    """No job of such a model is known."""


def asked_in(args: Mapping[str, str], envelope: Envelope) -> Asked:
    """What an address asks for; AskedWrong where that cannot be."""
    model = args.get("model", "").strip()
    if not model:
        raise AskedWrong(say("model must be the name of a model that was used here"))
    size = _SIZE.fullmatch(args.get("size", ""))
    sides = [int(side) for side in size.groups()] if size else []
    if not sides or not all(64 <= side <= LONGEST_SIDE for side in sides):
        words = say("size must be width x height in pixels, such as {example}", example="1344x768")
        raise AskedWrong(words)
    batch = args.get("batch", "").strip() or "1"
    if not (batch.isascii() and batch.isdecimal() and 1 <= int(batch[:9]) <= MOST_AT_ONCE):
        raise AskedWrong(say("batch must be from 1 to {most}", most=MOST_AT_ONCE))
    known = models(envelope)
    name = meant(model, known)
    if name is None:
        raise ModelNotKnown(not_known(model, known))
    return Asked(model=name, width=sides[0], height=sides[1], batch=int(batch))


def models(envelope: Envelope) -> list[str]:
    """The models that were used, those of the most jobs first."""
    return sorted(envelope.by_model, key=lambda m: (-sum(r.jobs for r in envelope.by_model[m]), m))


def envelope() -> Envelope:
    """The one in force; answers 404 where this dashboard knows of no recipes."""
    production = services().production
    if production is None:
        abort(404, say("This dashboard keeps no jobs of its own, so it knows of no recipes."))
    return production.current


def found(envelope: Envelope, asked: Asked) -> Found | None:
    """The answer as of now; None: the model was never used here."""
    kept = cast(_Asking, current_app.extensions.setdefault(_EXTENSION, _Asking()))
    return kept.found(services(), envelope, asked)


class _Asking:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._envelope: Envelope | None = None
        self._lines: dict[tuple[str, str], Fit | None] = {}
        self._version = -1
        self._found: dict[Asked, Found | None] = {}

    def found(self, has: Services, envelope: Envelope, asked: Asked) -> Found | None:
        # The version is read before the views, so that a change between the two is seen next time.
        version = has.state.version
        with self._lock:
            if envelope is not self._envelope:
                self._envelope, self._lines, self._version = envelope, {}, -1
            if version != self._version or len(self._found) >= _KEPT:
                self._version, self._found = version, {}
            if asked not in self._found:
                views: Sequence[View] = has.state.views()
                self._found[asked] = find(envelope, asked, views, self._line)
            return self._found[asked]

    def _line(self, recipes: Sequence[Recipe]) -> Fit | None:
        key = (recipes[0].name.server, recipes[0].name.model)
        if key not in self._lines:
            self._lines[key] = fit(recipes)
        return self._lines[key]
