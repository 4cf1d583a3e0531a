"""A real PostgreSQL of a test's own: a cluster in a temporary folder, on the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.processes import free_port

USER = "tierwatch"
_SYSTEM_USER = "postgres"
"""PostgreSQL refuses to run as root; Debian's package brings this account."""


class RunningPostgres:
    """``with RunningPostgres() as postgres: postgres.url("one")``."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tierwatch-postgres-"))
        self._port = free_port()
        self._bin = _programs()

    def __enter__(self) -> RunningPostgres:
        if os.getuid() == 0:
            shutil.chown(self._folder, _SYSTEM_USER)
        data = self._folder / "data"
        self._run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "--no-sync")
        # What a test writes need not survive the machine.
        settings = f"-p {self._port} -h 127.0.0.1 -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(data), "-o", settings, "-l", log, "-w", "start")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)

    def url(self, name: str) -> str:
        """A new, empty database's address."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", USER, name)
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if os.getuid() == 0:
            account = [f"--reuid={_SYSTEM_USER}", f"--regid={_SYSTEM_USER}", "--clear-groups"]
            command = ["setpriv", *account, *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


def _programs() -> Path:
    """Debian keeps each version's programs in a folder of their own, off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    assert named is not None, "PostgreSQL is not installed: tests/system_packages.sh says how"
    return Path(named).parent
