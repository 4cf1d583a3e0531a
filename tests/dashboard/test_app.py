from __future__ import annotations

import gzip
import re

import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Fleet, Studio
from tests.dashboard.studio import at, view
from tierwatch_dashboard.app import create_app

PAGES = ["/", "/jobs", "/machines/render-03", "/machines/server-a100", "/machines/nobody"]


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


@pytest.mark.parametrize(
    "path", [*PAGES, "/api/v1/fleet", "/healthz", "/static/tierwatch.css", "/fleet/changes"]
)
def test_every_answer_bears_the_security_headers(client: FlaskClient, path: str) -> None:
    headers = client.get(path, buffered=True).headers

    policy = headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_nothing_inline_and_asks_no_other_host(client: FlaskClient, path: str) -> None:
    text = client.get(path).text

    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert "<style" not in text
    assert not re.search(r"\s(style|on\w+)=", text)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", text)


def test_a_versioned_file_is_kept_by_the_browser_for_good(client: FlaskClient) -> None:
    found = re.search(r'href="(/static/tierwatch\.css\?v=\w+)"', client.get("/").text)
    assert found

    kept = client.get(found[1], buffered=True).headers["Cache-Control"]
    assert "immutable" in kept
    assert (
        "immutable"
        not in client.get("/static/tierwatch.css", buffered=True).headers["Cache-Control"]
    )


@pytest.mark.parametrize("path", ["/", "/static/vendor/plotly-basic.min.js", "/api/v1/fleet"])
def test_an_answer_is_compressed_for_whoever_takes_it(client: FlaskClient, path: str) -> None:
    plain = client.get(path, buffered=True)
    packed = client.get(path, headers={"Accept-Encoding": "gzip"}, buffered=True)

    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2


def test_an_unknown_address_is_answered_in_words(client: FlaskClient) -> None:
    page = client.get("/nowhere")
    assert page.status_code == 404
    assert "<h1>There is nothing here</h1>" in page.text

    answer = client.get("/api/v1/machines/nobody")
    assert answer.status_code == 404
    assert answer.json == {"error": "The inventory has no machine nobody."}


def test_healthz_says_ok(client: FlaskClient) -> None:
    assert client.get("/healthz").text == "ok\n"


def test_readyz_waits_until_every_machine_was_asked(studio: Studio) -> None:
    machine = at("render-01", "mass")
    studio.fleet = Fleet([view(machine, "down", "Not asked yet", heard=None)])
    client = create_app(studio.services()).test_client()
    early = client.get("/readyz")
    assert early.status_code == 503
    assert early.text == "1 of 1 machines not asked yet\n"

    studio.fleet.change(view(machine, "down", "Not heard", heard=None, error="refused"))

    assert client.get("/readyz").status_code == 200
