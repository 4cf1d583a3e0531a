"""Every cause of a stall, and everything that looks like one and is none, in simulated time.

python -m tests.agent.test_stall_scenarios      # prints the table
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import msgspec
import pytest

from tests.agent.stage import GIB, MIB, RESTING, Stage, Work
from tierwatch_agent.snapshot import RunningJob

SDXL = Work()
VIDEO = Work(model="wan-video", steps=8, seconds_per_step=60.0, load=60.0, finish=40.0)
SILENT = Work(model="flux", tells_steps=False, steps=20, seconds_per_step=1.0)
SLOW = replace(SDXL, seconds_per_step=4.5)
DAY = 24 * 3600


@dataclass(frozen=True)
class Scene:
    """A scenario: what is played, the cause that must be named, and how soon after it began."""

    name: str
    play: Callable[[Stage], float]
    """Plays it; when the trouble began."""
    expected: str
    bound: float


def used_to(stage: Stage, work: Work = SDXL, times: int = 3) -> None:
    """Ordinary jobs first, so that their pace is known."""
    for _ in range(times):
        stage.play(work)
    assert stage.causes() == []


def full(stage: Stage) -> None:
    stage.load_gpu(free=180 * MIB)


# --- Stalls -------------------------------------------------------------------------------------


def stops_under_pressure(stage: Stage) -> float:
    used_to(stage)
    full(stage)
    job = stage.play(SDXL, until=12)
    began = stage.now
    stage.wait(200, job)
    return began


def stops_under_pressure_in_the_first_job(stage: Stage) -> float:
    full(stage)
    job = stage.play(SDXL, until=12)
    began = stage.now
    stage.wait(200, job)
    return began


def a_video_stops_under_pressure(stage: Stage) -> float:
    used_to(stage, replace(VIDEO, load=20.0))
    full(stage)
    job = stage.play(VIDEO, until=5)
    began = stage.now
    stage.wait(900, job)
    return began


def makes_do_and_stops(stage: Stage) -> float:
    stage.strained = "decodes in tiles"
    job = stage.play(SDXL, until=12)
    began = stage.now
    stage.wait(200, job)
    return began


def dies_of_memory(stage: Stage) -> float:
    used_to(stage)
    stage.play(SDXL, outcome="oom")
    began = stage.now
    stage.wait(30)
    return began


def dies_of_memory_by_the_counter(stage: Stage) -> float:
    stage.out_of_memory_total = 4
    used_to(stage)
    stage.play(SDXL, until=12)
    began = stage.now
    stage.out_of_memory_total = 5
    stage.wait(30)
    return began


def spills_on_windows(stage: Stage) -> float:
    stage.load_gpu(shared=200 * MIB)
    used_to(stage)
    full(stage)
    stage.load_gpu(shared=2 * GIB + 200 * MIB)
    began = stage.now + SLOW.load
    stage.play(SLOW)
    return began


def spills_halfway(stage: Stage) -> float:
    stage.load_gpu(shared=200 * MIB)
    work = replace(SDXL, steps=60)
    job = stage.play(work, until=20)
    began = stage.now
    full(stage)
    stage.load_gpu(shared=2 * GIB)
    for step in range(21, 60):
        stage.wait(9, msgspec.structs.replace(job, step=step))
    return began


def offloads(stage: Stage) -> float:
    used_to(stage)
    stage.strained = "works with little VRAM"
    began = stage.now + SLOW.load
    stage.play(SLOW)
    return began


def spills_over_the_link(stage: Stage) -> float:
    used_to(stage)
    full(stage)
    stage.load_gpu(utilization_ratio=1.0, power_watts=95.0)
    stage.link = 9.8e9
    began = stage.now + SLOW.load
    stage.play(SLOW)
    return began


def hangs(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=12)
    began = stage.now
    stage.wait(200, job)
    return began


def never_loads(stage: Stage) -> float:
    began = stage.now
    stage.wait(400, stage.begin(SDXL))
    return began


def never_finishes(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(replace(SDXL, finish=0), until=20)
    began = stage.now
    stage.wait(400, job)
    return began


def hangs_in_a_kernel(stage: Stage) -> float:
    stage.load_gpu(utilization_ratio=1.0, power_watts=90.0)
    began = stage.now
    stage.wait(400, stage.begin(SILENT))
    return began


def hangs_without_steps(stage: Stage) -> float:
    used_to(stage, SILENT)
    began = stage.now
    stage.wait(400, stage.begin(SILENT))
    return began


def answers_no_more(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=12)
    began = stage.silent_since = stage.now
    stage.wait(200, job)
    return began


def answers_no_more_while_loading(stage: Stage) -> float:
    job = stage.begin(SDXL)
    stage.wait(10, job)
    began = stage.silent_since = stage.now
    stage.wait(300, job)
    return began


def loses_its_gpu(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=12)
    began = stage.now
    stage.gpu = msgspec.structs.replace(
        RESTING, state="lost", detail="it no longer answers on its bus", memory=None
    )
    stage.wait(60, job)
    return began


def cannot_be_read(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=12)
    began = stage.now
    stage.gpu = msgspec.structs.replace(
        RESTING, state="unreadable", detail="it needs a reset", memory=None
    )
    stage.wait(60, job)
    return began


def reports_an_xid(stage: Stage) -> float:
    stage.load_gpu(xid_errors={13: 2})
    used_to(stage)
    job = stage.play(SDXL, until=12)
    began = stage.now
    stage.load_gpu(xid_errors={13: 2, 119: 1})
    stage.wait(60, job)
    return began


def overheats(stage: Stage) -> float:
    used_to(stage)
    began = stage.now + SLOW.load
    stage.load_gpu(throttle_reasons=("hw_thermal_slowdown",), temperature_celsius=97)
    stage.play(SLOW)
    return began


# --- No stalls ----------------------------------------------------------------------------------


def loads_for_long(stage: Stage) -> float:
    full(stage)
    stage.play(replace(SDXL, load=170))
    return stage.now


def uses_a_model_for_the_first_time(stage: Stage) -> float:
    job = stage.begin(SDXL)
    stage.wait(20, job)
    stage.wait(170, msgspec.structs.replace(job, step=1, steps=20))
    for seen in stage.steps(job, SDXL):
        stage.judge((seen,))
    return stage.now


def works_without_telling(stage: Stage) -> float:
    stage.set_to_work()
    stage.play(replace(SILENT, steps=800))
    return stage.now


def loads_long_as_ever(stage: Stage) -> float:
    stage.stall_after = 400.0
    stage.play(replace(VIDEO, load=300))
    stage.stall_after = 180.0
    stage.play(replace(VIDEO, load=350))
    return stage.now


def is_paused(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=12)
    stage.paused = True
    stage.wait(3600, job)
    stage.paused = False
    stage.wait(25, job)
    stage.judge((msgspec.structs.replace(job, step=13),))
    return stage.now


def upscales_for_long(stage: Stage) -> float:
    full(stage)
    stage.stall_after = 300.0
    stage.play(replace(SDXL, finish=250))
    stage.stall_after = 180.0
    stage.play(replace(SDXL, finish=260))
    return stage.now


def has_full_vram(stage: Stage) -> float:
    full(stage)
    used_to(stage, times=10)
    return stage.now


def makes_a_batch(stage: Stage) -> float:
    job = stage.begin(SDXL)
    stage.wait(5, job)
    for _ in range(12):
        for seen in stage.steps(job, SDXL):
            stage.judge((seen,))
        stage.wait(20, msgspec.structs.replace(job, step=20, steps=20))
    return stage.now


def is_interrupted(stage: Stage) -> float:
    used_to(stage)
    for _ in range(3):
        job = stage.play(SDXL, until=12)
        stage.wait(20, job)
        stage.finish(job, "interrupted", stage.now - 40)
    stage.wait(600)
    return stage.now


def swaps_models(stage: Stage) -> float:
    for load in (10, 90, 150, 30, 170):
        for model in ("sdxl", "flux", "sd15"):
            stage.play(replace(SDXL, model=model, load=load))
    return stage.now


def sleeps(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=12)
    stage.now += 7200
    stage.wait(20, job)
    return stage.now


def has_its_clock_set(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=6)
    stage.now -= 3600
    stage.wait(10, job)
    stage.now += 3600
    stage.wait(10, job)
    return stage.now


def is_silent_while_it_loads(stage: Stage) -> float:
    job = stage.begin(SDXL)
    stage.silent_since = stage.now
    stage.wait(1, job)
    stage.silent_since = None
    stage.wait(5, job)
    stage.silent_since = stage.now
    stage.wait(120, job)
    stage.silent_since = None
    stage.play(SDXL)
    return stage.now


def ends(stage: Stage) -> float:
    used_to(stage)
    stage.play(SDXL, until=12)
    stage.silent_since, stage.alive = stage.now, False
    stage.wait(900)
    return stage.now


def steps_while_the_driver_is_silent(stage: Stage) -> float:
    used_to(stage)
    stage.gpu = msgspec.structs.replace(RESTING, state="unreadable", memory=None)
    used_to(stage)
    return stage.now


def has_a_fault_of_its_own(stage: Stage) -> float:
    used_to(stage)
    job = stage.play(SDXL, until=12)
    stage.load_gpu(xid_errors={31: 1})
    stage.wait(25, job)
    return stage.now


def shares_its_gpu(stage: Stage) -> float:
    used_to(stage)
    stage.load_gpu(utilization_ratio=1.0, power_watts=280.0)
    stage.play(SLOW)
    return stage.now


def pins_memory(stage: Stage) -> float:
    stage.load_gpu(shared=200 * MIB)
    used_to(stage)
    full(stage)
    stage.load_gpu(shared=6 * GIB)
    used_to(stage)
    return stage.now


def pins_memory_of_a_half_empty_card(stage: Stage) -> float:
    stage.load_gpu(shared=200 * MIB)
    used_to(stage)
    stage.load_gpu(shared=6 * GIB)
    stage.play(SLOW)
    return stage.now


def catches_its_errors(stage: Stage) -> float:
    stage.out_of_memory_total = 0
    used_to(stage)
    job = stage.play(SDXL, until=18)
    stage.out_of_memory_total = 2
    stage.wait(4, job)
    stage.finish(job, "success", stage.now - 20)
    stage.wait(60)
    stage.out_of_memory_total = 0
    stage.play(SDXL)
    return stage.now


def swaps_over_the_link(stage: Stage) -> float:
    stage.link = 9.8e9
    stage.load_gpu(power_watts=95.0, utilization_ratio=1.0)
    used_to(stage, replace(SDXL, seconds_per_step=4.5))
    return stage.now


STALLS = (
    Scene("no step under pressure", stops_under_pressure, "vram", 32),
    Scene("the same in a model's first job", stops_under_pressure_in_the_first_job, "vram", 32),
    Scene("a video of 60 s a step stops", a_video_stops_under_pressure, "vram", 610),
    Scene("decodes in tiles, then no step", makes_do_and_stops, "vram", 32),
    Scene("the server says: out of memory", dies_of_memory, "oom", 2),
    Scene("its counter says so, without a record", dies_of_memory_by_the_counter, "oom", 6),
    Scene("spills into shared memory (Windows)", spills_on_windows, "spill", 32),
    Scene("starts to spill halfway", spills_halfway, "spill", 37),
    Scene("works with little VRAM, 5 times slower", offloads, "spill", 32),
    Scene("the link busy at low power, 5 times slower", spills_over_the_link, "spill", 32),
    Scene("no step, no pressure", hangs, "hang", 32),
    Scene("a model never loads", never_loads, "hang", 182),
    Scene("nothing after the last step", never_finishes, "hang", 182),
    Scene("a server that tells no steps hangs", hangs_without_steps, "hang", 182),
    Scene("the same, spinning at 100 % and low power", hangs_in_a_kernel, "hang", 182),
    Scene("API silent between steps", answers_no_more, "unresponsive", 62),
    Scene("API silent while a model loads", answers_no_more_while_loading, "unresponsive", 182),
    Scene("the GPU is lost", loses_its_gpu, "gpu", 17),
    Scene("the GPU cannot be read", cannot_be_read, "gpu", 32),
    Scene("an Xid of the hardware", reports_an_xid, "gpu", 17),
    Scene("heat, 5 times slower", overheats, "gpu", 32),
)
ORDINARY = (
    Scene("170 s of loading", loads_for_long, "none", 0),
    Scene("first use, first step takes 170 s", uses_a_model_for_the_first_time, "none", 0),
    Scene("13 min without steps, the GPU at work", works_without_telling, "none", 0),
    Scene("loads 350 s, as usual", loads_long_as_ever, "none", 0),
    Scene("paused for an hour", is_paused, "none", 0),
    Scene("upscales 260 s after its last step, as usual", upscales_for_long, "none", 0),
    Scene("full VRAM at its usual pace", has_full_vram, "none", 0),
    Scene("12 images in a row, 20 s of decoding each", makes_a_batch, "none", 0),
    Scene("interrupted three times", is_interrupted, "none", 0),
    Scene("models swapped, up to 170 s", swaps_models, "none", 0),
    Scene("the machine sleeps for two hours", sleeps, "none", 0),
    Scene("the clock is set by an hour, and back", has_its_clock_set, "none", 0),
    Scene("API silent for 120 s of loading", is_silent_while_it_loads, "none", 0),
    Scene("the server ends", ends, "none", 0),
    Scene("steps while the driver is silent", steps_while_the_driver_is_silent, "none", 0),
    Scene("an Xid of the program's own", has_a_fault_of_its_own, "none", 0),
    Scene("5 times slower, another render beside it", shares_its_gpu, "none", 0),
    Scene("6 GiB pinned at its usual pace", pins_memory, "none", 0),
    Scene("6 GiB pinned, slow, but VRAM is free", pins_memory_of_a_half_empty_card, "none", 0),
    Scene("errors caught, the job succeeds", catches_its_errors, "none", 0),
    Scene("always over the link", swaps_over_the_link, "none", 0),
)


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    scene: Scene
    seen: str
    noticed: float | None
    evidence: str

    def holds(self) -> bool:
        in_time = self.noticed is None or 0 <= self.noticed <= self.scene.bound
        return self.seen == self.scene.expected and in_time


def row(scene: Scene) -> Row:
    """Plays a scene."""
    stage = Stage()
    began = scene.play(stage)
    if not stage.stalls:
        return Row(scene, "none", None, "")
    at, stall = stage.stalls[0]
    return Row(scene, " ".join(dict.fromkeys(stage.causes())), at - began, stall.evidence)


def table(rows: list[Row]) -> Iterator[str]:
    """The rows as people read them."""
    yield f"{'scenario':<46} {'expected':<13} {'seen':<13} {'noticed':>8} {'bound':>7}"
    for each in rows:
        noticed = "" if each.noticed is None else f"{each.noticed:.0f} s"
        bound = f"{each.scene.bound:.0f} s" if each.scene.bound else ""
        seen = each.seen if each.holds() else f"{each.seen} !"
        yield f"{each.scene.name:<46} {each.scene.expected:<13} {seen:<13} {noticed:>8} {bound:>7}"


@pytest.mark.parametrize("scene", STALLS, ids=lambda scene: scene.name)
def test_a_stall_is_noticed_with_its_cause_within_its_bound(scene: Scene) -> None:
    seen = row(scene)
    assert seen.holds(), f"{next(iter(list(table([seen]))[1:]))}; {seen.evidence}"


@pytest.mark.parametrize("scene", ORDINARY, ids=lambda scene: scene.name)
def test_ordinary_work_is_no_stall(scene: Scene) -> None:
    seen = row(scene)
    assert seen.holds(), f"{seen.seen}: {seen.evidence}"


# --- A day --------------------------------------------------------------------------------------


def ordinary(chance: random.Random) -> Work:
    """A job as a studio has it."""
    model, pace = chance.choice((("sd15", 0.08), ("sdxl", 0.5), ("flux", 2.2), ("wan", 25.0)))
    side, factor = chance.choice(((512, 0.4), (1024, 1.0), (1536, 2.6)))
    return Work(
        model=model,
        width=side,
        height=side,
        batch=chance.choice((1, 1, 1, 4)),
        steps=chance.choice((4, 8, 20, 30)),
        seconds_per_step=pace * factor,
        load=chance.choice((0, 1, 4)),
        finish=chance.choice((1, 2, 8, 40)),
        tells_steps=chance.random() < 0.8,
        tells_kind=chance.random() < 0.9,
    )


def job_of(stage: Stage, work: Work, chance: random.Random, *, swapped: bool) -> RunningJob:
    """One job of the day, with noise, second stages, swaps and interruptions."""
    began = stage.now
    job = stage.begin(work)
    stage.set_to_work(working=False)
    if swapped:
        silence = chance.random() < 0.3
        stage.wait(2, job)
        stage.silent_since = stage.now if silence else None
        stage.wait(chance.uniform(4, 160), job)
        stage.silent_since = None
    stage.wait(work.load, job)
    stage.set_to_work()
    if not work.tells_steps:
        stage.wait(min(700, work.steps * work.seconds_per_step), job)
        stage.finish(job, "success", began)
        return job
    for _ in range(chance.choice((1, 1, 2, 4))):
        pace = work.seconds_per_step * chance.choice((1.0, 1.0, 2.0))
        done = 0.0
        seen = job
        while done < work.steps:
            if chance.random() < 0.002:
                stage.wait(chance.uniform(5, 25), seen)
            done += 1 / (pace * chance.lognormvariate(0, 0.25))
            step = min(work.steps, int(done))
            seen = msgspec.structs.replace(job, step=step, steps=work.steps)
            stage.judge((seen,))
        if chance.random() < 0.05:
            stage.finish(job, "interrupted", began)
            return job
        stage.wait(chance.uniform(0.5, 1.5) * work.finish, seen)
        job = seen
    stage.finish(job, chance.choice(("success", "success", "success", "error")), began)
    return job


def day(seed: int) -> Stage:
    """24 hours of ordinary work, judged every second."""
    chance = random.Random(seed)
    stage = Stage()
    until = stage.now + DAY
    model = ""
    while stage.now < until:
        stage.load_gpu(
            free=chance.choice((120 * MIB, 300 * MIB, 2 * GIB)),
            shared=chance.choice((100 * MIB, GIB, 3 * GIB)),
            throttle_reasons=chance.choice(((), ("sw_power_cap",))),
        )
        stage.link = chance.choice((0.0, 2e8))
        work = ordinary(chance)
        for _ in range(chance.choice((1, 1, 2, 5))):
            job = job_of(stage, work, chance, swapped=work.model != model)
            model = work.model
            if chance.random() < 0.05:
                stage.paused = True
                stage.wait(chance.uniform(30, 900), *chance.choice(((), (job,))))
                stage.paused = False
        if chance.random() < 0.3:
            stage.wait(chance.uniform(5, 1200))
    return stage


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_day_of_ordinary_work_has_no_stall(seed: int) -> None:
    stage = day(seed)
    assert [(f"{at - 1.8e9:.0f} s", stall) for at, stall in stage.stalls] == []


@pytest.mark.slow
def test_every_freeze_planted_in_a_day_is_noticed_within_its_bound() -> None:
    chance = random.Random(7)
    stage = Stage()
    late: list[str] = []
    for _ in range(60):
        work = replace(ordinary(chance), tells_steps=True)
        job_of(stage, work, chance, swapped=chance.random() < 0.3)
        stage.wait(30)
        stage.set_to_work(working=False)
        frozen = stage.play(work, until=work.steps // 2)
        stage.stalls.clear()
        # The day's jobs go at up to twice their pace, with noise; ten such steps are allowed.
        bound = max(182.0, 10 * 2.6 * work.seconds_per_step + 2)
        stage.wait(bound, frozen)
        if len(stage.stalls) != 1 or stage.stalls[0][1].job != frozen.id:
            late.append(f"{work}: {stage.stalls}")
        stage.finish(frozen, "interrupted", stage.now)
        assert stage.judgement is not None
        assert stage.judgement.stall is None
    assert late == []


if __name__ == "__main__":
    print("\n".join(table([row(scene) for scene in (*STALLS, *ORDINARY)])))
    for scene in STALLS:
        print(f"{scene.name}: {row(scene).evidence}")
