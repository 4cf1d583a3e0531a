"""Plays SwarmUI.

After src/WebAPI/API.cs (sessions, statuses of errors), BasicAPIFeatures.cs (``GetNewSession``,
``GetCurrentStatus``) and AdminAPI.cs (``GetGlobalStatus``) of mcmonkeyprojects/SwarmUI 062407c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.fakes.servers import Answer, FakeServer


class FakeSwarmUI(FakeServer):
    """Has ``unfinished`` generations of which ``live`` run, and knows its ``sessions``."""

    def __init__(self, *, tells_everybody: bool = True, open_to_strangers: bool = True) -> None:
        super().__init__()
        self.sessions: list[str] = []
        self.unfinished: object = 0
        self.live: object = 0
        self._open = open_to_strangers
        self.pages = {
            "POST /API/GetNewSession": lambda query, body: self._new_session(),
            "POST /API/GetCurrentStatus": self._of_session(lambda: self._status(0, 0)),
        }
        self.pages["POST /API/GetGlobalStatus"] = self._of_session(
            (lambda: self._status(self.unfinished, self.live))
            if tells_everybody
            else lambda: Answer(400, {"error_id": "bad_route", "error": "Unknown API route"})
        )

    def forget_sessions(self) -> None:
        self.sessions.clear()

    def _new_session(self) -> object:
        if not self._open:
            return {"error": "Invalid or unauthorized."}
        self.sessions.append(f"session{len(self.asked)}")
        return {
            "session_id": self.sessions[-1],
            "user_id": "local",
            "version": "0.9.6.5",
            "server_id": "abc",
            "permissions": [],
        }

    def _of_session(self, tell: Callable[[], object]) -> Any:
        def page(query: dict[str, str], body: dict[str, Any]) -> object:
            if body.get("session_id") not in self.sessions:
                return Answer(401, {"error_id": "invalid_session_id", "error": "Invalid session"})
            return tell()

        return page

    def _status(self, unfinished: object, live: object) -> dict[str, Any]:
        return {
            "status": {
                "waiting_gens": unfinished,
                "loading_models": 0,
                "waiting_backends": 0,
                "live_gens": live,
            },
            "backend_status": {"status": "running", "class": "", "message": ""},
            "supported_features": ["comfyui"],
        }
