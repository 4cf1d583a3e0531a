"""One PostgreSQL for several dashboards: one inventory for all, and troubles that pass."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running_dashboard import RunningDashboard, machine_table, wait_until
from tests.end_to_end.test_notifications import SETTINGS, all_are, play
from tests.fakes.agents import Agents
from tests.fakes.webhook import Webhook
from tests.postgres import RunningPostgres
from tests.processes import free_port
from tierwatch_dashboard.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture
def agents() -> Iterator[Agents]:
    with Agents() as agents:
        yield agents


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as hook:
        yield hook


@pytest.fixture
def postgres() -> Iterator[RunningPostgres]:
    with RunningPostgres() as postgres:
        yield postgres


def settle(folder: Path, database: str) -> Path:
    """A folder with the settings of a dashboard that has its inventory in the database."""
    folder.mkdir()
    settings = f'database = "{database}"\ninventory = "database"\npoll_interval = "1s"\n'
    (folder / "tierwatch.toml").write_text(f"[dashboard]\n{settings}", encoding="utf-8")
    return folder


def put(folder: Path, text: str) -> None:
    (folder / "studio.toml").write_text(text, encoding="utf-8")
    config = ("--config", str(folder / "tierwatch.toml"))
    assert main(["inventory", "put", str(folder / "studio.toml"), *config]) == 0


def begin_maintenance(dashboard: RunningDashboard, machine: str) -> None:
    request = urllib.request.Request(
        f"{dashboard.url}machines/{machine}/maintenance",
        urllib.parse.urlencode({"on": "yes", "name": "Yuki"}).encode(),
        {"Sec-Fetch-Site": "same-origin"},
    )
    urllib.request.urlopen(request).close()


def state(dashboard: RunningDashboard, machine: str) -> str:
    return dashboard.machine(machine)["verdict"]["state"]


def works(dashboard: RunningDashboard) -> bool:
    return dashboard.value("tierwatch_dashboard_works") == 1


def fails(dashboard: RunningDashboard) -> set[str]:
    """The background jobs that failed last time."""
    return {line["message"].split()[2] for line in dashboard.log if " failed: " in line["message"]}


def refusal(dashboard: RunningDashboard, path: str) -> str:
    with pytest.raises(urllib.error.HTTPError) as caught:
        dashboard.get(path)
    with caught.value as answer:
        assert answer.code == 503
        return answer.read().decode()


def test_what_one_changes_holds_on_the_other(
    tmp_path: Path, agents: Agents, postgres: RunningPostgres
) -> None:
    machines, database = play(agents, 2), postgres.url("inventory")
    folders = [settle(tmp_path / name, database) for name in ("one", "two")]
    with RunningDashboard(folders[0]) as one, RunningDashboard(folders[1]) as two:
        assert "tierwatch inventory put FILE" in one.get("")
        put(folders[0], "".join(machine_table(id_, url) for id_, url in machines.items()))
        for each in (one, two):
            wait_until(lambda each=each: "render-000" in each.get("api/v1/fleet"))
            wait_until(lambda each=each: all_are(each, "ok", machines))
        begin_maintenance(two, "render-000")
        wait_until(lambda: state(one, "render-000") == "maintenance")
        (change,) = json.loads(one.get("api/v1/changes"))["changes"]
        assert (change["by"], change["way"]) == ("Yuki", "page")
        assert one.end() == 0
        assert state(two, "render-000") == "maintenance"
        assert two.end() == 0


def test_while_the_database_is_away_pages_tell_the_present_and_then_all_goes_on(
    tmp_path: Path, agents: Agents, hook: Webhook, postgres: RunningPostgres
) -> None:
    machines, database = play(agents, 2), postgres.url("away")
    folders = [settle(tmp_path / name, database) for name in ("one", "two")]
    inventory = SETTINGS[SETTINGS.index("[policy]") :].format(url=hook.url)
    put(folders[0], inventory + "".join(machine_table(*each) for each in machines.items()))
    with RunningDashboard(folders[0]) as one, RunningDashboard(folders[1]) as two:
        wait_until(lambda: all_are(one, "ok", machines) and all_are(two, "ok", machines))
        postgres.stop()
        wait_until(lambda: not works(one))
        agents.end(machines["render-001"])
        for each in (one, two):
            wait_until(lambda each=each: state(each, "render-001") == "down")
            assert state(each, "render-000") == "ok"
            for page in ("", "machines/render-000", "tiers"):
                assert "The database gives no answer" in each.get(page)
            assert "gives no answer: see that PostgreSQL runs there" in refusal(each, "jobs")
            assert {"duty", "inventory"} <= fails(each)
            assert each.get("healthz")
        assert hook.told == []

        postgres.start()
        wait_until(lambda: works(one) or works(two))
        wait_until(lambda: hook.told)
        for each in (one, two):
            wait_until(lambda each=each: "gives no answer" not in each.get(""))
            wait_until(lambda each=each: "render-001" in each.get("alerts"))
        begin_maintenance(two, "render-000")
        wait_until(lambda: state(one, "render-000") == "maintenance")
        assert [one.end(), two.end()] == [0, 0]
    assert hook.titles == ["Critical: MachineDown: render-001"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tierwatch:wrong@127.0.0.1:{port}/postgres", "does not take this user's password"),
        ("tierwatch@127.0.0.1:{port}/postgres", "asks this user for a password"),
        ("nobody:x@127.0.0.1:{port}/postgres", "does not take this user's password"),
        ("tierwatch:right@127.0.0.1:{port}/none", "is not there: make it (createdb)"),
        ("guest:right@127.0.0.1:{port}/postgres", "lets this user make no tables"),
        ("tierwatch:right@127.0.0.1:{away}/postgres", "gives no answer: see that PostgreSQL runs"),
    ],
)
def test_a_database_that_cannot_be_used_is_said_in_one_line(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    asks_for_passwords: int,
    address: str,
    says: str,
) -> None:
    url = f"postgresql://{address.format(port=asks_for_passwords, away=free_port())}"
    file = tmp_path / "tierwatch.toml"
    file.write_text(f'[dashboard]\ndatabase = "{url}"\n', encoding="utf-8")
    assert main(["serve", "--config", str(file)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("tierwatch: postgresql://")
    assert says in line
    assert "right" not in line
    assert "wrong" not in line


@pytest.fixture(scope="module")
def asks_for_passwords() -> Iterator[int]:
    """The port of a PostgreSQL that lets nobody in without a password."""
    with RunningPostgres() as postgres:
        postgres.run("ALTER USER tierwatch PASSWORD 'right'")
        postgres.run("CREATE USER guest PASSWORD 'right'")
        postgres.ask_for_passwords()
        yield int(postgres.address("").split(":")[-1].partition("/")[0])
