"""The machine around its GPUs, and who the processes on them are (psutil)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec
import psutil

from tierwatch_agent.command_line import parse
from tierwatch_agent.servers.recognition import TITLES, plausible, recognise
from tierwatch_agent.snapshot import HostSample, Process

SWAP_SECONDS = 30.0
"""How long a reading of swap is good for: it costs more than all the rest together."""
VERIFY_SECONDS = 5.0
"""How often a known pid is checked to be the same process still."""
UNDECIDED_SECONDS = 30.0
"""How often the ports of a process are asked for that nothing else can place."""
FORGET_SECONDS = 60.0
"""How long a process that no GPU lists any more is remembered."""
OUT_OF_SIGHT = "a process out of sight"
LONGEST_NAME = 80
UNTOLD = (psutil.AccessDenied, OSError)
"""What psutil raises where the system does not tell something of a process that is there."""


class Host:
    """CPU, memory and swap of this machine, cheap enough to ask every second."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._cpu_count = psutil.cpu_count() or 1
        self._booted_at = psutil.boot_time()
        self._cpu: tuple[float, float] | None = None
        self._swap = (0, 0)
        self._swap_due = float("-inf")

    def sample(self) -> HostSample:
        """The machine now; raises psutil.Error or OSError where the system does not answer."""
        memory = psutil.virtual_memory()
        swap_total, swap_used = self._read_swap()
        return HostSample(
            cpu_count=self._cpu_count,
            cpu_ratio=self._cpu_ratio(),
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            swap_total_bytes=swap_total,
            swap_used_bytes=swap_used,
            booted_at=self._booted_at,
        )

    def _cpu_ratio(self) -> float | None:
        """Share of CPU time in use since the last call; None at the first, or too soon after."""
        times = psutil.cpu_times()
        # Linux counts a guest's time within user and nice as well.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        before, self._cpu = self._cpu, (total, idle)
        if before is None or total <= before[0]:
            return None
        return min(1.0, max(0.0, 1.0 - (idle - before[1]) / (total - before[0])))

    def _read_swap(self) -> tuple[int, int]:
        if self._monotonic() >= self._swap_due:
            swap = psutil.swap_memory()
            self._swap = (swap.total, swap.used)
            self._swap_due = self._monotonic() + SWAP_SECONDS
        return self._swap


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of a process."""

    name: str
    server: str | None = None
    """The kind of generation server that it belongs to."""
    server_pid: int | None = None
    """Root process of that server."""
    identified: bool = True
    undecided: bool = False
    """Its ports may yet tell that it is a generation server."""


class _Known(msgspec.Struct):
    """A process that was looked up. Moments are of the monotonic clock."""

    label: Label
    created: float | None
    """None where the agent cannot see the process."""
    looked_at: float
    verified_at: float


class ProcessTable:
    """Who the processes on the GPUs are: looked up once, then known by pid and time of creation."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        find: Callable[[int], psutil.Process] = psutil.Process,
    ) -> None:
        self._monotonic = monotonic
        self._find = find
        self._known: dict[int, _Known] = {}
        self._tidy_at = monotonic() + FORGET_SECONDS

    def label(self, processes: Sequence[Process]) -> tuple[Process, ...]:
        """Fills in name and generation server of the processes that their driver did not name.

        Costs almost nothing while nothing changes. Never raises: a process that is gone, or that
        the agent may not look at, bears a name that says so.
        """
        now = self._monotonic()
        self._tidy(now)
        return tuple(p if p.name else self._labelled(p, now) for p in processes)

    def _labelled(self, process: Process, now: float) -> Process:
        known = self._known.get(process.pid)
        if known is None or now - known.verified_at >= VERIFY_SECONDS:
            known = self._known[process.pid] = self._look_up(process.pid, known, now)
        label = known.label
        return Process(
            pid=process.pid,
            name=label.name,
            vram_bytes=process.vram_bytes,
            shared_bytes=process.shared_bytes,
            server=label.server,
            server_pid=label.server_pid,
            identified=label.identified,
        )

    def _look_up(self, pid: int, known: _Known | None, now: float) -> _Known:
        """What is known of a process now: looked at anew if it is another, or still undecided."""
        try:
            process = self._find(pid)
            created = process.create_time()
            if known is not None and known.created == created:
                rested = now - known.looked_at < UNDECIDED_SECONDS
                if rested or not known.label.undecided:
                    return msgspec.structs.replace(known, verified_at=now)
            return _Known(describe(process), created, looked_at=now, verified_at=now)
        except psutil.NoSuchProcess:
            # While its memory is being freed, an ended process is listed still, by the name it had.
            if known is not None:
                return msgspec.structs.replace(known, verified_at=now)
            label = Label(name=OUT_OF_SIGHT, identified=False)
            return _Known(label, None, looked_at=now, verified_at=now)

    def _tidy(self, now: float) -> None:
        """Forgets the processes that no GPU lists any more: nobody has had them verified."""
        if now >= self._tidy_at:
            self._tidy_at = now + FORGET_SECONDS
            self._known = {
                pid: known
                for pid, known in self._known.items()
                if now - known.verified_at < FORGET_SECONDS
            }


class _Kind(msgspec.Struct, frozen=True):
    """What one process is by itself, its parents left out."""

    server: str | None = None
    undecided: bool = False
    identified: bool = True


def describe(process: psutil.Process) -> Label:
    """Name and server of a process: its own, or of the nearest parent that is one."""
    own = _kind(process)
    server, root = own.server, process.pid if own.server else None
    undecided = own.undecided
    for parent in _parents(process):
        try:
            kind = _kind(parent)
        except psutil.NoSuchProcess:
            break
        if server is not None and kind.server != server:
            break
        undecided = undecided or kind.undecided
        if kind.server is not None:
            server, root = kind.server, parent.pid
    return Label(
        name=TITLES[own.server] if own.server else _name(process),
        server=server,
        server_pid=root,
        identified=own.identified or server is not None,
        undecided=undecided and server is None,
    )


def _kind(process: psutil.Process) -> _Kind:
    arguments = command_line(process)
    if arguments is None:
        return _Kind(identified=not _says_little(process))
    if not arguments:  # A kernel's own process, or one that is just being started.
        return _Kind(undecided=True)
    cwd = _cwd(process)
    server = recognise(arguments, cwd=cwd)
    if server is not None or not plausible(arguments):
        return _Kind(server)
    addresses = listening(process)
    ports = None if addresses is None else {port for _, port in addresses}
    server = recognise(arguments, ports or (), cwd)
    denied = cwd is None or ports is None
    return _Kind(server, undecided=server is None, identified=server is not None or not denied)


def _name(process: psutil.Process) -> str:
    """For people: the program, and of an interpreter the script or module. Never arguments."""
    command = parse(command_line(process) or ())
    try:
        name = command.title if command.interpreted else process.name()
    except UNTOLD:
        return OUT_OF_SIGHT
    # A program may write what it likes into its own name, options and control signs too.
    shown = "".join(sign if sign.isprintable() else "?" for sign in name.split(" -")[0])
    return shown[:LONGEST_NAME] or OUT_OF_SIGHT


def _says_little(process: psutil.Process) -> bool:
    """Whether a process whose arguments are not told may, by its name, be any script."""
    try:
        name = process.name()
    except UNTOLD:
        return True
    return parse([name]).interpreted or plausible([name])


def _parents(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.parents()
    except psutil.Error:
        return []


def command_line(process: psutil.Process) -> list[str] | None:
    """A process's arguments; None where the system does not let the agent read them."""
    try:
        return process.cmdline()
    except UNTOLD:
        return None


def _cwd(process: psutil.Process) -> str | None:
    """The folder it runs in; None where the system does not tell."""
    try:
        return process.cwd()
    except UNTOLD:
        return None


def listening(process: psutil.Process) -> set[tuple[str, int]] | None:
    """Addresses and TCP ports it listens on; None where the system does not tell.

    Dear on a busy machine.
    """
    try:
        connections = process.net_connections(kind="tcp")
    except UNTOLD:
        return None
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
