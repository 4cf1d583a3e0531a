"""The viewer's language: chosen by a switch, else by the browser; how templates say words.

A template writes ``{{ _("Tiers") }}`` for what is fixed and ``{{ say("{count} of {all}", ...) }}``
where there are values; a value may be markup: ``{{ say("began {when}", when=since|ago) }}``. Words
that came from elsewhere (a verdict's headline) are translated where they are put out.
"""

# Flask-Babel bears no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from babel.support import NullTranslations
from flask import Blueprint, Flask, Response, current_app, g, redirect, request
from flask_babel import Babel, get_locale
from markupsafe import Markup

from tierwatch_agent.words import Catalogue, Words, say, say_many, translated
from tierwatch_dashboard.catalogues import LANGUAGES, catalogue
from tierwatch_dashboard.web.same_origin import guard

COOKIE = "language"
_COOKIE_SECONDS = 365 * 86400

_NAME = re.compile(r"\{(\w+)\}")

_EXTENSION = "tierwatch_catalogues"

bp = Blueprint("language", __name__)
guard(bp)


def init_app(app: Flask) -> None:
    """Gives the templates their words, and pages their switch."""
    speak_from(app, catalogue)
    Babel(app, locale_selector=_chosen)
    app.jinja_env.finalize = _said
    app.add_template_global(_text, "_")
    app.add_template_global(say, "say")
    app.add_template_global(say_many, "say_many")
    app.add_template_global(language, "language")
    app.jinja_env.globals["LANGUAGES"] = LANGUAGES
    app.register_blueprint(bp)


def speak_from(app: Flask, catalogues: Callable[[str], Catalogue]) -> None:
    """Sets where an application's pages have each language's sentences from."""
    app.extensions[_EXTENSION] = catalogues


def language() -> str:
    """The code of the viewer's language."""
    found = get_locale()
    return found.language if found is not None else "en"


def spoken(words: str) -> str:
    """Words in the viewer's language, where they are needed as a string at once."""
    sentences = _sentences()
    # Words are English as they stand.
    return str(words) if type(sentences) is NullTranslations else translated(words, sentences)


@bp.post("/language")
def choose() -> Response:
    """Remembers the viewer's choice and shows the page where it was made."""
    code = request.form.get("language", "")
    place = request.form.get("back", "/")
    # A place of our own alone: "//elsewhere" is a host's.
    own = place.startswith("/") and not place.startswith(("//", "/\\"))
    answer = cast(Response, redirect(place if own else "/", 303))
    if code in LANGUAGES:
        answer.set_cookie(
            COOKIE,
            code,
            max_age=_COOKIE_SECONDS,
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
    return answer


def _chosen() -> str:
    kept = request.cookies.get(COOKIE)
    if kept in LANGUAGES:
        return kept
    return request.accept_languages.best_match(list(LANGUAGES), "en") or "en"


def _text(words: str) -> str:
    return _sentences().gettext(words)


def _sentences() -> Catalogue:
    if "sentences" not in g:
        catalogues = cast("Callable[[str], Catalogue]", current_app.extensions[_EXTENSION])
        g.sentences = catalogues(language())
    return cast(Catalogue, g.sentences)


def _said(value: object) -> object:
    if not isinstance(value, Words):
        return value
    return _marked(value) if _has_markup(value) else spoken(value)


def _has_markup(words: Words) -> bool:
    return any(
        isinstance(value, Markup) or (isinstance(value, Words) and _has_markup(value))
        for value in words.values.values()
    )


def _marked(words: Words) -> Markup:
    """A sentence around markup: all of it that is none is escaped."""
    names = {name: f"{{{name}}}" for name in words.values}
    sentence = spoken(Words(words.template, names, words.many, words.number, words.shape))
    parts = _NAME.split(sentence)
    parts[1::2] = [_said(words.values[name]) for name in parts[1::2]]
    return Markup("").join(parts)
