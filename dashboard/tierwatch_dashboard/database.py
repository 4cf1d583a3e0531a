"""The dashboard's database: opened, brought up to date, and the one way to read and to write it.

SQLite is the default and works with nothing installed; PostgreSQL goes the same way, for several
dashboards that share one. Both have one writer at a time: SQLite by itself, PostgreSQL by a lock
that each writing transaction takes, so that what reads and then writes is never overtaken.
SQLite runs in WAL with ``synchronous=NORMAL``: a commit is in the system's hands when it
returns, so a killed process loses nothing. A power cut may cost the last seconds of commits and
leaves the file whole. ``FULL`` would wait for the disk at every commit, which a shared or spinning
disk makes the whole dashboard feel, to save a few points of a chart.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, inspect, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from tierwatch_dashboard.database_errors import (
    BROKEN,
    BUSY_TIMEOUT_SECONDS,
    NOT_WRITABLE,
    in_words,
    without_password,
)

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

CHECKED_BYTES = 256 * 2**20
"""Files up to this size are checked whole before use, in a second or two; of larger ones a start
must not wait for it, and whoever meets damage in them says so."""

_WRITERS_TURN = 0x74696572
"""The advisory lock of PostgreSQL that a writing transaction holds; the number is Tierwatch's."""

_POSTGRESQL = "postgresql+psycopg"
_CONNECTIONS = 40
"""At most, to PostgreSQL: its jobs, pages and deliveries at once, with room to spare."""
_CONNECT = {
    "connect_timeout": 5,
    # A host that vanished is given up in seconds and not in a quarter of an hour.
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_NO_DRIVER = "install tierwatch[postgresql]"

_MIGRATIONS = Path(__file__).parent / "migrations"
_BEGIN = "tierwatch_begin"
_PRAGMAS = (
    f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "cache_size=-8000",
    "journal_size_limit=67108864",
)


class DatabaseError(Exception):
    """A database that cannot be used; the text names it, what is wrong and the mend."""


def open_database(url: str | URL) -> Engine:
    """The database, with the schema of this version; created where there is none yet.

    Args:
        url: An SQLAlchemy URL: ``sqlite:///tierwatch.db``, ``postgresql://host/tierwatch``.

    Raises:
        DatabaseError: It is damaged, cannot be written, belongs to another program or to a newer
            Tierwatch. Nothing of it is changed then.
    """
    engine = _create_engine(url)
    try:
        if engine.dialect.name == "sqlite":
            _check_sqlite(engine)
        with writing(engine) as connection:
            _upgrade(connection, _place(engine))
        if engine.dialect.name == "sqlite":
            _use_wal(engine)
    except DatabaseError:
        engine.dispose()
        raise
    return engine


@contextmanager
def reading(engine: Engine) -> Generator[Connection]:
    """One transaction that only reads: it sees one state throughout and holds up no writer."""
    with _explained(engine), engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


@contextmanager
def writing(engine: Engine) -> Generator[Connection]:
    """One transaction that writes: committed at the end of the block, undone where it raises."""
    immediate = engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
    with _explained(engine), immediate.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT_SECONDS}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_TURN})")
        yield connection


def upsert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say what becomes of a row that is there already (``on_conflict_…``)."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)


def insert_rows(
    connection: Connection,
    statement: sqlite.Insert | postgresql.Insert,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> None:
    """Executes an INSERT for many rows of plain values, which go to the driver as they are.

    SQLAlchemy would look at each value of each row, at more than the cost of writing it.
    """
    compiled = statement.compile(dialect=connection.dialect, column_keys=list(columns))
    if compiled.positional:
        connection.exec_driver_sql(compiled.string, list(rows))
    else:
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        connection.exec_driver_sql(compiled.string, named)


def _create_engine(url: str | URL) -> Engine:
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise DatabaseError(
            f'"{without_password(str(url))}" is not a database address: '
            "write sqlite:///FILE or postgresql://HOST/NAME"
        ) from error
    if address.get_backend_name() == "postgresql":
        return _create_postgresql(address)
    try:
        engine = create_engine(address)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseError(f"no driver for {_shown(address)}: install it ({error})") from error
    if engine.dialect.name == "sqlite":
        if address.database in (None, "", ":memory:"):
            raise DatabaseError("a database in memory is lost at every stop: write sqlite:///FILE")
        event.listen(engine, "connect", _set_up_connection)
        event.listen(engine, "begin", _begin)
    return engine


def _create_postgresql(address: URL) -> Engine:
    try:
        return create_engine(
            address.set(drivername=_POSTGRESQL),
            # A connection that a restart of the database cut is replaced, and not an error.
            pool_pre_ping=True,
            max_overflow=_CONNECTIONS,
            connect_args=_CONNECT,
        )
    except ModuleNotFoundError as error:
        raise DatabaseError(f"{_shown(address)}: PostgreSQL's driver: {_NO_DRIVER}") from error


def _set_up_connection(dbapi_connection: Any, _entry: ConnectionPoolEntry) -> None:
    # The driver's own transactions leave schema changes outside and begin as readers; ours are
    # begun by _begin.
    dbapi_connection.isolation_level = None
    for pragma in _PRAGMAS:
        dbapi_connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    # IMMEDIATE waits its turn at the start; a reader that turns writer fails at once instead.
    statement = connection.get_execution_options().get(_BEGIN, "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def _check_sqlite(engine: Engine) -> None:
    file = Path(_place(engine))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        large = file.exists() and file.stat().st_size > CHECKED_BYTES
    except OSError as error:
        raise DatabaseError(f"{file} {NOT_WRITABLE} ({error})") from error
    if large:
        return
    with reading(engine) as connection:
        finding = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    if finding != "ok":
        raise DatabaseError(f"{file} {BROKEN} ({finding})")


def _use_wal(engine: Engine) -> None:
    # Last, so that a file which is not ours is left as it was.
    with reading(engine.execution_options(**{_BEGIN: None})) as connection:
        mode = _changed_to_wal(connection)
    if mode != "wal":
        raise DatabaseError(
            f"{_place(engine)} is on a drive that cannot be shared: use a local one"
        )


def _changed_to_wal(connection: Connection) -> str:
    # For this change alone SQLite does not wait until another process is done.
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            return connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar_one()
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _upgrade(connection: Connection, place: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current == scripts.get_current_head():
        return
    if current is None and inspect(connection).get_table_names():
        raise DatabaseError(f"{place} holds another program's tables: give Tierwatch its own")
    if current and current not in {script.revision for script in scripts.walk_revisions()}:
        raise DatabaseError(
            f"{place} was written by a newer Tierwatch (its schema is {current}): "
            "install that version, or give this one another database"
        )
    command.upgrade(config, "head")


@contextmanager
def _explained(engine: Engine) -> Generator[None]:
    try:
        yield
    except DBAPIError as error:
        raise DatabaseError(f"{_place(engine)} {in_words(str(error.orig))}") from error
    except NoConnectionFree as error:
        raise DatabaseError(f"{_place(engine)} answers too slowly") from error


def _place(engine: Engine) -> str:
    return _shown(engine.url)


def _shown(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True).replace(_POSTGRESQL, "postgresql", 1)
