"""A file is replaced whole or not at all, and what an editor saves in the last moment stays."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tierwatch_dashboard import whole_file

BEFORE, AFTER, EDITORS = b"before\n", b"after\n", b"what the editor saved\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tierwatch.toml"
    path.write_bytes(BEFORE)
    return path


def _left(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


def test_the_content_is_replaced_with_the_files_mode_and_owner(path: Path) -> None:
    path.chmod(0o640)
    owner = path.stat()
    assert whole_file.replace(path, AFTER, BEFORE)
    now = path.stat()
    assert path.read_bytes() == AFTER
    assert (now.st_mode, now.st_uid, now.st_gid) == (owner.st_mode, owner.st_uid, owner.st_gid)
    assert _left(path) == ["tierwatch.toml"]


def test_nothing_is_written_where_the_file_says_something_else(path: Path) -> None:
    path.write_bytes(EDITORS)
    assert not whole_file.replace(path, AFTER, BEFORE)
    assert path.read_bytes() == EDITORS
    assert _left(path) == ["tierwatch.toml"]


@pytest.mark.parametrize("in_place", [True, False])
def test_what_an_editor_saves_in_the_last_moment_stays(path: Path, in_place: bool) -> None:
    def save() -> None:
        if in_place:
            path.write_bytes(EDITORS)
        else:
            new = path.with_suffix(".editor")
            new.write_bytes(EDITORS)
            new.replace(path)

    saves = iter([save])

    def exchange(one: Path, other: Path) -> None:
        next(saves, lambda: None)()
        whole_file.exchange(one, other)

    assert not whole_file.replace(path, AFTER, BEFORE, exchange)
    assert path.read_bytes() == EDITORS
    assert _left(path) == ["tierwatch.toml"]


def test_what_is_saved_while_an_editors_file_goes_back_stays_too(path: Path) -> None:
    saves = iter([EDITORS, b"the editor once more\n"])

    def exchange(one: Path, other: Path) -> None:
        path.write_bytes(next(saves, path.read_bytes()))
        whole_file.exchange(one, other)

    assert not whole_file.replace(path, AFTER, BEFORE, exchange)
    assert path.read_bytes() == b"the editor once more\n"


def test_a_drive_that_cannot_exchange_files_has_them_replaced(path: Path) -> None:
    def cannot(_one: Path, _other: Path) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    assert whole_file.replace(path, AFTER, BEFORE, cannot)
    assert path.read_bytes() == AFTER
    assert _left(path) == ["tierwatch.toml"]


def test_another_process_waits_for_its_turn(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tierwatch_dashboard import whole_file\n"
        "with whole_file.turn(Path(sys.argv[1])): print('mine', flush=True)"
    )
    with whole_file.turn(path):
        other = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
        )
        time.sleep(0.5)
        assert other.poll() is None
    said, _ = other.communicate(timeout=30)
    assert said == "mine\n"


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_writes_leaves_a_whole_file(path: Path) -> None:
    program = (
        "import itertools, sys; from pathlib import Path\n"
        "from tierwatch_dashboard import whole_file\n"
        "path = Path(sys.argv[1]); content = path.read_bytes(); print('writes', flush=True)\n"
        "for number in itertools.count():\n"
        "    new = f'{number % 10}\\n'.encode() * 100_000\n"
        "    whole_file.replace(path, new, content); content = new\n"
    )
    content, contents = BEFORE, {BEFORE}
    for kill in range(15):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.004 * kill)
        writer.kill()
        writer.wait(30)
        writer.stdout.close()
        content = path.read_bytes()
        assert content in (BEFORE, content[:2] * 100_000)
        contents.add(content)
    assert len(contents) > 2
    assert whole_file.replace(path, AFTER, content)
    assert _left(path) == ["tierwatch.toml"]
