"""Has a dashboard say in a header what each answer took it: ``Server-Timing: cpu;dur=…`` (ms).

The processor time of the thread that answered, and nothing else's: unlike the time that passed, it
says the same on a busy machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

PRELUDE = "from tests.bench.big_fleet.timed import install; install()"
"""Python for the dashboard's process to run first."""

_TOLD = re.compile(r"cpu;dur=([\d.]+)")
_Start = Callable[..., Any]


def install() -> None:
    """From now on every Flask application of this process says it."""
    answer = Flask.wsgi_app

    def timed(self: Flask, environ: dict[str, Any], start_response: _Start) -> Iterable[bytes]:
        began = time.thread_time()

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            took = 1000 * (time.thread_time() - began)
            headers.append(("Server-Timing", f"cpu;dur={took:.3f}"))
            return start_response(status, headers, *rest)

        return answer(self, environ, start)

    Flask.wsgi_app = timed


def seconds_in(header: str) -> float:
    """What an answer's header tells."""
    found = _TOLD.search(header)
    assert found, f"it does not say how long it took: {header!r}"
    return float(found[1]) / 1000
