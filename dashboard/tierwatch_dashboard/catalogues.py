"""The languages that Tierwatch speaks, and their sentences.

A catalogue is a ``.po`` file, read as it is: whoever edits one starts anew, and that is all.
"""

# Babel bears no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

LANGUAGES: dict[str, str] = {"en": "English", "ja": "日本語"}
"""Code to the name that its speakers know it by."""

TRANSLATIONS = Path(__file__).parent / "translations"


@cache
def catalogue(code: str) -> NullTranslations:
    """The sentences of a language of ``LANGUAGES``; English needs none."""
    return NullTranslations() if code == "en" else _read(code)


def _read(code: str) -> NullTranslations:
    compiled = io.BytesIO()
    with (TRANSLATIONS / code / "LC_MESSAGES" / "messages.po").open("rb") as source:
        write_mo(compiled, read_po(source, locale=code))
    compiled.seek(0)
    return Translations(compiled)
