"""The dashboard's logs: as the agent's, with its libraries' chatter left out."""

from __future__ import annotations

import logging

from tierwatch_agent import logs


def set_up(log_format: str) -> None:
    """Sends every record from INFO up to standard error. ``log_format``: text or json."""
    logs.set_up(log_format)
    # Both tell of each run at INFO, and of a run that was left out again and again; the
    # scheduler's own listener counts those and says so once.
    for chatty in ("apscheduler", "alembic"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
