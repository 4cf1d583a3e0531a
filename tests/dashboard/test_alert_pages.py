"""What fires, who looks after it and what is silent, as pages and API say it, over real SQLite."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.dashboard.doubles import Alerts, Studio
from tests.dashboard.firing import at_risk, below, down, hold, stalled
from tests.dashboard.studio import NOW, at, view
from tierwatch_dashboard.alerts.matchers import parse
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.database import DatabaseError, open_database
from tierwatch_dashboard.web.same_origin import is_own

HOUR = 3600.0
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    engine = open_database(f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}")
    studio = Studio()
    studio.alerts = Alerts(AlertStore(engine, studio.now))
    yield studio
    engine.dispose()


@pytest.fixture
def store(studio: Studio) -> AlertStore:
    assert studio.alerts
    assert isinstance(studio.alerts.board, AlertStore)
    return studio.alerts.board


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def words_of(html: str) -> str:
    html = re.sub(r"<(script|svg|title|select).*?</\1>", " ", html, flags=re.S)
    text = re.sub(r"<[^>]+>", " ", html)
    return re.sub(r"\s+", " ", text.replace("&#34;", '"').replace("&#39;", "'"))


def read(client: FlaskClient, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return words_of(answer.text)


def send(client: FlaskClient, path: str, **form: str) -> TestResponse:
    return client.post(path, data=form, headers=OWN)


def silence_all_of(store: AlertStore, machine: str, ends_at: float = NOW + HOUR) -> str:
    return store.add_silence(
        parse(f'machine="{machine}"'),
        starts_at=NOW - 5,
        ends_at=ends_at,
        created_by="Ren",
        comment="new drivers",
    )


def rows_of(client: FlaskClient) -> list[str]:
    return re.findall(r'id="a-(\w+)"', client.get("/alerts").text)


def test_without_an_alert_the_page_says_so(client: FlaskClient) -> None:
    assert "No alert fires." in read(client, "/alerts")


def test_the_worst_stands_first_with_what_to_do(client: FlaskClient, store: AlertStore) -> None:
    hold(store, at_risk(), below(), down(), stalled())
    words = read(client, "/alerts")
    assert "4 alerts fire, 2 of them critical." in words
    assert (
        "critical render-07 was not heard for 19 min: connection refused. Is the machine on, and "
        "does tierwatch-agent run at http://render-07:9838? render-07 · MachineDown · began "
        "2026-11-24 21:00 UTC" in words
    )
    worst_first = [stalled(), down(), below(), at_risk()]
    assert rows_of(client) == [each.fingerprint for each in worst_first]


@pytest.mark.parametrize(
    ("alerts", "sentence"),
    [
        ([down()], "1 alert fires, critical."),
        ([below()], "1 alert fires."),
        ([below(), at_risk()], "2 alerts fire, none of them critical."),
        ([down(), stalled()], "2 alerts fire, all of them critical."),
    ],
)
def test_how_many_fire_is_said_in_one_sentence(
    client: FlaskClient, store: AlertStore, alerts: list[object], sentence: str
) -> None:
    hold(store, *alerts)  # pyright: ignore[reportArgumentType]
    assert sentence in read(client, "/alerts")


def test_what_has_not_lasted_yet_stands_apart_and_is_not_counted(
    client: FlaskClient, store: AlertStore
) -> None:
    hold(store, below(state="pending", fired_at=None))
    words = read(client, "/alerts")
    assert "No alert fires. 1 is not firing yet." in words
    assert "has not lasted long enough to call anybody" in words
    assert "Acknowledge" not in words
    assert "<title>Alerts" in client.get("/alerts").text


def test_an_alert_is_acknowledged_with_a_note(client: FlaskClient, store: AlertStore) -> None:
    hold(store, down())
    place = down().fingerprint
    answer = send(client, f"/alerts/{place}/acknowledge", note="the power strip trips", name="Mei")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/alerts#a-{place}")
    words = read(client, "/alerts")
    assert "Acknowledged by Mei, 2026-11-24 21:20 UTC : “the power strip trips”" in words
    assert "1 alert fires, critical. 1 is acknowledged." in words
    assert f"/alerts/{place}/acknowledge" not in client.get("/alerts").text


def test_who_gives_no_name_is_known_by_their_address(
    client: FlaskClient, store: AlertStore
) -> None:
    hold(store, down())
    send(client, f"/alerts/{down().fingerprint}/acknowledge", note="", name="")
    assert "Acknowledged by someone at 127.0.0.1," in read(client, "/alerts")


def test_a_name_is_asked_for_once(client: FlaskClient, store: AlertStore) -> None:
    hold(store, down(), below())
    send(client, f"/alerts/{down().fingerprint}/acknowledge", name="結衣")
    assert 'name="name" value="結衣"' in client.get("/alerts").text


def test_what_is_over_cannot_be_acknowledged(client: FlaskClient, store: AlertStore) -> None:
    hold(store, down())
    hold(store)
    answer = send(client, f"/alerts/{down().fingerprint}/acknowledge", note="on my way")
    assert answer.status_code == 400
    assert "This alert is over already." in words_of(answer.text)


@pytest.mark.parametrize(
    ("form", "ends_at"),
    [
        ({"until": "1h"}, NOW + HOUR),
        ({"until": "tomorrow"}, 1_795_593_600.0),
        ({"until": "tomorrow", "tomorrow_at": "1795561200"}, 1_795_561_200.0),
        ({"until": "custom", "ends": "2026-11-26T09:30"}, 1_795_685_400.0),
        ({"until": "custom", "ends": "2026-11-26T09:30", "ends_at": "1795653000"}, 1_795_653_000.0),
    ],
)
def test_an_alert_is_silenced_until_a_chosen_moment(
    client: FlaskClient, store: AlertStore, form: dict[str, str], ends_at: float
) -> None:
    hold(store, down(), below())
    answer = send(client, f"/alerts/{down().fingerprint}/silence", comment="known", **form)
    assert answer.status_code == 303
    (silence,) = store.silences()
    assert (silence.starts_at, silence.ends_at, silence.comment) == (NOW, ends_at, "known")
    words = read(client, "/alerts")
    assert "1 alert fires. 1 is kept quiet." in words
    assert "Silenced until" in words


def test_a_silence_of_one_alert_holds_no_other_of_its_machine(
    client: FlaskClient, store: AlertStore
) -> None:
    hold(store, below(), stalled("render-03"))
    send(client, f"/alerts/{below().fingerprint}/silence", until="1h")
    assert "1 alert fires, critical. 1 is kept quiet." in read(client, "/alerts")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"until": "custom"}, "Say until when it is to be silent."),
        ({"until": "custom", "ends": "2026-11-24T20:00"},
         "This silence would end before it begins: choose a later end."),
        ({"until": "custom", "ends": "soon"},
         "“soon” is no date and time: write it as 2026-11-25T08:00."),
        ({"until": "1h", "comment": "x" * 501},
         "The comment is longer than 500 characters: shorten it."),
    ],
)  # fmt: skip
def test_a_silence_that_cannot_be_is_refused_and_the_form_stays_filled_in(
    client: FlaskClient, store: AlertStore, form: dict[str, str], words: str
) -> None:
    hold(store, down())
    answer = send(client, f"/alerts/{down().fingerprint}/silence", name="Mei", **form)
    assert answer.status_code == 400
    assert words in words_of(answer.text)
    assert re.search(r"<details[^>]* open>", answer.text)
    assert 'name="name" value="Mei"' in answer.text
    assert store.silences() == ()


def test_silences_are_listed_with_what_they_hold(client: FlaskClient, store: AlertStore) -> None:
    hold(store, down(), below())
    silence_all_of(store, "render-03")
    words = read(client, "/alerts/silences")
    assert "1 silence holds." in words
    assert 'machine="render-03" until 2026-11-24 22:20 UTC Ren: new drivers 1 alert End it' in words


def test_a_silence_is_made_by_matchers(client: FlaskClient, store: AlertStore) -> None:
    answer = send(
        client,
        "/alerts/silences",
        matchers='machine=~"render-0[12]", severity!="critical"',
        starts="2026-11-25T01:00",
        ends="2026-11-25T03:00",
        comment="tests",
        name="Ren",
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, "/alerts/silences")
    words = read(client, "/alerts/silences")
    assert "No silence holds, 1 is to come." in words
    assert (
        'machine=~"render-0[12]", severity!="critical" from 2026-11-25 01:00 UTC until '
        "2026-11-25 03:00 UTC Ren: tests no alert" in words
    )


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        ('machin="x"', "No alert has a label “machin”. Did you mean machine?"),
        ('room="a"', "No alert has a label “room”: alerts have alertname, gpu, machine, server, "
                     "severity, tier."),
        ("render-03", "“render-03” is no matcher: write it as machine=\"render-03\"."),
        ('machine=~"("', "“(” is no regular expression: missing ), unterminated subpattern"),
        ('tier!="mass"', "“tier!=\"mass\"” holds for all that lacks such a label"),
        ("", "A silence needs a matcher, such as machine=\"render-03\"."),
    ],
)  # fmt: skip
def test_a_matcher_that_is_none_is_refused_in_words(
    client: FlaskClient, store: AlertStore, matchers: str, words: str
) -> None:
    answer = send(client, "/alerts/silences", matchers=matchers, ends="2026-11-26T09:30")
    assert answer.status_code == 400
    assert words in words_of(answer.text)
    assert store.silences() == ()


@pytest.mark.parametrize(
    ("starts", "ends", "words"),
    [
        ("2026-11-26T09:30", "2026-11-26T09:00", "This silence would end before it begins"),
        ("2026-11-24T09:30", "2026-11-24T10:00", "This silence would be over already"),
        ("", "", "Say when it ends."),
    ],
)
def test_a_silence_s_time_must_make_sense(
    client: FlaskClient, store: AlertStore, starts: str, ends: str, words: str
) -> None:
    form = {"matchers": 'machine="render-03"', "starts": starts, "ends": ends}
    answer = send(client, "/alerts/silences", **form)
    assert answer.status_code == 400
    assert words in words_of(answer.text)
    assert 'value="machine=&#34;render-03&#34;"' in answer.text
    assert store.silences() == ()


def test_a_silence_is_ended(client: FlaskClient, store: AlertStore) -> None:
    hold(store, below())
    id_ = silence_all_of(store, "render-03")
    assert send(client, f"/alerts/silences/{id_}/end").status_code == 303
    assert "1 alert fires." in read(client, "/alerts")

    again = send(client, f"/alerts/silences/{id_}/end")
    assert again.status_code == 400
    assert "This silence is over already." in words_of(again.text)


def test_maintenance_is_planned_keeps_a_machine_quiet_and_is_ended(
    client: FlaskClient, store: AlertStore
) -> None:
    hold(store, below())
    form = {"machine": "render-03", "ends": "2026-11-24T23:00", "comment": "new PSU"}
    assert send(client, "/alerts/silences/maintenance", **form).status_code == 303
    words = read(client, "/alerts/silences")
    assert "render-03 from 2026-11-24 21:20 UTC until 2026-11-24 23:00 UTC" in words
    assert "someone at 127.0.0.1: new PSU in maintenance End it" in words
    assert "Its machine is in maintenance" in read(client, "/alerts")

    (window,) = store.windows()
    send(client, f"/alerts/silences/maintenance/{window.id}/end")
    assert "1 alert fires." in read(client, "/alerts")


def test_maintenance_of_every_week_says_the_day(client: FlaskClient, store: AlertStore) -> None:
    form = {"starts": "2026-11-25T02:00", "ends": "2026-11-25T04:30", "weekly": "on"}
    send(client, "/alerts/silences/maintenance", machine="render-03", **form)
    (window,) = store.windows()
    assert window.weekly
    assert re.search(r"every (Tues|Wednes)day, \d\d:\d0 to (\w+, )?\d\d:\d0 \(",
                     read(client, "/alerts/silences"))  # fmt: skip


def test_maintenance_is_of_a_machine_that_there_is(client: FlaskClient, store: AlertStore) -> None:
    form = {"machine": "nobody", "ends": "2026-11-25T04:30"}
    answer = send(client, "/alerts/silences/maintenance", **form)
    assert answer.status_code == 400
    assert "The inventory has no machine “nobody”." in words_of(answer.text)


def test_a_machine_that_the_inventory_keeps_in_maintenance_calls_nobody(
    client: FlaskClient, store: AlertStore
) -> None:
    hold(store, below("render-06"))
    assert "No alert fires. 1 is kept quiet." in read(client, "/alerts")


def test_the_past_is_listed_the_latest_first_and_by_what_is_asked(
    client: FlaskClient, store: AlertStore
) -> None:
    over = down("render-01", state="resolved", since=NOW - 9000, fired_at=NOW - 8980,
                resolved_at=NOW - 8000)  # fmt: skip
    hold(store, over)
    hold(store, below(), at_risk(fired_at=NOW - 500))
    words = read(client, "/alerts/history")
    assert words.index("artist-yuki info") < words.index("render-03 warning")
    assert (
        "2026-11-24 18:50 UTC render-01 critical render-01 was not heard for 19 min: connection "
        "refused. MachineDown 16 min 20 s" in words
    )
    assert words.count("fires still") == 2

    def listed(query: str) -> int:
        return len(re.findall(r'<th scope="row">', client.get(f"/alerts/history{query}").text))

    assert listed("?machine=render-01") == 1
    assert listed("?rule=MachineBelowTier&severity=warning") == 1
    assert listed("?rule=MachineBelowTier&severity=critical") == 0
    assert "No such alert is kept." in read(client, "/alerts/history?machine=nobody")


def test_a_long_past_is_read_page_by_page(client: FlaskClient, store: AlertStore) -> None:
    for number in range(60):
        hold(store, down(f"old-{number:02d}", fired_at=NOW - 100 + number))
    first = client.get("/alerts/history?severity=critical").text
    older = re.search(r'href="(/alerts/history\?[^"]*before=\d+)">Older', first)
    assert older
    shown = re.findall(r">(old-\d\d)</a></th>", first)
    rest = re.findall(r">(old-\d\d)</a></th>", client.get(older[1].replace("&amp;", "&")).text)
    assert shown + rest == [f"old-{number:02d}" for number in reversed(range(60))]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?severity=bad", "severity must be one of critical, warning, info; it is bad"),
        ("?before=last", "before must be the key of an alert; it is last"),
    ],
)
def test_a_filter_that_cannot_be_is_answered_in_words(
    client: FlaskClient, query: str, words: str
) -> None:
    answer = client.get(f"/alerts/history{query}")
    assert answer.status_code == 400
    assert words in answer.text


def test_a_machine_s_page_bears_its_own_alerts(client: FlaskClient, store: AlertStore) -> None:
    hold(store, below(), down())
    page = client.get("/machines/render-03").text
    assert "render-03 cannot serve mass: GPU 0 has 9.7 GiB" in page
    assert "was not heard for 19 min" not in words_of(page)
    assert f'href="/alerts#a-{below().fingerprint}"' in page
    assert 'href="/alerts/history?machine=render-03"' in page
    assert "Alerts none · past ones" in read(client, "/machines/render-01")


def test_every_page_bears_the_count_in_its_title_and_beside_its_link(
    client: FlaskClient, store: AlertStore
) -> None:
    hold(store, down(), below(), at_risk())
    silence_all_of(store, "artist-yuki")
    pages = ["/", "/jobs", "/machines/render-03", "/alerts", "/alerts/history",
             "/alerts/silences", "/nowhere"]  # fmt: skip
    for path in pages:
        text = client.get(path).text
        assert re.search(r"<title>\(2\) [^<]+ · Tierwatch</title>", text), path
        assert re.search(r'id="badge">2</span>', text), path
    hold(store)
    for path in pages:
        text = client.get(path).text
        assert "<title>(" not in text, path
        assert re.search(r'id="badge" hidden>0</span>', text), path


@pytest.mark.parametrize("path", ["/fleet/changes?since=x", "/alerts/count", "/jobs"])
def test_every_answer_to_an_open_page_bears_the_count(
    client: FlaskClient, store: AlertStore, path: str
) -> None:
    hold(store, down())
    assert client.get(path).headers["Tierwatch-Alerts"] == "1"


@pytest.mark.parametrize("path", ["/alerts", "/alerts/history", "/alerts/silences"])
def test_a_page_has_nothing_inline(client: FlaskClient, store: AlertStore, path: str) -> None:
    hold(store, down(), below(state="pending", fired_at=None))
    silence_all_of(store, "render-07")
    text = client.get(path).text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\s(style|on\w+)=", text)


def test_a_database_that_gives_no_answer_leaves_the_fleet_readable(studio: Studio) -> None:
    class Broken(AlertStore):
        def __init__(self) -> None: ...

        def silences(self) -> NoReturn:
            raise DatabaseError("tierwatch.db is on a disk that is full")

    studio.alerts = Alerts(Broken())
    client = create_app(studio.services()).test_client()
    assert "render-03" in read(client, "/")
    answer = client.get("/alerts")
    assert answer.status_code == 503
    assert "tierwatch.db is on a disk that is full" in answer.text


def test_a_dashboard_without_alerts_does_not_speak_of_them(studio: Studio) -> None:
    studio.alerts = None
    client = create_app(studio.services()).test_client()
    text = client.get("/machines/render-03").text
    assert "/alerts" not in text
    assert "Tierwatch-Alerts" not in client.get("/").headers
    assert client.get("/alerts").status_code == 404


def test_an_open_page_is_sent_nothing_until_something_changes(
    client: FlaskClient, studio: Studio, store: AlertStore
) -> None:
    hold(store, down())
    token = re.search(r'id="since" name="since" value="(\w+)"', client.get("/alerts").text)
    assert token
    studio.now.at += 30
    assert client.get(f"/alerts/now?since={token[1]}").status_code == 204
    hold(store, down(), below())
    assert "render-03 cannot serve mass" in client.get(f"/alerts/now?since={token[1]}").text


def test_the_api_tells_the_same(client: FlaskClient, store: AlertStore) -> None:
    hold(store, down(), below(), at_risk(state="pending", fired_at=None))
    silence_all_of(store, "render-03")
    answer = client.get("/api/v1/alerts").json
    assert answer
    assert answer["sentence"] == "1 alert fires, critical."
    assert answer["origin"] is None
    (fires,), (quiet,), (pending,) = answer["firing"], answer["quiet"], answer["pending"]
    assert fires["labels"] == {"machine": "render-07", "tier": "mass"}
    assert quiet["silenced_until"] == NOW + HOUR
    assert pending["rule"] == "MachineAtRisk"
    assert answer["silences"][0]["matchers"] == [
        {"name": "machine", "value": "render-03", "operator": "="}
    ]
    mine = client.get("/api/v1/alerts?machine=render-03").json
    assert mine
    assert (len(mine["firing"]), len(mine["quiet"]), len(mine["pending"])) == (0, 1, 0)


FORMS = ["/alerts/x/acknowledge", "/alerts/x/silence", "/alerts/silences", "/alerts/silences/x/end",
         "/alerts/silences/maintenance", "/alerts/silences/maintenance/x/end"]  # fmt: skip


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:81"},
        {"Origin": "null"},
        {},
    ],
)
def test_another_site_cannot_send_a_form(
    client: FlaskClient, path: str, headers: dict[str, str]
) -> None:
    answer = client.post(path, data={"matchers": 'tier="mass"'}, headers=headers)
    assert answer.status_code == 403
    assert "Nothing was changed: this came from" in answer.text


@pytest.mark.parametrize(
    ("site", "origin", "own"),
    [
        ("same-origin", None, True),
        (None, "http://studio:8090", True),
        (None, "https://STUDIO:8090", True),
        (None, "http://studio", False),
        ("none", "http://studio:8090", False),
    ],
)
def test_what_a_page_of_the_dashboard_sends_is_its_own(
    site: str | None, origin: str | None, own: bool
) -> None:
    assert is_own(site, origin, "studio:8090") is own


def test_words_from_outside_are_escaped(
    client: FlaskClient, store: AlertStore, studio: Studio
) -> None:
    nasty = "<script>alert(1)</script>"
    studio.fleet.set([*studio.fleet.views(), view(at("aaa", "mass"), "ok", "Serves mass")])
    hold(store, down("aaa", summary=nasty, todo=nasty))
    send(client, f"/alerts/{down('aaa').fingerprint}/acknowledge", note=nasty, name=nasty)
    silence_all_of(store, nasty)
    for path in ("/alerts", "/alerts/history", "/alerts/silences", "/machines/aaa"):
        text = client.get(path).text
        assert "<script>alert" not in text, path
        assert "&lt;script&gt;alert(1)" in text, path
