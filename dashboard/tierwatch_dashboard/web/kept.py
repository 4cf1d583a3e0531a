"""What a page of the present shows of the past, as far as the database gives an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import g

from tierwatch_dashboard.app import services
from tierwatch_dashboard.database import DatabaseError

_T = TypeVar("_T")


def kept(read: Callable[[], _T]) -> _T | None:
    """What is read; None where it cannot be, of which ``why_unread`` tells."""
    try:
        return read()
    except DatabaseError as error:
        g.why_unread = str(error)
        return None


def why_unread() -> str | None:
    """Why the database gives no answer, now or to what this page has asked; None: it does."""
    return services().database_error() or g.get("why_unread")
