from __future__ import annotations

import re

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from tests.dashboard.doubles import Studio
from tests.dashboard.studio import NOW, at, gpu, judged, view
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.history.jobs import JobStore


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def words_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()


def read(client: FlaskClient, machine: str) -> str:
    answer = client.get(f"/machines/{machine}")
    assert answer.status_code == 200
    return words_of(answer.text)


def test_it_opens_with_the_verdict_and_its_reasons(client: FlaskClient) -> None:
    words = read(client, "render-03")
    assert "render-03 below Cannot serve mass now: EldenRing.exe holds 5.8 GiB of GPU 0" in words
    assert "Ending EldenRing.exe (pid 4711) would let it serve mass." in words
    assert "GPU 0 can still serve light." in words


def test_it_says_what_the_machine_serves_now_and_with_nothing_else_on_it(
    client: FlaskClient,
) -> None:
    assert "Assigned mass Can serve now light With nothing else on it mass" in read(
        client, "render-03"
    )


def test_a_reason_that_the_headline_says_already_is_not_said_twice(client: FlaskClient) -> None:
    assert read(client, "render-07").count("Not heard for 19 min: connection refused") == 1


def test_it_lists_who_holds_vram_the_largest_first(client: FlaskClient) -> None:
    text = client.get("/machines/render-03").text
    table = re.search(r'<table class="holders">.*?</table>', text, re.S)
    assert table
    words = words_of(table[0])
    assert (
        "6.4 GiB python main.py --listen pid 2210 ComfyUI, production&#39;s own "
        "5.8 GiB EldenRing.exe pid 4711 other work" in words
    )
    assert words.index("EldenRing.exe") < words.index("Xorg")


def test_memory_that_the_system_does_not_tell_is_said_to_be_unknown(client: FlaskClient) -> None:
    words = read(client, "artist-yuki")
    assert "At least 8.1 of 12.0 GiB available" in words
    assert "This is a lower bound: Windows does not tell how much VRAM each process holds." in words
    assert "not known blender.exe pid 9120 other work" in words
    assert "580.95.05, WDDM" in words


def test_what_is_free_and_what_no_process_explains_completes_the_list(
    client: FlaskClient,
) -> None:
    assert "other work 3.3 GiB available, free 0.3 GiB reserved by the driver" in read(
        client, "render-03"
    )
    assert "3.6 GiB held, by whom is not known" in read(client, "artist-yuki")


def test_it_says_what_else_is_known_of_the_gpu_and_leaves_out_the_rest(
    studio: Studio,
) -> None:
    card = gpu(
        "RTX 4080",
        16376,
        fan_ratio=0.0,
        performance_state=0,
        memory_temperature_celsius=None,
        throttle_reasons=("hw_thermal_slowdown",),
        xid_errors={13: 2},
        memory_used_peak_bytes={"1m": 2**30},
        driver_model="wddm",
    )
    studio.fleet.set(
        [
            view(
                at("a", "mass"),
                "ok",
                "Serves mass",
                gpus=[card],
                verdicts=[judged(card, "ok", "mass", "mass", "mass")],
            )
        ]
    )
    words = read(create_app(studio.services()).test_client(), "a")
    assert "Fan 0 %" in words
    assert "Performance state P0" in words
    assert "Held back by heat, says the card" in words
    assert "Xid errors Xid 13: 2" in words
    assert "Peak VRAM used 1.0 GiB in 1 min" in words
    assert "Memory temperature" not in words
    assert "ECC" not in words


def test_a_source_that_is_down_says_why_in_words(client: FlaskClient) -> None:
    words = read(client, "render-04")
    assert "nvml down: GPU 00000000:01:00.0 is lost; the machine needs a restart" in words
    assert "540" in words


def test_a_lost_gpu_says_what_the_driver_asks_for(client: FlaskClient) -> None:
    words = read(client, "render-04")
    assert "The GPU fell off the bus (Xid 79)" in words
    assert "The driver asks for reboot" in words


def test_old_figures_are_said_to_be_old(client: FlaskClient) -> None:
    assert "What follows are its last figures, from 2026-11-24 21:00 UTC" in read(
        client, "render-07"
    )
    assert "last figures" not in read(client, "render-03")


def test_a_machine_never_heard_of_has_a_page(studio: Studio, client: FlaskClient) -> None:
    studio.fleet.change(
        view(at("new", "mass"), "down", "Never heard", heard=None, error="no route to host")
    )
    words = read(client, "new")
    assert "Last heard not yet" in words
    assert "Last answer no route to host" in words


def test_a_machine_without_a_gpu_asks_for_no_charts(client: FlaskClient) -> None:
    text = client.get("/machines/notebook-mei").text
    assert "plotly" not in text
    assert "data-charts" not in text


def test_a_split_card_says_that_its_instances_are_judged(client: FlaskClient) -> None:
    text = client.get("/machines/server-a100").text
    assert "Split into 2 MIG instances; each is judged by itself." in text
    assert "MIG 3g.20gb" in text
    assert re.findall(r'data-gpu="([^"]+)"', text) == ["0:0", "0:1"]


def test_the_chart_s_range_stands_in_the_address(client: FlaskClient) -> None:
    text = client.get("/machines/render-03?range=24h").text
    assert 'data-range="24h" aria-current="true"' in text
    assert 'data-charts="/api/v1/machines/render-03/charts" data-range="24h"' in text
    assert 'data-range="1h" aria-current' in client.get("/machines/render-03?range=no").text


def test_an_unknown_machine_is_a_page_that_says_so(client: FlaskClient) -> None:
    answer = client.get("/machines/nobody")
    assert answer.status_code == 404
    assert "The inventory has no machine nobody." in answer.text
    assert 'href="/"' in answer.text


def test_an_open_page_is_sent_its_parts_only_when_they_say_something_new(
    client: FlaskClient, studio: Studio
) -> None:
    found = re.search(r'name="since" value="(\w+)"', client.get("/machines/render-01").text)
    assert found
    assert client.get(f"/machines/render-01/now?since={found[1]}").status_code == 204

    known = studio.fleet.view("render-01")
    assert known
    studio.fleet.change(msgspec.structs.replace(known, heard_at=NOW + 5))
    answer = client.get(f"/machines/render-01/now?since={found[1]}")

    assert answer.status_code == 200
    assert 'hx-target="#now"' in answer.text
    assert "2026-11-24T21:20:05Z" in answer.text
    fresh = re.search(r'name="since" value="(\w+)"', answer.text)
    assert fresh
    assert client.get(f"/machines/render-01/now?since={fresh[1]}").status_code == 204


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_while_the_database_gives_no_answer_it_tells_the_present_and_why_not_the_past(
    studio: Studio, engine: Engine
) -> None:
    studio.jobs = JobStore(engine)
    client = create_app(studio.services()).test_client()
    assert "The database" not in read(client, "render-03")
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE jobs"))
    told = read(client, "render-03")
    assert "The database gives no answer" in told
    assert "no such table: jobs" in told
    assert "With nothing else on it" in told
    assert "no such table: jobs" in client.get("/jobs").text
