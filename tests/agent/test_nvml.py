"""The NVIDIA source, in a real process, on a fake driver that the real nvidia-ml-py loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tests.agent.nvml_process import NvmlProcess
from tests.fakes.nvml import (
    ANY,
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    GPU_IS_LOST,
    LIB_RM_VERSION_MISMATCH,
    NO_PERMISSION,
    NOT_SUPPORTED,
    OPERATING_SYSTEM,
    RESET_REQUIRED,
    TIMEOUT,
    UNINITIALIZED,
    UNKNOWN,
    Card,
    Driver,
    FakeNvml,
    Instance,
    Proc,
)
from tests.processes import RunningAgent, eventually
from tierwatch_agent.snapshot import GpuMemory, GpuSample, Process
from tierwatch_agent.source_process import SourceProcess
from tierwatch_agent.worker import Answer

MIB = 2**20
PCI = "0000:01:00.0"
"""Where the fake's first card is."""
UUID = "GPU-00000000-0000-4000-8000-000000000000"


@pytest.fixture
def driver(tmp_path: Path) -> FakeNvml:
    return FakeNvml(tmp_path)


@pytest.fixture
def source(tmp_path: Path, driver: FakeNvml) -> Iterator[NvmlProcess]:
    process = NvmlProcess(tmp_path, driver)
    yield process
    process.end()


Reading = Callable[[Driver | Card], tuple[GpuSample, ...]]


@pytest.fixture
def reading(driver: FakeNvml, source: NvmlProcess) -> Reading:
    """Writes a world and reads it."""

    def read(world: Driver | Card) -> tuple[GpuSample, ...]:
        driver.write(Driver(cards=(world,)) if isinstance(world, Card) else world)
        answer = source.ask()
        assert answer.outcome == "read", answer.reason
        return answer.gpus

    return read


def made(driver: FakeNvml, act: Callable[[], object]) -> dict[str, int]:
    """The calls that something makes."""
    before = driver.calls()
    act()
    return {
        name: count - before.get(name, 0)
        for name, count in driver.calls().items()
        if count != before.get(name, 0)
    }


# --- A card -------------------------------------------------------------------------------------

FULL = Card(
    name="NVIDIA RTX A6000",
    total_mib=49140,
    reserved_mib=400,
    procs=(Proc(4711, 6144), Proc(99, 512, "graphics")),
    utilization=87,
    memory_busy=42,
    celsius=71,
    memory_celsius=84,
    slowdown_celsius=93,
    watts=287.5,
    limit_watts=300.0,
    joules=1234567.25,
    graphics_mhz=1800,
    memory_mhz=8001,
    fans=(64, 66),
    pstate=2,
    throttle=0x4 | 0x40,
    ecc_corrected=3,
    ecc_uncorrected=1,
    recovery=1,
    mig=False,
)
FULL_SAMPLE = GpuSample(
    index="0",
    uuid=UUID,
    name="NVIDIA RTX A6000",
    vendor="nvidia",
    source="nvml",
    driver_version="570.124.06",
    pci_bus_id=PCI,
    memory=GpuMemory(
        total_bytes=49140 * MIB,
        reserved_bytes=400 * MIB,
        used_bytes=6656 * MIB,
        free_bytes=(49140 - 400 - 6656) * MIB,
    ),
    processes=(
        Process(pid=4711, name="", vram_bytes=6144 * MIB),
        Process(pid=99, name="", vram_bytes=512 * MIB),
    ),
    utilization_ratio=0.87,
    memory_busy_ratio=0.42,
    temperature_celsius=71,
    memory_temperature_celsius=84,
    slowdown_celsius=93,
    power_watts=287.5,
    power_limit_watts=300.0,
    energy_joules=1234567.25,
    graphics_clock_hertz=1.8e9,
    memory_clock_hertz=8.001e9,
    fan_ratio=0.64,
    performance_state=2,
    throttle_reasons=("sw_power_cap", "hw_thermal_slowdown"),
    ecc_corrected_total=3,
    ecc_uncorrected_total=1,
    recovery_action="reset",
)


def test_everything_that_a_card_tells_is_in_its_sample(reading: Reading) -> None:
    assert reading(FULL) == (FULL_SAMPLE,)


@pytest.mark.parametrize(
    ("left_out", "fields"),
    [
        ("utilization", ("utilization_ratio", "memory_busy_ratio")),
        ("celsius", ("temperature_celsius",)),
        ("memory_celsius", ("memory_temperature_celsius",)),
        ("slowdown_celsius", ("slowdown_celsius",)),
        ("watts", ("power_watts",)),
        ("limit_watts", ("power_limit_watts",)),
        ("joules", ("energy_joules",)),
        ("graphics_mhz", ("graphics_clock_hertz",)),
        ("memory_mhz", ("memory_clock_hertz",)),
        ("fans", ("fan_ratio",)),
        ("pstate", ("performance_state",)),
        ("throttle", ("throttle_reasons",)),
        ("ecc_corrected", ("ecc_corrected_total",)),
        ("ecc_uncorrected", ("ecc_uncorrected_total",)),
        ("recovery", ("recovery_action",)),
        ("pci_bus_id", ("pci_bus_id",)),
    ],
)
def test_what_a_card_does_not_tell_costs_that_field_alone(
    reading: Reading, left_out: str, fields: tuple[str, ...]
) -> None:
    missing: Any = {left_out: "" if left_out == "pci_bus_id" else None}
    (gpu,) = reading(replace(FULL, **missing))
    assert gpu == msgspec.structs.replace(FULL_SAMPLE, **dict.fromkeys(fields))


def test_nought_is_a_value(reading: Reading) -> None:
    (gpu,) = reading(Card(utilization=0, memory_busy=0, fans=(0,), pstate=0, watts=0.0, joules=0.0))
    assert (gpu.utilization_ratio, gpu.memory_busy_ratio) == (0, 0)
    assert (gpu.fan_ratio, gpu.performance_state) == (0, 0)
    assert (gpu.power_watts, gpu.energy_joules) == (0, 0)
    assert gpu.throttle_reasons == ()
    assert gpu.processes == ()


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND])
def test_what_is_not_told_is_not_asked_for_each_second_but_in_a_while(
    driver: FakeNvml, source: NvmlProcess, reading: Reading, code: int
) -> None:
    call = "nvmlDeviceGetPowerUsage"
    silent = Driver(cards=(Card(errors={call: code}),))
    assert reading(silent)[0].power_watts is None
    for _ in range(5):
        source.pass_time(1)
        assert call not in made(driver, source.ask)
    driver.write(Driver(cards=(Card(watts=50.0),)))
    assert source.ask().gpus[0].power_watts is None
    source.pass_time(600)
    assert source.ask().gpus[0].power_watts == 50.0


def test_a_passing_error_of_one_figure_is_over_with_it(
    reading: Reading, source: NvmlProcess
) -> None:
    (gpu,) = reading(Card(errors={"nvmlDeviceGetPowerUsage": TIMEOUT}))
    assert (gpu.state, gpu.power_watts, gpu.temperature_celsius) == ("ok", None, 35)
    source.pass_time(1)
    assert reading(Card(watts=50.0))[0].power_watts == 50.0


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        (0x0, ()),
        (0x1, ()),
        (0x2, ()),
        (0x4, ("sw_power_cap",)),
        (0x8, ("hw_slowdown",)),
        (0x20, ("sw_thermal_slowdown",)),
        (0x8 | 0x80, ("hw_slowdown", "hw_power_brake_slowdown")),
        (0x7F7, ("sw_power_cap", "sync_boost", "sw_thermal_slowdown", "hw_thermal_slowdown",
                 "hw_power_brake_slowdown", "display_clock_setting", "board_limit", "reliability")),
        (0x800, ()),
    ],
)  # fmt: skip
def test_what_holds_the_clocks_back_has_a_name_and_idleness_is_none(
    reading: Reading, bits: int, reasons: tuple[str, ...]
) -> None:
    assert reading(Card(throttle=bits))[0].throttle_reasons == reasons


@pytest.mark.parametrize(
    ("version", "action", "told"),
    [
        ("570.124.06", 0, None),
        ("570.124.06", 1, "reset"),
        ("570.124.06", 2, "reboot"),
        ("570.124.06", 4, "drain and reset"),
        ("560.35.03", 1, None),
    ],
)
def test_what_the_driver_asks_for_is_told_from_570_on(
    reading: Reading, version: str, action: int, told: str | None
) -> None:
    world = Driver(version=version, cards=(Card(recovery=action),))
    assert reading(world)[0].recovery_action == told


# --- Memory -------------------------------------------------------------------------------------


def test_an_old_driver_tells_memory_without_its_reserve(reading: Reading) -> None:
    old = Driver(
        version="470.256.02",
        cards=(Card(total_mib=8192, reserved_mib=210, procs=(Proc(7, 1000),)),),
    )
    assert reading(old)[0].memory == GpuMemory(
        total_bytes=7982 * MIB, free_bytes=6982 * MIB, used_bytes=1000 * MIB
    )


def test_the_first_version_of_memory_serves_where_the_second_is_refused(reading: Reading) -> None:
    errors = {"nvmlDeviceGetMemoryInfo_v2": 25}
    (gpu,) = reading(Card(total_mib=8192, reserved_mib=200, used_mib=1000, errors=errors))
    assert gpu.memory == GpuMemory(
        total_bytes=8192 * MIB, free_bytes=6992 * MIB, used_bytes=1200 * MIB
    )


@pytest.mark.parametrize("code", [UNKNOWN, TIMEOUT])
def test_memory_that_fails_costs_the_card_and_not_the_others(reading: Reading, code: int) -> None:
    bad = Card(errors={"nvmlDeviceGetMemoryInfo_v2": code})
    first, second = reading(Driver(cards=(bad, Card())))
    assert (first.state, first.memory, first.uuid) == ("unreadable", None, UUID)
    assert first.detail
    assert second.state == "ok"
    assert reading(Driver(cards=(Card(), Card())))[0].state == "ok"


def test_memory_that_may_not_be_read_is_unknown(reading: Reading) -> None:
    denied = {"nvmlDeviceGetMemoryInfo_v2": NO_PERMISSION, "nvmlDeviceGetMemoryInfo": NO_PERMISSION}
    (gpu,) = reading(Card(errors=denied))
    assert (gpu.state, gpu.memory) == ("ok", None)
    assert gpu.temperature_celsius == 35


def test_a_gpu_without_memory_of_its_own_has_the_systems(reading: Reading) -> None:
    (gpu,) = reading(Card(name="NVIDIA GB10", total_mib=None, procs=(Proc(7, 2000),)))
    memory = gpu.memory
    assert memory is not None
    assert memory.unified
    assert memory.total_bytes == psutil.virtual_memory().total
    assert 0 < memory.free_bytes < memory.total_bytes
    assert memory.used_bytes == memory.total_bytes - memory.free_bytes
    assert memory.reserved_bytes is None
    assert gpu.processes == (Process(pid=7, name="", vram_bytes=2000 * MIB),)


# --- Processes ----------------------------------------------------------------------------------


def test_a_process_in_several_lists_counts_once_with_the_larger_figure(reading: Reading) -> None:
    procs = (
        Proc(7, 1000),
        Proc(8, 300, "graphics"),
        Proc(7, 1200, "graphics"),
        Proc(9, 50, "mps"),
        Proc(8, 200, "mps"),
        Proc(10, None),
        Proc(10, 5, "graphics"),
        Proc(11, 6),
        Proc(11, None, "graphics"),
    )
    (gpu,) = reading(Card(procs=procs))
    assert {p.pid: p.vram_bytes for p in gpu.processes or ()} == {
        7: 1200 * MIB,
        8: 300 * MIB,
        9: 50 * MIB,
        10: 5 * MIB,
        11: 6 * MIB,
    }
    assert len(gpu.processes or ()) == 5


def test_windows_names_its_driver_model_and_what_a_process_holds_is_unknown(
    reading: Reading,
) -> None:
    procs = (Proc(4711, None), Proc(99, None, "graphics"))
    card = Card(driver_model="wddm", used_mib=6000, procs=procs, events=None)
    (gpu,) = reading(card)
    assert gpu.driver_model == "wddm"
    assert [(p.pid, p.vram_bytes) for p in gpu.processes or ()] == [(4711, None), (99, None)]
    assert gpu.memory is not None
    assert gpu.memory.used_bytes == 6000 * MIB


def test_the_compute_driver_model_of_windows(reading: Reading) -> None:
    assert reading(Card(driver_model="tcc"))[0].driver_model == "tcc"


def test_lists_that_the_driver_does_not_give_are_no_empty_lists(reading: Reading) -> None:
    lists = [
        f"nvmlDeviceGet{kind}RunningProcesses_v3" for kind in ("Compute", "Graphics", "MPSCompute")
    ]
    (gpu,) = reading(Card(procs=(Proc(7, 10),), errors=dict.fromkeys(lists, NO_PERMISSION)))
    assert gpu.processes is None
    assert gpu.state == "ok"


def test_one_list_that_is_missing_leaves_the_others(reading: Reading) -> None:
    missing = {"nvmlDeviceGetGraphicsRunningProcesses_v3": NOT_SUPPORTED}
    (gpu,) = reading(Card(procs=(Proc(7, 10), Proc(8, 10, "graphics")), errors=missing))
    assert [p.pid for p in gpu.processes or ()] == [7]


def test_more_processes_than_there_was_room_for(reading: Reading) -> None:
    for many in (3, 33, 500, 1):
        procs = tuple(Proc(1000 + number, number) for number in range(many))
        (gpu,) = reading(Card(procs=procs))
        assert [(p.pid, p.vram_bytes) for p in gpu.processes or ()] == [
            (process.pid, (process.mib or 0) * MIB) for process in procs
        ]


@pytest.mark.parametrize("version", ["410.129", "470.256.02", "535.183.01"])
def test_every_layout_that_the_lists_had_is_read(reading: Reading, version: str) -> None:
    procs = (Proc(7, 1000), Proc(8, 2000), Proc(9, None), Proc(10, 1, "graphics"))
    (gpu,) = reading(Driver(version=version, cards=(Card(used_mib=3001, procs=procs),)))
    assert [(p.pid, p.vram_bytes) for p in gpu.processes or ()] == [
        (7, 1000 * MIB),
        (8, 2000 * MIB),
        (9, None),
        (10, 1 * MIB),
    ]


def test_the_drivers_whose_lists_were_wider_name_no_nonsensical_pids(tmp_path: Path) -> None:
    driver = FakeNvml(tmp_path, wide_processes=True)
    driver.write(Driver(version="535.43.02", cards=(Card(procs=(Proc(7, 1000), Proc(8, 2000))),)))
    source = NvmlProcess(tmp_path, driver)
    try:
        (gpu,) = source.ask().gpus
    finally:
        source.end()
    assert [(p.pid, p.vram_bytes) for p in gpu.processes or ()] == [
        (7, 1000 * MIB),
        (8, 2000 * MIB),
    ]


# --- MIG ----------------------------------------------------------------------------------------

LARGE = Instance(
    uuid="MIG-large", profile="3g.20gb", gpu_instance=1, total_mib=19968, procs=(Proc(7, 9000),)
)
SMALL = Instance(uuid="MIG-small", profile="1g.5gb", gpu_instance=9, total_mib=4864)
SPLIT = Card(
    name="NVIDIA A100-SXM4-40GB",
    total_mib=40960,
    used_mib=9000,
    utilization=None,
    mig=True,
    instances=(LARGE, SMALL),
)


@pytest.mark.parametrize("parent", [{}, {"nvmlDeviceGetMemoryInfo_v2": NO_PERMISSION}])
def test_a_split_card_is_its_instances(reading: Reading, parent: dict[str, int]) -> None:
    card, large, small = reading(replace(SPLIT, errors=parent))
    assert (card.index, card.partitioned, card.memory, card.processes) == ("0", True, None, None)
    assert card.temperature_celsius == 35
    assert (large.index, large.uuid, large.mig_profile) == ("0:0", "MIG-large", "3g.20gb")
    assert large.name == "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    assert large.memory == GpuMemory(
        total_bytes=19968 * MIB, free_bytes=10968 * MIB, used_bytes=9000 * MIB, reserved_bytes=0
    )
    assert large.processes == (Process(pid=7, name="", vram_bytes=9000 * MIB),)
    assert (small.index, small.uuid, small.parent_uuid) == ("0:1", "MIG-small", UUID)
    assert small.processes == ()
    assert not small.partitioned
    assert small.temperature_celsius is None


def test_compute_instances_that_share_memory_are_one_gpu(reading: Reading) -> None:
    halves = tuple(
        replace(LARGE, uuid=f"MIG-{n}", profile="1c.3g.20gb", compute_instance=n, procs=procs)
        for n, procs in enumerate([(Proc(7, 9000),), (Proc(8, 100),)])
    )
    _, shared, small = reading(replace(SPLIT, instances=(*halves, SMALL)))
    assert (shared.index, shared.uuid, shared.mig_profile) == ("0:0", "MIG-0", "3g.20gb")
    assert [p.pid for p in shared.processes or ()] == [7, 8]
    assert (small.index, small.uuid) == ("0:2", "MIG-small")


def test_a_card_split_or_joined_while_the_agent_runs(reading: Reading, source: NvmlProcess) -> None:
    whole = replace(SPLIT, mig=False, instances=())
    assert [gpu.index for gpu in reading(whole)] == ["0"]
    source.pass_time(10)
    assert [gpu.index for gpu in reading(SPLIT)] == ["0", "0:0", "0:1"]
    source.pass_time(10)
    fewer = reading(replace(SPLIT, instances=(SMALL,)))
    assert [(gpu.index, gpu.uuid) for gpu in fewer] == [("0", UUID), ("0:0", "MIG-small")]
    source.pass_time(10)
    assert [(gpu.index, gpu.partitioned) for gpu in reading(whole)] == [("0", False)]


def test_an_instance_that_was_just_taken_away_is_not_readable(reading: Reading) -> None:
    reading(SPLIT)
    card, large, small = reading(replace(SPLIT, instances=(SMALL,)))
    assert (card.state, large.state, small.state) == ("ok", "unreadable", "ok")


def test_a_lost_card_takes_its_instances_with_it(reading: Reading) -> None:
    world = Driver(cards=(SPLIT, Card()))
    assert len(reading(world)) == 4
    lost, other = reading(replace(world, cards=(replace(SPLIT, errors={ANY: GPU_IS_LOST}), Card())))
    assert (lost.state, lost.partitioned, other.state) == ("lost", True, "ok")


# --- Trouble ------------------------------------------------------------------------------------


def test_a_lost_card_is_told_in_words_and_the_others_go_on(reading: Reading) -> None:
    before = reading(Driver(cards=(Card(), Card(xids=(13,)))))
    assert [gpu.state for gpu in before] == ["ok", "ok"]
    gone = Card(xids=(13, 79), errors={ANY: GPU_IS_LOST})
    first, second = reading(Driver(cards=(Card(), gone)))
    assert first == before[0]
    assert (second.state, second.uuid, second.name) == ("lost", before[1].uuid, before[1].name)
    assert "no longer answers on its bus" in (second.detail or "")
    assert second.memory is None
    assert second.xid_errors == {79: 1}
    again = reading(Driver(cards=(Card(), Card(xids=(13, 79)))))
    assert [gpu.state for gpu in again] == ["ok", "ok"]


def test_a_card_that_needs_a_reset(reading: Reading) -> None:
    sick = Card(errors={"nvmlDeviceGetUtilizationRates": RESET_REQUIRED})
    first, second = reading(Driver(cards=(sick, Card())))
    assert (first.state, first.recovery_action) == ("unreadable", "reset")
    assert "nvidia-smi --gpu-reset" in (first.detail or "")
    assert second.state == "ok"


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        (GPU_IS_LOST, "lost", "bus"),
        (NO_PERMISSION, "unreadable", "/dev/nvidia"),
        (OPERATING_SYSTEM, "unreadable", "device rules"),
        (UNKNOWN, "unreadable", "container"),
        (23, "unreadable", "the driver answers"),
    ],
)
def test_a_card_that_cannot_even_be_found(
    reading: Reading, source: NvmlProcess, code: int, state: str, words: str
) -> None:
    refused = Card(errors={"nvmlDeviceGetHandleByIndex_v2": code})
    first, second = reading(Driver(cards=(refused, Card())))
    assert (first.index, first.state, first.memory) == ("0", state, None)
    assert words in (first.detail or "")
    assert second.state == "ok"
    assert reading(Driver(cards=(Card(), Card())))[0].state == "ok"


def test_a_card_lost_when_the_driver_is_opened_again_keeps_its_name(
    driver: FakeNvml, reading: Reading, source: NvmlProcess
) -> None:
    reading(Driver(cards=(Card(name="NVIDIA L4"), Card())))
    driver.write(Driver(errors={ANY: UNINITIALIZED}))
    assert source.ask().outcome == "failed"
    lost = Card(errors={ANY: GPU_IS_LOST})
    first, _ = reading(Driver(cards=(lost, Card())))
    assert (first.state, first.name, first.uuid) == ("lost", "NVIDIA L4", UUID)


@pytest.mark.parametrize("cards", [1, 2])
def test_no_card_that_answers_is_a_failure(
    driver: FakeNvml, source: NvmlProcess, reading: Reading, cards: int
) -> None:
    reading(Driver(cards=(Card(),) * cards))
    lost = Driver(cards=(Card(errors={ANY: GPU_IS_LOST}),) * cards)
    driver.write(lost)
    answer = source.ask()
    assert answer.outcome == "failed"
    assert ("no GPU can" if cards == 2 else "the GPU cannot") in (answer.reason or "")
    assert "reboot" in (answer.reason or "")
    assert answer.lost
    assert not answer.replace_process
    assert len(reading(Driver(cards=(Card(),) * cards))) == cards


def test_cards_of_which_one_is_lost_and_none_answers_are_not_all_lost(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    reading(Driver(cards=(Card(), Card())))
    codes = (GPU_IS_LOST, RESET_REQUIRED)
    driver.write(Driver(cards=tuple(Card(errors={ANY: code}) for code in codes)))
    answer = source.ask()
    assert (answer.outcome, answer.lost) == ("failed", False)
    assert "reset" in (answer.reason or "")


INITIALISING = [
    (DRIVER_NOT_LOADED, "the NVIDIA driver is not loaded", False),
    (LIB_RM_VERSION_MISMATCH, "was updated", True),
    (NO_PERMISSION, "/dev/nvidia", False),
    (UNKNOWN, "Unknown Error", False),
]


@pytest.mark.parametrize(("code", "words", "replace_process"), INITIALISING)
def test_a_driver_that_cannot_be_opened_is_told_in_words(
    driver: FakeNvml, source: NvmlProcess, code: int, words: str, replace_process: bool
) -> None:
    source.put_card()
    driver.write(Driver(init_error=code))
    answer = source.ask()
    assert answer.outcome == "failed"
    assert words in (answer.reason or "")
    assert answer.replace_process is replace_process


@pytest.mark.parametrize(
    ("code", "words", "replace_process"), [*INITIALISING[:2], (UNINITIALIZED, "opens", False)]
)
def test_a_driver_that_goes_away_while_it_is_read(
    driver: FakeNvml,
    source: NvmlProcess,
    reading: Reading,
    code: int,
    words: str,
    replace_process: bool,
) -> None:
    reading(Card())
    driver.write(Driver(cards=(Card(),), init_error=code, errors={ANY: code}))
    for _ in range(2):
        answer = source.ask()
        assert answer.outcome == "failed"
        assert words in (answer.reason or "")
        assert answer.replace_process is replace_process
    assert reading(Card())[0].state == "ok"


def test_an_update_is_over_only_for_a_process_that_maps_the_new_library(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    assert reading(Driver(version="550.90.07", cards=(Card(),)))[0].driver_version == "550.90.07"
    new = Driver(version="570.124.06", cards=(Card(),))
    driver.write(new)
    for _ in range(3):
        answer = source.ask()
        assert (answer.outcome, answer.replace_process) == ("failed", True)
        assert "was updated" in (answer.reason or "")
    source.end()
    assert reading(new)[0].driver_version == "570.124.06"


def test_an_update_on_disk_alone_leaves_the_running_process_be(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    half = Driver(version="550.90.07", library="570.124.06", cards=(Card(),))
    reading(replace(half, library=None))
    assert reading(half)[0].state == "ok"
    source.end()
    driver.write(half)
    answer = source.ask()
    assert (answer.outcome, answer.replace_process) == ("failed", True)


def test_a_machine_without_the_drivers_library_has_no_such_source(
    driver: FakeNvml, source: NvmlProcess
) -> None:
    driver.remove()
    answer = source.ask()
    assert (answer.outcome, answer.reason) == ("absent", "no NVIDIA driver is installed")
    driver.restore()
    driver.write(Driver(cards=(Card(),)))
    assert source.ask().outcome == "read"


def test_a_driver_without_a_card_is_no_fault(driver: FakeNvml, source: NvmlProcess) -> None:
    driver.write(Driver())
    assert source.ask() == Answer(outcome="absent", reason="the NVIDIA driver lists no GPU")


def test_a_driver_not_loaded_for_want_of_a_card_is_no_fault(
    driver: FakeNvml, source: NvmlProcess
) -> None:
    (source.sysfs / "bus/pci/devices").mkdir(parents=True)
    driver.write(Driver(init_error=DRIVER_NOT_LOADED))
    answer = source.ask()
    assert answer.outcome == "absent"
    assert "no NVIDIA GPU is in this machine" in (answer.reason or "")


def test_a_driver_that_is_unloaded_is_a_fault_where_it_had_cards(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    (source.sysfs / "bus/pci/devices").mkdir(parents=True)
    reading(Card())
    driver.write(Driver(init_error=DRIVER_NOT_LOADED, errors={ANY: DRIVER_NOT_LOADED}))
    for _ in range(2):
        answer = source.ask()
        assert answer.outcome == "failed"
        assert "not loaded" in (answer.reason or "")


def test_a_call_that_hangs_keeps_the_process_until_it_returns(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    reading(Card())
    call = "nvmlDeviceGetPowerUsage"
    before = driver.calls()[call]
    driver.write(Driver(cards=(Card(),), hang=(call,)))
    source.begin()
    eventually(lambda: driver.calls()[call], lambda made: made > before, "the call that hangs")
    assert not source.has_answered()
    driver.write(Driver(cards=(Card(watts=77.0),)))
    assert source.finish().gpus[0].power_watts == 77.0


def test_cards_that_come_or_go_are_noticed(reading: Reading, source: NvmlProcess) -> None:
    one, two = Card(uuid="GPU-one"), Card(uuid="GPU-two", pci_bus_id="00000000:41:00.0")
    assert [gpu.uuid for gpu in reading(Driver(cards=(one,)))] == ["GPU-one"]
    assert [gpu.uuid for gpu in reading(Driver(cards=(two, one)))] == ["GPU-one"]
    source.pass_time(10)
    both = reading(Driver(cards=(two, one)))
    assert [(g.index, g.uuid) for g in both] == [("0", "GPU-two"), ("1", "GPU-one")]
    assert both[0].pci_bus_id == "0000:41:00.0"
    source.pass_time(10)
    assert [(g.index, g.uuid) for g in reading(Driver(cards=(one,)))] == [("0", "GPU-one")]


# --- Xids ---------------------------------------------------------------------------------------


def test_xids_are_counted_from_the_opening_on(reading: Reading) -> None:
    assert reading(Card(xids=(31, 31)))[0].xid_errors is None
    assert reading(Card(xids=(31, 31, 31, 13)))[0].xid_errors == {31: 1, 13: 1}
    assert reading(Card(xids=(31, 31, 31, 13, 31)))[0].xid_errors == {31: 2, 13: 1}


def test_xids_are_counted_by_card_and_kept_when_the_driver_is_opened_again(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    reading(Driver(cards=(Card(), Card())))
    first, second = reading(Driver(cards=(Card(), Card(xids=(79,)))))
    assert (first.xid_errors, second.xid_errors) == (None, {79: 1})
    driver.write(Driver(errors={ANY: UNINITIALIZED}))
    assert source.ask().outcome == "failed"
    _, second = reading(Driver(cards=(Card(), Card(xids=(79,)))))
    assert second.xid_errors == {79: 1}
    _, second = reading(Driver(cards=(Card(), Card(xids=(79, 79)))))
    assert second.xid_errors == {79: 2}


# --- Sleep --------------------------------------------------------------------------------------


def test_cards_that_sleep_when_the_agent_starts_are_left_asleep(
    driver: FakeNvml, source: NvmlProcess
) -> None:
    source.put_card(control="auto", status="suspended")
    driver.write(Driver(cards=(Card(),)))
    for _ in range(3):
        source.pass_time(11)
        (gpu,) = source.ask().gpus
        assert (gpu.state, gpu.pci_bus_id, gpu.memory) == ("asleep", PCI, None)
    assert driver.calls() == {}
    source.put_card(control="auto", status="active")
    (gpu,) = source.ask().gpus
    assert (gpu.state, gpu.uuid, gpu.pci_bus_id) == ("ok", UUID, PCI)


@pytest.mark.slow
def test_a_card_met_asleep_is_one_card_once_it_is_awake(
    tmp_path: Path, driver: FakeNvml, source: NvmlProcess
) -> None:
    source.put_card(control="auto", status="suspended")
    driver.write(Driver(cards=(Card(utilization=5),)))
    config = f'sources = ["nvml"]\n[source.nvml]\nsysfs_root = "{source.sysfs}"\n'
    with RunningAgent(tmp_path, config=config, environment=driver.env) as agent:
        met = agent.until(lambda s: s.gpus, "the card")
        assert [(gpu.uuid, gpu.state) for gpu in met.gpus] == [(f"PCI-{PCI}", "asleep")]
        source.put_card(control="auto", status="active")
        seen = agent.until(lambda s: s.gpus[0].state == "ok", "the card awake")
        assert [gpu.uuid for gpu in seen.gpus] == [UUID]


def test_a_card_that_comes_while_all_others_sleep_is_noticed(source: NvmlProcess) -> None:
    source.put_card(control="auto", status="suspended")
    assert [gpu.index for gpu in source.ask().gpus] == ["0"]
    source.put_card("0000:41:00.0", control="auto", status="suspended")
    source.pass_time(10)
    assert [gpu.pci_bus_id for gpu in source.ask().gpus] == [PCI, "0000:41:00.0"]


def test_a_driver_that_goes_away_is_a_failure_though_some_cards_sleep(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    source.put_card()
    source.put_card("0000:02:00.0", control="auto", status="suspended")
    assert [gpu.state for gpu in reading(Driver(cards=(Card(), Card())))] == ["ok", "asleep"]
    driver.write(Driver(cards=(Card(), Card()), errors={ANY: LIB_RM_VERSION_MISMATCH}))
    answer = source.ask()
    assert (answer.outcome, answer.replace_process) == ("failed", True)


def test_a_card_that_falls_asleep_is_not_asked_and_not_forgotten(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    source.put_card(control="auto", status="active")
    (awake,) = reading(Card(used_mib=1000))
    source.put_card(control="auto", status="suspended")
    before = driver.calls()
    (gpu,) = source.ask().gpus
    assert (gpu.state, gpu.uuid, gpu.name) == ("asleep", awake.uuid, awake.name)
    assert gpu.detail == "it sleeps to save power, and is left asleep"
    assert gpu.memory == awake.memory
    assert gpu.temperature_celsius is None
    assert driver.calls() == before


def test_of_two_cards_only_the_one_awake_is_asked(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    source.put_card(control="auto", status="suspended")
    source.put_card("0000:02:00.0")
    first, second = reading(Driver(cards=(Card(), Card())))
    assert (first.state, second.state) == ("asleep", "ok")
    assert driver.calls()["nvmlDeviceGetHandleByIndex_v2"] == 1


def test_an_unused_card_that_may_sleep_is_given_rest_to_do_so(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    source.put_card(control="auto", status="active")
    (unused,) = reading(Card())
    for _ in range(14):
        source.pass_time(1)
        assert made(driver, source.ask).keys() <= {"nvmlDeviceGetCount_v2"}
    assert source.ask().gpus == (unused,)
    source.pass_time(1)
    assert reading(Card(watts=33.0))[0].power_watts == 33.0
    # It did not use the rest, so it is not given another at once.
    source.pass_time(1)
    assert reading(Card(watts=44.0))[0].power_watts == 44.0


@pytest.mark.parametrize("used", [{"procs": (Proc(7, 0),)}, {"utilization": 1}])
def test_a_card_in_use_is_given_no_rest(
    source: NvmlProcess, reading: Reading, used: dict[str, Any]
) -> None:
    source.put_card(control="auto", status="active")
    reading(Card(**used))
    source.pass_time(1)
    assert reading(Card(watts=33.0, **used))[0].power_watts == 33.0


def test_a_card_that_may_not_sleep_is_given_no_rest(source: NvmlProcess, reading: Reading) -> None:
    source.put_card(control="on", status="active")
    reading(Card())
    source.pass_time(1)
    assert reading(Card(watts=33.0))[0].power_watts == 33.0


# --- Cost ---------------------------------------------------------------------------------------


def test_a_reading_asks_each_card_once_for_what_changes_and_rarely_for_the_rest(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    reading(Driver(cards=(FULL, FULL)))
    source.pass_time(1)
    assert made(driver, source.ask) == {
        "nvmlDeviceGetMemoryInfo_v2": 2,
        "nvmlDeviceGetUtilizationRates": 2,
        "nvmlDeviceGetTemperature": 2,
        "nvmlDeviceGetFieldValues": 2,
        "nvmlDeviceGetPowerUsage": 2,
        "nvmlDeviceGetTotalEnergyConsumption": 2,
        "nvmlDeviceGetClockInfo": 4,
        "nvmlDeviceGetFanSpeed": 2,
        "nvmlDeviceGetPerformanceState": 2,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 2,
        "nvmlDeviceGetComputeRunningProcesses_v3": 2,
        "nvmlDeviceGetGraphicsRunningProcesses_v3": 2,
        "nvmlDeviceGetMPSComputeRunningProcesses_v3": 2,
        "nvmlEventSetWait_v2": 1,
    }
    reading(Driver(cards=(replace(FULL, ecc_uncorrected=2), FULL)))
    source.pass_time(30)
    assert source.ask().gpus[0].ecc_uncorrected_total == 2


def test_the_link_is_measured_only_when_asked_for_details(
    driver: FakeNvml, source: NvmlProcess, reading: Reading
) -> None:
    busy = replace(FULL, pcie_kilobytes=(400_000, 9_100_000))
    assert reading(busy)[0].pcie_bytes_per_second is None
    assert "nvmlDeviceGetPcieThroughput" not in driver.calls()
    assert source.ask(detailed=True).gpus[0].pcie_bytes_per_second == 9.5e9
    assert source.ask().gpus[0].pcie_bytes_per_second is None


def test_a_card_that_does_not_measure_its_link_has_none(
    driver: FakeNvml, source: NvmlProcess
) -> None:
    driver.write(Driver(cards=(replace(FULL, pcie_kilobytes=None),)))
    (gpu,) = source.ask(detailed=True).gpus
    assert gpu == FULL_SAMPLE


def test_the_agent_finds_the_source_by_its_name(
    driver: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in driver.env.items():
        monkeypatch.setenv(name, value)
    driver.write(Driver(cards=(FULL,)))
    process = SourceProcess("nvml", {})
    try:
        assert process.ask().gpus == (FULL_SAMPLE,)
        detailed = msgspec.structs.replace(FULL_SAMPLE, pcie_bytes_per_second=0.0)
        assert process.ask(detailed=True).gpus == (detailed,)
    finally:
        process.end()
        eventually(process.is_gone, bool, "the end of the process")
        process.release()
