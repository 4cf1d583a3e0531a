"""The way to the receivers: Apprise, kept from telling secrets.

Apprise is loaded when something is to be sent, not before: a dashboard without receivers has no
use for its hundred services.
"""

# Apprise bears no types:
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from tierwatch_agent.words import translated
from tierwatch_dashboard.alerts.messages import Message, test
from tierwatch_dashboard.alerts.outbox import DeliveryError
from tierwatch_dashboard.alerts.settings import Receiver
from tierwatch_dashboard.catalogues import catalogue

_LIBRARIES = {"apprise": logging.WARNING, "requests": logging.CRITICAL, "urllib3": logging.CRITICAL}
"""Their logs hold addresses, and with them secrets: they say no more than these levels, and that
to nobody but ``_said``."""

_TYPES = {"critical": "failure", "warning": "warning", "info": "info"}
_SHORTEST_SECRET = 4
_NOWHERE = logging.NullHandler()
_loading = threading.Lock()


def send(receiver: Receiver, message: Message) -> None:
    """Gives a message to a receiver, in its language; DeliveryError says why not, no secret."""
    service, sentences = _service(receiver), catalogue(receiver.language)
    with _said() as complaints:
        taken = service.notify(
            title=translated(message.title, sentences),
            body=translated(message.body, sentences),
            notify_type="success" if message.kind == "resolved" else _TYPES[message.severity],
        )
    if not taken:
        why = "; ".join(complaints) or "it did not take the message and gives no reason"
        raise DeliveryError(_masked(why, receiver.url))


def why_not(receiver: Receiver) -> str | None:
    """Sends a test message; why the receiver did not take it, None: it did."""
    try:
        send(receiver, test(receiver.name))
    except DeliveryError as error:
        return str(error)
    return None


def wrong_with(url: str) -> str | None:
    """What is wrong with an Apprise URL, without repeating it; None: nothing that can be seen."""
    try:
        _service(Receiver(name="", url=url))
    except DeliveryError as error:
        return str(error)
    return None


def _service(receiver: Receiver) -> Any:
    """The service behind a URL; DeliveryError where there is none."""
    apprise = _apprise()
    with _said():
        service = apprise.Apprise.instantiate(receiver.url, suppress_exceptions=True)
    if service is None:
        scheme, separator, _rest = receiver.url.partition("://")
        shown = f", {scheme}://…," if separator else ""
        raise DeliveryError(
            f"its url{shown} is none that Apprise knows: "
            "github.com/caronc/apprise lists how each service's is written"
        )
    return service


def _apprise() -> Any:
    with _loading, warnings.catch_warnings():
        # Of its hundred services some use what Python is about to drop; they are not ours to mend.
        warnings.simplefilter("ignore")
        import apprise

        for name, level in _LIBRARIES.items():
            logger = logging.getLogger(name)
            logger.setLevel(level)
            logger.propagate = False
            logger.addHandler(_NOWHERE)
        apprise.Apprise.instantiate("json://localhost")
        return apprise


@contextmanager
def _said() -> Generator[list[str]]:
    """What Apprise complains of in this thread: it answers no more than that it failed."""
    complaints: list[str] = []
    handler = _ThisThread(complaints)
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    try:
        yield complaints
    finally:
        logger.removeHandler(handler)


class _ThisThread(logging.Handler):
    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._complaints = complaints
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps what this thread is told, first lines only."""
        if threading.get_ident() == self._thread:
            self._complaints.append(record.getMessage().partition("\n")[0])


def _masked(text: str, url: str) -> str:
    """The text without any part of the URL: in one service a token is where another has a host."""
    parts = set(re.split(r"[/:@?&=#,]+", url.partition("://")[2]))
    parts |= {unquote(part) for part in parts}
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= _SHORTEST_SECRET:
            text = re.sub(re.escape(part), "…", text, flags=re.IGNORECASE)
    return text
