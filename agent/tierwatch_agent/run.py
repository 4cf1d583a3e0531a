"""The running agent: sources, sampler and HTTP server, from settings to a clean end."""

from __future__ import annotations

import errno
import logging
import threading

from tierwatch_agent.config import Config, ConfigError
from tierwatch_agent.ending import Ending
from tierwatch_agent.runner import SourceRunner
from tierwatch_agent.sampler import Sampler, hostname
from tierwatch_agent.server import http_server

_log = logging.getLogger(__name__)


def make_sampler(config: Config) -> Sampler:
    """The sampler with the settings' sources, not yet started."""
    runners = [
        SourceRunner(name, config.source.get(name, {}), deadline_seconds=config.deadline_seconds)
        for name in config.sources
    ]
    return Sampler(config.machine or hostname(), runners, interval_seconds=config.interval_seconds)


def run(config: Config) -> None:
    """Serves until SIGTERM or SIGINT; ConfigError where the address cannot be had."""
    host, port = config.address()
    sampler = make_sampler(config)
    server = http_server(host, port, lambda: sampler.current)
    try:
        server.prepare()
    except OSError as error:
        raise ConfigError(f"cannot listen on {config.listen}: {_why(error)}") from error
    ending = Ending()
    sampler.start()
    threading.Thread(target=server.serve, name="http", daemon=True).start()
    bound_host, bound_port = server.socket.getsockname()[:2]
    _log.info("machine %s on http://%s:%s/metrics", sampler.current.machine, bound_host, bound_port)
    if host not in ("127.0.0.1", "::1", "localhost"):
        _log.warning("listening beyond this machine, on %s: anyone there can read it", host)
    ending.wait()
    server.stop()
    sampler.stop()


def _why(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE or "No socket could be created" in str(error):
        return "another program has the port, or the address is not this machine's"
    return error.strerror or str(error)
