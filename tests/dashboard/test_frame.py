from __future__ import annotations

import html
import json
import re

import pytest
from flask import render_template_string
from flask.testing import FlaskClient
from markupsafe import Markup

from tests.dashboard.doubles import Studio
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.web.frame import PLACES

OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def client() -> FlaskClient:
    return create_app(Studio().services()).test_client()


def navigation(text: str) -> dict[str, str | None]:
    """The links that every page bears, to what ``aria-current`` each has."""
    found = re.search(r'<nav aria-label="Pages">(.*?)</nav>', text, re.DOTALL)
    assert found
    links = re.findall(r'<a href="([^"]+)"(?: aria-current="(\w+)")?>', found[1])
    return {path: current or None for path, current in links}


def test_every_page_leads_to_those_that_this_dashboard_has(client: FlaskClient) -> None:
    served = {rule.rule for rule in client.application.url_map.iter_rules()}
    told = [p.path for p in PLACES if p.path in served and p.path != "/alerts"]

    assert list(navigation(client.get("/jobs").text)) == told


def test_the_page_that_is_shown_is_marked_and_so_is_the_one_above_it(client: FlaskClient) -> None:
    assert navigation(client.get("/jobs").text)["/jobs"] == "page"
    assert navigation(client.get("/").text)["/"] == "page"
    below = navigation(client.get("/machines/render-03").text)
    assert below["/#m-render-03"] == "true"
    assert below["/jobs"] is None


def test_a_page_is_in_the_language_that_the_browser_asks_for(client: FlaskClient) -> None:
    for asked, given in [("ja,en;q=0.5", "ja"), ("de,en;q=0.5", "en"), ("", "en")]:
        text = client.get("/", headers={"Accept-Language": asked}).text
        assert f'<html lang="{given}">' in text


def test_the_switch_names_the_other_language_as_its_speakers_do(client: FlaskClient) -> None:
    assert '<button name="language" value="ja" lang="ja">日本語</button>' in client.get("/").text


def test_a_choice_of_language_is_kept_and_keeps_the_place(client: FlaskClient) -> None:
    place = "/machines/render-03?range=24h"
    assert f'<input type="hidden" name="back" value="{place}">' in client.get(place).text

    answer = client.post("/language", data={"language": "ja", "back": place}, headers=OWN)

    assert (answer.status_code, answer.location) == (303, place)
    assert '<html lang="ja">' in client.get(place, headers={"Accept-Language": "en"}).text


@pytest.mark.parametrize("back", ["//elsewhere.example/", "/\\elsewhere", "https://elsewhere", ""])
def test_the_switch_leads_to_no_other_host(client: FlaskClient, back: str) -> None:
    answer = client.post("/language", data={"language": "ja", "back": back}, headers=OWN)

    assert answer.location == "/"


def test_the_script_is_given_its_words(client: FlaskClient) -> None:
    found = re.search(r"<meta name=\"words\" content='([^']*)'>", client.get("/").text)
    assert found
    words = json.loads(html.unescape(found[1]))

    assert words["h min"] == "{h} h {min} min ago"
    assert "{time}" in words["lost"]


def test_an_error_leads_back_to_the_fleet(client: FlaskClient) -> None:
    page = client.get("/nowhere")

    assert page.status_code == 404
    assert "<h1>There is nothing here</h1>" in page.text
    assert '<a href="/">See the fleet</a>' in page.text
    assert client.post("/jobs").status_code == 405


def test_a_sentence_around_markup_escapes_all_that_is_none() -> None:
    app = create_app(Studio().services())
    template = "{{ say('{who} & co. began {when}', who=who, when=when) }}"
    with app.test_request_context("/"):
        text = render_template_string(template, who="<b>", when=Markup("<time>now</time>"))
    assert text == "&lt;b&gt; &amp; co. began <time>now</time>"
