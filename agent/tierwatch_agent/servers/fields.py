"""Fields of a server's answer, each read only if it is what it should be. Pure.

A field that is missing or of the wrong type is None and costs nothing but itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

LARGEST = 2**53
"""The largest whole number that JSON carries without loss."""
LONGEST = 200
"""Characters of a name; longer texts are none."""

_TOKEN = re.compile(r"[\w.-]{1,80}")


def table(answer: object, *path: str) -> Mapping[str, Any]:
    """The object at a path of keys; empty where there is none."""
    found = _at(answer, path)
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def rows(answer: object, *path: str) -> list[Any]:
    """The list at a path of keys; empty where there is none."""
    found = _at(answer, path)
    return cast("list[Any]", found) if isinstance(found, list) else []


def whole(answer: object, *path: str) -> int | None:
    """The whole number at a path of keys."""
    found = _at(answer, path)
    if isinstance(found, bool) or not isinstance(found, int) or abs(found) > LARGEST:
        return None
    return found


def count(answer: object, *path: str) -> int | None:
    """The whole number at a path of keys, unless it is below zero."""
    found = whole(answer, *path)
    return found if found is not None and found >= 0 else None


def number(answer: object, *path: str) -> float | None:
    """The finite number at a path of keys."""
    found = _at(answer, path)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    if isinstance(found, int) and abs(found) > LARGEST:
        return None
    return float(found) if math.isfinite(found) else None


def text(answer: object, *path: str) -> str | None:
    """The text at a path of keys, unless it is empty or too long to be a name."""
    found = _at(answer, path)
    return found if isinstance(found, str) and 0 < len(found) <= LONGEST else None


def token(answer: object, *path: str) -> str | None:
    """The text at a path of keys, if it is fit to be part of an id: letters, digits and ``._-``."""
    found = text(answer, *path)
    return found if found and _TOKEN.fullmatch(found) else None


def flag(answer: object, *path: str) -> bool | None:
    """The true or false at a path of keys."""
    found = _at(answer, path)
    return found if isinstance(found, bool) else None


def _at(answer: object, path: tuple[str, ...]) -> object:
    for key in path:
        if not isinstance(answer, dict):
            return None
        answer = cast("dict[str, object]", answer).get(key)
    return answer
