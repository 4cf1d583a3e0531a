"""What is made and by whom, as the pages and the API say it; finished jobs in real SQLite."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.dashboard.doubles import Studio
from tests.dashboard.making import kept, last_jobs, running, server, stalled_machine, with_servers
from tests.dashboard.studio import NOW
from tierwatch_agent.snapshot import JobRecord, ServerSample
from tierwatch_dashboard.app import create_app
from tierwatch_dashboard.database import open_database
from tierwatch_dashboard.history.jobs import FinishedJob, JobStore, Throughput
from tierwatch_dashboard.last_hour import LastHour, Made

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    engine = open_database(f"sqlite:///{(tmp_path / 'tierwatch.db').as_posix()}")
    yield JobStore(engine)
    engine.dispose()


@pytest.fixture
def studio(store: JobStore) -> Studio:
    """The studio at work: two machines run jobs, one stalls, one is paused."""
    studio = Studio(jobs=store)
    runs(studio, "render-01", server(running(), queue_pending=3))
    runs(studio, "render-05", server(paused=True, queue_pending=4))
    studio.fleet.change(stalled_machine())
    return studio


@pytest.fixture
def client(studio: Studio) -> FlaskClient:
    return create_app(studio.services()).test_client()


def runs(studio: Studio, machine: str, *servers: ServerSample) -> None:
    known = studio.fleet.view(machine)
    assert known
    studio.fleet.change(with_servers(known, *servers))


def finish(store: JobStore, *jobs: JobRecord, machine: str = "render-01") -> None:
    store.append([FinishedJob(machine=machine, job=job) for job in jobs])


def words_of(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).strip().replace("&#39;", "'")


def read(client: FlaskClient, path: str = "/jobs") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return words_of(answer.text)


def token_of(text: str) -> str:
    found = re.search(r'id="since" name="since" value="([^"]+)"', text)
    assert found
    return found[1]


def count(studio: Studio, store: JobStore) -> None:
    """The background's count of the last hour."""
    counted = LastHour(store, studio.now)
    counted.refresh()
    studio.last_hour.current = counted.current


def test_it_opens_with_what_runs_and_waits(client: FlaskClient) -> None:
    text = client.get("/jobs").text
    assert "<h1>2 jobs run, 12 wait.</h1>" in text
    assert '<a href="/jobs" aria-current="page">Jobs</a>' in text
    assert '<a href="/jobs">Jobs</a>' in client.get("/").text


def test_it_lists_what_each_server_does(client: FlaskClient) -> None:
    words = read(client)
    assert (
        "render-01 ComfyUI sdxl_base 1024 × 1024, step 12 of 30 0.8 s a step, usually 0.8 s "
        "3 waiting" in words
    )
    assert "render-05 ComfyUI paused 4 waiting" in words
    assert "stalled: no step for 140 s, usually 0.9 s; 180 MiB free of 11.9 GiB" in words


def test_a_machine_that_is_down_runs_nothing(client: FlaskClient, studio: Studio) -> None:
    runs(studio, "render-07", server(running(), queue_pending=9))
    assert "2 jobs run, 12 wait." in read(client)


def test_a_fleet_without_servers_says_so() -> None:
    client = create_app(Studio().services()).test_client()
    words = read(client)
    assert "No generation server is known." in words
    assert "No job is kept yet." in words


def test_finished_jobs_come_with_all_that_is_known_and_nothing_that_is_not(
    client: FlaskClient, store: JobStore
) -> None:
    for stored in last_jobs():
        finish(store, stored.job, machine=stored.machine)
    words = read(client)
    assert "render-01 ComfyUI sdxl_base 832 × 1216, 4 at once 30 1 min 36 s 9.4 GiB done" in words
    assert "render-09 ComfyUI sdxl_base 2048 × 2048 30 18 s 11.7 GiB out of memory" in words
    assert "render-05 A1111 dreamshaperXL_v21 1024 × 1024 7.9 s done" in words
    assert "failed: ValueError" in words
    assert "interrupted" in words
    assert "demo-02 Reported jobs flux1-dev-Q8_0" in words
    assert "None" not in words
    assert "0 ×" not in words


def test_a_machine_and_an_outcome_are_picked_in_the_address(
    client: FlaskClient, store: JobStore
) -> None:
    finish(store, kept(1).job, kept(2, outcome="oom", model="too_large").job)
    finish(store, kept(3, model="theirs").job, machine="render-05")
    words = read(client, "/jobs?machine=render-01&outcome=oom")
    assert "too_large" in words
    assert "sdxl_base 1024 × 1024 30" not in words
    assert "theirs" not in words
    assert "render-05 ComfyUI paused" not in words
    text = client.get("/jobs?machine=render-01&outcome=oom").text
    assert '<option value="render-01" selected>render-01</option>' in text
    assert '<option value="oom" selected>out of memory</option>' in text
    assert "No such job is kept." in read(client, "/jobs?outcome=interrupted")


def test_a_long_list_goes_on_on_the_next_page_with_its_filter(
    client: FlaskClient, store: JobStore
) -> None:
    finish(store, *(kept(n, model=f"model-{n:03}").job for n in range(120)))
    seen: list[str] = []
    path = "/jobs?machine=render-01"
    while True:
        text = client.get(path).text
        seen += re.findall(r"model-\d+", text)
        older = re.search(r'<a href="([^"]+)">Older</a>', text)
        if not older:
            break
        path = unquote(older[1]).replace("&amp;", "&")
        assert "machine=render-01" in path
    assert seen == [f"model-{n:03}" for n in reversed(range(120))]
    assert "Latest</a>" in text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("outcome=great", "outcome must be one of success, error, oom, interrupted; it is great"),
        ("before=yesterday", "before must be the key of a job; it is yesterday"),
        ("before=" + "9" * 30, "before must be the key of a job"),
    ],
)
def test_a_wrong_question_is_answered_with_its_mend(
    client: FlaskClient, query: str, words: str
) -> None:
    for path in (f"/jobs?{query}", f"/api/v1/jobs?{query}"):
        answer = client.get(path)
        assert answer.status_code == 400
        assert words in answer.text
    assert client.get("/api/v1/jobs?limit=0").status_code == 400
    assert client.get("/api/v1/jobs?limit=501").status_code == 400


def test_the_page_is_sent_again_only_where_it_says_something_else(
    client: FlaskClient, studio: Studio, store: JobStore
) -> None:
    token = token_of(client.get("/jobs").text)
    assert client.get(f"/jobs/now?since={token}").status_code == 204

    runs(studio, "render-01", server(running(step=13), queue_pending=3))
    changed = client.get(f"/jobs/now?since={token}")
    assert "step 13 of 30" in changed.text
    token = token_of(changed.text)
    assert client.get(f"/jobs/now?since={token}").status_code == 204

    finish(store, kept(1, model="new_model").job)
    assert "new_model" in client.get(f"/jobs/now?since={token}").text


def test_a_row_of_the_fleet_says_what_the_machine_makes(client: FlaskClient) -> None:
    words = read(client, "/")
    assert "ComfyUI: sdxl_base 1024 × 1024, step 12 of 30, 0.8 s a step; 3 waiting" in words
    assert "ComfyUI: paused; 4 waiting" in words
    assert "stalled render-09 ComfyUI's job does not move: no step for 140 s" in words


def test_an_idle_server_is_not_worth_a_line(client: FlaskClient, studio: Studio) -> None:
    runs(studio, "render-01", server())
    assert "ComfyUI:" not in words_of(row_of(client, "render-01"))


def test_a_machine_of_many_servers_names_the_first_of_them(
    client: FlaskClient, studio: Studio
) -> None:
    many = [server(running(), port=8188 + n, queue_pending=n) for n in range(8)]
    runs(studio, "render-01", *many)
    words = words_of(row_of(client, "render-01"))
    assert "ComfyUI 8188: sdxl_base" in words
    assert "ComfyUI 8190: sdxl_base" in words
    assert "ComfyUI 8191" not in words
    assert "And 5 more" in words


def row_of(client: FlaskClient, machine: str) -> str:
    found = re.search(rf'<li class="machine [^"]*" id="m-{machine}">.*?</ul>\s*</li>',
                      client.get("/").text, re.S)  # fmt: skip
    assert found
    return found[0]


def test_a_step_sends_its_machine_s_row_and_no_other(client: FlaskClient, studio: Studio) -> None:
    token = token_of(client.get("/").text)
    runs(studio, "render-01", server(running(step=13), queue_pending=3))
    text = client.get(f"/fleet/changes?since={token}").text
    assert re.findall(r'<li class="machine [^"]*" id="m-([^"]+)"', text) == ["render-01"]
    assert "#standing" not in text


def test_each_tier_says_what_it_made_in_an_hour_and_what_waits(
    client: FlaskClient, studio: Studio, store: JobStore
) -> None:
    assert "Images/h" in read(client, "/")
    ended = [NOW - 60 * n for n in range(1, 41)]
    jobs = [kept(n, ended_at=at, duration_seconds=90.0).job for n, at in enumerate(ended)]
    finish(store, *jobs)
    finish(store, kept(77, ended_at=NOW - HOUR - 1, images=500).job)
    count(studio, store)
    table = re.search(r'<table class="tiers[^"]*">.*?</table>', client.get("/").text, re.S)
    assert table
    assert "mass 14.0 GiB 6 3 3 40 42 3 , about 4 min" in words_of(table[0])
    assert "production 10.2 GiB 4 2 2 0 0 9 light" in words_of(table[0])


def test_the_tiers_of_a_fleet_without_servers_have_no_columns_for_them() -> None:
    client = create_app(Studio().services()).test_client()
    assert "Images/h" not in read(client, "/")


def test_a_count_that_changes_sends_the_tiers_and_no_row(
    client: FlaskClient, studio: Studio, store: JobStore
) -> None:
    token = token_of(client.get("/").text)
    finish(store, kept(1, ended_at=NOW - 5).job)
    count(studio, store)
    text = client.get(f"/fleet/changes?since={token}").text
    assert "#standing" in text
    assert "<li" not in text
    token = token_of(text)
    count(studio, store)
    assert client.get(f"/fleet/changes?since={token}").status_code == 204


def test_what_a_gpu_of_another_tier_makes_counts_for_that_tier(
    client: FlaskClient, studio: Studio
) -> None:
    known = studio.fleet.view("render-05")
    assert known
    first, second = known.verdict.gpus
    verdict = msgspec.structs.replace(
        known.verdict, gpus=(first, msgspec.structs.replace(second, tier="light"))
    )
    studio.fleet.change(msgspec.structs.replace(known, verdict=verdict))
    studio.last_hour.current = Made(
        throughput=tuple(
            Throughput(
                machine="render-05",
                gpu=gpu,
                jobs={"success": images},
                images=images,
                pixels=0,
                busy_seconds=0,
            )
            for gpu, images in ((first.uuid, 10), (second.uuid, 7), (None, 100))
        )
    )
    answer = client.get("/api/v1/fleet").json
    assert answer
    assert {t["tier"]: t.get("images") for t in answer["tiers"]} == {
        "mass": 0,
        "production": 110,
        "light": 7,
        "draft": None,
    }


def test_a_machine_s_page_lists_its_servers_and_last_jobs(
    client: FlaskClient, studio: Studio, store: JobStore
) -> None:
    finish(store, *(kept(n, ended_at=NOW - 100 + n).job for n in range(12)))
    finish(store, kept(50, model="theirs").job, machine="render-05")
    count(studio, store)
    words = read(client, "/machines/render-01")
    assert "Made in the last hour 12 images, 13 megapixels" in words
    assert "Waiting 3, about 1 min" in words
    assert (
        "ComfyUI 0.27.0 sdxl_base 1024 × 1024, step 12 of 30 0.8 s a step, usually 0.8 s "
        "Queue: 3 waiting, about 1 min Says that it holds 10.9 GiB" in words
    )
    assert words.count("25 s 9.4 GiB done") == 8
    assert "theirs" not in words
    assert '<a href="/jobs?machine=render-01">All its jobs</a>' in (
        client.get("/machines/render-01").text
    )


def test_a_server_that_is_down_says_why_on_its_machine_s_page(
    client: FlaskClient, studio: Studio
) -> None:
    gone = server(state="down", reason="it has ended", queue_pending=None, vram_bytes=None)
    runs(studio, "render-01", gone)
    assert "ComfyUI 0.27.0 Down: it has ended" in read(client, "/machines/render-01")


def test_a_machine_without_servers_says_what_would_be_seen(client: FlaskClient) -> None:
    words = read(client, "/machines/notebook-mei")
    assert "No generation server is seen here. ComfyUI, A1111 and its kin" in words
    assert "Made in the last hour" not in words


def test_the_api_tells_the_same(client: FlaskClient, studio: Studio, store: JobStore) -> None:
    jobs = [kept(n).job for n in range(3)]
    finish(store, *jobs)
    answer = client.get("/api/v1/jobs?limit=2").json
    assert answer
    assert answer["at"] == NOW
    ids = [each["job"]["id"] for each in answer["finished"]]
    assert ids == ["job-2", "job-1"]
    assert msgspec.convert(answer["finished"][0]["job"], JobRecord) == jobs[2]
    older = client.get(f"/api/v1/jobs?limit=2&before={answer['before']}").json
    assert older
    assert [each["job"]["id"] for each in older["finished"]] == ["job-0"]
    assert older["before"] is None
    assert {each["machine"] for each in answer["running"]} == {
        "render-01",
        "render-05",
        "render-09",
    }
    mine = client.get("/api/v1/jobs?machine=render-01").json
    assert mine
    (only,) = mine["running"]
    assert msgspec.convert(only["server"], ServerSample).jobs == (running(),)


@pytest.fixture
def varied(store: JobStore) -> JobStore:
    """A failed job of each kind, over two days and three machines."""
    finish(store, kept(1, model="flux1-dev", server="reported", ended_at=NOW - 3 * DAY).job)
    finish(store, kept(2, outcome="oom", model="sdxl_base").job)
    finish(
        store,
        kept(3, outcome="error", error="ValueError", model="SDXL_refiner").job,
        machine="artist-yuki",
    )
    return store


@pytest.mark.parametrize(
    ("query", "models"),
    [
        ("model=sdxl", {"sdxl_base", "SDXL_refiner"}),
        ("tier=production", {"SDXL_refiner"}),
        ("tier=mass", {"flux1-dev", "sdxl_base"}),
        ("tier=mass&machine=artist-yuki", set()),
        ("tag=room-a", {"flux1-dev", "sdxl_base"}),
        ("tag=nowhere", set()),
        ("server=reported", {"flux1-dev"}),
        ("error=value", {"SDXL_refiner"}),
        ("outcome=oom", {"sdxl_base"}),
        ("from=2026-11-23", {"sdxl_base", "SDXL_refiner"}),
        ("to=2026-11-22", {"flux1-dev"}),
        ("from=2026-11-20&to=2026-11-25", {"flux1-dev", "sdxl_base", "SDXL_refiner"}),
        ("outcome=&machine=&model=+", {"flux1-dev", "sdxl_base", "SDXL_refiner"}),
    ],
)
@pytest.mark.usefixtures("varied")
def test_jobs_are_picked_in_the_address(client: FlaskClient, query: str, models: set[str]) -> None:
    known = {"flux1-dev", "sdxl_base", "SDXL_refiner"}
    listed = client.get(f"/jobs?{query}").text.partition('id="finished-title"')[2]
    assert {model for model in known if f">{model}<" in listed} == models
    rows = csv_rows(client, f"/jobs.csv?{query}")
    assert {row["model"] for row in rows} == models


@pytest.mark.parametrize(
    "query", ["from=yesterday", "to=2026-13-01", "from=0001-01-01", "outcome=good", "before=x"]
)
def test_what_cannot_be_asked_for_is_said(client: FlaskClient, query: str) -> None:
    for path in ("/jobs", "/jobs/now", "/jobs.csv"):
        answer = client.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert f"{query.partition('=')[0]} must be" in words_of(answer.text)


@pytest.mark.usefixtures("varied")
def test_what_is_asked_for_stays_in_the_form_and_in_its_links(client: FlaskClient) -> None:
    text = client.get("/jobs?tier=mass&model=%22x%22&from=2026-11-20&error=memory").text
    assert 'name="model" value="&#34;x&#34;"' in text
    assert 'name="from" value="2026-11-20"' in text
    assert '<details class="further" open>' in text
    assert "No such job is kept." in words_of(text)
    found = client.get("/jobs?tier=mass").text
    assert 'href="/jobs.csv?tier=mass"' in found
    assert 'hx-get="/jobs/now?tier=mass"' in found
    assert '<details class="further">' in client.get("/jobs?outcome=oom").text


@pytest.mark.usefixtures("varied")
def test_what_runs_is_picked_by_server_and_model_too(client: FlaskClient) -> None:
    assert "step 12 of 30" in read(client, "/jobs?model=sdxl&outcome=error")
    assert "step 12 of 30" not in read(client, "/jobs?model=flux")
    assert "step 12 of 30" not in read(client, "/jobs?server=a1111")


def test_why_a_job_ran_out_of_memory_is_said_with_what_it_had(
    client: FlaskClient, studio: Studio, store: JobStore
) -> None:
    # At the turn of an hour the made-up past has a game on the card.
    finish(store, kept(1, outcome="oom", ended_at=NOW - NOW % HOUR, gpu=None).job)
    finish(store, kept(2, outcome="oom", ended_at=NOW - NOW % HOUR - 600, gpu=None,
                       peak_vram_bytes=None).job)  # fmt: skip
    studio.history.gpus = ("0",)
    words = read(client)
    assert (
        "out of memory: it held 9.4 GiB of the 9.6 GiB that were available, and asked for more"
        in words
    )
    assert "out of memory: it asked for more than the 9.6 GiB there were" in words


def test_why_a_job_ran_out_of_memory_without_a_past_of_its_gpu(
    client: FlaskClient, studio: Studio, store: JobStore
) -> None:
    finish(store, kept(1, outcome="oom", gpu="GPU-gone").job)
    finish(store, kept(2, outcome="oom", peak_vram_bytes=None, gpu="GPU-gone").job)
    studio.history.gpus = ("0", "1")
    words = read(client)
    assert "out of memory: it held 9.4 GiB and asked for more than there was" in words
    assert re.search(r"25 s out of memory (?!:)", words)


def test_a_long_error_is_cut_between_words_and_stands_whole_behind_it(
    client: FlaskClient, store: JobStore
) -> None:
    error = "RuntimeError: " + "the sampler met something that it did not expect, " * 4
    finish(store, kept(1, outcome="error", error=error).job)
    text = client.get("/jobs").text
    words = words_of(text)
    assert "did not expect, the sampler met something … The whole error" in words
    assert f"<p>{error}</p>" in text


def csv_rows(client: FlaskClient, path: str = "/jobs.csv") -> list[dict[str, str]]:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    assert "jobs.csv" in answer.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))


def test_the_file_has_every_job_with_its_units(client: FlaskClient, store: JobStore) -> None:
    finish(store, *(kept(n, ended_at=NOW - n).job for n in range(1200)))
    finish(store, kept(9000, ended_at=NOW, duration_seconds=None, peak_vram_bytes=None,
                       model="日本語モデル").job)  # fmt: skip
    rows = csv_rows(client)
    assert len(rows) == 1201
    assert len({row["job"] for row in rows}) == 1201
    first, second = sorted(rows, key=lambda row: row["ended_at_utc"], reverse=True)[:2]
    assert {first["model"], second["model"]} == {"日本語モデル", "sdxl_base"}
    known = next(row for row in rows if row["model"] == "sdxl_base")
    assert known["ended_at_utc"] == "2026-11-24 21:20:00"
    assert (known["width_px"], known["steps"], known["outcome"]) == ("1024", "30", "success")
    assert (known["duration_seconds"], known["peak_vram_gib"]) == ("24.6", "9.40")
    unknown = next(row for row in rows if row["model"] != "sdxl_base")
    assert (unknown["duration_seconds"], unknown["peak_vram_gib"]) == ("", "")


def test_a_spreadsheet_takes_the_file_s_letters_for_what_they_are(client: FlaskClient) -> None:
    assert client.get("/jobs.csv").data.startswith(b"\xef\xbb\xbfended_at_utc,")


@pytest.mark.parametrize("evil", ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(1)", "\t=1", "＝1"])
def test_no_cell_of_the_file_is_a_formula(client: FlaskClient, store: JobStore, evil: str) -> None:
    finish(store, kept(1, model=evil, outcome="error", error=evil).job)
    (row,) = csv_rows(client)
    assert (row["model"], row["error"]) == (f"'{evil}", f"'{evil}")


def test_the_file_is_made_as_it_is_sent(client: FlaskClient, store: JobStore) -> None:
    finish(store, *(kept(n, ended_at=NOW - n).job for n in range(1500)))
    answer = client.get("/jobs.csv", headers={"Accept-Encoding": "gzip"}, buffered=False)
    parts = answer.iter_encoded()
    assert len(next(parts)) < 400
    assert next(parts).count(b"\r\n") == 1000
    assert "Content-Encoding" not in answer.headers
    answer.close()


def test_a_model_s_name_from_outside_is_escaped(
    client: FlaskClient, studio: Studio, store: JobStore
) -> None:
    name = "<script>alert(1)</script>"
    runs(studio, "render-01", server(running(model=name)))
    finish(store, kept(1, model=name, error=name, outcome="error").job)
    for path in ("/", "/jobs", "/machines/render-01"):
        text = client.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)" in text
