"""A real PostgreSQL of a test's own: a cluster in a temporary folder, on the loopback."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import psycopg

from tests.processes import free_port

USER = "tierwatch"
_SYSTEM_USER = "postgres"
"""PostgreSQL refuses to run as root; Debian's package brings this account."""

_SETTINGS = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off"
"""What a test writes need not survive the machine."""


class RunningPostgres:
    """``with RunningPostgres() as postgres: postgres.url("one")``."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tierwatch-postgres-"))
        self._port = free_port()
        self._bin = _programs()
        self._copies = count()

    def __enter__(self) -> RunningPostgres:
        if os.getuid() == 0:
            shutil.chown(self._folder, _SYSTEM_USER)
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "trust", "--no-sync")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if (Path(self._data) / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Has it run again, on the same port."""
        settings = f"-p {self._port} -h 127.0.0.1 -k {self._folder} {_SETTINGS}"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", self._data, "-o", settings, "-l", log, "-w", "start")

    def stop(self) -> None:
        """Ends it at once: every connection breaks."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def url(self, name: str) -> str:
        """A new, empty database's address."""
        self.run(f'CREATE DATABASE "{name}"')
        return self.address(name)

    def copy_of(self, name: str) -> str:
        """The address of a new database that begins as a copy of one that nobody is at."""
        copy = f"copy_{next(self._copies)}"
        self.run(f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
        return self.address(copy)

    def drop(self, url: str) -> None:
        """Removes a database, whoever is at it."""
        self.run(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def run(self, statement: str) -> None:
        """Has the superuser run a statement."""
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def address(self, name: str, user: str = USER) -> str:
        """A database's address, whether it is there or not."""
        return f"postgresql://{user}@127.0.0.1:{self._port}/{name}"

    def ask_for_passwords(self) -> None:
        """Has it let nobody in any more without a password."""
        rules = Path(self._data) / "pg_hba.conf"
        rules.write_text("host all all 127.0.0.1/32 scram-sha-256\n", encoding="ascii")
        self._run("pg_ctl", "-D", self._data, "reload")

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

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
