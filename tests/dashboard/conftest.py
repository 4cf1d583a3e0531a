"""The database that tests of stores run on: SQLite, and a real PostgreSQL too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.postgres import RunningPostgres
from tierwatch_dashboard.database import open_database

MIGRATED = "migrated"


@pytest.fixture(scope="session")
def postgres() -> Iterator[RunningPostgres]:
    """One server of this process; its database ``MIGRATED`` has today's schema and no row."""
    with RunningPostgres() as postgres:
        open_database(postgres.url(MIGRATED)).dispose()
        yield postgres


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own: with SQLite's there is no file yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}"
        return
    postgres: RunningPostgres = request.getfixturevalue("postgres")
    url = postgres.copy_of(MIGRATED)
    yield url
    postgres.drop(url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """It, opened."""
    engine = open_database(database_url)
    yield engine
    engine.dispose()
