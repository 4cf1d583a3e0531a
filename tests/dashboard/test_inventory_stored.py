"""The inventory in the database: put there by a command, edited by pages, one for all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.dashboard.doubles import Clock
from tierwatch_dashboard.audit import AuditLog
from tierwatch_dashboard.cli import main
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_change import Assign, Change, SetTags, standing
from tierwatch_dashboard.inventory_database import DatabasePlace
from tierwatch_dashboard.inventory_file import Conflict, InventoryFile
from tierwatch_dashboard.inventory_place import Made
from tierwatch_dashboard.inventory_toml import parse

ONE = '# Ours.\r\n[[machine]]\r\nid = "render-01"\r\nurl = "http://a:9838"\r\ntier = "mass"\r\n'
TO_LIGHT = Assign(machine="render-01", tier="light")


class Shared:
    """A database with an inventory, and dashboards over it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.audit = AuditLog(engine, Clock())

    def place(self) -> DatabasePlace:
        return DatabasePlace(self.engine, self.audit.take_within, Clock())

    def dashboard(self) -> InventoryFile:
        return InventoryFile(self.place())

    def put(self, text: str) -> bool:
        content, place = text.encode(), self.place()
        made = Made(inventory=parse(content, "ours"), by="ops", change=None)
        return place.replace(place.read(), content, made)

    def told(self) -> list[tuple[str | None, ...]]:
        return [(each.by, each.way, each.what, each.after) for each in self.audit.recent(50)]


@pytest.fixture
def shared(engine: Engine) -> Shared:
    return Shared(engine)


def test_before_anything_is_put_there_it_has_no_machine(shared: Shared) -> None:
    assert shared.dashboard().current == Inventory()


def test_what_one_changes_the_other_has_at_its_next_look(shared: Shared) -> None:
    shared.put(ONE)
    heard: list[tuple[str | None, Change | None]] = []
    one, other = shared.dashboard(), shared.dashboard()
    other.listen(lambda _inventory, by, change: heard.append((by, change)))
    one.change(TO_LIGHT, "Yuki")
    assert other.current.machines[0].tier == "mass"
    assert other.refresh()
    assert other.current == one.current
    assert other.current.machines[0].tier == "light"
    assert not one.refresh()
    assert shared.place().read() == ONE.replace("mass", "light").encode()
    assert heard == [(None, None), (None, None)]
    assert shared.told() == [("Yuki", "page", "machine.tier", "light")]


def test_what_somebody_else_decided_on_the_other_is_not_overwritten(shared: Shared) -> None:
    shared.put(ONE)
    one, other = shared.dashboard(), shared.dashboard()
    seen = standing(other.current, TO_LIGHT)
    one.change(Assign(machine="render-01", tier="draft"), "Yuki")
    with pytest.raises(Conflict):
        other.change(TO_LIGHT, "Ken", seen)
    assert other.current.machines[0].tier == "draft"


def test_a_text_that_was_made_of_an_older_one_is_not_taken(shared: Shared) -> None:
    shared.put(ONE)
    made = Made(inventory=Inventory(), by="ops", change=None)
    assert not shared.place().replace(b"", b"# New.", made)
    assert shared.place().read() == ONE.encode()
    assert shared.told() == []


def test_of_changes_on_several_dashboards_none_is_lost_and_each_is_told_once(
    shared: Shared,
) -> None:
    shared.put("".join(f'[[machine]]\nid = "m-{n}"\nurl = "http://m-{n}:1"\n' for n in range(24)))

    def change(first: int) -> None:
        dashboard = shared.dashboard()
        for number in range(first, 24, 3):
            dashboard.change(SetTags(machine=f"m-{number}", tags=(f"t-{number}",)), f"by {first}")

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(change, range(3)))
    machines = shared.dashboard().current.machines
    assert [machine.tags for machine in machines] == [(f"t-{n}",) for n in range(24)]
    assert sorted(map(str, shared.told())) == sorted(
        str((f"by {n % 3}", "page", "machine.tags", f"t-{n}")) for n in range(24)
    )


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Runs the command: its exit code, what it printed and what it complained of."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "tierwatch.toml"
    path.write_text('[dashboard]\ninventory = "database"\n', encoding="utf-8")
    return path


def test_a_file_is_put_there_without_its_settings_and_shown_again(
    run: Run, settings: Path, tmp_path: Path
) -> None:
    given = tmp_path / "studio.toml"
    given.write_text(
        '# Ours.\n[dashboard]\nlisten = "[::1]:1"\nfleet.source = "polling"\n\n'
        '[[machine]] # In the cellar.\nid = "a"\nurl = "http://a:9838"\n',
        encoding="utf-8",
    )
    config = ("--config", str(settings))
    assert run("inventory", "put", str(given), *config) == (
        0,
        "in force within seconds; machines: 1\n",
        "",
    )
    code, out, _ = run("inventory", "show", *config)
    assert code == 0
    assert "listen" not in out
    assert '[[machine]] # In the cellar.\nid = "a"\n' in out
    assert "http://a:9838" not in run("rules", *config)[1]
    assert '"a:9838"' in run("targets", *config)[1]


def test_a_wrong_file_is_refused_as_a_dashboard_would_and_changes_nothing(
    run: Run, settings: Path, tmp_path: Path
) -> None:
    given = tmp_path / "studio.toml"
    given.write_text('[[machine]]\nid = "a"\nurl = "http://a:9838"\n', encoding="utf-8")
    config = ("--config", str(settings))
    run("inventory", "put", str(given), *config)
    given.write_text('[[machine]]\nid = "a"\nurl = "http://a:9838"\ntier = "mas"\n', "utf-8")
    code, out, err = run("inventory", "put", str(given), *config)
    assert (code, out) == (2, "")
    assert err.startswith('tierwatch: studio.toml: machine 1 (a): tier "mas" is not defined')
    assert "mas" not in run("inventory", "show", *config)[1]


def test_one_in_a_file_is_neither_shown_nor_replaced_by_a_command(run: Run, settings: Path) -> None:
    settings.write_text("", encoding="utf-8")
    code, _, err = run("inventory", "show", "--config", str(settings))
    assert code == 2
    assert "is the inventory itself: edit it. To have it in the database, add inventory" in err


@pytest.mark.parametrize("command", ["serve", "rules", "targets"])
def test_an_inventory_in_two_places_is_refused(run: Run, settings: Path, command: str) -> None:
    with settings.open("a", encoding="utf-8") as file:
        file.write('[policy]\nmargin_gb = 1\n[[machine]]\nid = "a"\nurl = "http://a:9838"\n')
    code, _, err = run(command, "--config", str(settings))
    assert code == 2
    assert f"{settings}: policy, machine: the inventory is in the database" in err
    assert f'"tierwatch inventory put {settings}"' in err


def test_whoever_puts_a_file_there_is_told_in_the_log_of_changes(shared: Shared) -> None:
    shared.put(ONE)
    shared.put(ONE.replace("mass", "light"))
    assert shared.told() == [("ops", "command", "machine.tier", "light")]
