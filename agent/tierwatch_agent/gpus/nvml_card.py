"""What NVML tells of one card, as a sample."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import msgspec
import psutil

from tierwatch_agent.gpus.nvml_calls import (
    SUCCESS,
    UNTOLD,
    Call,
    ProcessList,
    Refused,
    field,
    number,
    pynvml,
    symbol,
)
from tierwatch_agent.snapshot import GpuMemory, GpuSample, Process

SLOW_SECONDS = 30.0
"""How often to ask for what rarely changes: limits, ECC counts, what the driver asks for."""

_HERTZ = 1e6
_KILOBYTE = 1000.0
_THROTTLES = {
    # Left out: 0x1, idle, and 0x2, the clocks that somebody set. Neither holds back a card that
    # would run faster if it could.
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
_RECOVERY_ACTION = 230
"""NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, which older releases of nvidia-ml-py do not name."""
_DRIVER_MODELS = {0: "wddm", 1: "tcc", 2: "mcdm"}
_RECOVERIES = {
    1: "reset",
    2: "reboot",
    3: "drain P2P traffic",
    4: "drain and reset",
    5: "recover the IMEX domain",
    6: "bus reset",
    7: "system reboot",
}


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What stays true of a device whatever its state."""

    index: str
    uuid: str
    name: str
    driver_version: str | None = None
    pci_bus_id: str | None = None
    partitioned: bool = False
    parent_uuid: str | None = None
    mig_profile: str | None = None

    def sample(self, **figures: Any) -> GpuSample:
        """A sample of the device, with what else is known of it."""
        return GpuSample(
            index=self.index,
            uuid=self.uuid,
            name=self.name,
            vendor="nvidia",
            source="nvml",
            driver_version=self.driver_version,
            pci_bus_id=self.pci_bus_id,
            partitioned=self.partitioned,
            parent_uuid=self.parent_uuid,
            mig_profile=self.mig_profile,
            **figures,
        )


class Memory:
    """Memory of a device: the second version of the call, or the first where the driver is old."""

    def __init__(self, handle: Any) -> None:
        second, first = pynvml.c_nvmlMemory_v2_t(), pynvml.c_nvmlMemory_t()
        second.version = pynvml.nvmlMemory_v2
        self._second = Call(
            symbol("nvmlDeviceGetMemoryInfo_v2"), handle, ctypes.byref(second), target=second
        )
        self._first = Call(
            symbol("nvmlDeviceGetMemoryInfo"), handle, ctypes.byref(first), target=first
        )
        self.code = SUCCESS

    def read(self, now: float) -> GpuMemory | None:
        """The memory; None where it is not told, of which ``code`` says why."""
        if self._second.answered(now):
            told = self._second.target
            return GpuMemory(
                total_bytes=told.total,
                free_bytes=told.free,
                used_bytes=told.used,
                reserved_bytes=told.reserved,
            )
        self.code = self._second.code
        if self.code in UNTOLD:
            if self._first.answered(now):
                told = self._first.target
                return GpuMemory(total_bytes=told.total, free_bytes=told.free, used_bytes=told.used)
            self.code = self._first.code
        return None


class Processes:
    """Who is on a device, over all of its handles and all kinds of use."""

    def __init__(self, *handles: Any) -> None:
        kinds = ("Compute", "Graphics", "MPSCompute")
        lists = [
            ProcessList(f"nvmlDeviceGet{kind}RunningProcesses", handle)
            for handle in handles
            for kind in kinds
        ]
        self._calls = [Call(each, target=each) for each in lists]

    def read(self, now: float) -> tuple[Process, ...] | None:
        """Each process once, with the larger figure; None where the driver lists none at all."""
        held: dict[int, int | None] = {}
        listed = False
        for call in self._calls:
            if call.answered(now):
                listed = True
                for pid, told in call.target.held():
                    before = held.get(pid)
                    held[pid] = told if before is None else max(before, told or 0)
        if not listed:
            return None
        return tuple([Process(pid=pid, name="", vram_bytes=told) for pid, told in held.items()])


class Card:
    """A card that is read as a whole: its memory, its processes and its figures."""

    def __init__(self, handle: Any, identity: Identity) -> None:
        self.identity = identity
        # Each card at its own pace, so that the slow questions do not all fall into one reading.
        slow = SLOW_SECONDS + int(identity.index)
        self._memory = Memory(handle)
        self._processes = Processes(handle)
        load = pynvml.c_nvmlUtilization_t()
        self._load = Call(
            symbol("nvmlDeviceGetUtilizationRates"), handle, ctypes.byref(load), target=load
        )
        self._celsius = number("nvmlDeviceGetTemperature", handle, pynvml.NVML_TEMPERATURE_GPU)
        self._memory_celsius = field(pynvml.NVML_FI_DEV_MEMORY_TEMP, handle)
        self._milliwatts = number("nvmlDeviceGetPowerUsage", handle)
        self._millijoules = number(
            "nvmlDeviceGetTotalEnergyConsumption", handle, kind=ctypes.c_ulonglong
        )
        self._graphics_mhz = number("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_GRAPHICS)
        self._memory_mhz = number("nvmlDeviceGetClockInfo", handle, pynvml.NVML_CLOCK_MEM)
        # The first fan's: a card's fans follow one curve, and each further one is another call.
        self._pcie_kilobytes = [
            number("nvmlDeviceGetPcieThroughput", handle, counter)
            for counter in (pynvml.NVML_PCIE_UTIL_TX_BYTES, pynvml.NVML_PCIE_UTIL_RX_BYTES)
        ]
        self._fan_percent = number("nvmlDeviceGetFanSpeed", handle)
        self._pstate = number("nvmlDeviceGetPerformanceState", handle)
        # The old name of ClocksEventReasons, which every driver has.
        self._throttles = number(
            "nvmlDeviceGetCurrentClocksThrottleReasons", handle, kind=ctypes.c_ulonglong
        )
        self._slowdown_celsius = number(
            "nvmlDeviceGetTemperatureThreshold",
            handle,
            pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
            every=slow,
        )
        self._limit_milliwatts = number("nvmlDeviceGetEnforcedPowerLimit", handle, every=slow)
        self._ecc_corrected, self._ecc_uncorrected = (
            number(
                "nvmlDeviceGetTotalEccErrors",
                handle,
                kind_of_error,
                pynvml.NVML_VOLATILE_ECC,
                kind=ctypes.c_ulonglong,
                every=slow,
            )
            for kind_of_error in (
                pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED,
                pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            )
        )
        self._recovery = field(_RECOVERY_ACTION, handle, slow)
        pending = ctypes.c_uint()
        model = ctypes.c_uint()
        self._driver_model = Call(
            symbol("nvmlDeviceGetDriverModel_v2"),
            handle,
            ctypes.byref(model),
            ctypes.byref(pending),
            target=model,
            every=slow,
        )

    def read(self, now: float, xids: dict[int, int] | None, *, detailed: bool) -> GpuSample:
        """The card now; Refused where the driver no longer answers for it.

        ``detailed``: with its link's throughput, which the driver measures for 20 ms each way.
        """
        identity = self.identity
        memory = processes = None
        if not identity.partitioned:
            memory = self._memory.read(now) or self._shared_memory()
            processes = self._processes.read(now)
        load = self._load.target if self._load.answered(now) else None
        return identity.sample(
            driver_model=_named(_DRIVER_MODELS, self._driver_model.number(now)),
            memory=memory,
            processes=processes,
            utilization_ratio=None if load is None else load.gpu / 100,
            memory_busy_ratio=None if load is None else load.memory / 100,
            temperature_celsius=self._celsius.number(now),
            memory_temperature_celsius=self._memory_celsius.number(now),
            slowdown_celsius=self._slowdown_celsius.number(now),
            power_watts=_divided(self._milliwatts.number(now), 1000),
            power_limit_watts=_divided(self._limit_milliwatts.number(now), 1000),
            energy_joules=_divided(self._millijoules.number(now), 1000),
            graphics_clock_hertz=_hertz(self._graphics_mhz.number(now)),
            memory_clock_hertz=_hertz(self._memory_mhz.number(now)),
            fan_ratio=_divided(self._fan_percent.number(now), 100),
            performance_state=self._pstate.number(now),
            pcie_bytes_per_second=self._pcie(now) if detailed else None,
            throttle_reasons=_throttles(self._throttles.number(now)),
            ecc_uncorrected_total=self._ecc_uncorrected.number(now),
            ecc_corrected_total=self._ecc_corrected.number(now),
            xid_errors=xids,
            recovery_action=_named(_RECOVERIES, self._recovery.number(now)),
        )

    def _pcie(self, now: float) -> float | None:
        """Bytes per second over its link, both ways together."""
        told = [call.number(now) for call in self._pcie_kilobytes]
        ways = [kilobytes for kilobytes in told if kilobytes is not None]
        return sum(ways) * _KILOBYTE if ways else None

    def _shared_memory(self) -> GpuMemory | None:
        """The system's own RAM, of a GPU that has no other (DGX Spark, Jetson); None if unknown."""
        if self._memory.code == pynvml.NVML_ERROR_NO_PERMISSION:
            return None
        if self._memory.code != pynvml.NVML_ERROR_NOT_SUPPORTED:
            raise Refused(self._memory.code)
        system = psutil.virtual_memory()
        return GpuMemory(
            total_bytes=system.total,
            free_bytes=system.available,
            used_bytes=system.total - system.available,
            unified=True,
        )


def _divided(value: int | None, by: int) -> float | None:
    return None if value is None else value / by


def _hertz(mhz: int | None) -> float | None:
    return None if mhz is None else mhz * _HERTZ


def _named(names: dict[int, str], value: int | None) -> str | None:
    return None if value is None else names.get(value)


@functools.lru_cache(maxsize=64)
def _throttles(bits: int | None) -> tuple[str, ...] | None:
    if bits is None:
        return None
    return tuple(name for bit, name in _THROTTLES.items() if bits & bit)
