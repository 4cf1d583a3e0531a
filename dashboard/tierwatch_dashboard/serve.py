"""Serves the dashboard over HTTP, until it is asked to end."""

from __future__ import annotations

import errno
import gc
import logging
import os
import sys
import threading

from cheroot import wsgi

from tierwatch_agent.ending import Ending
from tierwatch_dashboard.config import Config, ConfigError, address, is_loopback
from tierwatch_dashboard.database import DatabaseError
from tierwatch_dashboard.running import Dashboard

_log = logging.getLogger(__name__)

THREADS = 8
OPEN_PAGES = 2000
"""Connections that stay open between two questions; a page beyond them connects each time."""
STOP_SECONDS = 5.0

GARBAGE_AFTER = 50_000
"""New objects from one search for garbage to the next: each answer makes some hundreds that live
until the next one, and Python's own 700 would have them searched over and over for nothing."""


def run(config: Config) -> None:
    """Serves until SIGTERM or SIGINT; ConfigError where it cannot start."""
    _allow_many_sockets()
    gc.set_threshold(GARBAGE_AFTER)
    try:
        dashboard = Dashboard(config)
    except DatabaseError as error:
        raise ConfigError(str(error)) from error
    server = _Server(address(config.listen), dashboard.app)
    try:
        server.prepare()
    except OSError as error:
        # Nothing is stored: the program that has the port may be this studio's dashboard.
        dashboard.close()
        raise ConfigError(f"cannot listen on {config.listen}: {_why(error)}") from error
    ending = Ending()
    dashboard.start()
    threading.Thread(target=server.serve, name="http", daemon=True).start()
    host, port = server.socket.getsockname()[:2]
    _log.info("dashboard on http://%s:%s/", f"[{host}]" if ":" in host else host, port)
    if not is_loopback(host):
        _log.warning("listening beyond this machine, on %s: anyone there can read it", host)
    ending.wait()
    _end_within(STOP_SECONDS)
    server.stop()
    dashboard.stop()


class _Server(wsgi.Server):
    """Cheroot with a bounded number of threads and its complaints in our log."""

    keep_alive_conn_limit = OPEN_PAGES
    """Each open page keeps its connection."""

    def __init__(self, address: tuple[str, int], app: object) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  # cheroot's stubs are partial
            address,
            app,
            numthreads=THREADS,
            max=THREADS,
            request_queue_size=128,
            accepted_queue_size=256,
            accepted_queue_timeout=2,
            shutdown_timeout=1,
            server_name="tierwatch",
        )

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        _log.log(level, "http: %s", msg.strip(), exc_info=traceback)


def _end_within(seconds: float) -> None:
    """Ends the process after that long, whatever hangs: a name lookup may block for minutes."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _allow_many_sockets() -> None:
    """Lifts the soft limit on open files to the hard one: each machine keeps a connection."""
    if sys.platform != "win32":
        import resource

        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE or "No socket could be created" in str(error):
        return "another program has the port, or the address is not this machine's"
    return error.strerror or str(error)
