"""A dashboard on a socket, with a studio in the test's hands."""

from __future__ import annotations

import threading

from werkzeug.serving import BaseWSGIServer, make_server

from tests.dashboard.doubles import Studio
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.fleet.state import MachineView


class Dashboard:
    """The pages of one studio; it can be stopped and started again on its port."""

    def __init__(self, studio: Studio | None = None) -> None:
        self.studio = studio or Studio()
        self._server: BaseWSGIServer | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self.start()

    def start(self) -> None:
        server = make_server(
            "127.0.0.1", self._port, create_app(self.studio.services()), threaded=True
        )
        self._port = server.server_port
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        self._thread.start()
        self._server = server

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    def known(self, machine: str) -> MachineView:
        found = self.studio.fleet.view(machine)
        assert found
        return found
