"""What people write into the forms of alerts, read and checked. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

import msgspec

from tierwatch_agent.words import phrase, say

LONGEST = 500
"""Characters of a note."""

MORNING = 8
"""The hour at which "until tomorrow" ends."""

HOUR = 3600.0

_SECONDS = re.compile(r"\d{1,10}(\.\d+)?")


_TOO_LONG = {
    "name": phrase("The name is longer than {most} characters: shorten it."),
    "note": phrase("The note is longer than {most} characters: shorten it."),
    "comment": phrase("The comment is longer than {most} characters: shorten it."),
}


class FormError(ValueError):
    """What was written cannot be; it says which part, and the mend."""


def words_of(error: Exception) -> str:
    """What an error says to people, in words that can be said in their language."""
    return error.args[0]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Who did it, and what they said of it."""

    by: str
    """Empty: they gave no name."""
    words: str


def said(form: Mapping[str, str], field: str) -> Said:
    """The name, and the words in ``field``."""
    return Said(by=_text(form, "name"), words=_text(form, field))


def end_of(form: Mapping[str, str], now: float) -> float:
    """Until when a silence is to hold, in Unix seconds."""
    match form.get("until", "1h"):
        case "1h":
            return now + HOUR
        case "tomorrow":
            return _script_s(form, "tomorrow") or tomorrow(now)
        case _:
            ends_at = moment_in(form, "ends")
            if ends_at is None:
                raise FormError(say("Say until when it is to be silent."))
            return ends_at


def tomorrow(now: float) -> float:
    """08:00 of the next day in UTC; where the page's script runs, it sends the viewer's own."""
    today = datetime.fromtimestamp(now, timezone.utc)
    morning = today.replace(hour=MORNING, minute=0, second=0, microsecond=0)
    return (morning + timedelta(days=1)).timestamp()


def moment_in(form: Mapping[str, str], field: str) -> float | None:
    """A moment that was chosen, in Unix seconds; None: none was.

    A browser sends the figures on the wall. The page's script adds which moment they are where the
    viewer is; without it, they are UTC, as the page then says.
    """
    written = form.get(field, "").strip()
    if not written:
        return None
    try:
        wall = datetime.fromisoformat(written)
        at = _script_s(form, field) or wall.replace(tzinfo=wall.tzinfo or timezone.utc).timestamp()
    except (ValueError, OverflowError) as error:
        raise FormError(
            say("“{text}” is no date and time: write it as 2026-11-25T08:00.", text=written)
        ) from error
    return at


def _script_s(form: Mapping[str, str], field: str) -> float | None:
    seconds = form.get(f"{field}_at", "")
    return float(seconds) if _SECONDS.fullmatch(seconds) else None


def _text(form: Mapping[str, str], field: str) -> str:
    text = " ".join(form.get(field, "").split())
    if len(text) > LONGEST:
        raise FormError(say(_TOO_LONG[field], most=LONGEST))
    return text
