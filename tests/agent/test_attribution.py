from __future__ import annotations

import itertools

import pytest

from tierwatch_agent.attribution import SLACK_BYTES, attribute
from tierwatch_agent.snapshot import Attribution, GpuMemory, GpuSample, HostSample, Process

GIB = 2**30
MIB = 2**20
HOST = HostSample(cpu_count=8, memory_total_bytes=64 * GIB, memory_available_bytes=40 * GIB)


def comfyui(held: float | None, pid: int = 100, root: int = 100) -> Process:
    return process("ComfyUI", held, pid, server="comfyui", server_pid=root)


def a1111(held: float | None, pid: int = 200) -> Process:
    return process("A1111", held, pid, server="a1111", server_pid=pid)


def game(held: float | None, pid: int = 4711) -> Process:
    return process("game.exe", held, pid)


def stranger(held: float | None, pid: int = 900) -> Process:
    return process("python main.py", held, pid, identified=False)


def process(
    name: str,
    held: float | None,
    pid: int,
    server: str | None = None,
    server_pid: int | None = None,
    identified: bool = True,
) -> Process:
    return Process(
        pid=pid,
        name=name,
        vram_bytes=None if held is None else round(held * GIB),
        server=server,
        server_pid=server_pid,
        identified=identified,
    )


def card(
    *processes: Process,
    used: float,
    total: float = 16,
    reserved: float | None = 0.25,
    listed: bool = True,
    driver_model: str | None = None,
    unified: bool = False,
) -> GpuSample:
    return GpuSample(
        index="0",
        uuid="GPU-0",
        name="a card",
        vendor="nvidia",
        source="nvml",
        driver_model=driver_model,
        memory=GpuMemory(
            total_bytes=round(total * GIB),
            used_bytes=round(used * GIB),
            reserved_bytes=None if reserved is None else round(reserved * GIB),
            free_bytes=round((total - used - (reserved or 0)) * GIB),
            unified=unified,
        ),
        processes=processes if listed else None,
    )


def judged(gpu: GpuSample, host: HostSample | None = HOST) -> Attribution:
    attribution = attribute(gpu, host)
    assert attribution is not None
    return attribution


def test_an_empty_card_is_available_but_for_the_drivers_reserve() -> None:
    attribution = judged(card(used=0))
    assert attribution.available_bytes == 15.75 * GIB
    assert attribution.others_bytes == 0
    assert attribution.unseen_bytes == 0
    assert (attribution.basis, attribution.lower_bound) == ("process", False)


def test_a_game_takes_what_it_holds() -> None:
    attribution = judged(card(game(6), used=6))
    assert attribution.available_bytes == 9.75 * GIB
    assert attribution.others_bytes == 6 * GIB
    assert attribution.server_pid is None


def test_what_the_server_keeps_loaded_is_productions_own() -> None:
    attribution = judged(card(comfyui(9), game(4), used=13))
    assert attribution.available_bytes == 11.75 * GIB
    assert attribution.others_bytes == 4 * GIB
    assert attribution.server_pid == 100


def test_all_processes_of_one_server_count_together() -> None:
    attribution = judged(card(comfyui(5), comfyui(3, pid=101, root=100), used=8))
    assert attribution.available_bytes == 15.75 * GIB
    assert attribution.others_bytes == 0


def test_of_two_servers_the_one_that_holds_more_counts_and_the_other_takes() -> None:
    attribution = judged(card(comfyui(8), a1111(5), used=13))
    assert attribution.available_bytes == 10.75 * GIB
    assert attribution.others_bytes == 5 * GIB
    assert attribution.server_pid == 100


def test_a_server_without_a_root_is_its_own() -> None:
    attribution = judged(card(process("ComfyUI", 4, 7, server="comfyui"), used=4))
    assert attribution.server_pid == 7


def test_on_windows_free_is_exact_while_no_generation_server_is_there() -> None:
    attribution = judged(card(game(None), used=6, driver_model="wddm"))
    assert attribution.available_bytes == 9.75 * GIB
    assert attribution.others_bytes == 6 * GIB
    assert attribution.unseen_bytes is None
    assert (attribution.basis, attribution.lower_bound) == ("none", False)


def test_on_windows_a_generation_server_makes_free_a_lower_bound() -> None:
    attribution = judged(card(game(None), comfyui(None), used=6, driver_model="wddm"))
    assert attribution.available_bytes == 9.75 * GIB
    assert attribution.others_bytes is None
    assert attribution.server_pid == 100
    assert (attribution.basis, attribution.lower_bound) == ("none", True)
    assert attribution.why == "Windows does not tell how much ComfyUI (pid 100) holds"


def test_on_windows_a_server_on_an_empty_card_leaves_no_doubt() -> None:
    assert not judged(card(comfyui(None), used=0.1, driver_model="wddm")).lower_bound


def test_of_two_servers_of_unknown_size_neither_is_taken_for_productions_own() -> None:
    attribution = judged(card(comfyui(None), a1111(None), used=9, driver_model="wddm"))
    assert attribution.server_pid is None
    assert attribution.lower_bound


@pytest.mark.parametrize("listed", [True, False])
def test_memory_that_no_process_accounts_for_is_unseen(listed: bool) -> None:
    attribution = judged(card(used=8, listed=listed))
    assert attribution.available_bytes == 7.75 * GIB
    assert attribution.unseen_bytes == 8 * GIB
    assert attribution.others_bytes is None
    assert (attribution.basis, attribution.lower_bound) == ("none", True)


def test_an_unlisted_card_with_next_to_nothing_used_is_known_well_enough() -> None:
    attribution = judged(card(used=0.1, listed=False))
    assert not attribution.lower_bound
    assert attribution.basis == "none"


def test_another_containers_memory_is_unseen_beside_a_visible_server() -> None:
    attribution = judged(card(comfyui(4), used=10))
    assert attribution.available_bytes == 9.75 * GIB
    assert attribution.unseen_bytes == 6 * GIB
    assert attribution.lower_bound
    assert (
        attribution.why == "whether a generation server holds 6.0 GiB more, the agent cannot tell"
    )


def test_contexts_and_page_tables_are_nobodys() -> None:
    attribution = judged(card(comfyui(4), used=4 + SLACK_BYTES / GIB))
    assert attribution.unseen_bytes == 0
    assert not attribution.lower_bound


def test_a_process_that_the_agent_cannot_place_may_be_a_server() -> None:
    attribution = judged(card(comfyui(4), stranger(6), used=10))
    assert attribution.available_bytes == 9.75 * GIB
    assert attribution.lower_bound
    assert attribution.unseen_bytes == 0
    assert attribution.others_bytes is None


def test_a_process_that_nobody_can_place_or_measure_is_named() -> None:
    why = judged(card(stranger(None), used=6, driver_model="wddm")).why
    assert why == (
        "Windows does not tell how much python main.py (pid 900) holds, "
        "and the agent cannot tell whether it is a generation server"
    )


def test_a_game_of_unknown_size_beside_a_known_server_leaves_no_doubt() -> None:
    attribution = judged(card(comfyui(4), game(None), used=10))
    assert attribution.available_bytes == 9.75 * GIB
    assert attribution.others_bytes == 6 * GIB
    assert (attribution.basis, attribution.lower_bound) == ("process", False)


def test_a_servers_worker_of_unknown_size_makes_a_lower_bound() -> None:
    attribution = judged(card(comfyui(4), comfyui(None, pid=101, root=100), used=10))
    assert attribution.available_bytes == 9.75 * GIB
    assert (attribution.basis, attribution.lower_bound) == ("process", True)


def test_an_old_driver_counts_its_reserve_as_used_which_hides_nobody() -> None:
    attribution = judged(card(comfyui(4), used=4.5, reserved=None))
    assert attribution.available_bytes == 15.5 * GIB
    assert attribution.unseen_bytes == 0
    assert not attribution.lower_bound
    assert attribution.others_bytes == 16 * GIB - attribution.available_bytes


def test_of_a_unified_pool_available_is_what_the_system_can_still_give() -> None:
    pool = card(comfyui(8), used=9, total=60, reserved=None, unified=True)
    busy = HostSample(cpu_count=8, memory_total_bytes=64 * GIB, memory_available_bytes=12 * GIB)
    attribution = judged(pool, busy)
    assert attribution.available_bytes == 20 * GIB
    assert attribution.others_bytes == 40 * GIB
    assert attribution.unseen_bytes is None
    assert not attribution.lower_bound


def test_a_unified_pool_gives_no_more_than_it_has_free() -> None:
    pool = card(comfyui(8), game(20), used=28, total=30, reserved=None, unified=True)
    assert judged(pool).available_bytes == 10 * GIB


def test_a_unified_pool_is_judged_by_its_driver_alone_where_the_host_is_silent() -> None:
    pool = card(comfyui(8), used=9, total=60, reserved=None, unified=True)
    assert judged(pool, host=None).available_bytes == 59 * GIB


def test_a_card_without_a_memory_figure_has_no_attribution() -> None:
    gpu = GpuSample(index="0", uuid="GPU-0", name="a card", vendor="nvidia", source="nvml")
    assert attribute(gpu, HOST) is None


def test_a_card_split_into_instances_has_none_and_its_instance_has() -> None:
    memory = GpuMemory(total_bytes=80 * GIB, free_bytes=60 * GIB, used_bytes=20 * GIB)
    parent = GpuSample(
        index="0",
        uuid="GPU-0",
        name="A100",
        vendor="nvidia",
        source="nvml",
        partitioned=True,
        memory=memory,
    )
    assert attribute(parent, HOST) is None
    instance = card(comfyui(8), used=8, total=20, reserved=0.1)
    assert judged(instance).available_bytes == round(19.9 * GIB)


def test_free_that_outruns_the_total_is_capped() -> None:
    gpu = GpuSample(
        index="0",
        uuid="GPU-0",
        name="a card",
        vendor="nvidia",
        source="nvml",
        memory=GpuMemory(
            total_bytes=16 * GIB, free_bytes=14 * GIB, used_bytes=2 * GIB, reserved_bytes=GIB
        ),
        # Read a moment after the memory was: the server has grown meanwhile.
        processes=(comfyui(4),),
    )
    attribution = judged(gpu)
    assert attribution.available_bytes == 15 * GIB
    assert attribution.others_bytes == 0


def test_whatever_the_driver_says_the_figures_add_up() -> None:
    sizes = (None, 0.0, 0.2, 3.0, 40.0)
    crowds = [
        (comfyui(a), a1111(b), game(c), stranger(d))
        for a, b, c, d in itertools.product(sizes, repeat=4)
    ]
    for processes in [(), *crowds]:
        for used, reserved, unified in itertools.product(
            (0.0, 3.0, 16.0), (None, 0.25, 1.0), (False, True)
        ):
            gpu = card(*processes, used=used, reserved=reserved, unified=unified)
            assert gpu.memory is not None
            attribution = judged(gpu)
            ceiling = gpu.memory.total_bytes - (gpu.memory.reserved_bytes or 0)
            assert 0 <= attribution.available_bytes <= ceiling
            assert (attribution.others_bytes is None) == attribution.lower_bound
            assert (attribution.why is not None) == attribution.lower_bound
            assert (attribution.unseen_bytes or 0) >= 0
            if attribution.others_bytes is not None:
                assert attribution.others_bytes + attribution.available_bytes == ceiling


def test_where_windows_does_not_tell_the_servers_own_figure_counts() -> None:
    gpu = card(game(None), comfyui(None), used=12, driver_model="wddm")
    attribution = attribute(gpu, HOST, {100: 7 * GIB})
    assert attribution is not None
    assert attribution.available_bytes == (3.75 + 7) * GIB
    assert attribution.others_bytes == 5 * GIB
    assert attribution.server_pid == 100
    assert (attribution.basis, attribution.lower_bound) == ("server", False)


def test_a_servers_context_beside_its_models_leaves_no_doubt() -> None:
    attribution = attribute(card(comfyui(None), used=8, driver_model="wddm"), HOST, {100: 7 * GIB})
    assert attribution is not None
    assert not attribution.lower_bound
    assert attribution.unseen_bytes is None


def test_of_two_servers_one_that_does_not_tell_leaves_a_lower_bound() -> None:
    gpu = card(a1111(None), comfyui(None), used=12, driver_model="wddm")
    attribution = attribute(gpu, HOST, {100: 7 * GIB, 200: None})
    assert attribution is not None
    assert attribution.available_bytes == (3.75 + 7) * GIB
    assert (attribution.basis, attribution.lower_bound) == ("server", True)
    assert attribution.why == "Windows does not tell how much A1111 (pid 200) holds"


def test_of_two_servers_that_tell_the_one_that_holds_more_counts() -> None:
    gpu = card(a1111(None), comfyui(None), used=12, driver_model="wddm")
    attribution = attribute(gpu, HOST, {100: 7 * GIB, 200: 4 * GIB})
    assert attribution is not None
    assert attribution.server_pid == 100
    assert attribution.others_bytes == 5 * GIB


def test_what_the_driver_measures_counts_before_what_a_server_says() -> None:
    attribution = attribute(card(comfyui(9), game(4), used=13), HOST, {100: 2 * GIB})
    assert attribution is not None
    assert attribution.available_bytes == 11.75 * GIB
    assert attribution.basis == "process"


def test_under_wsl_where_nobody_is_listed_the_servers_figure_counts() -> None:
    attribution = attribute(card(used=9, listed=False), HOST, {100: 7 * GIB})
    assert attribution is not None
    assert attribution.available_bytes == (6.75 + 7) * GIB
    assert (attribution.basis, attribution.lower_bound) == ("server", False)
    assert attribution.server_pid == 100


@pytest.mark.parametrize("silent", [{100: None}, {100: 7 * GIB, 200: None}])
def test_under_wsl_a_server_that_does_not_tell_leaves_a_lower_bound(
    silent: dict[int, int | None],
) -> None:
    attribution = attribute(card(used=9, listed=False), HOST, silent)
    assert attribution is not None
    assert attribution.lower_bound
