from __future__ import annotations

from tests.dashboard.synthetic_jobs import GB, ended, envelope
from tierwatch_dashboard.envelope import Envelopes, Name

SQUARE = Name("comfyui", "sdxl_base", 1024, 1024, 1)


def test_a_recipe_has_its_peaks_and_how_many_jobs_and_machines_they_rest_on() -> None:
    peaks = [9 * GB + number * GB // 100 for number in range(100)]
    jobs = [ended(peak, machine=f"render-0{peak % 3}", at=peak) for peak in peaks]
    recipe = envelope(jobs).recipes[SQUARE]
    assert (recipe.jobs, recipe.measured, len(recipe.machines), recipe.ooms) == (100, 100, 3, 0)
    assert recipe.p50_bytes == peaks[49]
    assert recipe.p95_bytes == peaks[94]
    assert recipe.worst_bytes == peaks[99]
    assert (recipe.first_at, recipe.last_at) == (peaks[0], peaks[99])


def test_ports_do_not_make_a_server_another() -> None:
    jobs = [ended(GB, server=server) for server in ("comfyui-8188", "comfyui-8189", "reported")]
    assert {name.server: r.jobs for name, r in envelope(jobs).recipes.items()} == {
        "comfyui": 2,
        "reported": 1,
    }


def test_each_size_and_batch_is_a_recipe_of_its_own() -> None:
    jobs = [ended(GB, (512, 768)), ended(GB, (768, 512)), ended(GB, batch=4), ended(GB)]
    assert len(envelope(jobs).recipes) == 4


def test_what_ran_out_of_memory_needed_more_than_was_available() -> None:
    recipe = envelope([ended(9 * GB), ended(12 * GB, available=11 * GB)]).recipes[SQUARE]
    assert (recipe.jobs, recipe.ooms, recipe.oom_ratio) == (1, 1, 0.5)
    assert recipe.worst_bytes == 9 * GB
    assert recipe.exceeded_bytes == 11 * GB
    assert recipe.oom_available == (11 * GB, 11 * GB)
    assert recipe.p95_bytes is None, "half of the jobs need more than was ever seen"


def test_a_job_that_had_to_load_its_model_is_told_apart() -> None:
    jobs = [
        ended(GB, seconds=40.0, at=1),
        ended(GB, seconds=10.0, at=2),
        ended(GB, seconds=12.0, at=3),
        ended(GB, model="flux1-dev", seconds=90.0, at=4),
        ended(GB, seconds=41.0, at=5),
    ]
    (card,) = envelope(jobs).recipes[SQUARE].cards
    assert card.seconds_per_image == 11
    assert card.cold_seconds_per_image == 40.5


def test_time_is_by_image_and_by_card() -> None:
    jobs = [ended(GB), ended(GB, batch=4, images=4, seconds=20.0)]
    jobs += [ended(GB, batch=4, images=4, seconds=12.0, card="RTX 5090")]
    jobs += [ended(GB, batch=4, images=4, seconds=1.0, card=None)]
    cards = envelope(jobs).recipes[SQUARE._replace(batch=4)].cards
    assert [(card.card, card.seconds_per_image) for card in cards] == [
        ("RTX 5090", 3.0),
        ("RTX 4090", 5.0),
    ]


def test_what_is_not_known_is_left_out_and_counted() -> None:
    jobs = [ended(GB, model=None), ended(GB, width=None), ended(GB), ended(GB, outcome="error")]
    found = envelope(jobs)
    assert (found.jobs, found.left_out) == (1, 2)


def test_jobs_without_a_peak_still_tell_their_time() -> None:
    recipe = envelope([ended(None), ended(None)]).recipes[SQUARE]
    assert (recipe.jobs, recipe.measured, recipe.p95_bytes, recipe.worst_bytes) == (
        2,
        0,
        None,
        None,
    )
    assert recipe.cards[0].seconds_per_image == 10


def test_it_grows_as_jobs_end_and_what_was_given_stays_as_it_was() -> None:
    envelopes = Envelopes()
    envelopes.take(ended(9 * GB))
    before = envelopes.envelope()
    envelopes.take(ended(10 * GB, at=1))
    after = envelopes.envelope()
    assert (before.recipes[SQUARE].jobs, after.recipes[SQUARE].jobs) == (1, 2)
    assert list(after.loads["render-01", "GPU-0"].peaks) == [9 * GB, 10 * GB]
    assert list(before.loads["render-01", "GPU-0"].peaks) == [9 * GB]
