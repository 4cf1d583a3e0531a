"""An open fleet page's window of the list: what it is sent as machines change, come and go."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Fleet, Studio
from tests.dashboard.open_page import (
    OpenPage,
    entries_in,
    has_in,
    in_state,
    known,
    names,
    rooms,
    warm,
)
from tests.dashboard.studio import GIB, NOW, at, many, view, worst_first
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.fleet.trend import Low
from tierwatch_dashboard.web.board import STEP
from tierwatch_dashboard.web.fleet import look


@pytest.fixture
def studio() -> Studio:
    return Studio(fleet=Fleet(rooms()))


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def test_a_machine_that_no_longer_fits_leaves_and_one_that_does_enters(
    client: FlaskClient, studio: Studio
) -> None:
    page = OpenPage(client, "/?state=below")
    studio.fleet.change(in_state(known(studio, "render-03"), "ok"))
    studio.fleet.change(in_state(known(studio, "artist-yuki"), "below"))

    text = page.ask()

    assert page.ids == ["m-artist-yuki", "m-render-04", "m-render-05"]
    assert page.is_as_new("/?state=below")
    assert "ok <b>6</b>" in text


def test_a_view_that_becomes_empty_says_so(client: FlaskClient, studio: Studio) -> None:
    page = OpenPage(client, "/?state=down")
    studio.fleet.change(in_state(known(studio, "render-07"), "ok"))
    assert "No machine is like that." in page.ask()
    assert page.ids == []

    studio.fleet.change(in_state(known(studio, "render-07"), "down"))
    assert "No machine is like that." not in page.ask()
    assert page.ids == ["m-render-07"]


def test_a_group_s_heading_follows_its_machines(client: FlaskClient, studio: Studio) -> None:
    page = OpenPage(client, "/?group=tag:room")
    studio.fleet.change(in_state(known(studio, "render-03"), "ok"))
    page.ask()
    assert "trouble" not in page.entries[page.ids[0]]

    moved = known(studio, "demo-02")
    machine = msgspec.structs.replace(moved.machine, tags=("room:north",))
    studio.fleet.change(msgspec.structs.replace(moved, machine=machine))
    page.ask()
    assert "3 machines" in page.entries[page.ids[0]]
    assert page.is_as_new("/?group=tag:room")


def test_a_change_outside_a_view_sends_its_page_no_row(client: FlaskClient, studio: Studio) -> None:
    page = OpenPage(client, "/?q=render-03")
    warm(studio, "render-01", 84.0)
    assert page.ask() == ""


@pytest.fixture
def large() -> Studio:
    return Studio(fleet=Fleet(many(3 * STEP)))


def test_a_page_has_a_window_and_a_link_to_more(large: Studio) -> None:
    client = create_app(large.services()).test_client()
    text = client.get("/?sort=name").text
    assert len(names(text)) == STEP
    assert f'href="/?sort=name&amp;shown={2 * STEP}" data-shown="{2 * STEP}"' in text
    assert "180 machines" in text
    everything = client.get(f"/?shown={3 * STEP}").text
    assert len(names(everything)) == 3 * STEP
    assert "data-shown" not in everything


def test_a_window_that_grows_is_sent_what_it_lacks_and_no_more(large: Studio) -> None:
    client = create_app(large.services()).test_client()
    page = OpenPage(client)
    text = page.ask(shown=2 * STEP)
    assert len(names(text)) == STEP
    assert len(page.ids) == 2 * STEP
    assert page.is_as_new(f"/?shown={2 * STEP}")
    assert page.ask() == ""


def test_a_change_beyond_the_window_sends_nothing(large: Studio) -> None:
    page = OpenPage(create_app(large.services()).test_client())
    warm(large, "render-0100", 84.0)
    assert page.ask() == ""


def test_a_machine_that_turns_bad_beyond_the_window_enters_it_and_the_last_one_leaves(
    large: Studio,
) -> None:
    page = OpenPage(create_app(large.services()).test_client())
    assert page.ids[-1] == "m-render-0059"
    large.fleet.change(in_state(known(large, "render-0100"), "below"))
    page.ask()
    assert page.ids[0] == "m-render-0100"
    assert page.ids[-1] == "m-render-0058"
    assert len(page.ids) == STEP

    large.fleet.change(in_state(known(large, "render-0100"), "ok"))
    warm(large, "render-0059", 90.0)
    page.ask()
    assert page.ids[-1] == "m-render-0059"
    assert page.is_as_new()


def test_a_row_that_changed_while_it_was_out_of_the_window_comes_back_as_it_is(
    large: Studio,
) -> None:
    page = OpenPage(create_app(large.services()).test_client(), "/?sort=temperature")
    for number in (100, 59, 100, 3, 170):
        warm(large, f"render-{number:04d}", 90.0 + number % 7)
        page.ask()
    assert page.is_as_new("/?sort=temperature")


def test_a_page_that_slept_through_many_orders_is_sent_its_whole_window(large: Studio) -> None:
    client = create_app(large.services()).test_client()
    page = OpenPage(client, "/?sort=temperature")
    for number in range(80):
        warm(large, "render-0170", 100.0 if number % 2 else 20.0)
        client.get("/?sort=temperature")
    warm(large, "render-0003", 95.0)

    text = page.ask()

    assert 'hx-target="#machines" hx-swap="innerMorph"' in text
    assert page.is_as_new("/?sort=temperature")


def test_pages_of_other_views_and_windows_do_not_disturb_each_other(large: Studio) -> None:
    client = create_app(large.services()).test_client()
    addresses = ("/", "/?sort=name", "/?q=render-01", f"/?shown={2 * STEP}", "/?sort=temperature")
    pages = [OpenPage(client, address) for address in addresses]
    for number in (5, 101, 59, 170):
        warm(large, f"render-{number:04d}", 90.0 + number % 7)
        pages[number % len(pages)].ask()
    for page, address in zip(pages, addresses, strict=True):
        page.ask()
        assert page.is_as_new(address), address


def test_a_view_that_was_let_go_is_taken_up_again(large: Studio) -> None:
    client = create_app(large.services()).test_client()
    page = OpenPage(client)
    for number in range(40):
        client.get(f"/?q=render-{number}")
    warm(large, "render-0003", 95.0)
    page.ask()
    assert "95 °C" in page.entries["m-render-0003"]
    assert page.is_as_new()


def test_a_page_s_own_language_is_that_of_its_changes(client: FlaskClient, studio: Studio) -> None:
    japanese = {"Accept-Language": "ja"}
    english = client.get("/").text
    other = client.get("/", headers=japanese).text
    assert entries_in(english)["m-render-03"].startswith('<li class="machine is-below"')
    assert '<html lang="ja"' in other
    warm(studio, "render-03", 91.0)
    first = client.get("/fleet/changes", query_string=has_in(english)).text
    second = client.get("/fleet/changes", query_string=has_in(other), headers=japanese).text
    assert "91 °C" in entries_in(first)["m-render-03"]
    assert "91 °C" in entries_in(second)["m-render-03"]


def test_a_minute_that_ends_draws_its_machine_s_line_and_no_other(
    client: FlaskClient, studio: Studio
) -> None:
    page = OpenPage(client)
    assert 'class="spark"' not in page.entries["m-render-03"]

    studio.trends.fill(
        Low(machine="render-03", gpu="0", at=NOW + 60 * minute, available_bytes=9 * GIB)
        for minute in range(4)
    )
    text = page.ask()

    assert names(text) == ["render-03"]
    assert 'aria-label="The last hour: 9.0 GiB available throughout; 3 min under the floor"' in text
    assert page.ask() == ""


def test_looks_are_shared_for_as_long_as_they_are_told(studio: Studio) -> None:
    services = studio.services()
    patient = type(services)(**{**vars(services), "look_seconds": 0.5})
    client = create_app(patient).test_client()
    page = OpenPage(client)
    warm(studio, "render-03", 91.0)
    assert page.ask() == ""
    studio.now.at += 0.5
    assert "91 °C" in page.ask()


def test_an_open_page_is_looked_for_in_the_background(studio: Studio) -> None:
    app = create_app(dataclasses.replace(studio.services(), look_seconds=60.0))
    page = OpenPage(app.test_client())
    warm(studio, "render-03", 91.0)
    assert page.ask() == ""
    look(app)
    assert "91 °C" in page.ask()


def test_what_is_drawn_in_the_background_is_said_in_the_page_s_language(studio: Studio) -> None:
    app = create_app(dataclasses.replace(studio.services(), look_seconds=60.0))
    client = app.test_client()
    client.set_cookie("language", "ja")
    page = OpenPage(client)
    warm(studio, "render-03", 91.0)
    look(app)
    text = page.ask()
    assert "91 °C" in text
    assert ">busy <" in OpenPage(app.test_client()).entries["m-render-03"]
    assert ">busy <" not in text


def test_nobody_is_looked_for_who_left(studio: Studio) -> None:
    app = create_app(dataclasses.replace(studio.services(), look_seconds=60.0))
    page = OpenPage(app.test_client())
    warm(studio, "render-03", 91.0)
    studio.now.at += 30
    look(app)
    assert page.ask() == ""


def test_the_fleet_that_loses_its_last_machine_is_another_page(studio: Studio) -> None:
    client = create_app(studio.services()).test_client()
    page = OpenPage(client)
    studio.fleet.set([])
    answer = client.get("/fleet/changes", query_string=page.has)
    assert answer.headers["HX-Refresh"] == "true"
    studio.fleet.set(worst_first([view(at("a", "draft"), "ok", "Serves draft", can="draft")]))
    assert names(client.get("/").text) == ["a"]
