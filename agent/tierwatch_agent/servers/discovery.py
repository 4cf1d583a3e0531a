"""Finds the generation servers of this machine, with no configuration and at next to no cost.

A process is looked at when it is new, and again each minute, since a script may turn into the
server that it starts. Only one that bears a server's name is asked for its ports, and only until
one is found. That the server is there its own answer proves, which is the watch's business.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

import msgspec
import psutil

from tierwatch_agent.host import UNTOLD, command_line, describe, listening
from tierwatch_agent.servers.gpu_choice import told_gpus
from tierwatch_agent.servers.recognition import TITLES, asked_ports, plausible
from tierwatch_agent.snapshot import GpuSample, SourceState
from tierwatch_agent.words import phrase

SOURCE = "servers"
LOOK_AGAIN_SECONDS = 60.0
"""How long a process that is no server is left alone."""
SYSTEM_SECONDS = 600.0
"""How long one is left alone that has no arguments: it is the system's own."""
YOUNG_SECONDS = 15.0
"""So long after its creation, a process may still be about to run another program."""
LEAVE_ALONE_SECONDS = 300.0
"""How long an address is left alone that turned out to be something else."""
DEFAULT_PORTS = {
    "comfyui": 8188,
    "a1111": 7860,
    "forge": 7860,
    "sdnext": 7860,
    "invokeai": 9090,
    "swarmui": 7801,
}
LOCAL = "localhost"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound to
TLS_OPTION = "--tls-keyfile"

_log = logging.getLogger(__name__)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A generation server that is there, by all that its process shows."""

    id: str
    """Kind and port: "comfyui-8188"."""
    kind: str
    url: str
    pid: int | None = None
    """Its root process; None where only the settings know of it."""
    created: float | None = None
    """When that process was created: another moment is another run of the server."""
    gpus: tuple[str, ...] = ()
    """UUIDs of the GPUs that it was told to use, or of the only one; empty: not known."""
    configured: bool = False
    """The settings name it, so that it ought to be there."""


class _Running:
    """A generation server's processes, and where they listen."""

    def __init__(self, kind: str, root: psutil.Process) -> None:
        self.kind = kind
        self.root = root
        self.members: dict[int, psutil.Process] = {}
        self.addresses: set[tuple[str, int]] = set()
        self.withheld = False
        """Whether the system does not tell where it listens."""

    def arguments(self) -> list[str]:
        """Those of its processes that the system tells of."""
        for process in (self.root, *self.members.values()):
            if arguments := command_line(process):
                return arguments
        return []


class Discovery:
    """The generation servers of this machine, followed as they come, go and restart."""

    def __init__(
        self,
        configured: Iterable[tuple[str, str]] = (),
        *,
        search: bool = True,
        pids: Callable[[], Iterable[int]] = psutil.pids,
        process: Callable[[int], psutil.Process] = psutil.Process,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``configured``: kind and URL of the servers that the settings name."""
        self._configured = [_configured(kind, url) for kind, url in configured]
        self._search = search
        self._pids = pids
        self._process = process
        self._monotonic = monotonic
        self._now = now
        self._look_at: dict[int, float] = {}
        """Processes that are no servers, and when each is looked at again."""
        self._running: dict[int, _Running] = {}
        self._rejected: dict[tuple[str, int | None, float | None], float] = {}
        self._told_of_blindness: str | None = None
        self.state: SourceState | None = None
        """How the search fares; None: there is none, by the settings, or not yet."""

    def find(self, gpus: Sequence[GpuSample] = ()) -> tuple[Found, ...]:
        """Every server that is there now, those of the settings first."""
        found: dict[tuple[str, int | None], Found] = {}
        if self._search:
            blind = self._look()
            for server in self._running.values():
                candidate, problem = self._placed(server, gpus)
                if candidate is not None:
                    found.setdefault(_place(candidate.url), candidate)
                elif problem is not None:
                    blind = blind or problem
            self._tell(blind, found=bool(found))
        named: list[Found] = []
        for server in self._configured:
            seen = found.pop(_place(server.url), None)
            if seen is not None:
                pid, created, told = seen.pid, seen.created, seen.gpus
                server = msgspec.structs.replace(server, pid=pid, created=created, gpus=told)
            elif _place(server.url)[0] == LOCAL:
                # Its process is not seen, but where there is one card, it is that server's.
                server = msgspec.structs.replace(server, gpus=told_gpus((), None, gpus))
            named.append(server)
        return (*named, *found.values())

    def reject(self, found: Found) -> None:
        """Something else answers there: its next port is tried, and this one left alone."""
        due = self._monotonic() + LEAVE_ALONE_SECONDS
        self._rejected[found.url, found.pid, found.created] = due

    def look_anew(self, found: Found) -> None:
        """A server does not answer any more: where it listens is asked for again."""
        if found.pid in self._running:
            self._running[found.pid].addresses = set()

    def _look(self) -> str | None:
        """Looks at what is new; says what it may not see."""
        now, pids = self._monotonic(), set(self._pids())
        self._rejected = {key: due for key, due in self._rejected.items() if due > now}
        self._look_at = {pid: due for pid, due in self._look_at.items() if pid in pids}
        for root, server in list(self._running.items()):
            server.members = {
                pid: member for pid, member in server.members.items() if _is_there(member, pids)
            }
            if not server.members:
                del self._running[root]
        members = {pid for server in self._running.values() for pid in server.members}
        for pid in pids - members:
            if self._look_at.get(pid, 0.0) <= now:
                self._look_at[pid] = now + self._look_at_one(pid)
        # A system that shows each user its own processes alone does not show the first one.
        if sys.platform == "linux" and 1 not in pids:
            return "may not see other users' processes"
        return None

    def _look_at_one(self, pid: int) -> float:
        """Takes note of a generation server's process; of another, when to look again (seconds)."""
        try:
            process = self._process(pid)
            arguments = command_line(process)
            if arguments and plausible(arguments):
                label = describe(process)
                if label.server is not None and label.server_pid is not None:
                    self._join(process, label.server, label.server_pid)
                    return 0.0
            if self._now() - process.create_time() < YOUNG_SECONDS:
                return 0.0
        except (psutil.NoSuchProcess, *UNTOLD):
            return LOOK_AGAIN_SECONDS
        # The system's own processes have no arguments, and never turn into anything.
        return LOOK_AGAIN_SECONDS if arguments else SYSTEM_SECONDS

    def _join(self, process: psutil.Process, kind: str, root: int) -> None:
        """Adds a process to its server's; they are asked where they listen from then on."""
        if root not in self._running:
            self._running[root] = _Running(kind, self._process(root))
        server = self._running[root]
        server.members[process.pid] = process
        server.addresses = set()

    def _placed(
        self, server: _Running, gpus: Sequence[GpuSample]
    ) -> tuple[Found | None, str | None]:
        """Where a server listens, else why that cannot be known; neither while it starts."""
        try:
            arguments = server.arguments()
            if not server.addresses:
                asked = [listening(member) for member in server.members.values()]
                server.addresses = set[tuple[str, int]]().union(*filter(None, asked))
                server.withheld = None in asked
            created = server.root.create_time()
        except psutil.NoSuchProcess:
            return None, None
        scheme = "https" if any(a.startswith(TLS_OPTION) for a in arguments) else "http"
        for host, port in _candidates(server, arguments):
            url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
            if (url, server.root.pid, created) not in self._rejected:
                return Found(
                    id=f"{server.kind}-{port}",
                    kind=server.kind,
                    url=url,
                    pid=server.root.pid,
                    created=created,
                    gpus=told_gpus(arguments, _environment(server), gpus),
                ), None
        if server.withheld and not server.addresses:
            title = TITLES[server.kind]
            return None, f"may not see where {title} (pid {server.root.pid}) listens"
        return None, None

    def _tell(self, blind: str | None, *, found: bool) -> None:
        """Keeps the state, and says once what it may not see."""
        if blind is not None:
            blind += (
                ": run the agent as that user or an administrator, or name the server's address"
                " in the settings (servers)"
            )
            if blind != self._told_of_blindness:
                _log.warning("the search for generation servers %s", blind)
        self._told_of_blindness = blind
        self.state = SourceState(
            name=SOURCE,
            state="down" if blind else "up" if found else "absent",
            reason=blind or (None if found else phrase("no generation server runs")),
            last_success_at=None if blind else self._now(),
        )


def _configured(kind: str, url: str) -> Found:
    address = urlsplit(url)
    if address.port is None:
        # A generation server's own port, rather than the web's.
        netloc = f"{address.netloc}:{DEFAULT_PORTS.get(kind, 80)}"
        address = address._replace(netloc=netloc)
    host = "" if _place(url)[0] == LOCAL else f"{address.hostname}-"
    return Found(
        id=f"{kind}-{host}{address.port}", kind=kind, url=address.geturl(), configured=True
    )


def _place(url: str) -> tuple[str, int | None]:
    """By what two URLs are the same server: one machine has many names for itself."""
    address = urlsplit(url)
    host = address.hostname or ""
    return LOCAL if host in ("127.0.0.1", "::1", LOCAL) else host, address.port


def _candidates(server: _Running, arguments: Sequence[str]) -> list[tuple[str, int]]:
    """Where to try, the likeliest first: the asked port, the usual one, the lowest."""
    asked, usual = asked_ports(arguments), DEFAULT_PORTS[server.kind]
    if server.withheld and not server.addresses:
        return [("127.0.0.1", port) for port in asked or {usual}]
    by_port: dict[int, str] = {}
    for host, port in sorted(server.addresses):
        # Of several addresses, one that is reached by the loopback; IPv4 sorts first.
        by_port.setdefault(port, EVERYWHERE.get(host, host))
    ports = sorted(by_port, key=lambda port: (port not in asked, port != usual, port))
    return [(by_port[port], port) for port in ports]


def _is_there(process: psutil.Process, pids: set[int]) -> bool:
    return process.pid in pids and process.is_running()


def _environment(server: _Running) -> dict[str, str] | None:
    try:
        return server.root.environ()
    except (psutil.Error, *UNTOLD):
        return None
