"""Windows' count of GPU memory by process, on instance names as Windows writes them.

The calls run against Python functions in place of pdh.dll and gdi32.dll: this shows how they are
put together, not what Windows answers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tierwatch_agent.check import windows_plea
from tierwatch_agent.gpus.windows_pdh import LOCAL, SHARED, Held, WindowsMemory, by_adapter
from tierwatch_agent.snapshot import GpuSample, Process

MIB, GIB = 2**20, 2**30
NVIDIA, INTEL = (0, 0xC5F1), (0, 0x95CA)
COMFYUI = "pid_4100_luid_0x00000000_0x0000C5F1_phys_0"
DWM = "pid_1432_luid_0x00000000_0x0000C5F1_phys_0"
DWM_ON_INTEL = "pid_1432_luid_0x00000000_0x000095CA_phys_0"
WDDM = GpuSample(
    index="0",
    uuid="GPU-1",
    name="NVIDIA GeForce RTX 4070",
    vendor="nvidia",
    source="nvml",
    driver_model="wddm",
    pci_bus_id="0000:01:00.0",
    processes=(Process(pid=4100, name=""), Process(pid=77, name="")),
)
MORE_DATA, NO_OBJECT = 0x800007D2, 0xC0000BB8
ITEM = 24
"""Bytes of a PDH_FMT_COUNTERVALUE_ITEM_W on a 64-bit system."""


class Windows:
    """pdh.dll and gdi32.dll of a machine with these instances and adapters."""

    def __init__(
        self,
        local: Mapping[str, int],
        shared: Mapping[str, int] | None = None,
        places: Mapping[tuple[int, int], tuple[int, int]] | None = None,
        refusal: int = 0,
    ) -> None:
        self._values = {LOCAL: local, SHARED: shared or {}}
        self._places = {NVIDIA: (1, 0), INTEL: (0, 2)} if places is None else places
        self._refusal = refusal
        self._counters: list[str] = []
        self._kept: list[Any] = []
        self.opened: list[tuple[int, int]] = []

    def __call__(self, name: str) -> Windows:
        assert name in ("pdh", "gdi32")
        return self

    def PdhOpenQueryW(self, source: None, user: Any, query: Any) -> int:  # noqa: N802
        given(query, ctypes.c_void_p).value = 11
        return 0

    def PdhAddEnglishCounterW(self, query: Any, path: Any, user: Any, counter: Any) -> int:  # noqa: N802
        if self._refusal:
            return self._refusal
        assert query.value == 11
        self._counters.append(path.value)
        given(counter, ctypes.c_void_p).value = len(self._counters)
        return 0

    def PdhCollectQueryData(self, query: Any) -> int:  # noqa: N802
        assert query.value == 11
        return 0

    def PdhGetFormattedCounterArrayW(  # noqa: N802
        self, counter: Any, form: int, room: Any, count: Any, buffer: Any
    ) -> int:
        assert form == 0x400
        values = self._values[self._counters[counter.value - 1]]
        needed = ITEM * len(values)
        room = given(room, ctypes.c_uint32)
        if not values:
            return 0
        if buffer is None or room.value < needed:
            room.value = needed
            return MORE_DATA - 2**32
        given(count, ctypes.c_uint32).value = len(values)
        for place, (name, value) in enumerate(values.items()):
            at = ctypes.addressof(buffer) + ITEM * place
            text = ctypes.c_wchar_p(name)
            self._kept.append(text)
            ctypes.memmove(at, ctypes.addressof(text), 8)
            ctypes.c_uint32.from_address(at + 8).value = 0xC0000BBA if value < 0 else 0
            ctypes.c_longlong.from_address(at + 16).value = value
        return 0

    def D3DKMTOpenAdapterFromLuid(self, adapter: Any) -> int:  # noqa: N802
        low, high, handle = range(3)
        words = given(adapter, ctypes.c_uint32 * 3)
        luid = (words[high], words[low])
        if luid not in self._places:
            return -1
        self.opened.append(luid)
        words[handle] = 40 + len(self.opened)
        return 0

    def D3DKMTQueryAdapterInfo(self, query: Any) -> int:  # noqa: N802
        handle, kind = given(query, ctypes.c_uint32 * 2)
        data = given(query, ctypes.c_uint64 * 3)[1]
        assert (kind, given(query, ctypes.c_uint32 * 6)[4]) == (6, 12)
        answer = (ctypes.c_uint32 * 3).from_address(data)
        answer[0], answer[1] = self._places[self.opened[handle - 41]]
        return 0

    def D3DKMTCloseAdapter(self, handle: Any) -> int:  # noqa: N802
        assert given(handle, ctypes.c_uint32).value == 40 + len(self.opened)
        return 0


def given(reference: Any, kind: Any) -> Any:
    """What a call is given a reference to, as it lies in memory."""
    return ctypes.cast(reference, ctypes.POINTER(kind)).contents


def held_by(gpu: GpuSample) -> dict[int, tuple[int | None, int | None]]:
    return {p.pid: (p.vram_bytes, p.shared_bytes) for p in gpu.processes or ()}


def test_instances_are_told_apart_by_process_and_adapter() -> None:
    held = by_adapter(
        [(COMFYUI, 9 * GIB), (DWM, 300 * MIB), (DWM_ON_INTEL, 0)],
        [(COMFYUI, 2 * GIB), (DWM_ON_INTEL, 90 * MIB)],
    )
    assert held == {
        NVIDIA: {4100: Held(9 * GIB, 2 * GIB), 1432: Held(300 * MIB, None)},
        INTEL: {1432: Held(0, 90 * MIB)},
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_Total", GIB),
        ("pid_12_luid_0x0_phys_0", GIB),
        ("", GIB),
        (COMFYUI, -1),
        (COMFYUI, 10 * 2**40),
    ],
)
def test_what_is_no_process_or_no_figure_is_left_out(name: str, value: int) -> None:
    assert by_adapter([(name, value)], []) == {}


def test_the_parts_of_linked_cards_count_together() -> None:
    second = COMFYUI.replace("phys_0", "phys_1")
    assert by_adapter([(COMFYUI, GIB), (second, GIB)], []) == {NVIDIA: {4100: Held(2 * GIB)}}


def test_a_card_gets_what_its_own_processes_hold() -> None:
    windows = Windows(
        {COMFYUI: 9 * GIB, DWM: 300 * MIB, DWM_ON_INTEL: 50 * MIB}, {COMFYUI: 2 * GIB, DWM: 0}
    )
    (gpu,) = WindowsMemory(windows).complete([WDDM])
    assert held_by(gpu) == {4100: (9 * GIB, 2 * GIB), 77: (None, None), 1432: (300 * MIB, 0)}


def test_two_cards_are_told_apart_by_their_place() -> None:
    other = (0, 0xD0D0)
    second = "pid_4100_luid_0x00000000_0x0000D0D0_phys_0"
    windows = Windows({COMFYUI: GIB, second: 5 * GIB}, places={NVIDIA: (1, 0), other: (0x41, 0)})
    one = WDDM
    two = replace(WDDM, uuid="GPU-2", pci_bus_id="0000:41:00.0")
    memory = WindowsMemory(windows)
    for _ in range(2):
        first, last = memory.complete([one, two])
        assert (held_by(first)[4100], held_by(last)[4100]) == ((GIB, None), (5 * GIB, None))
    assert windows.opened == [NVIDIA, other]


def test_an_adapter_whose_place_is_unknown_is_nobodys() -> None:
    assert WindowsMemory(Windows({COMFYUI: GIB}, places={})).complete([WDDM]) == (WDDM,)


def test_a_card_with_another_driver_model_is_left_to_its_driver() -> None:
    compute = replace(WDDM, driver_model="tcc")
    assert WindowsMemory(Windows({COMFYUI: GIB})).complete([compute]) == (compute,)


def test_a_windows_without_the_counters_leaves_the_sizes_unknown() -> None:
    memory = WindowsMemory(Windows({}, refusal=NO_OBJECT - 2**32))
    assert memory.complete([WDDM]) == (WDDM,)
    assert list(memory.report()) == [
        f"no counters: PdhAddEnglishCounter({LOCAL}) answers 0xC0000BB8"
    ]


def test_a_system_without_the_libraries_says_so() -> None:
    def missing(name: str) -> object:
        raise OSError("no such file")

    memory = WindowsMemory(missing)
    assert memory.complete([WDDM]) == (WDDM,)
    assert list(memory.report()) == ["no counters: pdh.dll cannot be loaded: no such file"]


def test_the_report_has_what_the_figures_come_from() -> None:
    windows = Windows(
        {DWM_ON_INTEL: 50 * MIB, COMFYUI: 9 * GIB}, {COMFYUI: 2 * GIB}, {NVIDIA: (1, 0)}
    )
    assert list(WindowsMemory(windows).report()) == [
        f"2 instances of {LOCAL}, 1 of {SHARED}",
        "adapter 0x00000000_0x000095ca: unknown place",
        "adapter 0x00000000_0x0000c5f1: PCI bus 1, device 0",
        f"{COMFYUI}: 9.0 GiB local, 2.0 GiB non local",
        f"{DWM_ON_INTEL}: 50 MiB local, 0 MiB non local",
    ]


def test_check_asks_a_windows_user_for_what_it_saw() -> None:
    screen = windows_plea("render-07 (windows)", WindowsMemory(Windows({COMFYUI: 9 * GIB})))
    assert screen.startswith("render-07 (windows)\n\nWindows' count of GPU memory")
    assert "Please send us all of this" in screen
    assert screen.endswith(f"\n  {COMFYUI}: 9.0 GiB local, 0 MiB non local")
