from __future__ import annotations

from tests.dashboard.studio import at, gpu, judged, view
from tests.dashboard.synthetic_jobs import GB, ended, envelope
from tierwatch_dashboard.envelope import Ended
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.tier_evidence import TierEvidence, tiers_by_evidence

CARD = gpu("NVIDIA GeForce RTX 4080", 16376)
PRODUCTION = 11 * GB


def studio(*ids: str, tier: str = "production", total_mib: int = 16376) -> list[MachineView]:
    card = gpu("NVIDIA GeForce RTX 4080", total_mib)
    verdict = judged(card, "ok", tier, None, None)
    return [view(at(id_, tier), "ok", "", gpus=[card], verdicts=[verdict]) for id_ in ids]


def of(jobs: list[Ended], views: list[MachineView], tier: str = "production") -> TierEvidence:
    inventory = Inventory(machines=tuple(each.machine for each in views))
    found = {each.tier.name: each for each in tiers_by_evidence(envelope(jobs), inventory, views)}
    assert "draft" not in found, "a tier without a floor fits everything"
    return found[tier]


def made(*peaks: float) -> list[Ended]:
    return [ended(round(peak * GB), gpu=CARD.uuid) for peak in peaks]


def test_a_tier_is_told_what_share_of_its_jobs_fits_its_floor() -> None:
    found = of(made(*[9] * 90, *[13] * 10), studio("render-01"))
    assert (found.jobs, found.fit_ratio, found.p95_bytes) == (100, 0.9, 13 * GB)


def test_a_floor_that_is_too_low_has_a_larger_class_proposed() -> None:
    assert of(made(*[9] * 90, *[13] * 10), studio("render-01")).proposed_gb == 16
    assert of(made(*[9] * 96, *[13] * 4), studio("render-01")).proposed_gb is None


def test_a_floor_that_is_too_high_has_a_smaller_class_proposed() -> None:
    assert of(made(*[6] * 100), studio("render-01")).proposed_gb == 8


def test_few_jobs_propose_nothing() -> None:
    assert of(made(*[13] * 20), studio("render-01")).proposed_gb is None


def test_no_job_tells_nothing() -> None:
    found = of(made(9), studio("render-01", tier="mass"))
    assert (found.jobs, found.fit_ratio, found.p95_bytes) == (0, None, None)


def test_running_out_of_memory_counts_where_the_floor_was_available() -> None:
    with_floor = [ended(14 * GB, available=12 * GB, gpu=CARD.uuid) for _ in range(10)]
    without = [ended(9 * GB, available=3 * GB, gpu=CARD.uuid) for _ in range(10)]
    found = of(made(*[9] * 90) + with_floor + without, studio("render-01"))
    assert (found.jobs, found.fit_ratio) == (100, 0.9)


def test_machines_that_cannot_run_all_of_it_are_named() -> None:
    views = [*studio("render-01"), *studio("render-02", total_mib=12288)]
    found = of(made(*[9] * 60, *[13] * 40), views)
    assert [(each.machine, each.ratio) for each in found.machines] == [("render-02", 0.6)]


def test_a_gpu_with_a_tier_of_its_own_counts_for_that() -> None:
    (first,) = studio("render-01", tier="mass")
    own = at("render-01", "mass", gpu_tiers={"0": "production"})
    known = view(own, "ok", "", gpus=[CARD], verdicts=list(first.verdict.gpus))
    assert of(made(9), [known]).jobs == 1
    assert of(made(9), [known], "mass").jobs == 0
