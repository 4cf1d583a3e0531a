"""``tierwatch demo``: a simulated studio as real agents on real sockets, with its dashboard.

Beside the simulated machines, the agent of the machine that it runs on, as it is. All that is
written goes to ``.demo`` in the current folder, and all that is started ends with it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tierwatch_dashboard.demo_past import database_in, write_past
from tierwatch_dashboard.demo_studio import SimulatedMachine, studio

FOLDER = Path(".demo")
THIS_MACHINE = "this-machine"
START_SECONDS = 60.0
POLICY = """\
# The demo is impatient: a studio keeps the default of 60 s.
[policy]
below_for = "15s"
clear_for = "5s"
"""


class Ended(Exception):
    """The demo is to end: Ctrl-C or SIGTERM."""


def run(listen: str, machines: int) -> int:
    """Runs the demo until it is ended; 0, or 2 where it cannot start."""
    _on_signals()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    simulated = list(studio(machines))
    ports = _free_ports(len(simulated) + 1)
    addresses = dict(zip([*(m.id for m in simulated), THIS_MACHINE], ports, strict=True))
    _write_inventory(simulated, addresses)
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for machine in simulated:
            settings = _write_agent(machine)
            started[machine.id] = _start_agent(machine.id, addresses[machine.id], settings)
        settings = _write_settings(THIS_MACHINE)
        started[THIS_MACHINE] = _start_agent(THIS_MACHINE, addresses[THIS_MACHINE], settings)
        write_past(database_in(FOLDER), simulated, time.time())
        dashboard = _start_dashboard(listen)
        started["dashboard"] = dashboard
        if not _answers(f"http://{listen}/healthz", dashboard):
            _say(f"The dashboard did not start; {FOLDER / 'dashboard.log'} says why:")
            _say((FOLDER / "dashboard.log").read_text().strip())
            return 2
        _say(f"{len(simulated)} simulated machines and this one: http://{listen}/  (Ctrl-C ends)")
        _watch(simulated, started, dashboard)
    except Ended:
        pass
    finally:
        _end(started.values())
    return 0


def _watch(
    simulated: Sequence[SimulatedMachine],
    started: dict[str, subprocess.Popen[bytes]],
    dashboard: subprocess.Popen[bytes],
) -> None:
    """Lets the machines die that are to die, for as long as the dashboard lives."""
    began = time.monotonic()
    dying = {m.id: m.dies_after_seconds for m in simulated if m.dies_after_seconds is not None}
    while dashboard.poll() is None:
        for machine, after in list(dying.items()):
            if time.monotonic() - began > after:
                started[machine].kill()
                del dying[machine]
        time.sleep(0.5)
    _say(f"The dashboard ended by itself; {FOLDER / 'dashboard.log'} says why.")


def _write_inventory(simulated: Iterable[SimulatedMachine], ports: dict[str, int]) -> None:
    tables = [
        _table(
            id=machine.id,
            url=f"http://127.0.0.1:{ports[machine.id]}",
            tier=machine.tier,
            tags=list(machine.tags),
            gpu_tiers=machine.gpu_tiers,
        )
        for machine in simulated
    ]
    this = _table(id=THIS_MACHINE, url=f"http://127.0.0.1:{ports[THIS_MACHINE]}")
    (FOLDER / "tierwatch.toml").write_text("\n".join([POLICY, *tables, this]), encoding="utf-8")


def _table(**values: Any) -> str:
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    return "\n".join(["[[machine]]", *lines, ""])


def _write_agent(machine: SimulatedMachine) -> Path:
    servers = [{"kind": "simulated", "url": url} for url in machine.servers]
    return _write_settings(
        machine.id,
        f'sources = ["simulated"]\nservers = {_toml(servers)}\n'
        f"[source.simulated]\ncards = {_toml(list(machine.cards))}\n",
    )


def _write_settings(machine: str, more: str = "") -> Path:
    """An agent's settings; what it remembers stays in the demo's folder too."""
    settings = FOLDER / f"{machine}.toml"
    settings.write_text(f"state_dir = {_toml(str(FOLDER / 'state'))}\n{more}", encoding="utf-8")
    return settings


def _toml(value: Any) -> str:
    """A value as TOML, on one line."""
    if isinstance(value, dict):
        pairs = (f"{key} = {_toml(item)}" for key, item in value.items())  # pyright: ignore[reportUnknownVariableType]
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"  # pyright: ignore[reportUnknownVariableType]
    return json.dumps(value, ensure_ascii=False)


def _start_agent(machine: str, port: int, settings: Path) -> subprocess.Popen[bytes]:
    command = ["tierwatch_agent.cli", "run", "--config", str(settings), "--machine", machine]
    return _start(machine, [*command, "--listen", f"127.0.0.1:{port}"])


def _start_dashboard(listen: str) -> subprocess.Popen[bytes]:
    config = str(FOLDER / "tierwatch.toml")
    command = ["tierwatch_dashboard.cli", "serve", "--config", config, "--listen", listen]
    return _start("dashboard", command)


def _start(name: str, module_and_arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    with (FOLDER / f"{name}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603  # our own interpreter and modules
            [sys.executable, "-m", *module_and_arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Ctrl-C is this process's to pass on, once and in order.
            start_new_session=True,
        )


def _free_ports(count: int) -> list[int]:
    """Ports of the loopback that nothing listens on, all found before any is let go."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Waits until a page answers; False where its process ended or the time is up."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  # http, our own
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    return False


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    processes = list(processes)
    for process in processes:
        process.terminate()
    until = time.monotonic() + 8
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def _on_signals() -> None:
    def end(_signal: int, _frame: FrameType | None) -> None:
        # A second Ctrl-C must not cut the ending short.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Ended

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)


def _say(text: str) -> None:
    print(text, flush=True)
