"""Sends reports to the agent of this machine from a thread of its own, or drops them."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections import deque
from typing import Any
from urllib.parse import urlsplit

URL_VARIABLE = "TIERWATCH_AGENT_URL"
"""Environment variable with the agent's address; empty: report nothing."""
DEFAULT_URL = "http://127.0.0.1:9838"
PATH = "/api/v1/servers/steps"
SECONDS_BETWEEN = 0.2
"""Between two reports: of those that come in between, only the last is sent."""
SILENT_SECONDS = 10.0
"""How long an agent that does not answer is left alone."""
TIMEOUT_SECONDS = 1.0


class Sender:
    """Takes reports at once, whatever the agent does. Its thread starts with the first one."""

    def __init__(self, url: str | None = None) -> None:
        asked = os.environ.get(URL_VARIABLE, DEFAULT_URL) if url is None else url
        self._address = urlsplit(asked)
        self._latest: deque[dict[str, Any]] = deque(maxlen=1)
        self._news = threading.Event()
        self._started = False
        self._connection: http.client.HTTPConnection | None = None

    def offer(self, report: dict[str, Any]) -> None:
        """Takes a report to be sent in place of one that still waits; never waits itself."""
        if not self._address.hostname:
            return
        if not self._started:
            self._started = True
            threading.Thread(target=self._send_all, name="tierwatch", daemon=True).start()
        self._latest.append(report)
        self._news.set()

    def _send_all(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            try:
                self._send(self._latest.pop())
                time.sleep(SECONDS_BETWEEN)
            except IndexError:
                continue  # It was sent with the one before.
            except (OSError, http.client.HTTPException, ValueError):
                # No agent, or one that is busy with other things: it is left alone for a while.
                self._close()
                time.sleep(SILENT_SECONDS)

    def _send(self, report: dict[str, Any]) -> None:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                self._address.hostname or "", self._address.port, timeout=TIMEOUT_SECONDS
            )
        body = json.dumps(report).encode()
        self._connection.request("POST", PATH, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status == http.client.NOT_FOUND:
            raise ValueError("the agent is older than this extension")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
