"""Opening the database: what becomes of a file that is new, older, newer, damaged or not ours."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, text

import tierwatch_dashboard.alerts.tables
import tierwatch_dashboard.audit
import tierwatch_dashboard.fleet.shared
import tierwatch_dashboard.inventory_database
import tierwatch_dashboard.lease
import tierwatch_dashboard.migrations
from tests.postgres import RunningPostgres
from tierwatch_dashboard.database import DatabaseError, open_database, reading, writing
from tierwatch_dashboard.history import GpuPoint
from tierwatch_dashboard.history.database import DatabaseHistory
from tierwatch_dashboard.history.job_spans import job_spans
from tierwatch_dashboard.history.tables import METADATA

OPEN = (
    "import sys; from tierwatch_dashboard.database import *; open_database(sys.argv[1]).dispose()"
)

MIGRATIONS = Path(tierwatch_dashboard.migrations.__path__[0])
HEAD = max(file.name[:4] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tierwatch.db"


def url(file: Path) -> str:
    return f"sqlite:///{file.as_posix()}"


def revision(file: Path) -> str:
    with sqlite3.connect(file) as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    connection.close()
    return found


def make_at(revision: str, file: Path) -> None:
    """A file as a Tierwatch of that revision left it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(url(file))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))


@pytest.mark.parametrize("begun", [False, True], ids=["no file", "an empty file"])
def test_a_new_place_gets_the_schema_that_the_code_works_with(file: Path, begun: bool) -> None:
    if begun:
        file.touch()
    engine = open_database(url(file))
    assert differences(engine) == []
    engine.dispose()
    assert revision(file) == HEAD


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path) -> None:
    open_database(url(tmp_path / "new" / "folder" / "tierwatch.db")).dispose()
    assert (tmp_path / "new" / "folder" / "tierwatch.db").exists()


@pytest.mark.slow
def test_a_new_postgresql_gets_the_same_schema(postgres: RunningPostgres) -> None:
    engine = open_database(postgres.url("new"))
    assert differences(engine) == []
    engine.dispose()
    again = open_database(postgres.address("new"))
    assert differences(again) == []
    again.dispose()


def test_a_file_of_the_first_schema_is_brought_up_to_date_and_keeps_its_points(file: Path) -> None:
    make_at("0001", file)
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO gpus VALUES (1, 'render-01', '0')")
        connection.execute("INSERT INTO points (minute, gpu, at, used) VALUES (100, 1, 6000500, 7)")
    connection.close()
    engine = open_database(url(file))
    assert differences(engine) == []
    (series,) = DatabaseHistory(engine).series("render-01", 0, 10_000)
    assert [(bucket.at, bucket.used_bytes) for bucket in series.buckets] == [(6000.5, 7.0)]
    engine.dispose()


def test_a_file_from_before_holders_keeps_its_points_jobs_and_buckets(file: Path) -> None:
    make_at("0004", file)
    with sqlite3.connect(file) as connection:
        connection.execute("INSERT INTO gpus VALUES (1, 'render-01', '0')")
        connection.execute("INSERT INTO points (minute, gpu, at, used) VALUES (100, 1, 6000500, 7)")
        connection.execute(
            "INSERT INTO points_by_minute (gpu, at, points, used, used_max) "
            "VALUES (1, 60000, 12, 5, 9)"
        )
        connection.execute(
            "INSERT INTO jobs (machine, id, server, outcome, ended_at, duration) "
            "VALUES ('render-01', 'a', 'comfyui-8188', 'oom', 6000000, 2000)"
        )
    connection.close()
    engine = open_database(url(file))
    assert differences(engine) == []
    history = DatabaseHistory(engine)
    history.append([GpuPoint(machine="render-01", gpu="0", at=6005.5, own_bytes=2**30)])
    (series,) = history.series("render-01", 5_000, 10_000)
    assert [(each.used_bytes, each.own_bytes) for each in series.buckets] == [
        (7.0, None),
        (None, 2.0**30),
    ]
    history.roll_up(7000)
    (series,) = history.series("render-01", 0, 10_000)
    assert [(each.at, each.own_bytes) for each in series.buckets] == [(60, None), (6000, 2.0**30)]
    (job,) = job_spans(engine, "render-01", 0, 10_000, 10)
    assert (job.outcome, job.start, job.end) == ("oom", 5998, 6000)
    engine.dispose()


def test_a_file_of_today_is_opened_as_it_is(file: Path) -> None:
    engine = open_database(url(file))
    with writing(engine) as connection:
        connection.execute(text("INSERT INTO gpus VALUES (1, 'render-01', '0')"))
    engine.dispose()
    before = file.read_bytes()
    open_database(url(file)).dispose()
    assert file.read_bytes() == before


def test_a_file_of_a_newer_tierwatch_is_left_alone(file: Path) -> None:
    make_at("0003", file)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0917'")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(DatabaseError) as caught:
        open_database(url(file))
    assert str(caught.value) == (
        f"{file} was written by a newer Tierwatch (its schema is 0917): "
        "install that version, or give this one another database"
    )
    assert file.read_bytes() == before


def test_another_programs_file_is_left_alone(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER PRIMARY KEY)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(DatabaseError, match=r"tierwatch\.db holds another program's tables"):
        open_database(url(file))
    assert file.read_bytes() == before


def damage_header(content: bytes) -> bytes:
    return b"not a database" + content[14:]


def damage_middle(content: bytes) -> bytes:
    half = len(content) // 2 // 4096 * 4096
    return content[:half] + b"\xff" * 4096 + content[half + 4096 :]


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize("damage", [damage_header, damage_middle, cut_off])
def test_a_damaged_file_is_named_with_its_mend_and_never_replaced(file: Path, damage) -> None:
    open_database(url(file)).dispose()
    file.write_bytes(damage(file.read_bytes()))
    before = file.read_bytes()
    with pytest.raises(DatabaseError) as caught:
        open_database(url(file))
    assert str(caught.value).startswith(f"{file} is damaged, or no SQLite database: restore a copy")
    assert file.read_bytes() == before


def open_without_privileges(file: Path) -> subprocess.CompletedProcess[str]:
    """Opens a database in a process that file permissions hold for, as they do not for root."""
    child = [sys.executable, "-c", OPEN, url(file)]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv, "these tests run as root and need setpriv (util-linux)"
        child = [setpriv, "--bounding-set", "-dac_override,-dac_read_search", *child]
    return subprocess.run(child, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begun", "mode"),
    [(False, 0o555), (True, 0o555), (True, 0o000)],
    ids=["no file", "a file", "a file out of sight"],
)
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, begun: bool, mode: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if begun:
        make_at("0001", folder / "tierwatch.db")
        (folder / "tierwatch.db").chmod(0o444)
    folder.chmod(mode)
    opened = open_without_privileges(folder / "tierwatch.db")
    folder.chmod(0o755)
    assert opened.returncode == 1
    assert f"DatabaseError: {folder}/tierwatch.db cannot be written: let the" in opened.stderr


def test_a_place_under_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(DatabaseError, match=r"data/tierwatch\.db cannot be written"):
        open_database(url(tmp_path / "data" / "tierwatch.db"))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tierwatch.db", '"tierwatch.db" is not a database address: write sqlite:///FILE'),
        ("sqlite://", "a database in memory is lost at every stop"),
        ("oracle+nothing://host/name", "no driver for oracle+nothing://host/name: install it"),
        ("nonsense://me:secret@host/name", r"no driver for nonsense://me:***@host/name"),
    ],
)
def test_an_address_that_cannot_be_used_is_said(address: str, says: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        open_database(address)
    assert says in str(caught.value)


def test_several_threads_open_a_new_file_at_once(file: Path) -> None:
    engines: list[Engine] = []
    together = threading.Barrier(4)

    def open_it() -> None:
        together.wait()
        engines.append(open_database(url(file)))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [differences(engine) for engine in engines] == [[], [], [], []]
    for engine in engines:
        engine.dispose()


@pytest.mark.slow
def test_several_processes_open_a_new_file_at_once(file: Path) -> None:
    command_line = [sys.executable, "-c", OPEN, url(file)]
    children = [subprocess.Popen(command_line, stderr=subprocess.PIPE) for _ in range(4)]
    said = [child.communicate()[1] for child in children]
    assert [(child.returncode, text) for child, text in zip(children, said, strict=True)] == (
        [(0, b"")] * 4
    )
    assert revision(file) == HEAD


def test_a_transaction_that_fails_writes_nothing(file: Path) -> None:
    engine = open_database(url(file))

    def fail_midway() -> None:
        with writing(engine) as connection:
            connection.execute(text("INSERT INTO gpus VALUES (1, 'render-01', '0')"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_midway()
    with reading(engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM gpus")).scalar_one() == 0
    engine.dispose()


def test_a_reader_sees_one_state_and_holds_up_no_writer(file: Path) -> None:
    engine = open_database(url(file))
    count = text("SELECT count(*) FROM gpus")
    with reading(engine) as reader:
        assert reader.execute(count).scalar_one() == 0
        with writing(engine) as writer:
            writer.execute(text("INSERT INTO gpus VALUES (1, 'render-01', '0')"))
        assert reader.execute(count).scalar_one() == 0
    with reading(engine) as reader:
        assert reader.execute(count).scalar_one() == 1
    engine.dispose()


def test_a_row_that_names_no_gpu_is_refused(file: Path) -> None:
    engine = open_database(url(file))
    with pytest.raises(DatabaseError, match="FOREIGN KEY"), writing(engine) as connection:
        connection.execute(text("INSERT INTO points (minute, gpu, at) VALUES (1, 77, 60000)"))
    engine.dispose()


def test_what_another_program_keeps_locked_is_said(file: Path) -> None:
    engine = open_database(url(file))
    engine.dispose()
    event.listen(engine, "connect", lambda it, _: it.execute("PRAGMA busy_timeout=20").close())
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseError, match="has been locked by another program"), writing(engine):
        pass
    other.close()
    engine.dispose()
