"""The weekly report's page: its words and figures, its weeks, and what it says of nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Studio
from tests.dashboard.kept_week import Past, week_47
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.reports import Reports


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    file = tmp_path_factory.mktemp("report") / "tierwatch.db"
    engine = open_database(f"sqlite:///{file.as_posix()}")
    past = Past(engine)
    week_47(past)
    yield past
    engine.dispose()


@pytest.fixture
def client(past: Past) -> FlaskClient:
    return client_of(past.reports)


def client_of(reports: Reports | None) -> FlaskClient:
    return create_app(replace(Studio().services(), reports=reports)).test_client()


def words_of(markup: str) -> str:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).strip()
    return text.replace("&#39;", "'").replace("\u00a0", " ")


def read(client: FlaskClient, path: str = "/report?week=2026-W47") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return words_of(answer.text)


def test_it_opens_with_the_week_and_the_studio_in_one_sentence(client: FlaskClient) -> None:
    words = read(client)
    assert "Week 47 · 16 November 2026 to 22 November 2026" in words
    # 3 × 162 hours were watched, 29 + 8 of them lost.
    assert "Tiers had their machines for 449 of 486 hours: 92 %." in words
    assert "up to now" not in words
    assert "No dashboard watched for 6.0 of the 168 hours" in words


def test_each_tier_says_what_it_lost_and_to_what(client: FlaskClient) -> None:
    words = read(client)
    assert "mass 89 %" in words
    assert (
        "mass lost 37 of 324 hours, most of it (29) to programs that are not production's: "
        "eldenring.exe on render-03." in words
    )
    assert "light had its machines all of 162 hours." in words
    assert words.index("mass lost") < words.index("light had")
    assert "336 hours assigned, of 2 machines" in words
    assert "had its machines 287 89 %" in words
    assert "lost to programs that are not production's 29 9 %" in words
    assert "lost to machines that were down 8.0 2 %" in words
    assert "no dashboard watched 12 What" in words


def test_the_bar_has_a_part_for_each_kind_of_hours(client: FlaskClient) -> None:
    bars = re.findall(
        r'<svg class="bar hours".*?</svg>', client.get("/report?week=2026-W47").text, re.S
    )
    assert [re.findall(r'class="h-(\w+)"', bar) for bar in bars] == [
        ["able", "others", "down", "unwatched"],
        ["able", "unwatched"],
    ]
    assert 'x="85.42%" width="8.63%"' in bars[0]
    assert "29 h lost to programs" in bars[0]


def test_what_was_made_stands_beside_what_it_took(client: FlaskClient) -> None:
    words = read(client)
    assert "Images 324" in words
    assert "Images per assigned hour 1.0" in words
    assert "Megapixels 324" in words
    assert "Jobs done 2" in words
    assert "Jobs out of memory 1" in words
    # 200 W for 84 of the 168 hours of the one GPU that was seen.
    assert "power known for 50 % of the hours 16.8 kWh" in words
    assert "Images per kWh about 9.6" in words


def test_the_machines_that_lost_most_come_first(client: FlaskClient) -> None:
    words = read(client)
    assert (
        "Machines that lost most Machine Lost, h Assigned, h Most of it to "
        "render-03 29 168 programs that are not production's: eldenring.exe "
        "render-01 8.0 168 machines that were down" in words
    )


def test_the_week_that_it_is_goes_up_to_now_beside_the_week_before(client: FlaskClient) -> None:
    words = read(client, "/report")
    assert "Week 48 · 23 November 2026 to 29 November 2026 · up to now" in words
    assert "mass 100 % 89 % the week before" in words
    assert "Images 0 324" in words
    text = client.get("/report").text
    assert 'href="/report?week=2026-W47" rel="prev"' in text
    assert 'rel="next"' not in text
    before = client.get("/report?week=2026-W46").text
    assert 'href="/report?week=2026-W47" rel="next"' in before
    assert '<a href="/report">This week</a>' in before


def test_weeks_go_as_far_back_as_what_is_kept(client: FlaskClient) -> None:
    assert 'rel="prev"' in client.get("/report?week=2026-W36").text
    assert 'rel="prev"' not in client.get("/report?week=2026-W35").text


def test_a_week_without_anything_says_so_and_what_to_do(client: FlaskClient) -> None:
    words = read(client, "/report?week=2026-W40")
    assert "Nothing is known of this week." in words
    assert "No dashboard watched in this week, or no machine had a tier." in words


def test_a_studio_that_has_just_begun_is_told_how_a_report_fills(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}")
    words = read(client_of(Past(engine).reports), "/report")
    assert "A report fills by itself while the dashboard runs and machines have a tier." in words
    engine.dispose()


@pytest.mark.parametrize(
    ("week", "status", "said"),
    [
        ("2026-W49", 404, "The week 2026-W49 has not begun."),
        ("2026-W54", 400, "there is no week 2026-W54"),
        ("monday", 400, "a week is written 2026-W48; it is monday"),
    ],
)
def test_a_week_that_there_is_not_is_said(
    client: FlaskClient, week: str, status: int, said: str
) -> None:
    answer = client.get(f"/report?week={week}")
    assert answer.status_code == status
    assert said in words_of(answer.text)


def test_a_dashboard_without_reports_says_so() -> None:
    assert client_of(None).get("/report").status_code == 404
