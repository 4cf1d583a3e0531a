from __future__ import annotations

import html
import json
import re

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Fleet, Studio
from tests.dashboard.studio import MIB, NOW, at, gpu, judged, process, view
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.fleet import SourceHealth
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_file import parse


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def row_of(text: str, machine: str) -> str:
    """One machine's row."""
    found = re.search(rf'<li class="machine [^"]*" id="m-{machine}">.*?</ul>\s*</li>', text, re.S)
    assert found, f"no row of {machine}"
    return found[0]


def words_of(markup: str) -> str:
    """What a reader reads, tags taken out."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).strip()


def token_of(text: str) -> str:
    found = re.search(r'id="since" name="since" value="([^"]+)"', text)
    assert found
    return found[1]


def changes(client: FlaskClient, token: str) -> str:
    answer = client.get(f"/fleet/changes?since={token}")
    assert answer.status_code == 200
    return answer.text


def warmer(known: MachineView, celsius: float) -> MachineView:
    assert known.snapshot is not None
    card = msgspec.structs.replace(known.snapshot.gpus[0], temperature_celsius=celsius)
    snapshot = msgspec.structs.replace(known.snapshot, gpus=(card, *known.snapshot.gpus[1:]))
    return msgspec.structs.replace(known, snapshot=snapshot)


def test_it_opens_with_the_studio_in_one_sentence(client: FlaskClient) -> None:
    assert (
        "<h1>7 of 11 machines serve their tier, 2 at risk; 3 cannot; 1 is down; "
        "1 is assigned to no tier; 1 is in maintenance.</h1>" in client.get("/").text
    )


def test_it_counts_each_tier_s_machines(client: FlaskClient) -> None:
    table = re.search(r'<table class="tiers">.*?</table>', client.get("/").text, re.S)
    assert table
    words = words_of(table[0])
    assert "mass 14.0 GiB 6 3 3" in words
    assert "production 10.2 GiB 3 2 1" in words
    assert "draft no GPU 1 1 0" in words


def test_the_worst_machine_comes_first(client: FlaskClient) -> None:
    ids = re.findall(r'id="m-([^"]+)"', client.get("/").text)
    assert ids[:4] == ["render-07", "render-03", "render-04", "render-05"]
    assert ids[-1] == "render-06"


def test_a_row_says_verdict_reason_tiers_and_figures(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "render-03")
    words = words_of(row)
    assert words.startswith("below render-03 Cannot serve mass now: EldenRing.exe holds 5.8 GiB")
    assert "assigned mass can serve light" in words
    assert "5.8 GiB held by EldenRing.exe (pid 4711)" in words
    assert "9.7 of 16.0 GiB available 6.0 GiB others" in words
    assert "97 % 78 °C" in words
    assert 'href="#i-below"' in row
    assert 'href="/machines/render-03"' in row


def test_the_floor_is_a_named_line_where_it_lies(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "render-03")
    place = 100 * 15e9 / (16376 * MIB)
    assert f'<rect class="floor" x="{place:.1f}%"/>' in row
    assert f'<text x="{place:.1f}%" class="end">mass, 16 GB class: 14.0 GiB</text>' in row


def test_the_bar_s_parts_fill_the_card(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "render-03")
    widths = [float(w) for w in re.findall(r'width="([\d.]+)%"', row)]
    assert sum(widths) == pytest.approx(100, abs=0.3)
    kinds = re.findall(r'<rect class="(\w+)"', row)
    assert kinds == ["own", "free", "others", "reserved", "floor"]


def test_the_bar_is_said_in_words_to_who_does_not_see_it(client: FlaskClient) -> None:
    assert (
        'aria-label="9.7 of 16.0 GiB available; 6.0 GiB held by others; 0.3 GiB reserved by the '
        'driver; floor of mass, 16 GB class: 14.0 GiB"' in client.get("/").text
    )


def test_a_lower_bound_is_said(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "artist-yuki")
    assert "at least 8.1 of 12.0 GiB available 3.6 GiB unknown" in words_of(row)
    assert 'class="unknown"' in row
    assert 'class="others"' not in row


def test_a_simulated_machine_says_so_and_no_other_does(client: FlaskClient) -> None:
    text = client.get("/").text
    assert text.count("simulated</span>") == 1
    assert "simulated</span>" in row_of(text, "demo-02")


def test_a_machine_that_is_down_shows_no_old_figures(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "render-07")
    assert "can serve not known" in words_of(row)
    assert "No fresh figures" in row
    assert '<svg class="bar"' not in row
    assert "GiB" not in row


def test_a_machine_without_a_gpu_is_no_error(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "notebook-mei")
    assert "ok notebook-mei Serves draft" in words_of(row)
    assert "No GPU" in row


def test_a_split_card_shows_its_instances_and_not_itself(client: FlaskClient) -> None:
    words = words_of(row_of(client.get("/").text, "server-a100"))
    assert "GPU 0:0 mass, 16 GB class: 14.0 GiB 19.3 of 19.6 GiB available" in words
    assert "GPU 0:1 mass, 16 GB class: 14.0 GiB 17.3 of 19.6 GiB available" in words
    assert "GPU 0 " not in words


def test_a_lost_gpu_says_what_happened_in_place_of_a_bar(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "render-04")
    assert "The GPU fell off the bus (Xid 79)" in row
    assert '<svg class="bar"' not in row


def test_the_unknown_is_absent_and_zero_is_zero(studio: Studio) -> None:
    card = gpu("RTX 4080", 16376, utilization_ratio=0.0, temperature_celsius=None)
    studio.fleet.set(
        [
            view(
                at("a", "mass"),
                "ok",
                "Serves mass",
                gpus=[card],
                verdicts=[judged(card, "ok", "mass", "mass", "mass")],
                can="mass",
            )
        ]
    )
    row = row_of(create_app(studio.services()).test_client().get("/").text, "a")
    assert "busy 0 %" in words_of(row)
    assert "°C" not in row


def test_names_from_outside_are_escaped(studio: Studio) -> None:
    card = gpu("RTX 4080", 16376, process(1, "<script>alert(1)</script>", 9.0))
    reason = "9.0 GiB held by <script>alert(1)</script> (pid 1)"
    studio.fleet.set(
        [
            view(
                at("a", "mass"),
                "below",
                "Cannot serve mass now",
                gpus=[card],
                verdicts=[judged(card, "below", "mass", "light", "mass", reason)],
                reasons=(reason,),
            )
        ]
    )
    client = create_app(studio.services()).test_client()
    for path in ("/", "/machines/a"):
        text = client.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text


def test_a_bad_edit_of_the_inventory_is_shown_until_it_is_mended(
    studio: Studio, client: FlaskClient
) -> None:
    before = client.get("/").text
    assert 'role="alert"' not in before

    studio.inventory_file.error = "tierwatch.toml: machines[2].tier: there is no tier “mas”"
    text = changes(client, token_of(before))
    assert 'hx-target="#banner"' in text
    assert "there is no tier “mas”" in text
    assert "The edit before it still holds" in client.get("/").text

    studio.inventory_file.error = None
    mended = changes(client, token_of(text))
    assert 'hx-target="#banner"' in mended
    assert "tier “mas”" not in mended


def test_a_source_that_tells_nothing_is_shown_until_it_does(
    studio: Studio, client: FlaskClient
) -> None:
    before = client.get("/").text
    studio.source = SourceHealth(error="prometheus:9090 refuses the connection", answered_at=NOW)
    text = changes(client, token_of(before))
    assert "Nothing is told of any machine" in text
    assert "prometheus:9090 refuses the connection" in text
    assert 'What follows is the last known state, read <time datetime="2026-11-24T' in text
    assert "Nothing is told of any machine" in client.get("/").text

    studio.source = SourceHealth(answered_at=NOW + 5)
    assert "Nothing is told" not in changes(client, token_of(text))
    assert "Nothing is told" not in client.get("/").text


def test_an_empty_fleet_says_how_to_add_a_machine() -> None:
    client = create_app(Studio(fleet=Fleet([])).services()).test_client()
    text = client.get("/").text
    assert "<h1>No machine yet.</h1>" in text
    assert "tierwatch-agent run" in text
    found = re.search(r"<code>(\[\[.*?)</code>", text, re.S)
    assert found
    inventory = parse(html.unescape(found[1]).encode(), "tierwatch.toml")
    assert [machine.id for machine in inventory.machines] == ["render-01"]


def test_nothing_is_sent_when_nothing_changed(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    studio.fleet.set(studio.fleet.views())

    answer = client.get(f"/fleet/changes?since={token}")

    assert answer.status_code == 204
    assert answer.data == b""


def test_a_change_too_fine_to_be_shown_sends_nothing(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    known = studio.fleet.view("render-01")
    assert known
    studio.fleet.change(warmer(known, 71.2))

    assert client.get(f"/fleet/changes?since={token}").status_code == 204


def test_only_the_row_that_changed_is_sent(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    known = studio.fleet.view("render-01")
    assert known
    studio.fleet.change(warmer(known, 75.0))

    text = changes(client, token)

    assert re.findall(r'<li class="machine [^"]*" id="m-([^"]+)"', text) == ["render-01"]
    assert "75 °C" in text
    assert 'id="order"' not in text
    assert "#standing" not in text
    assert client.get(f"/fleet/changes?since={token_of(text)}").status_code == 204


def test_a_page_that_slept_is_sent_every_change_since(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    for machine in ("render-01", "strix-halo-01"):
        known = studio.fleet.view(machine)
        assert known
        studio.fleet.change(warmer(known, 80.0))
        client.get("/")

    text = changes(client, token)

    assert set(re.findall(r'id="m-([^"]+)" hx-swap', text)) == {"render-01", "strix-halo-01"}


def test_a_machine_that_turns_bad_moves_and_the_sentence_follows(
    client: FlaskClient, studio: Studio
) -> None:
    token = token_of(client.get("/").text)
    known = studio.fleet.view("render-01")
    assert known
    verdict = msgspec.structs.replace(
        known.verdict, state="below", headline="Cannot serve mass now"
    )
    studio.fleet.change(msgspec.structs.replace(known, verdict=verdict))

    text = changes(client, token)

    order = re.search(r'id="order" value="([^"]+)"', text)
    assert order
    assert json.loads(html.unescape(order[1]))[:2] == ["m-render-07", "m-render-01"]
    assert "6 of 11 machines serve their tier" in text


def test_a_machine_that_is_added_is_sent_as_new(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    studio.fleet.change(view(at("new-01", "draft"), "ok", "Serves draft", can="draft"))

    text = changes(client, token)

    assert (
        'hx-target="#machines" hx-swap="beforeend"><li class="machine is-ok" id="m-new-01">' in text
    )
    assert "new-01" in re.findall(r'id="order" value="([^"]+)"', text)[0]


def test_a_machine_that_left_is_no_longer_in_the_order(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    studio.fleet.set([v for v in studio.fleet.views() if v.machine.id != "render-01"])

    text = changes(client, token)

    assert "render-01" not in re.findall(r'id="order" value="([^"]+)"', text)[0]
    assert 'id="m-render-01"' not in client.get("/").text


def test_a_new_floor_redraws_the_rows(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    tiers = tuple(
        msgspec.structs.replace(tier, allowance_gb=2.0) if tier.name == "mass" else tier
        for tier in studio.inventory_file.current.tiers
    )
    studio.inventory_file.current = Inventory(tiers=tiers)

    assert "mass, 16 GB class: 13.0 GiB" in changes(client, token)


@pytest.mark.parametrize("token", ["", "0badcafe-1", "nonsense"])
def test_a_page_of_another_run_is_told_to_load_anew(client: FlaskClient, token: str) -> None:
    client.get("/")
    answer = client.get(f"/fleet/changes?since={token}")
    assert answer.headers["HX-Refresh"] == "true"


def test_the_first_machine_of_an_empty_fleet_loads_the_page_anew() -> None:
    studio = Studio(fleet=Fleet([]))
    client = create_app(studio.services()).test_client()
    token = token_of(client.get("/").text)
    studio.fleet.set([view(at("a", "draft"), "ok", "Serves draft", can="draft")])

    assert client.get(f"/fleet/changes?since={token}").headers["HX-Refresh"] == "true"


def test_unified_memory_is_said_to_be_shared(client: FlaskClient) -> None:
    row = row_of(client.get("/").text, "strix-halo-01")
    assert "95.7 of 96.0 GiB available, shared with the system" in row
