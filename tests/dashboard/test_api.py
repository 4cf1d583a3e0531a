from __future__ import annotations

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Studio
from tests.dashboard.studio import NOW
from tierwatch_agent import snapshot
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.verdict import Verdict


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def test_the_fleet_lists_every_machine_worst_first(client: FlaskClient, studio: Studio) -> None:
    answer = client.get("/api/v1/fleet")
    assert answer.mimetype == "application/json"
    assert answer.json
    ids = [machine["machine"]["id"] for machine in answer.json["machines"]]
    assert ids == [view.machine.id for view in studio.fleet.views()]
    assert answer.json["at"] == NOW


def test_the_fleet_says_what_the_page_says(client: FlaskClient) -> None:
    answer = client.get("/api/v1/fleet").json
    assert answer
    assert f"<h1>{answer['sentence']}</h1>" in client.get("/").text
    assert answer["tiers"][0] == {
        "tier": "mass",
        "vram_gb": 16,
        "floor_bytes": 15_000_000_000,
        "assigned": 6,
        "able": 3,
        "short": 3,
    }


def test_a_verdict_reads_back_as_it_was(client: FlaskClient, studio: Studio) -> None:
    answer = client.get("/api/v1/machines/render-03").json
    known = studio.fleet.view("render-03")
    assert answer
    assert known
    assert msgspec.convert(answer["verdict"], Verdict) == known.verdict


def test_a_snapshot_reads_back_as_it_was(client: FlaskClient, studio: Studio) -> None:
    answer = client.get("/api/v1/machines/render-03").json
    known = studio.fleet.view("render-03")
    assert answer
    assert known
    assert snapshot.decode(msgspec.json.encode(answer["snapshot"])) == known.snapshot


def test_what_is_wrong_is_said(client: FlaskClient, studio: Studio) -> None:
    studio.inventory_file.error = "tierwatch.toml: machines[0]: id is missing"
    answer = client.get("/api/v1/fleet").json
    assert answer
    assert answer["inventory_error"] == "tierwatch.toml: machines[0]: id is missing"
    down = answer["machines"][0]
    assert (down["machine"]["id"], down["error"]) == ("render-07", "connection refused")


def test_charts_come_one_per_gpu_with_the_floor_of_its_tier(client: FlaskClient) -> None:
    answer = client.get("/api/v1/machines/render-03/charts?range=1h").json
    assert answer
    assert (answer["range"], answer["refresh_seconds"]) == ("1h", 10)
    (figure,) = answer["figures"]
    assert figure["gpu"] == "0"
    assert figure["layout"]["shapes"][0]["y0"] == pytest.approx(15e9 / 2**30)


def test_charts_that_the_asker_has_are_not_sent_again(client: FlaskClient, studio: Studio) -> None:
    address = "/api/v1/machines/render-03/charts?range=6h"
    first = client.get(address)
    tag = first.headers["ETag"]

    again = client.get(address, headers={"If-None-Match": tag})
    assert again.status_code == 304
    assert again.data == b""

    studio.now.at += 120
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("range=2h", "range must be one of 15min, 1h, 6h, 24h, 7d, 90d; it is 2h"),
        ("theme=pink", "theme must be one of light, dark; it is pink"),
    ],
)
def test_a_wrong_question_is_answered_with_its_mend(
    client: FlaskClient, query: str, words: str
) -> None:
    answer = client.get(f"/api/v1/machines/render-03/charts?{query}")
    assert answer.status_code == 400
    assert answer.json == {"error": words}
