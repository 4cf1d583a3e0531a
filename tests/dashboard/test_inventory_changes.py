"""Changes by the pages in a real file: in force at once, none lost, none over somebody else's."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tierwatch_agent.tiers import Tier
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_change import (
    AddTier,
    Assign,
    Change,
    EditError,
    Maintain,
    RemoveTier,
    SetTags,
    standing,
)
from tierwatch_dashboard.inventory_file import Conflict, InventoryFile, load
from tierwatch_dashboard.inventory_place import FilePlace

ONE = '# Ours.\n[[machine]]\nid = "render-01"\nurl = "http://render-01:9838"\ntier = "mass"\n'
TO_LIGHT = Assign(machine="render-01", tier="light")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tierwatch.toml"
    path.write_text(ONE, encoding="utf-8")
    return path


def _many(path: Path, count: int) -> None:
    tables = (f'[[machine]]\nid = "m-{n}"\nurl = "http://m-{n}:9838"\n' for n in range(count))
    path.write_text("\n".join(tables), encoding="utf-8")


def test_a_change_is_in_the_file_and_in_force_when_it_returns(path: Path) -> None:
    heard: list[tuple[Inventory, str | None, Change | None]] = []
    file = InventoryFile(FilePlace(path))
    file.listen(lambda *what: heard.append(what))
    file.change(TO_LIGHT, "Yuki")
    assert file.current.machines[0].tier == "light"
    assert path.read_text(encoding="utf-8") == ONE.replace("mass", "light")
    assert [(by, change) for _, by, change in heard] == [(None, None), ("Yuki", TO_LIGHT)]
    assert not file.refresh()


def test_what_was_saved_in_an_editor_a_moment_before_stays(path: Path) -> None:
    heard: list[tuple[Inventory, str | None, Change | None]] = []
    file = InventoryFile(FilePlace(path))
    file.listen(lambda *what: heard.append(what))
    path.write_text(f'{ONE}tags = ["loud"] # by hand\n', encoding="utf-8")
    file.change(TO_LIGHT, "Yuki")
    assert path.read_text(encoding="utf-8") == (
        ONE.replace("mass", "light") + 'tags = ["loud"] # by hand\n'
    )
    assert [by for _, by, _ in heard] == [None, None, "Yuki"]
    assert heard[1][0].machines[0].tags == ("loud",)


def test_what_somebody_else_decided_meanwhile_is_not_overwritten(path: Path) -> None:
    file = InventoryFile(FilePlace(path))
    seen = standing(file.current, TO_LIGHT)
    path.write_text(ONE.replace("mass", "draft"), encoding="utf-8")
    with pytest.raises(Conflict):
        file.change(TO_LIGHT, "Yuki", seen)
    assert path.read_text(encoding="utf-8") == ONE.replace("mass", "draft")
    assert file.current.machines[0].tier == "draft"
    file.change(TO_LIGHT, "Yuki", standing(file.current, TO_LIGHT))
    assert file.current.machines[0].tier == "light"


def test_two_who_decide_the_same_do_not_quarrel(path: Path) -> None:
    file = InventoryFile(FilePlace(path))
    seen = standing(file.current, TO_LIGHT)
    file.change(TO_LIGHT, "Yuki", seen)
    file.change(TO_LIGHT, "Ken", seen)
    assert file.current.machines[0].tier == "light"


def test_a_file_that_is_not_valid_is_left_alone(path: Path) -> None:
    file = InventoryFile(FilePlace(path))
    broken = ONE.replace('"mass"', "mass")
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(EditError, match=r"not valid as it stands\. tierwatch\.toml: line 5"):
        file.change(Maintain(machine="render-01", on=True), "Yuki")
    assert path.read_text(encoding="utf-8") == broken
    path.unlink()
    with pytest.raises(EditError, match="there is no such file"):
        file.change(Maintain(machine="render-01", on=True), "Yuki")
    assert not path.exists()


def test_a_change_that_would_make_the_file_invalid_is_refused(path: Path) -> None:
    path.write_text(
        ONE + '[[tier]]\nname = "mass"\nvram_gb = 16\n[[tier]]\nname = "spare"\nvram_gb = 1\n'
        '[alerts.rule.NoThroughput.tier.spare]\nenabled = true\n',
        encoding="utf-8",
    )  # fmt: skip
    file = InventoryFile(FilePlace(path))
    before = path.read_bytes()
    with pytest.raises(EditError, match=r"not be valid any more\. .*spare"):
        file.change(RemoveTier(name="spare"), "Yuki")
    assert path.read_bytes() == before


def test_a_link_stays_one_and_what_it_leads_to_is_changed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "links" / "tierwatch.toml"
    link.parent.mkdir()
    link.symlink_to(path)
    InventoryFile(FilePlace(link)).change(TO_LIGHT, "Yuki")
    assert link.is_symlink()
    assert 'tier = "light"' in path.read_text(encoding="utf-8")
    assert list(link.parent.iterdir()) == [link]


def test_a_file_that_cannot_be_written_says_what_to_put_there(path: Path) -> None:
    """In a process of an account that may read it and no more."""
    program = """
import json, os, sys
from pathlib import Path
from tierwatch_dashboard.inventory_change import Assign
from tierwatch_dashboard.inventory_file import InventoryFile
from tierwatch_dashboard.inventory_place import FilePlace, Unwritable
file = InventoryFile(FilePlace(Path(sys.argv[1])))
if os.geteuid() == 0:
    os.setuid(65534)
try:
    file.change(Assign(machine="render-01", tier="light"), "Yuki")
except Unwritable as error:
    print(json.dumps([error.words, error.lines]))
"""
    path.chmod(0o444)
    for folder in (path.parent, *path.parents[1:3]):
        folder.chmod(0o755)
    told = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    words, lines = json.loads(told.stdout)
    assert words == (
        f"{path} cannot be written (Permission denied). Nothing was changed; have it changed "
        "there, and it takes force within seconds."
    )
    assert lines == ['5: - tier = "mass"', '5: + tier = "light"']
    assert path.read_text(encoding="utf-8") == ONE


@pytest.mark.slow
def test_of_200_changes_by_many_threads_none_is_lost(path: Path) -> None:
    _many(path, 25)
    file = InventoryFile(FilePlace(path))

    def change(number: int) -> None:
        machine, what = number % 25, number // 25
        match what:
            case 0:
                file.change(Assign(machine=f"m-{machine}", tier="light"), "a")
            case 1:
                file.change(SetTags(machine=f"m-{machine}", tags=(f"t-{machine}",)), "b")
            case 2:
                file.change(Maintain(machine=f"m-{machine}", on=True), "c")
            case _:
                tier = Tier(name=f"tier-{number}", vram_gb=number, purpose="")
                file.change(AddTier(tier=tier), "d")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(change, range(200)))
    found = load(path)
    assert found == file.current
    assert all(m.tier == "light" and m.maintenance and m.tags for m in found.machines)
    assert {f"tier-{n}" for n in range(75, 200)} < {tier.name for tier in found.tiers}


WRITER = """
import sys
from pathlib import Path
from tierwatch_dashboard.inventory_change import SetTags
from tierwatch_dashboard.inventory_file import InventoryFile
from tierwatch_dashboard.inventory_place import FilePlace
path, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
file = InventoryFile(FilePlace(path))
for number in range(first, last):
    file.change(SetTags(machine=f"m-{number}", tags=("by", str(first))), "a process")
"""

EDITOR = """
import os, sys, time
from pathlib import Path
path = Path(sys.argv[1])
for number in range(60):
    new = path.with_name("editor.tmp")
    new.write_bytes(path.read_bytes() + f"# note {number}\\n".encode())
    os.replace(new, path)
    time.sleep(0.01)
"""


def _run(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)])


@pytest.mark.slow
def test_two_processes_lose_none_of_their_changes(path: Path) -> None:
    _many(path, 40)
    writers = [_run(WRITER, path, 0, 20), _run(WRITER, path, 20, 40)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    tags = [machine.tags for machine in load(path).machines]
    assert tags == [("by", "0")] * 20 + [("by", "20")] * 20


@pytest.mark.slow
def test_an_editor_that_saves_all_the_while_loses_nothing_and_the_file_stays_whole(
    path: Path,
) -> None:
    _many(path, 40)
    ended = threading.Event()
    wrong: list[Exception] = []

    def watch() -> None:
        while not ended.is_set():
            try:
                assert len(load(path).machines) == 40
            except Exception as error:  # noqa: BLE001  # told by the test's own thread
                wrong.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    processes = [_run(EDITOR, path), _run(WRITER, path, 0, 20), _run(WRITER, path, 20, 40)]
    codes = [process.wait(120) for process in processes]
    ended.set()
    watcher.join()
    assert codes == [0, 0, 0]
    assert wrong == []
    text = path.read_text(encoding="utf-8")
    assert [f"# note {n}\n" in text for n in range(60)] == [True] * 60
    assert list(path.parent.iterdir()) == [path]
