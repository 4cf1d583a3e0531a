"""ComfyUI's websocket under a client id of our own: hears that the queue changed, and the log.

Every client hears ``status``. The steps of a job go to the client that submitted it: taking over
its id would cut that browser off, so it is never done. The thread reads whatever comes at once,
since a client that does not read holds up the server's messages to everybody.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tierwatch_agent.servers import ServerError
from tierwatch_agent.servers.fields import table, text
from tierwatch_agent.servers.http import Client, trusting

if TYPE_CHECKING:
    import websocket

CONNECT_SECONDS = 3.0
LISTEN_SECONDS = 1.0
"""How long one look for a message takes: what closing may have to wait for."""
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)

_log = logging.getLogger(__name__)


class Listener:
    """One server's messages, in a thread of its own until it is closed; reconnects quietly."""

    def __init__(self, url: str, on_message: Callable[[str, object], None]) -> None:
        self.connected = False
        self._url = url
        self._on_message = on_message
        self._closed = threading.Event()
        self._connection: websocket.WebSocket | None = None
        self._thread = threading.Thread(target=self._listen, name="comfyui-socket", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()
        if self._connection is not None:
            self._connection.abort()
        self._thread.join(CONNECT_SECONDS + LISTEN_SECONDS)

    def _listen(self) -> None:
        import websocket

        failures = 0
        while not self._closed.is_set():
            since = time.monotonic()
            try:
                self._hear()
            except (OSError, websocket.WebSocketException, ValueError) as error:
                _log.debug("ComfyUI's websocket at %s: %s", self._url, error)
            if time.monotonic() - since > RETRY_SECONDS[-1]:
                failures = 0
            self._closed.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    def _hear(self) -> None:
        """One connection, until it ends."""
        import websocket

        client_id = f"tierwatch-{uuid.uuid4().hex}"
        connection = websocket.create_connection(
            f"ws{self._url.removeprefix('http').rstrip('/')}/ws?clientId={client_id}",
            timeout=CONNECT_SECONDS,
            suppress_origin=True,
            socket=self._connect(),
        )
        try:
            connection.settimeout(LISTEN_SECONDS)
            self._connection = connection
            self.connected = True
            self._subscribe_to_log(client_id)
            while not self._closed.is_set():
                try:
                    heard = connection.recv()
                except websocket.WebSocketTimeoutException:
                    continue
                if heard == "":
                    return
                if isinstance(heard, str):
                    self._pass_on(heard)
        finally:
            self.connected, self._connection = False, None
            connection.close(timeout=0)
            connection.shutdown()  # After the server's farewell, the line above leaves it open.

    def _connect(self) -> socket.socket:
        """Connected here, past any proxy: the library leaves a refused socket open."""
        address = urlsplit(self._url)
        host, tls = address.hostname or "127.0.0.1", address.scheme == "https"
        port = address.port or (443 if tls else 80)
        plain = socket.create_connection((host, port), CONNECT_SECONDS)
        return trusting().wrap_socket(plain, server_hostname=host) if tls else plain

    def _subscribe_to_log(self, client_id: str) -> None:
        client = Client(self._url)
        try:
            client.patch("/internal/logs/subscribe", {"clientId": client_id, "enabled": True})
        except ServerError as error:
            _log.debug("ComfyUI at %s does not give its log: %s", self._url, error)
        finally:
            client.close()

    def _pass_on(self, heard: str) -> None:
        try:
            message = json.loads(heard)
        except (ValueError, RecursionError):
            return
        if kind := text(message, "type"):
            self._on_message(kind, table(message, "data"))
