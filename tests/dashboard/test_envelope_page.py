"""What can we make, and where: the page, and the same over the API."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Production, Studio
from tests.dashboard.produced import produced
from tests.dashboard.studio import gpu
from tests.dashboard.synthetic_jobs import GB, ended, envelope
from tierwatch_dashboard.app import create_app

ASK = "/envelope?model=flux1-dev-Q8_0&size=1344x768"


@pytest.fixture
def studio() -> Studio:
    return Studio(production=Production(produced()))


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def words_of(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))).replace("\u00a0", " ")


def read(client: FlaskClient, path: str = "/envelope", **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code == 200
    return words_of(answer.text)


def test_it_says_what_is_made_and_what_it_takes(client: FlaskClient) -> None:
    words = read(client)
    assert "11 recipes of 2 models, made on 4 machines in 30 days" in words
    assert re.search(
        r"1024 × 1024 7\.\d GiB half of them 6\.9 GiB, the worst 7\.\d GiB 4\.3 s an image "
        r"NVIDIA GeForce RTX 4090 3 other cards",
        words,
    )
    assert "2 ran out of memory (29 %), with 9.7 GiB available at their start" in words


def test_a_recipe_leads_to_which_machine_can_run_it(client: FlaskClient) -> None:
    link = re.search(r'href="(/envelope\?[^"]*1536x1024[^"]*)"', client.get("/envelope").text)
    assert link
    assert "machines can run it now" in read(client, unescape(link[1]))


def test_each_machine_is_told_with_why_and_how_sure_that_is(client: FlaskClient) -> None:
    words = read(client, ASK)
    assert "5 of 13 machines can run it now" in words
    assert "Fairly known: few jobs: 10 jobs on 2 machines in 30 days" in words
    assert re.search(r"render-01 NVIDIA GeForce RTX 4090 now 23\.7 GiB available 4\.\d s", words)
    assert re.search(
        r"render-03 NVIDIA GeForce RTX 4080 SUPER when emptied 9\.7 GiB available 7\.\d s "
        r"ending EldenRing\.exe \(pid 4711\)",
        words,
    )
    assert "render-05 NVIDIA GeForce RTX 3060 never 12 GB card" in words


def test_an_open_page_follows_what_becomes_free(studio: Studio, client: FlaskClient) -> None:
    since = re.search(r'id="since" name="since" value="(\w+)"', client.get(ASK).text)
    assert since
    now = f"{ASK.replace('?', '/now?')}&since={since[1]}"
    assert client.get(now).status_code == 204
    known = studio.fleet.view("render-03")
    assert known
    assert known.snapshot
    card = gpu("NVIDIA GeForce RTX 4080 SUPER", 16376)
    freed = msgspec.structs.replace(known.snapshot, gpus=(card,))
    studio.fleet.change(msgspec.structs.replace(known, snapshot=freed))
    answer = client.get(now)
    assert answer.status_code == 200
    assert "6 of 13 machines can run it now" in words_of(answer.text)


def test_a_job_that_ends_changes_the_answer(studio: Studio, client: FlaskClient) -> None:
    before = read(client, "/envelope?model=sdxl_base&size=1024x1024")
    more = [ended(30 * GB, machine="render-01") for _ in range(60)]
    studio.production.current = envelope(more)
    after = read(client, "/envelope?model=sdxl_base&size=1024x1024")
    assert "of 13 machines can run it now" in before
    assert "27.9 GiB" in after


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            "model=sdxl&size=1024x1024",
            "No job with the model sdxl is known. Did you mean sdxl_base?",
        ),
        ("model=sdxl_base&size=big", "Size must be width x height in pixels, such as 1344x768"),
        ("model=sdxl_base&size=9x9", "Size must be width x height in pixels, such as 1344x768"),
        ("model=sdxl_base&size=512x512&batch=0", "Batch must be from 1 to 64"),
    ],
)
def test_what_cannot_be_asked_is_told_and_the_form_keeps_it(
    client: FlaskClient, query: str, sentence: str
) -> None:
    answer = client.get(f"/envelope?{query}")
    assert sentence in words_of(answer.text)
    assert 'name="model" value="sdxl' in answer.text
    status = client.get(f"/api/v1/can?{query}").status_code
    assert status == (404 if "No job" in sentence else 400)


def test_without_jobs_it_says_how_it_fills() -> None:
    client = create_app(Studio().services()).test_client()
    words = read(client)
    assert "No job tells yet what can be made here" in words
    assert "This page fills by itself as jobs end" in words
    assert "No job of any model is known yet." in read(client, ASK)


def test_a_dashboard_without_jobs_of_its_own_leaves_the_page_out() -> None:
    client = create_app(replace(Studio().services(), production=None)).test_client()
    assert client.get("/envelope").status_code == 404
    assert "/envelope" not in client.get("/").text


def test_the_tiers_are_told_beside_their_jobs(client: FlaskClient) -> None:
    words = read(client)
    assert re.search(r"mass 14\.0 GiB on a 16 GB card 100 % of \d+ jobs 1\d\.\d GiB", words)
    assert "light 4.7 GiB on a 6 GB card not known not known No job ran on its machines" in words


def test_a_hidden_name_stays_text(studio: Studio, client: FlaskClient) -> None:
    studio.production.current = envelope([ended(GB, model="<script>alert(1)</script>")])
    assert "<script>alert" not in client.get("/envelope").text


def test_the_api_answers_as_the_page_does(client: FlaskClient) -> None:
    answer = client.get(ASK.replace("/envelope", "/api/v1/can")).json
    assert answer
    assert (answer["server"], answer["confidence"]) == ("comfyui", "fair")
    assert sum(each["kind"] == "now" for each in answer["machines"]) == 5
    assert answer["machines"][0]["machine"] == "render-01"


def test_recipes_are_told_with_their_cards(client: FlaskClient) -> None:
    answer = client.get("/api/v1/recipes?model=SDXL&limit=2").json
    assert answer
    assert (len(answer["recipes"]), answer["more"], answer["days"]) == (2, 4, 30)
    first = answer["recipes"][0]
    assert (first["model"], first["machines"]) == ("sdxl_base", 4)
    assert first["cards"][0]["card"] == "NVIDIA GeForce RTX 4090"
    cold, warm = (first["cards"][0][f"{kind}seconds_per_image"] for kind in ("cold_", ""))
    assert cold is None or cold > warm


def test_where_to_send_a_job_is_told_for_schedulers(client: FlaskClient) -> None:
    answer = client.get("/api/v1/placement?model=sdxl_base&size=1024x1024").json
    assert answer
    assert answer["candidates"] == [], "no server is known in this studio"
