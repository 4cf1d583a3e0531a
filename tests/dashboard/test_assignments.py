"""A machine is reassigned, and its maintenance begun and ended, on its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from flask import render_template_string
from flask.testing import FlaskClient

from tests.dashboard.editing import HERE, EditedStudio
from tierwatch_dashboard.inventory_change import Assign, Maintain

PART = '{% include "machine/assign.html" %}'


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[EditedStudio]:
    studio = EditedStudio(tmp_path)
    yield studio
    studio.close()


@pytest.fixture
def client(studio: EditedStudio) -> FlaskClient:
    return studio.client()


def words_of(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))).strip()


def part(studio: EditedStudio, machine: str) -> str:
    """The part of a machine's page."""
    with studio.app.test_request_context():
        return render_template_string(PART, view=studio.fleet.view(machine))


def seen(html: str, form: str) -> str:
    found = re.search(rf'/{form}">\s*<input type="hidden" name="seen" value="([^"]*)"', html)
    assert found
    return unescape(found[1])


def send(client: FlaskClient, place: str, **fields: str) -> tuple[int, str]:
    answer = client.post(f"/machines/{place}", data=fields, headers=HERE)
    return answer.status_code, words_of(answer.text)


def test_each_tier_says_what_the_machine_would_be(studio: EditedStudio) -> None:
    words = words_of(part(studio, "render-03"))
    assert (
        "mass only when emptied: ending EldenRing.exe (pid 4711) would do "
        "production only when emptied: ending EldenRing.exe (pid 4711) would do "
        "light can serve now draft can serve now no tier shown, and not judged"
    ) in words
    assert "mass never: 12 GB card" in words_of(part(studio, "artist-yuki"))


def test_it_is_reassigned_at_once_by_the_name_that_was_given(
    studio: EditedStudio, client: FlaskClient
) -> None:
    based_on = seen(part(studio, "render-03"), "assignment")
    status, _ = send(client, "render-03/assignment", seen=based_on, tier="light", name="Yuki")
    assert status == 303
    assert 'tier = "light"' in studio.path.read_text(encoding="utf-8").split("render-03")[2]
    view = studio.fleet.view("render-03")
    assert view is not None
    assert view.verdict.tier == "light"
    words = words_of(part(studio, "render-03"))
    assert "Assigned to light" in words
    assert "Yuki: assigned to light; it was mass" in words


def test_the_name_is_remembered_and_without_one_it_is_where_they_sit(
    studio: EditedStudio, client: FlaskClient
) -> None:
    send(client, "render-03/assignment", tier="light", name="Yuki")
    cookie = client.get_cookie("tierwatch_name")
    assert cookie is not None
    assert cookie.decoded_value == "Yuki"
    send(client, "render-03/assignment", tier="draft")
    assert [entry.by for entry in studio.audit.recent(2)] == ["someone at 127.0.0.1", "Yuki"]


def test_each_gpu_can_have_its_own_tier_and_one_that_serves_it_can_suffice(
    studio: EditedStudio, client: FlaskClient
) -> None:
    machine = next(
        view.machine.id
        for view in studio.fleet.views()
        if view.snapshot and len(view.snapshot.gpus) == 2 and not view.snapshot.gpus[0].partitioned
    )
    html = part(studio, machine)
    assert "production: can serve now" in words_of(html)
    fields = {"gpus": "any", "gpu-0": "", "gpu-1": "light"}
    status, _ = send(client, f"{machine}/assignment", tier="production", **fields)
    assert status == 303
    found = studio.machine(machine)
    assert (found.tier, found.gpu_tiers, found.gpus) == ("production", {"1": "light"}, "any")
    assert "production, GPU 1: light, one GPU that serves it suffices" in words_of(
        part(studio, machine)
    )


def test_what_somebody_else_chose_meanwhile_stays_and_both_are_shown(
    studio: EditedStudio, client: FlaskClient
) -> None:
    based_on = seen(part(studio, "render-03"), "assignment")
    studio.file.change(Assign(machine="render-03", tier="draft"), "Ken")
    answer = client.post(
        "/machines/render-03/assignment", data={"seen": based_on, "tier": "light"}, headers=HERE
    )
    assert answer.status_code == 409
    words = words_of(answer.text)
    assert "Nothing was changed: somebody else changed the same meanwhile." in words
    assert "The file says now draft You chose light Changed last by Ken," in words
    assert studio.machine("render-03").tier == "draft"
    again = seen(answer.text, "assignment")
    assert send(client, "render-03/assignment", seen=again, tier="light")[0] == 303


def test_a_change_in_the_file_of_something_else_is_no_conflict(
    studio: EditedStudio, client: FlaskClient
) -> None:
    based_on = seen(part(studio, "render-03"), "assignment")
    text = studio.path.read_text(encoding="utf-8")
    studio.path.write_text(text.replace('["room-a"]', '["room-b"]'), encoding="utf-8")
    assert send(client, "render-03/assignment", seen=based_on, tier="light")[0] == 303
    assert (studio.machine("render-03").tags, studio.machine("render-03").tier) == (
        ("room-b",),
        "light",
    )
    told = [(entry.way, entry.what) for entry in studio.audit.recent(10, "render-03")]
    assert told == [("page", "machine.tier"), ("file", "machine.tags")]


def test_maintenance_says_what_it_does_begins_and_ends(
    studio: EditedStudio, client: FlaskClient
) -> None:
    words = words_of(part(studio, "render-01"))
    assert re.search(r"mass would have \d of its \d other machines able\.", words)
    assert send(client, "render-01/maintenance", on="yes", name="Yuki")[0] == 303
    view = studio.fleet.view("render-01")
    assert view is not None
    assert view.verdict.state == "maintenance"
    assert "in maintenance" in words_of(part(studio, "render-01"))
    assert send(client, "render-01/maintenance", on="no", name="Yuki")[0] == 303
    assert studio.machine("render-01").maintenance is False
    words = words_of(part(studio, "render-01"))
    assert "Yuki: maintenance ended" in words
    assert "Yuki: maintenance began" in words


def test_maintenance_that_somebody_ended_meanwhile_is_told(
    studio: EditedStudio, client: FlaskClient
) -> None:
    studio.file.change(Maintain(machine="render-01", on=True), "Ken")
    status, words = send(client, "render-01/maintenance", on="no", seen="false")
    assert status == 409
    assert "The file says now in maintenance You chose not in maintenance" in words


def test_a_tier_that_is_gone_is_refused_in_words(studio: EditedStudio, client: FlaskClient) -> None:
    status, words = send(client, "render-01/assignment", tier="gone")
    assert status == 409
    assert "There is no tier gone any more." in words


def test_a_machine_that_is_gone_and_a_name_that_is_too_long_are_refused(
    client: FlaskClient,
) -> None:
    assert send(client, "nowhere/assignment", tier="mass")[0] == 404
    status, words = send(client, "render-01/assignment", tier="light", name="y" * 501)
    assert status == 400
    assert "longer than 500 characters" in words


def test_another_site_cannot_reassign(studio: EditedStudio, client: FlaskClient) -> None:
    answer = client.post("/machines/render-01/assignment", data={"tier": "draft"})
    assert answer.status_code == 403
    assert studio.machine("render-01").tier == "mass"
