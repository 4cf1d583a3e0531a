"""A real Alertmanager's alerts on the pages, and silences that they make there; and its absence."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Alerts, Studio
from tests.dashboard.test_alert_pages import OWN, read, words_of
from tests.end_to_end.running_dashboard import RunningDashboard, machine_table
from tests.processes import eventually, free_port
from tierwatch_dashboard.alerts import Matcher
from tierwatch_dashboard.alerts.alertmanager import Alertmanager, AlertmanagerError
from tierwatch_dashboard.alerts.alertmanager_board import AlertmanagerBoard
from tierwatch_dashboard.alerts.board import BoardError
from tierwatch_dashboard.alerts.boards import Boards
from tierwatch_dashboard.alerts.settings import AlertSettings
from tierwatch_dashboard.app import create_app

CONFIG = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}


class RunningAlertmanager:
    """A real Alertmanager of its own folder and port, that may end and come back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        # JSON is YAML, too.
        (folder / "alertmanager.yml").write_text(json.dumps(CONFIG))
        self.start()

    def start(self) -> None:
        with (self._folder / "alertmanager.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus-alertmanager",
                    f"--config.file={self._folder / 'alertmanager.yml'}",
                    f"--storage.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )
        eventually(self._is_ready, bool, "an Alertmanager that is ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    def fire(self, alertname: str, summary: str, todo: str = "", **labels: str) -> None:
        """Posts an alert, as Prometheus does."""
        told = {
            "labels": {"alertname": alertname, **labels},
            "annotations": {"summary": summary, "todo": todo},
        }
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts",
            json.dumps([told]).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return json.load(answer)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[RunningAlertmanager]:
    running = RunningAlertmanager(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def studio() -> Studio:
    studio = Studio()
    studio.now.at = datetime.now(timezone.utc).timestamp()
    return studio


@pytest.fixture
def board(alertmanager: RunningAlertmanager, studio: Studio) -> AlertmanagerBoard:
    board = AlertmanagerBoard(Alertmanager(alertmanager.url), studio.now)
    studio.alerts = Alerts(board)
    return board


@pytest.fixture
def client(studio: Studio, board: AlertmanagerBoard) -> FlaskClient:
    return create_app(studio.services()).test_client()


def fire_two(alertmanager: RunningAlertmanager) -> None:
    alertmanager.fire(
        "MachineDown",
        "render-07 (mass) does not answer",
        "Is the machine on?",
        severity="critical",
        machine="render-07",
        tier="mass",
    )
    alertmanager.fire("DiskFull", "nas-01 is full", severity="page", instance="nas-01:9100")


@pytest.mark.slow
def test_its_alerts_are_on_the_page_worst_first(
    alertmanager: RunningAlertmanager, board: AlertmanagerBoard, client: FlaskClient
) -> None:
    assert "Alerts are not known yet." in read(client, "/alerts")
    fire_two(alertmanager)
    board.refresh()
    words = read(client, "/alerts")
    assert f"2 alerts fire, 1 of them critical. From Alertmanager at {alertmanager.url}." in words
    assert "render-07 (mass) does not answer Is the machine on? render-07 · MachineDown" in words
    assert "warning nas-01 is full DiskFull · instance nas-01:9100" in words
    assert words.index("does not answer") < words.index("nas-01 is full")
    assert "render-07 (mass) does not answer" in read(client, "/machines/render-07")
    answer = client.get("/api/v1/alerts").json
    assert answer
    assert answer["origin"]["name"] == f"Alertmanager at {alertmanager.url}"
    assert len(answer["firing"]) == 2


@pytest.mark.slow
def test_an_alert_is_silenced_there(
    alertmanager: RunningAlertmanager,
    board: AlertmanagerBoard,
    client: FlaskClient,
) -> None:
    fire_two(alertmanager)
    board.refresh()
    down = next(alert for alert in board.current() if alert.rule == "MachineDown")
    form = {"until": "1h", "comment": "known", "name": "Mei"}
    answer = client.post(f"/alerts/{down.fingerprint}/silence", data=form, headers=OWN)
    assert answer.status_code == 303

    (there,) = alertmanager.get("/api/v2/silences")
    assert (there["createdBy"], there["comment"]) == ("Mei", "known")
    assert {m["name"]: m["value"] for m in there["matchers"]} == {
        "alertname": "MachineDown",
        "machine": "render-07",
        "tier": "mass",
    }
    words = read(client, "/alerts")
    assert "1 alert fires. 1 is kept quiet." in words
    assert "Acknowledge" not in words
    state = eventually(
        lambda: next(
            a for a in alertmanager.get("/api/v2/alerts") if a["fingerprint"] == down.fingerprint
        ),
        lambda alert: alert["status"]["state"] == "suppressed",
        "that it holds the alert back",
    )
    assert state["status"]["silencedBy"] == [there["id"]]

    assert client.post(f"/alerts/silences/{there['id']}/end", headers=OWN).status_code == 303
    assert alertmanager.get("/api/v2/silences")[0]["status"]["state"] == "expired"
    assert "2 alerts fire" in read(client, "/alerts")
    assert "No silence holds." in read(client, "/alerts/silences")


@pytest.mark.slow
def test_every_operator_of_a_matcher_means_the_same_there(
    alertmanager: RunningAlertmanager, board: AlertmanagerBoard, client: FlaskClient
) -> None:
    matchers = 'alertname="DiskFull", instance!="nas-02:9100", job=~"node|", team!~"a.*"'
    form = {"matchers": matchers, "ends": "2099-11-26T09:30"}
    answer = client.post("/alerts/silences", data=form, headers=OWN)
    assert answer.status_code == 303, words_of(answer.text)
    fire_two(alertmanager)
    board.refresh()
    (silence,) = board.silences()
    assert set(silence.matchers) == {
        Matcher(name="alertname", value="DiskFull"),
        Matcher(name="instance", value="nas-02:9100", operator="!="),
        Matcher(name="job", value="node|", operator="=~"),
        Matcher(name="team", value="a.*", operator="!~"),
    }
    assert "1 alert fires, critical. 1 is kept quiet." in read(client, "/alerts")
    states = eventually(
        lambda: {
            alert["labels"]["alertname"]: alert["status"]["state"]
            for alert in alertmanager.get("/api/v2/alerts")
        },
        lambda found: found["DiskFull"] == "suppressed",
        "that it holds the alert back",
    )
    assert states["MachineDown"] == "active"


@pytest.mark.slow
def test_while_it_is_away_the_page_says_so_and_shows_what_it_told_last(
    alertmanager: RunningAlertmanager,
    board: AlertmanagerBoard,
    client: FlaskClient,
    studio: Studio,
) -> None:
    fire_two(alertmanager)
    board.refresh()
    alertmanager.stop()
    studio.now.at += 300
    board.refresh()

    words = read(client, "/alerts")
    assert f"Alertmanager at {alertmanager.url} cannot be asked" in words
    assert "Connection refused: does it run there? What follows is what it told last" in words
    assert "2 alerts fired when last heard, 1 of them critical." in words
    assert "nas-01 is full" in words
    form = {"matchers": 'machine="render-07"', "ends": "2099-11-26T09:30"}
    refused = client.post("/alerts/silences", data=form, headers=OWN)
    assert refused.status_code == 400
    assert "did not take the silence: connection refused" in words_of(refused.text)

    alertmanager.start()
    board.refresh()
    assert "cannot be asked" not in read(client, "/alerts")


@pytest.mark.slow
def test_what_it_refuses_it_says_in_its_own_words(
    alertmanager: RunningAlertmanager, board: AlertmanagerBoard
) -> None:
    with pytest.raises(BoardError, match="did not end the silence: it refuses: silence not found"):
        board.end_silence("00000000-0000-0000-0000-000000000000")
    with pytest.raises(AlertmanagerError, match="it refuses: silence invalid"):
        Alertmanager(alertmanager.url).add_silence(
            (Matcher(name="machine", value="(", operator="=~"),),
            starts_at=4e9,
            ends_at=4.1e9,
            created_by="Mei",
            comment="x",
        )


@pytest.mark.slow
def test_a_running_dashboard_follows_its_settings_from_one_to_the_other(
    alertmanager: RunningAlertmanager, tmp_path: Path
) -> None:
    nobody = machine_table("render-01", f"http://127.0.0.1:{free_port()}")
    settings = tmp_path / "tierwatch.toml"
    settings.write_text(f'{nobody}[alerts]\nalertmanager = "{alertmanager.url}"\n')
    alertmanager.fire("DiskFull", "nas-01 is full", severity="warning")

    def rules() -> list[str]:
        return [alert["rule"] for alert in json.loads(dashboard.get("api/v1/alerts"))["firing"]]

    with RunningDashboard(tmp_path) as dashboard:
        eventually(rules, lambda found: found == ["DiskFull"], "the Alertmanager's alert")
        settings.write_text(nobody)
        eventually(rules, lambda found: found == ["MachineDown"], "the dashboard's own")


def test_the_history_is_said_to_be_elsewhere(studio: Studio) -> None:
    board = AlertmanagerBoard(Alertmanager("http://127.0.0.1:9"), studio.now)
    studio.alerts = Alerts(board)
    client = create_app(studio.services()).test_client()
    assert "forgets what is over. Prometheus keeps it" in read(client, "/alerts/history")
    assert "Plan maintenance" not in read(client, "/alerts/silences")
    answer = client.post("/alerts/x/acknowledge", headers=OWN)
    assert "Alertmanager knows no acknowledgement: silence the alert" in words_of(answer.text)


def test_the_settings_say_which_board_is_in_force(studio: Studio) -> None:
    own = AlertmanagerBoard(Alertmanager("http://own:1"), studio.now)
    boards = Boards(own, lambda: studio.inventory_file.current, studio.now)
    assert boards.is_own
    assert boards.board is own
    for url in ("http://one:9093", "http://two:9093"):
        studio.inventory_file.current = msgspec.structs.replace(
            studio.inventory_file.current, alerts=AlertSettings(alertmanager=url)
        )
        assert boards.board is boards.board
        assert not boards.is_own
        assert boards.board.origin
        assert boards.board.origin.name == f"Alertmanager at {url}"
    studio.inventory_file.current = msgspec.structs.replace(
        studio.inventory_file.current, alerts=AlertSettings()
    )
    assert boards.board is own


class Answers(http.server.BaseHTTPRequestHandler):
    """What answers there, and is no Alertmanager."""

    status = 200
    text = "[]"
    asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@contextmanager
def answering(status: int, text: str) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    asked: list[tuple[str, str | None]] = []
    handler = type("This", (Answers,), {"status": status, "text": text, "asked": asked})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (200, "<html>", "/api/v2/alerts does not answer as an Alertmanager does: JSON is"),
        (200, '{"status": "success"}', "does not answer as an Alertmanager does"),
        (401, "", "it wants a login (401)"),
        (404, "", "/api/v2/alerts answers with status 404"),
        (500, "", "/api/v2/alerts answers with status 500"),
    ],
)  # fmt: skip
def test_what_is_no_alertmanager_is_named(status: int, text: str, words: str) -> None:
    with answering(status, text) as (port, _), pytest.raises(AlertmanagerError) as raised:
        Alertmanager(f"http://127.0.0.1:{port}").alerts()
    assert words in str(raised.value)


def test_a_name_that_is_not_known_is_said() -> None:
    with pytest.raises(AlertmanagerError, match="cannot find nowhere"):
        Alertmanager("http://nowhere.invalid:9093").alerts()


def test_a_prefix_and_a_login_are_used_and_the_login_never_shown(studio: Studio) -> None:
    with answering(500, "") as (port, asked):
        board = AlertmanagerBoard(
            Alertmanager(f"http://mei:s3cret@127.0.0.1:{port}/alertmanager/"), studio.now
        )
        board.refresh()
    assert asked == [("/alertmanager/api/v2/alerts", "Basic bWVpOnMzY3JldA==")]
    origin = board.origin
    assert origin.name == f"Alertmanager at http://127.0.0.1:{port}/alertmanager"
    assert "s3cret" not in repr(origin)
