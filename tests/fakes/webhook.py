"""A receiver of webhooks on a real socket, which can be away, refuse, or die before it answers."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """``with Webhook() as hook:``; ``hook.url`` is Apprise's. Between ``down`` and ``up`` it is
    away: its port is closed.
    """

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        """Every message that it took, in the order of their arrival."""
        self.arrived_at: list[float] = []
        """When each of them came, in Unix seconds."""
        self.refuse = False
        """Answers 503 and takes nothing."""
        self.drop_answers = 0
        """So many messages are taken and the connection is closed without an answer."""
        self._server: ThreadingHTTPServer | None = None
        self.up()
        assert self._server is not None
        self.port: int = self._server.server_port
        self._thread: threading.Thread

    def __enter__(self) -> Webhook:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        """Where messages go, with a secret in its path."""
        return f"json://127.0.0.1:{self.port}/hook/s3cr3t-token"

    @property
    def titles(self) -> list[str]:
        """The title of each message that it took."""
        return [message["title"] for message in self.told]

    def up(self) -> None:
        """Opens its port, the same as before."""
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.refuse:
                    self.send_error(503)
                    return
                hook.arrived_at.append(time.time())
                hook.told.append(json.loads(body))
                if hook.drop_answers:
                    hook.drop_answers -= 1
                    return
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", getattr(self, "port", 0)), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def down(self) -> None:
        """Closes its port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            self._thread.join()
