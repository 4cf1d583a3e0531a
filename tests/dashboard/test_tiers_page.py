"""The tiers page: what each tier asks, who qualifies, what a change would do before it is made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Studio
from tests.dashboard.editing import HERE, EditedStudio
from tests.dashboard.studio import many
from tierwatch_agent.tiers import DEFAULT_TIERS, Tier
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.consequences import Consequences, sentences
from tierwatch_dashboard.fleet import SourceHealth
from tierwatch_dashboard.inventory_change import AddTier, Assign

MASS = {
    "deed": "set",
    "tier": "mass",
    "tier_name": "mass",
    "vram_gb": "16",
    "allowance_gb": "1",
    "purpose": "high resolution, mass generation, stability",
}


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


def read(client: FlaskClient, path: str = "/tiers") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return words_of(answer.text)


def seen(client: FlaskClient, path: str = "/tiers?edit=mass") -> str:
    found = re.search(r'name="seen" value="([^"]*)"', client.get(path).text)
    assert found
    return unescape(found[1])


def send(client: FlaskClient, **fields: str) -> tuple[int, str]:
    answer = client.post("/tiers", data=fields, headers=HERE)
    return answer.status_code, words_of(answer.text)


def test_it_says_what_each_tier_asks_the_highest_first(client: FlaskClient) -> None:
    words = read(client)
    asks = [
        "mass A 16 GB card with 14.0 GiB available",
        "production A 12 GB card with 10.2 GiB available",
        "light A 6 GB card with 4.7 GiB available",
        "draft No GPU",
    ]
    places = [words.index(each) for each in asks]
    assert places == sorted(places)


def test_each_machine_is_told_with_what_would_lift_it(client: FlaskClient) -> None:
    words = read(client)
    assert (
        "render-03 NVIDIA GeForce RTX 4080 SUPER when emptied , assigned when emptied now now "
        "mass: ending EldenRing.exe (pid 4711)"
    ) in words
    assert "artist-yuki NVIDIA GeForce RTX 4070 never not known , assigned" in words


def test_a_number_leads_to_the_machines_that_it_counts(client: FlaskClient) -> None:
    html = client.get("/tiers").text
    link = re.search(r'href="(/tiers\?tier=mass&amp;answer=emptied)#machines-title">(\d+)', html)
    assert link
    words = read(client, unescape(link[1]))
    assert "Machines by mass: when emptied" in words
    assert "render-03" in words
    assert "render-01" not in words


def test_machines_that_are_alike_stand_in_one_line(tmp_path: Path) -> None:
    studio = EditedStudio(tmp_path, many(1000))
    try:
        html = studio.client().get("/tiers").text
    finally:
        studio.close()
    words = words_of(html)
    assert re.search(r"\d+ machines 2 × NVIDIA GeForce RTX 4080 render-\d+, render-\d+", words)
    assert html.count("<tr>") < 40
    assert len(html) < 60_000


def test_an_open_page_is_told_only_what_changed(studio: EditedStudio, client: FlaskClient) -> None:
    since = re.search(r'id="since" name="since" value="(\w+)"', client.get("/tiers").text)
    assert since
    assert client.get(f"/tiers/now?since={since[1]}").status_code == 204
    studio.file.change(Assign(machine="render-01", tier="light"), "Yuki")
    answer = client.get(f"/tiers/now?since={since[1]}")
    assert answer.status_code == 200
    assert "render-01" in answer.text


def test_it_shows_what_a_change_would_do_and_changes_nothing_yet(
    studio: EditedStudio, client: FlaskClient
) -> None:
    before = studio.path.read_bytes()
    status, words = send(client, **MASS | {"vram_gb": "24", "step": "preview"})
    assert status == 200
    assert (
        "What it would do 3 machines could never serve what they are assigned to: render-03, "
        "render-07 and server-a100. 2 of 13 machines would qualify for it now; today 6 do."
    ) in words
    assert studio.path.read_bytes() == before


def test_a_change_that_is_confirmed_is_made_and_told(
    studio: EditedStudio, client: FlaskClient
) -> None:
    status, _ = send(
        client, **MASS | {"vram_gb": "20", "step": "save", "seen": seen(client), "name": "Yuki"}
    )
    assert status == 303
    assert next(t for t in studio.file.current.tiers if t.name == "mass").vram_gb == 20
    assert "mass asks for 20 GB cards; it was 16 GB by Yuki" in read(client)
    assert studio.path.read_text(encoding="utf-8").startswith("# The studio.\n[[machine]]\n")


def test_a_renamed_tier_keeps_its_machines(studio: EditedStudio, client: FlaskClient) -> None:
    send(client, **MASS | {"tier_name": "huge", "step": "save", "seen": seen(client)})
    assert studio.machine("render-03").tier == "huge"
    assert "huge renamed; it was mass by someone at 127.0.0.1" in read(client)


def test_a_tier_is_added_and_removed_again(studio: EditedStudio, client: FlaskClient) -> None:
    film = {"deed": "add", "tier_name": "film", "vram_gb": "24", "allowance_gb": "1.5"}
    _, words = send(client, **film, step="preview")
    assert re.search(r"\d of \d+ machines would qualify now", words)
    assert send(client, **film, step="save")[0] == 303
    assert studio.file.current.tiers == (
        *DEFAULT_TIERS,
        Tier(name="film", vram_gb=24, purpose="", allowance_gb=1.5),
    )
    remove = {"deed": "remove", "tier": "film", "seen": seen(client, "/tiers?edit=film")}
    _, words = send(client, **remove, step="preview")
    assert "Nothing is assigned to film." in words
    assert send(client, **remove, step="save")[0] == 303
    assert studio.file.current.tiers == DEFAULT_TIERS


def test_a_tier_that_machines_are_assigned_to_stays(
    studio: EditedStudio, client: FlaskClient
) -> None:
    status, words = send(client, deed="remove", tier="mass", step="preview")
    assert status == 409
    assert "mass cannot be removed: " in words
    assert "are assigned to it. Assign them to another tier first." in words
    assert studio.file.current.tiers == DEFAULT_TIERS


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"vram_gb": "much"}, "Class of card is “much”; write gigabytes as a number"),
        ({"vram_gb": "-1"}, "Class of card is “-1”; write gigabytes as a number"),
        ({"allowance_gb": "nan"}, "Allowance is “nan”; write gigabytes as a number"),
        ({"tier_name": "  "}, "A tier needs a name of 60 characters at most."),
        ({"tier_name": "light"}, "There is a tier light already: give this one another name."),
    ],
)
def test_what_cannot_be_is_refused_and_the_form_keeps_what_was_written(
    client: FlaskClient, fields: dict[str, str], sentence: str
) -> None:
    answer = client.post("/tiers", data=MASS | fields | {"step": "preview"}, headers=HERE)
    assert answer.status_code == 409
    assert sentence in words_of(answer.text)
    assert 'value="high resolution, mass generation, stability"' in answer.text


def test_a_tier_that_somebody_else_changed_meanwhile_is_not_overwritten(
    studio: EditedStudio, client: FlaskClient
) -> None:
    based_on = seen(client)
    send(client, **MASS | {"vram_gb": "20", "step": "save", "seen": based_on, "name": "Yuki"})
    status, words = send(client, **MASS | {"vram_gb": "24", "step": "save", "seen": based_on})
    assert status == 409
    assert "Nothing was changed: somebody else changed the same meanwhile." in words
    assert (
        "The file says now mass: a 20 GB card with 17.7 GiB available, for high resolution, mass "
        "generation, stability You chose mass: a 24 GB card with 21.4 GiB available"
    ) in words
    assert "Changed last by Yuki," in words
    status, _ = send(client, **MASS | {"vram_gb": "24", "step": "save", "seen": seen(client)})
    assert status == 303


def test_the_log_of_changes_is_whole_and_goes_on_by_pages(
    studio: EditedStudio, client: FlaskClient
) -> None:
    for number in range(60):
        tier = ("light", "mass")[number % 2]
        studio.file.change(Assign(machine="render-01", tier=tier), f"person {number}")
    words = read(client, "/tiers/changes")
    assert "assigned to mass; it was light person 59" in words
    older = re.search(
        r'href="(/tiers/changes\?before=\d+)">Older', client.get("/tiers/changes").text
    )
    assert older
    assert "person 0" in read(client, older[1])
    assert "Nothing was changed of render-03 yet." in read(
        client, "/tiers/changes?machine=render-03"
    )


def test_another_site_cannot_change_a_tier(studio: EditedStudio, client: FlaskClient) -> None:
    answer = client.post(
        "/tiers", data=MASS | {"vram_gb": "1", "step": "save"}, headers={"Origin": "http://evil"}
    )
    assert answer.status_code == 403
    assert studio.file.current.tiers == DEFAULT_TIERS


def test_an_empty_studio_is_told_what_to_do_next(tmp_path: Path) -> None:
    studio = EditedStudio(tmp_path, ())
    try:
        words = read(studio.client())
    finally:
        studio.close()
    assert "No machine is assigned to a tier yet" in words
    assert "There is no machine yet. The fleet page says how to add the first one" in words


def test_a_dashboard_that_changes_nothing_offers_no_form() -> None:
    client = create_app(Studio().services()).test_client()
    assert "Add a tier" not in read(client)
    assert client.post("/tiers", data=MASS, headers=HERE).status_code == 404


def test_a_file_that_is_not_valid_is_told_and_not_edited(
    studio: EditedStudio, client: FlaskClient
) -> None:
    based_on = seen(client)
    text = studio.path.read_text(encoding="utf-8")
    studio.path.write_text(f"{text}\n[polcy]\n", encoding="utf-8")
    status, words = send(client, **MASS | {"vram_gb": "20", "step": "save", "seen": based_on})
    assert status == 409
    assert "Nothing was changed, as the file is not valid as it stands." in words
    assert "Did you mean policy?" in words


def test_where_nothing_is_told_of_any_machine_the_page_says_so(studio: EditedStudio) -> None:
    silent = SourceHealth(error="Prometheus is refused: nothing listens there")
    client = create_app(replace(studio.services, source=lambda: silent)).test_client()
    assert "Nothing is told of any machine Prometheus is refused" in read(client)


def test_consequences_name_a_few_machines_and_count_the_rest() -> None:
    found = Consequences(short=tuple(f"m-{n}" for n in range(12)), never=("x",), able=())
    assert sentences(found) == (
        "12 more machines would be short now: m-0, m-1, m-2, m-3, m-4, m-5, m-6, m-7 and 4 more.",
        "1 machine could never serve what it is assigned to: x.",
    )


def test_a_tier_with_an_odd_name_is_as_good_as_any(
    studio: EditedStudio, client: FlaskClient
) -> None:
    odd = Tier(name='a/b & "c"', vram_gb=1, purpose="<b>")
    studio.file.change(AddTier(tier=odd), "Yuki")
    html = client.get("/tiers").text
    link = re.search(r'href="(/tiers\?edit=a[^"]*)#edit"', html)
    assert link
    assert 'Change a/b & "c"' in read(client, unescape(link[1]))
    assert "<b>" not in client.get(unescape(link[1])).text.split("What for")[1][:200]
