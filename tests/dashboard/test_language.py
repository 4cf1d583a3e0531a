"""Every page, verdict, alert and message in the language of whoever reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.dashboard import sentences
from tests.dashboard.doubles import Alerts, Studio
from tests.dashboard.firing import hold
from tests.dashboard.studio import NOW
from tests.fakes.webhook import Webhook
from tierwatch_agent.words import Words, say, translated
from tierwatch_dashboard.alerts import Alert
from tierwatch_dashboard.alerts.receivers import send, why_not
from tierwatch_dashboard.alerts.settings import Receiver
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.catalogues import catalogue
from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.shared import SharedReadings
from tierwatch_dashboard.web.language import speak_from

JAPANESE = catalogue("ja")
JA = {"Accept-Language": "ja"}
OWN = {"Sec-Fetch-Site": "same-origin"}
_NAME = re.compile(r"\{\w+\}")
_ENGLISH = re.compile(
    r"\b(an?|the|is|are|not?|of|for|has|by|and|its?|it|does|to|with|on|more|needs|holds)\b"
)


class Wrapped:
    """Each message of a catalogue in brackets, so that what went by it stands out."""

    def gettext(self, message: str, /) -> str:
        return message if message.startswith("⟦") else f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


class NamesAlone:
    """A catalogue that says nothing of its own: what is left of a sentence are its values."""

    def gettext(self, message: str, /) -> str:
        return "|".join(_NAME.findall(message))

    def ngettext(self, msgid1: str, msgid2: str, n: int, /) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@pytest.fixture
def client() -> FlaskClient:
    return create_app(Studio().services()).test_client()


def language_of(text: str) -> str:
    found = re.search(r'<html lang="(\w+)"', text)
    assert found
    return found[1]


def test_a_browser_says_which_language_its_reader_reads(client: FlaskClient) -> None:
    for accepted, said in (("ja,en;q=0.8", "ja"), ("de-DE,de;q=0.9", "en"), ("fr,ja;q=0.4", "ja")):
        assert language_of(client.get("/", headers={"Accept-Language": accepted}).text) == said
    assert language_of(client.get("/").text) == "en"


def test_the_switch_is_remembered_and_shows_the_page_where_it_was_made(client: FlaskClient) -> None:
    answer = client.post(
        "/language", data={"language": "ja", "back": "/jobs?machine=a"}, headers=OWN
    )
    assert (answer.status_code, answer.location) == (303, "/jobs?machine=a")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
    english = {"Accept-Language": "en"}
    assert language_of(client.get("/", headers=english).text) == "ja"
    client.post("/language", data={"language": "en", "back": "/"}, headers=OWN)
    assert language_of(client.get("/", headers={"Accept-Language": "ja"}).text) == "en"


@pytest.mark.parametrize(
    "back", ["//evil.example/", "https://evil.example/", "/\\evil.example", "evil", ""]
)
def test_the_way_back_leads_to_no_other_place(client: FlaskClient, back: str) -> None:
    chosen = {"language": "ja", "back": back}
    assert client.post("/language", data=chosen, headers=OWN).location == "/"


def test_a_language_that_is_none_is_not_remembered(client: FlaskClient) -> None:
    answer = client.post("/language", data={"language": "xx", "back": "/"}, headers=OWN)
    assert answer.status_code == 303
    assert "Set-Cookie" not in answer.headers
    client.set_cookie("language", "../../etc")
    assert language_of(client.get("/").text) == "en"


def test_another_site_cannot_switch_the_language(client: FlaskClient) -> None:
    foreign = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/language", data={"language": "ja"}, headers=foreign).status_code == 403


def everything_said() -> Iterator[tuple[str, str]]:
    """Where it is said, and what."""
    for view in sentences.judgements():
        verdict, place = view.verdict, f"{view.machine.id}, {view.verdict.state}"
        yield f"headline of {place}", verdict.headline
        for gpu in verdict.gpus:
            yield from ((f"reason of GPU {gpu.gpu} of {place}", said) for said in gpu.reasons)
        yield from ((f"reason of {place}", said) for said in verdict.reasons)
    for alert in sentences.alerts():
        yield f"summary of {alert.rule}", alert.summary
        yield f"todo of {alert.rule}", alert.todo
    for message in sentences.messages():
        yield f"title of a message: {message.kind}", message.title
        yield f"body of a message: {message.kind}", message.body


def test_the_studio_of_these_tests_has_every_trouble() -> None:
    states = {view.verdict.state for view in sentences.judgements()}
    assert states == {"down", "stalled", "below", "at_risk", "ok", "unassigned", "maintenance"}
    told = {alert.rule for alert in sentences.alerts()}
    assert told >= {"MachineDown", "MachineBelowTier", "MachineMayBeBelowTier", "MachineAtRisk"}
    assert told >= {"GenerationJobHung", "GenerationServerDown", "QueueStuck", "NoThroughput"}
    assert told >= {"GpuLost", "GpuHardwareError", "GpuOverheating", "GpuThrottled"}
    kinds = {message.kind for message in sentences.messages()}
    assert kinds == {"firing", "repeat", "resolved", "test"}


def test_every_sentence_of_verdicts_alerts_and_messages_goes_by_a_catalogue() -> None:
    plain = {
        f"{place}: {said!r}"
        for place, said in everything_said()
        if not (isinstance(said, Words) and translated(said, Wrapped()).startswith("⟦"))
    }
    assert plain == set()


def test_what_a_sentence_names_is_no_english_of_ours() -> None:
    left = {translated(said, NamesAlone()) for _, said in everything_said()}
    assert {text for text in left if _ENGLISH.search(text)} == set()


def test_every_sentence_is_said_in_japanese() -> None:
    for place, said in everything_said():
        spoken = translated(said, JAPANESE)
        assert not _ENGLISH.search(spoken), f"{place}: {spoken}"


def test_a_verdict_on_a_page_is_in_the_reader_s_language() -> None:
    studio = Studio()
    studio.fleet.set(sentences.views())
    app = create_app(studio.services())
    client = app.test_client()
    headline = studio.fleet.views()[0].verdict.headline
    assert translated(headline, JAPANESE) in client.get("/", headers=JA).text
    speak_from(app, lambda code: Wrapped())
    text = client.get("/", headers=JA).text
    assert "⟦" in text


def alert_of(rule: str) -> Alert:
    found = next(each for each in sentences.alerts() if each.rule == rule)
    return Alert(
        fingerprint=found.fingerprint,
        rule=found.rule,
        severity=found.severity,
        labels=found.labels,
        summary=found.summary,
        todo=found.todo,
        state="firing",
        since=NOW - 60,
        fired_at=NOW - 60,
    )


def test_an_alert_is_kept_with_its_words(tmp_path: Path) -> None:
    studio = Studio()
    engine = open_database(f"sqlite:///{(tmp_path / 'kept.db').as_posix()}")
    store = AlertStore(engine, studio.now)
    studio.alerts = Alerts(store)
    alert = alert_of("MachineBelowTier")
    hold(store, alert)
    client = create_app(studio.services()).test_client()
    assert alert.summary in client.get("/alerts").text
    assert translated(alert.summary, JAPANESE) in client.get("/alerts", headers=JA).text
    assert client.get("/api/v1/alerts", headers=JA).get_json()["firing"][0]["todo"] == alert.todo
    hold(store)
    assert translated(alert.summary, JAPANESE) in client.get("/alerts/history", headers=JA).text
    engine.dispose()


def test_whoever_gave_no_name_is_someone_in_the_reader_s_language(tmp_path: Path) -> None:
    studio = Studio()
    engine = open_database(f"sqlite:///{(tmp_path / 'kept.db').as_posix()}")
    store = AlertStore(engine, studio.now)
    studio.alerts = Alerts(store)
    alert = alert_of("MachineDown")
    hold(store, alert)
    client = create_app(studio.services()).test_client()
    for deed in ("acknowledge", "silence"):
        client.post(f"/alerts/{alert.fingerprint}/{deed}", data={"until": "1h"}, headers=OWN)
    someone = say("someone at {address}", address="127.0.0.1")
    for page in ("/alerts", "/alerts/silences"):
        assert someone in client.get(page).text
        assert translated(someone, JAPANESE) in client.get(page, headers=JA).text
    engine.dispose()


def test_an_alert_that_was_kept_before_it_had_words_is_read(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{(tmp_path / 'kept.db').as_posix()}")
    store = AlertStore(engine, lambda: NOW)
    old = msgspec.structs.replace(alert_of("MachineDown"), summary="a is down", todo="look")
    hold(store, old)
    (kept,) = store.current()
    assert kept == old
    assert translated(kept.summary, JAPANESE) == "a is down"
    engine.dispose()


def test_what_another_dashboard_hears_is_words_here_as_well(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{(tmp_path / 'shared.db').as_posix()}")
    view = next(each for each in sentences.views() if each.machine.id == "stall-vram")
    error = say("connection refused: is the agent running on {where}?", where="a")
    one, other = SharedReadings(engine), SharedReadings(engine)
    one.take(Reading(machine="a", at=NOW, snapshot=view.snapshot, error=error))
    one.write(["a"])
    heard: list[Reading] = []
    other.read(heard.append)
    (told,) = heard
    assert (told.error, told.snapshot) == (error, view.snapshot)
    assert told.error is not None
    assert translated(told.error, JAPANESE) == translated(error, JAPANESE) != error
    engine.dispose()


def test_a_receiver_is_told_in_the_language_of_the_settings() -> None:
    made = list(sentences.messages())
    with Webhook() as hook:
        receiver = Receiver(name="ops", url=hook.url, language="ja")
        for message in made[:2]:
            send(receiver, message)
        assert hook.titles == [translated(message.title, JAPANESE) for message in made[:2]]
        assert hook.told[0]["message"].strip() == translated(made[0].body, JAPANESE).strip()
        assert why_not(receiver) is None
        assert hook.titles[-1] == translated(made[-1].title, JAPANESE)
        send(msgspec.structs.replace(receiver, language="en"), made[0])
        assert hook.titles[-1] == made[0].title
