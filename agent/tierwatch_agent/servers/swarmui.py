"""SwarmUI: how much waits and runs, over all its users.

It tells: up, version, queue. Its images are made by ComfyUI processes that it starts and that are
watched for themselves, so that no job is told here: it would be counted twice. Before September
2025 it tells a session of no other's work, and then there is no queue. Each question marks its
local user as present, and each session is kept by it, so one is made and used on.
Sources: src/WebAPI/API.cs, BasicAPIFeatures.cs, AdminAPI.cs and Accounts/Session.cs of 062407c.
"""

from __future__ import annotations

import threading

from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading, fields
from tierwatch_agent.servers.http import (
    TIMEOUT_SECONDS,
    Client,
    LoginWanted,
    NoSuchPage,
    NotUnderstood,
)

EVERYBODY = "/API/GetGlobalStatus"
OWN_SESSION = "/API/GetCurrentStatus"


class SwarmUI:
    """One SwarmUI. The server's id is of no use here: it names jobs elsewhere."""

    def __init__(
        self, server_id: str, url: str, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        del server_id
        self._client = Client(url, timeout_seconds)
        self._session: str | None = None
        self._page = EVERYBODY
        self._closed = threading.Event()

    def identify(self) -> str | None:
        """Proves that it is a SwarmUI; its version."""
        return fields.text(self._begin_session(), "version")

    def read(self) -> ServerReading:
        """Its queue now, by one small page."""
        try:
            answer = self._status()
        except (NoSuchPage, NotUnderstood):
            if self._page == OWN_SESSION:
                raise
            # An unknown page or a missing permission is logged by it each time: asked once only.
            self._page = OWN_SESSION
            answer = self._status()
        status = fields.table(answer, "status")
        if not status:
            raise ServerError("its status has no counts")
        if self._page == OWN_SESSION:
            return ServerReading()
        running = fields.count(status, "live_gens")
        unfinished = fields.count(status, "waiting_gens")
        if running is None or unfinished is None:
            return ServerReading(queue_running=running)
        # What runs is among what it calls waiting.
        return ServerReading(queue_pending=max(0, unfinished - running), queue_running=running)

    def wait(self, seconds: float) -> None:
        """Waits so long; the server has no way to say that something happened."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Lets go of the connection and of whoever waits."""
        self._closed.set()
        self._client.close()

    def _status(self) -> object:
        if self._session is None:
            self._begin_session()
        try:
            return self._client.post(self._page, {"session_id": self._session})
        except LoginWanted:
            # 401 is also how it says that a session has ended.
            self._begin_session()
            return self._client.post(self._page, {"session_id": self._session})

    def _begin_session(self) -> object:
        try:
            answer = self._client.post("/API/GetNewSession", {})
        except NoSuchPage as missing:
            raise NotThisServer("it has no sessions of SwarmUI's") from missing
        self._session = fields.text(answer, "session_id")
        if self._session is None:
            if "error" in fields.table(answer):
                raise ServerError("gives no session to who has no account: allow local access")
            raise NotThisServer("it answers without a session")
        return answer
