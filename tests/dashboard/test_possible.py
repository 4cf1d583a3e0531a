"""Now, when emptied, or never: which of a studio's machines can run a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from tests.dashboard.making import running, server, with_servers
from tests.dashboard.produced import produced
from tests.dashboard.studio import GIB, at, gpu, judged, machines, process, view
from tests.dashboard.synthetic_jobs import GB, ended, envelope
from tierwatch_agent.snapshot import GpuSample
from tierwatch_dashboard.confidence import confidence, evidence
from tierwatch_dashboard.envelope import Envelope
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.model_names import meant, not_known
from tierwatch_dashboard.placement import candidates
from tierwatch_dashboard.possible import Asked, Found, Possible, find

SQUARE = Asked(model="sdxl_base", width=1024, height=1024)
NINE = envelope([ended(9 * GB, machine="elsewhere") for _ in range(40)])
"""Forty jobs that needed 9 GB, on a machine that is no more."""


def asking(views: Sequence[MachineView], asked: Asked = SQUARE, of: Envelope = NINE) -> Found:
    found = find(of, asked, views)
    assert found
    return found


def machine(name: str, *gpus: GpuSample, silent: bool = False) -> MachineView:
    state = "down" if silent else "ok"
    verdicts = [judged(each, state, None, None, None) for each in gpus]
    return view(at(name, None), state, "", gpus=gpus, verdicts=verdicts)


def only(card: GpuSample, *, silent: bool = False) -> Possible:
    (found,) = asking([machine("render-01", card, silent=silent)]).machines
    return found


def test_what_is_free_decides_between_now_and_when_emptied() -> None:
    card, game = "NVIDIA GeForce RTX 4080", process(4711, "EldenRing.exe", 8.0)
    assert only(gpu(card, 16376)).kind == "now"
    taken = only(gpu(card, 16376, game))
    assert (taken.kind, taken.words) == ("emptied", "7.7 GiB available")
    assert taken.lift == "ending EldenRing.exe (pid 4711)"
    assert only(gpu(card, 16376, process(4711, "EldenRing.exe", 5.0))).kind == "now"


def test_a_card_that_is_too_small_never_can_even_unheard() -> None:
    small = gpu("NVIDIA GeForce RTX 4060", 8188)
    assert (only(small).kind, only(small).words) == ("never", "8 GB card")
    assert only(small, silent=True).kind == "never"
    assert only(gpu("NVIDIA GeForce RTX 4080", 16376), silent=True).kind == "unknown"


def test_what_is_not_known_is_not_guessed() -> None:
    card = "NVIDIA GeForce RTX 4070"
    bound = gpu(card, 12282, process(7, "blender.exe", None), basis="none", held_gib=5)
    assert (only(bound).kind, only(bound).words) == ("unknown", "at least 6.7 GiB available")
    lost = gpu(card, 12282, state="lost", attribution=None)
    assert (only(lost).kind, only(lost).words) == ("unknown", "the GPU does not answer")


def test_the_best_gpu_of_a_machine_speaks_for_it() -> None:
    both = [
        gpu("NVIDIA GeForce RTX 4060", 8188),
        gpu("NVIDIA GeForce RTX 4090", 24564, index="1"),
    ]
    found = asking([machine("render-01", *both)])
    assert [(each.gpu, each.kind) for each in found.machines] == [("1", "now")]
    assert [each.gpu for each in found.gpus] == ["1", "0"]


def test_every_machine_is_told_the_best_first() -> None:
    kinds = [each.kind for each in asking(machines()).machines]
    assert len(kinds) == len(machines())
    assert kinds == sorted(kinds, key=["now", "emptied", "unknown", "never"].index)


def test_what_a_server_takes_of_a_large_card_is_not_what_it_needs() -> None:
    small, other = gpu("NVIDIA GeForce RTX 3060", 12288), gpu("NVIDIA GeForce RTX 4070", 12282)
    known = [machine("render-01", small), machine("render-02", other)]
    jobs = [ended(20 * GB, machine="big") for _ in range(60)]
    jobs += [ended(11 * GB, machine="render-01", card=small.name) for _ in range(25)]
    found = asking(known, of=envelope(jobs))
    assert [(each.kind, each.need_bytes) for each in found.machines] == [("now", 11 * GB)] * 2
    assert (
        evidence(found.need) == "25 jobs did with that on NVIDIA GeForce RTX 3060; others took more"
    )
    less = Asked(model="sdxl_base", width=768, height=768)
    smaller = asking(known, less, envelope(jobs)).need
    assert (smaller.need_bytes, confidence(smaller)) == (11 * GB, "good")
    assert "25 jobs at 1024\u00a0×\u00a01024 did with that on" in evidence(smaller)
    assert {each.kind for each in asking(known, of=envelope(jobs[:70])).machines} == {"never"}


def test_a_card_that_ran_out_of_memory_proves_nothing() -> None:
    small = gpu("NVIDIA GeForce RTX 3060", 12288)
    jobs = [ended(20 * GB, machine="big") for _ in range(60)]
    jobs += [ended(9 * GB, machine="render-01", card=small.name) for _ in range(25)]
    jobs += [ended(13 * GB, available=11 * GB, card=small.name) for _ in range(5)]
    (found,) = asking([machine("render-01", small)], of=envelope(jobs)).machines
    assert found.kind == "never"


def test_time_is_measured_on_such_cards_or_follows_from_other_sizes() -> None:
    found = {each.machine: each for each in asking(machines(), of=produced()).machines}
    measured = found["render-01"]
    assert measured.timed_by == "card"
    assert measured.seconds == pytest.approx(4.1 * 1.05, rel=0.06)
    assert found["strix-halo-01"].seconds is None
    asked = Asked(model="sdxl_base", width=1152, height=896, batch=2)
    other = {each.machine: each for each in asking(machines(), asked, produced()).machines}
    assert other["render-01"].timed_by == "sizes"
    assert other["render-01"].seconds == pytest.approx(4.1 * 2.06, rel=0.06)


def test_a_model_that_was_never_used_has_no_answer() -> None:
    assert find(NINE, Asked(model="nothing", width=512, height=512), machines()) is None


@pytest.mark.parametrize(
    ("asked", "sure", "words"),
    [
        (SQUARE, "good", "74 jobs on 4 machines in 30 days"),
        (Asked(model="sdxl_base", width=1152, height=896), "fair", "not made at this size yet: "),
        (Asked(model="sdxl_base", width=2048, height=2048), "thin", "extrapolated: outside the "),
        (
            Asked(model="sdxl_base", width=1216, height=832, batch=4),
            "thin",
            "few jobs: 1 job on 1 machine in 30 days",
        ),
    ],
)
def test_the_evidence_is_told(asked: Asked, sure: str, words: str) -> None:
    need = asking(machines(), asked, produced()).need
    assert confidence(need) == sure
    assert evidence(need).startswith(words)


def test_a_model_goes_by_its_name_without_folder_and_ending() -> None:
    models = ["SDXL/sdxl_base_1.0.safetensors", "flux1-dev-Q8_0.gguf"]
    assert meant("sdxl_base_1.0", models) == models[0]
    assert meant("FLUX1-dev-q8_0", models) == models[1]
    assert meant("sdxl", models) is None
    assert not_known("sdxl", models) == (
        "No job with the model sdxl is known. Did you mean SDXL/sdxl_base_1.0.safetensors? "
        "Known are SDXL/sdxl_base_1.0.safetensors, flux1-dev-Q8_0.gguf."
    )


def placed(*views: MachineView) -> list[tuple[str, str, int]]:
    found = candidates(asking(views, of=produced()), views)
    return [(each.machine, each.server, each.waiting) for each in found]


def test_a_job_is_sent_where_it_fits_and_the_least_wait() -> None:
    by_id = {each.machine.id: each for each in machines()}
    fast, idle = by_id["render-01"], by_id["demo-02"]
    busy = with_servers(fast, server(running(), queue_pending=2))
    free = with_servers(idle, server(port=8189))
    taken = with_servers(by_id["render-03"], server())
    assert placed(busy, free, taken) == [
        ("render-03", "comfyui-8188", 0),
        ("demo-02", "comfyui-8189", 0),
        ("render-01", "comfyui-8188", 3),
    ]
    assert placed(with_servers(fast, server()), free)[0][0] == "render-01", "the faster card"


def test_a_server_of_several_gpus_is_told_once() -> None:
    card = "NVIDIA GeForce RTX 4090"
    both = machine("render-01", gpu(card, 24564), gpu(card, 24564, index="1"))
    assert placed(with_servers(both, server())) == [("render-01", "comfyui-8188", 0)]


def test_no_job_is_sent_where_none_is_taken() -> None:
    fast = next(each for each in machines() if each.machine.id == "render-01")
    for sample in (server(state="down"), server(paused=True), server(kind="a1111")):
        assert placed(with_servers(fast, sample)) == []
    resting = msgspec.structs.replace(fast.machine, maintenance=True)
    assert placed(msgspec.structs.replace(with_servers(fast, server()), machine=resting)) == []
    other_gpu = msgspec.structs.replace(server(), gpus=("GPU-elsewhere",))
    assert placed(with_servers(fast, other_gpu)) == []


def test_a_gibibyte_more_or_less_decides() -> None:
    needed = asking(machines()).need.need_bytes
    assert needed == 9 * GB
    for held, kind in ((6.9, "now"), (7.8, "emptied")):
        card = gpu("NVIDIA GeForce RTX 4080", 16376, process(1, "train.py", held))
        assert only(card).kind == kind, (held, GIB)
