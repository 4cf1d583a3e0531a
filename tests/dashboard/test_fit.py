"""What a recipe needs, held to a studio whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.dashboard.synthetic_jobs import GB, SIZES, Truth, ended, envelope, made
from tierwatch_agent.tiers import DEFAULT_TIERS
from tierwatch_dashboard.envelope import Ended, Name
from tierwatch_dashboard.fit import Need, fit, need

TRUTH = Truth()
SEEDS = 120
ROOMS = (8 * GB, 11 * GB, 16 * GB)
"""What jobs found available, where some ran out of memory."""


def asked(size: tuple[int, int], batch: int = 1) -> Name:
    return Name("comfyui", "sdxl_base", *size, batch)


def needed(jobs: Sequence[Ended], size: tuple[int, int], batch: int = 1) -> Need:
    recipes = envelope(jobs).by_model.get("sdxl_base", ())
    return need(asked(size, batch), recipes, fit(recipes))


def known_in_hindsight(
    count: int, *, seen: bool, truth: Truth = TRUTH, rooms: Sequence[float] = (float("inf"),)
) -> tuple[float, float]:
    """Coverage of the 90 % interval, and mean error of the need as a share of the true p95."""
    held = drawn = 0
    errors: list[float] = []
    for seed in range(SEEDS):
        chance = random.Random(seed)
        size = chance.choice(SIZES[1:-1])
        sizes = SIZES if seen else [each for each in SIZES if each != size]
        found = needed(made(truth, chance, sizes, count, rooms), size)
        assert found.need_bytes
        errors.append(abs(found.need_bytes / truth.p95(*size) - 1))
        if found.interval_bytes:
            low, high = found.interval_bytes
            jobs = [truth.drawn(chance, size) for _ in range(50)]
            held += sum(low <= each <= high for each in jobs)
            drawn += len(jobs)
    return held / drawn if drawn else 0.0, sum(errors) / len(errors)


@pytest.mark.parametrize(
    ("count", "most"), [(3, 0.035), (10, 0.018), (20, 0.015), (50, 0.01), (100, 0.008)]
)
def test_the_more_jobs_there_are_the_closer_the_need_is(count: int, most: float) -> None:
    assert known_in_hindsight(count, seen=True)[1] < most


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize("count", [20, 50, 100])
def test_nine_of_ten_jobs_lie_within_the_interval(count: int, seen: bool) -> None:
    assert 0.88 <= known_in_hindsight(count, seen=seen)[0] <= 0.92


@pytest.mark.parametrize("seen", [True, False])
def test_the_interval_holds_where_jobs_run_out_of_memory(seen: bool) -> None:
    assert 0.88 <= known_in_hindsight(50, seen=seen, rooms=ROOMS)[0] <= 0.92


def test_the_interval_holds_where_the_truth_is_no_line() -> None:
    bent = Truth(bend=0.3 * GB)
    assert 0.88 <= known_in_hindsight(30, seen=False, truth=bent)[0] <= 0.92


def test_whether_a_job_fits_a_tier_is_right_nearly_always() -> None:
    floors = [tier.floor_bytes for tier in DEFAULT_TIERS if tier.floor_bytes]
    right = said = true = 0
    for seed in range(40):
        chance = random.Random(seed)
        truth = Truth(base=chance.uniform(2, 9) * GB, slope=chance.uniform(0.8, 4) * GB)
        left_out = set(chance.sample(SIZES[1:-1], 3))
        jobs = made(truth, chance, [s for s in SIZES if s not in left_out], 40)
        for size in SIZES:
            found = needed(jobs, size).need_bytes or 0
            for floor in floors:
                fits, does = truth.p95(*size) <= floor, found <= floor
                right, said, true = right + (fits and does), said + does, true + fits
    assert right / said >= 0.98, "precision: what is said to fit does"
    assert right / true >= 0.98, "recall: what fits is said to"


def test_few_jobs_are_told_and_no_interval_is_made_up() -> None:
    found = needed([ended(9 * GB), ended(10 * GB)], (1024, 1024))
    assert (found.basis, found.jobs, found.machines) == ("seen", 2, 1)
    assert found.need_bytes == 10 * GB
    assert found.interval_bytes is None


def test_between_sizes_the_line_is_told_with_what_it_missed() -> None:
    chance = random.Random(1)
    found = needed(made(TRUTH, chance, SIZES, 20), (1152, 896))
    assert (found.basis, found.sizes, found.jobs) == ("between", len(SIZES), 20 * len(SIZES))
    assert found.error_bytes
    assert found.error_bytes < 0.3 * GB


def test_batches_count_as_pixels_do() -> None:
    chance = random.Random(2)
    found = needed(made(TRUTH, chance, SIZES, 20), (768, 768), batch=4)
    assert found.basis == "between"
    assert found.need_bytes == pytest.approx(TRUTH.p95(768, 768, 4), rel=0.05)


def test_beyond_the_largest_size_it_says_so_and_is_no_less_than_that() -> None:
    chance = random.Random(3)
    jobs = made(TRUTH, chance, SIZES[:6], 30)
    found, largest = needed(jobs, (2048, 2048)), needed(jobs, SIZES[4])
    assert found.basis == "beyond"
    assert found.need_bytes
    assert largest.need_bytes
    assert found.need_bytes > largest.need_bytes


def test_one_size_with_tiles_moves_the_line_little() -> None:
    chance = random.Random(4)
    jobs = made(TRUTH, chance, SIZES, 30)
    tiled = [job._replace(peak_bytes=6 * GB) if job.width == 1792 else job for job in jobs]
    found = needed(tiled, (1280, 1280)).interval_bytes
    assert found
    assert found[0] < TRUTH.middle(1280, 1280) < found[1]


def test_a_model_of_one_size_needs_no_more_than_that_where_less_is_asked() -> None:
    jobs = [ended(9 * GB + number) for number in range(30)]
    smaller = needed(jobs, (768, 768))
    assert (smaller.basis, smaller.by) == ("larger", asked((1024, 1024)))
    assert smaller.need_bytes == pytest.approx(9 * GB)
    larger = needed(jobs, (2048, 2048))
    assert (larger.basis, larger.need_bytes) == ("none", None)
    assert larger.at_least_bytes == pytest.approx(9 * GB)


def test_a_size_that_always_ran_out_of_memory_needs_more_than_there_was() -> None:
    jobs = [ended(20 * GB, (2048, 2048), available=16 * GB) for _ in range(5)]
    found = needed(jobs, (2048, 2048))
    assert (found.need_bytes, found.at_least_bytes) == (None, 16 * GB)


def test_jobs_that_ran_out_of_memory_raise_the_need() -> None:
    fine = [ended(9 * GB + number) for number in range(30)]
    dead = [ended(15 * GB, available=12 * GB) for _ in range(10)]
    assert needed(fine, (1024, 1024)).need_bytes == pytest.approx(9 * GB)
    assert needed(fine + dead, (1024, 1024)).need_bytes == 12 * GB


def test_a_few_that_ran_out_of_memory_say_nothing_of_many_without_a_figure() -> None:
    silent = [ended(None) for _ in range(60)]
    dead = [ended(15 * GB, available=12 * GB)]
    found = needed(silent + dead, (1024, 1024))
    assert (found.basis, found.need_bytes, found.at_least_bytes) == ("none", None, 0)
    assert (found.jobs, found.machines) == (60, 1)
