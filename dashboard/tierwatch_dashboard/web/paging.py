"""How the API pages through long lists: ``?limit=`` and ``?before=``, the key to go on from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from flask import abort, request

from tierwatch_dashboard.web.openapi import Parameter

MOST = 500
USUAL = 50

LIMIT = Parameter(
    name="limit",
    words="how many at most",
    schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
)
BEFORE = Parameter(
    name="before",
    words="the key that the answer before gave, for what is older",
    schema={"type": "integer", "minimum": 0},
)


class Keyed(Protocol):
    """An entry of a list that a page can begin after."""

    @property
    def key(self) -> int:
        """Its place."""
        ...


_T = TypeVar("_T", bound=Keyed)


def limit() -> int:
    """How many the asker wants; answers 400 in words where that cannot be."""
    said = request.args.get("limit", str(USUAL))
    if not (said.isascii() and said.isdecimal() and 1 <= int(said[:9]) <= MOST):
        abort(400, f"limit must be from 1 to {MOST}; it is {said}")
    return int(said)


def before() -> int | None:
    """The key to go on from; answers 400 in words where it is none."""
    said = request.args.get("before")
    if said is not None and not (said.isascii() and said.isdecimal() and len(said) < 19):
        abort(400, f"before must be the key of an entry; it is {said}")
    return None if said is None else int(said)


def page(found: Sequence[_T], count: int) -> tuple[tuple[_T, ...], int | None]:
    """The first ``count`` of one more than that, and the key of the last where there are more."""
    shown = tuple(found[:count])
    return shown, shown[-1].key if len(found) > count else None
