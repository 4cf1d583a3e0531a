"""Views of the fleet page: what an address lists, counts, offers and refuses."""

from __future__ import annotations

import re

import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Fleet, Studio
from tests.dashboard.making import running, server, with_servers
from tests.dashboard.open_page import entries_in, has_in, known, names, rooms
from tierwatch_dashboard.app import create_app


@pytest.fixture
def studio() -> Studio:
    return Studio(fleet=Fleet(rooms()))


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def test_an_address_lists_what_it_asks_for(client: FlaskClient) -> None:
    text = client.get("/?q=render&state=below&sort=name").text
    assert names(text) == ["render-03", "render-04", "render-05"]
    assert "3 of 13 machines" in text
    assert '<a href="/?sort=name">Clear</a>' in text
    assert 'value="render"' in text
    assert '<option value="name" selected>' in text


def test_the_plain_page_lists_every_machine_and_has_nothing_to_clear(client: FlaskClient) -> None:
    text = client.get("/").text
    assert len(names(text)) == 13
    assert re.search(r'class="count-of"[^>]*>13 machines</p>', text)
    assert "Clear" not in text


def test_a_form_without_script_asks_by_its_fields(client: FlaskClient) -> None:
    text = client.get("/?q=&tier=production&tag=&gpu=&sort=worst&group=").text
    assert names(text) == ["render-05", "artist-yuki", "demo-02"]
    assert re.search(r'<form [^>]*action="/" method="get"', text)
    assert 'data-address="/?tier=production"' in text


def test_each_state_is_counted_and_one_press_away(client: FlaskClient) -> None:
    text = client.get("/?tier=mass").text
    states = re.search(r'<nav class="states".*?</nav>', text, re.S)
    assert states
    assert 'href="/?tier=mass&amp;state=down"' in states[0]
    assert "below <b>2</b>" in states[0]
    assert '<a href="/?tier=mass" ' in states[0]
    pressed = client.get("/?tier=mass&state=down").text
    assert re.search(r'class="is-down" href="/\?tier=mass" [^>]*aria-current="true"', pressed)
    assert '<input type="hidden" name="state" value="down" form="filter">' in pressed


def test_a_tier_s_name_leads_to_its_machines(client: FlaskClient) -> None:
    assert '<a href="/?tier=mass">mass</a>' in client.get("/").text


def test_a_view_that_nothing_matches_says_so_and_leads_back(client: FlaskClient) -> None:
    text = client.get("/?gpu=Voodoo").text
    assert names(text) == []
    assert "No machine is like that." in text
    assert '<a href="/">Show all machines</a>' in text
    assert '<option value="Voodoo" selected>Voodoo</option>' in text


@pytest.mark.parametrize(
    "query", ["state=bad", "sort=colour", "group=room", "shown=many", "shown=%C2%B2"]
)
def test_what_cannot_be_asked_for_is_refused_in_words(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.text


def test_names_in_an_address_are_escaped(client: FlaskClient) -> None:
    text = client.get("/?q=%22%3E%3Cscript%3E&tag=%3Cb%3E").text
    assert "<script>" not in text
    assert "<b>&lt;" not in text


def test_groups_have_headings_that_count(client: FlaskClient) -> None:
    text = client.get("/?group=tag:room").text
    entries = list(entries_in(text).values())
    headings = [entry for entry in entries if entry.startswith('<li class="group"')]
    assert [re.findall(r"<h2>(.*?)</h2>", entry)[0] for entry in headings] == [
        "north",
        "south",
        "Without such a tag",
    ]
    assert "2 machines" in headings[0]
    assert "1 in trouble" in headings[0]
    assert "trouble" not in headings[1]
    assert names(text)[:3] == ["render-03", "render-01", "demo-02"]


def test_of_many_gpus_the_worst_stands_for_the_machine(client: FlaskClient) -> None:
    entry = entries_in(client.get("/").text)["m-render-05"]
    leads = re.findall(r'<li class="gpu is-(\w+) lead">', entry)
    assert leads == ["below"]


def test_what_runs_shows_how_far_it_is(studio: Studio) -> None:
    studio.fleet.change(with_servers(known(studio, "render-01"), server(running(step=12))))
    entry = entries_in(create_app(studio.services()).test_client().get("/").text)["m-render-01"]
    assert "step 12 of 30" in entry
    assert '<svg class="progress" aria-hidden="true"><rect width="40%"/></svg>' in entry


def test_another_view_is_sent_without_the_frame(client: FlaskClient) -> None:
    text = client.get("/fleet/found?state=below").text
    assert names(text) == ["render-03", "render-04", "render-05"]
    assert "<html" not in text
    assert 'data-address="/?state=below"' in text
    assert has_in(text)["state"] == "below"
