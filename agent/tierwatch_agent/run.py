"""The running agent: sources, sampler and HTTP server, from settings to a clean end."""

from __future__ import annotations

import errno
import logging
import threading

from tierwatch_agent.config import Config, ConfigError
from tierwatch_agent.ending import Ending
from tierwatch_agent.ledger import Ledger, ledger_file
from tierwatch_agent.runner import SourceRunner
from tierwatch_agent.sampler import SIMULATED, Sampler, hostname
from tierwatch_agent.server import http_server
from tierwatch_agent.servers.discovery import Discovery
from tierwatch_agent.servers.judging import Judge
from tierwatch_agent.servers.reported import ReportedJobs
from tierwatch_agent.servers.step_reports import StepReports
from tierwatch_agent.servers.watching import Watching

_log = logging.getLogger(__name__)


class Agent:
    """The parts of an agent, made by its settings and not yet started."""

    def __init__(self, config: Config, *, remembers: bool = True) -> None:
        """``remembers``: keeps what it counted on disk, as only the running agent may."""
        machine = config.machine or hostname()
        self.reported = ReportedJobs()
        self.steps = StepReports()
        self.watching = Watching(
            Discovery(
                [(server.kind, server.url) for server in config.servers],
                # The servers of a made-up machine are not this machine's.
                search=config.discover and SIMULATED not in config.sources,
            ),
            Ledger(ledger_file(config.state_folder(), machine) if remembers else None),
            reported=self.reported,
            steps=self.steps,
            judge=Judge(config.stall_after_seconds),
        )
        runners = [
            SourceRunner(
                name, config.source.get(name, {}), deadline_seconds=config.deadline_seconds
            )
            for name in config.sources
        ]
        self.sampler = Sampler(
            machine, runners, watching=self.watching, interval_seconds=config.interval_seconds
        )


def make_sampler(config: Config) -> Sampler:
    """The sampler with the settings' sources, for a look at the machine; not yet started."""
    return Agent(config, remembers=False).sampler


def run(config: Config) -> None:
    """Serves until SIGTERM or SIGINT; ConfigError where the address cannot be had."""
    host, port = config.address()
    agent = Agent(config)
    sampler = agent.sampler
    server = http_server(
        host, port, lambda: sampler.current, reported=agent.reported, steps=agent.steps
    )
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
