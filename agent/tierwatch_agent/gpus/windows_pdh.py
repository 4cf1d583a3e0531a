"""What each process holds of a GPU on Windows, where NVML does not tell (WDDM).

Untested on Windows: written from Microsoft's documentation and recorded instance names;
``tierwatch-agent check`` prints there what shows whether it is right.

Windows counts GPU memory by process, in the performance counters "GPU Process Memory". "Local
Usage" and "Non Local Usage" are what is resident in the card's memory and in the system's, while
"Dedicated Usage" and "Shared Usage" count what was committed, which is more
(https://github.com/winsiderss/systeminformer/pull/2971). An instance names a process and an adapter
by its LUID, which the graphics kernel (D3DKMT) turns into a place on the PCI bus, as NVML has it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tierwatch_agent.snapshot import GpuSample, Process
from tierwatch_agent.wording import size

LOCAL = r"\GPU Process Memory(*)\Local Usage"
SHARED = r"\GPU Process Memory(*)\Non Local Usage"
REPORTED = 12
"""How many instances a report names."""

_INSTANCE = re.compile(r"pid_(\d+)_luid_0x([0-9a-f]+)_0x([0-9a-f]+)_phys_\d+", re.IGNORECASE)
_LEAST_BYTES = 2**20
_RUNAWAY_BYTES = 2**40
"""After a sleep Windows may count on for ever (systeminformer issue 2073): no figure at all."""
_LARGE = 0x400
_MORE_DATA = 0x800007D2
_VALID = (0, 1)
_ADAPTER_ADDRESS = 6

Luid = tuple[int, int]
"""An adapter's id until the next start of Windows: high and low half."""
Place = tuple[int, int]
"""PCI bus and device."""


class Held(msgspec.Struct, frozen=True):
    """What a process holds. Bytes; None where Windows does not tell."""

    local_bytes: int | None = None
    """In the card's memory."""
    shared_bytes: int | None = None
    """In the system's memory, for the card."""


class WindowsError(Exception):
    """Windows refuses its counters; the text says which call and with what status."""


def by_adapter(
    local: Iterable[tuple[str, int]], shared: Iterable[tuple[str, int]]
) -> dict[Luid, dict[int, Held]]:
    """Adapter to pid to what it holds, of the counters' instances and values."""
    held: dict[Luid, dict[int, Held]] = {}
    for luid, pid, count in _parsed(local):
        before = held.setdefault(luid, {}).get(pid, Held())
        held[luid][pid] = Held(_added(before.local_bytes, count), before.shared_bytes)
    for luid, pid, count in _parsed(shared):
        before = held.setdefault(luid, {}).get(pid, Held())
        held[luid][pid] = Held(before.local_bytes, _added(before.shared_bytes, count))
    return held


def completed(gpu: GpuSample, held: Mapping[int, Held]) -> GpuSample:
    """The GPU with what its processes hold, and with those that the driver did not list."""
    known = {process.pid: process for process in gpu.processes or ()}
    for pid, each in held.items():
        if pid in known:
            known[pid] = msgspec.structs.replace(
                known[pid],
                vram_bytes=known[pid].vram_bytes if each.local_bytes is None else each.local_bytes,
                shared_bytes=each.shared_bytes,
            )
        elif (each.local_bytes or 0) >= _LEAST_BYTES:
            known[pid] = Process(
                pid=pid, name="", vram_bytes=each.local_bytes, shared_bytes=each.shared_bytes
            )
    return msgspec.structs.replace(gpu, processes=tuple(known.values()))


class WindowsMemory:
    """Windows' own count of GPU memory by process. ``load`` finds a library by its name."""

    # On 64-bit Windows, the only one that Python's GPU libraries run on, all functions are called
    # alike, so CDLL does for libraries that elsewhere need WinDLL.
    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._load = load
        self._counters: _Counters | None = None
        self._refusal: WindowsError | None = None
        self._places: dict[Luid, Place | None] = {}

    def complete(self, gpus: Sequence[GpuSample]) -> tuple[GpuSample, ...]:
        """The GPUs with what their processes hold, where that can be known."""
        if not any(gpu.driver_model == "wddm" for gpu in gpus):
            return tuple(gpus)
        try:
            held = {self._place(luid): each for luid, each in by_adapter(*self._read()).items()}
        except WindowsError:
            # The processes stay of unknown size, which the snapshot says; why, `check` tells.
            return tuple(gpus)
        return tuple(
            completed(gpu, held[place])
            if gpu.driver_model == "wddm" and (place := _place_of(gpu)) and place in held
            else gpu
            for gpu in gpus
        )

    def report(self) -> Iterator[str]:
        """What shows whether all this is right, for whoever has a Windows machine. No names."""
        try:
            local, shared = self._read()
        except WindowsError as error:
            yield f"no counters: {error}"
            return
        yield f"{len(local)} instances of {LOCAL}, {len(shared)} of {SHARED}"
        for luid in by_adapter(local, shared):
            place = self._place(luid)
            where = "unknown place" if place is None else f"PCI bus {place[0]}, device {place[1]}"
            yield f"adapter 0x{luid[0]:08x}_0x{luid[1]:08x}: {where}"
        elsewhere = dict(shared)
        for name, count in sorted(local, key=lambda item: item[1], reverse=True)[:REPORTED]:
            yield f"{name}: {size(count)} local, {size(elsewhere.get(name, 0))} non local"

    def _read(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        if self._refusal is not None:
            raise self._refusal
        if self._counters is None:
            try:
                self._counters = _Counters(_library(self._load, "pdh"), (LOCAL, SHARED))
            except WindowsError as refusal:
                # Asked again, a Windows that lacks the counters would lose a handle each time.
                self._refusal = refusal
                raise
        local, shared = self._counters.read()
        return local, shared

    def _place(self, luid: Luid) -> Place | None:
        if luid not in self._places:
            self._places[luid] = _place(_library(self._load, "gdi32"), luid)
        return self._places[luid]


class _Value(ctypes.Structure):
    """PDH_FMT_COUNTERVALUE_ITEM_W with a large value."""

    _fields_ = (
        ("name", ctypes.c_wchar_p),
        ("status", ctypes.c_uint32),
        ("large", ctypes.c_longlong),
    )


class _Counters:
    """Some counters with wildcards, asked together."""

    def __init__(self, pdh: Any, paths: Sequence[str]) -> None:
        self._pdh = pdh
        self._query = ctypes.c_void_p()
        _checked("PdhOpenQuery", pdh.PdhOpenQueryW(None, _NOTHING, ctypes.byref(self._query)))
        self._counters = [self._added(path) for path in paths]

    def read(self) -> list[list[tuple[str, int]]]:
        """Of each counter, its instances and their values."""
        _checked("PdhCollectQueryData", self._pdh.PdhCollectQueryData(self._query))
        return [list(self._values(counter)) for counter in self._counters]

    def _added(self, path: str) -> ctypes.c_void_p:
        counter = ctypes.c_void_p()
        # In English, whatever the language of this Windows.
        status = self._pdh.PdhAddEnglishCounterW(
            self._query, ctypes.c_wchar_p(path), _NOTHING, ctypes.byref(counter)
        )
        _checked(f"PdhAddEnglishCounter({path})", status)
        return counter

    def _values(self, counter: ctypes.c_void_p) -> Iterator[tuple[str, int]]:
        room, count = ctypes.c_uint32(), ctypes.c_uint32()
        buffer: Any = None
        status = _MORE_DATA
        # Between two calls processes come and go, so the room asked for may be too small again.
        for _ in range(4):
            status = self._pdh.PdhGetFormattedCounterArrayW(
                counter, _LARGE, ctypes.byref(room), ctypes.byref(count), buffer
            )
            if status & 0xFFFFFFFF != _MORE_DATA:
                break
            buffer = ctypes.create_string_buffer(room.value)
        _checked("PdhGetFormattedCounterArray", status)
        if buffer is None:
            return
        for value in (_Value * count.value).from_buffer(buffer):
            if value.status in _VALID:
                yield value.name, value.large


class _OpenAdapter(ctypes.Structure):
    """D3DKMT_OPENADAPTERFROMLUID."""

    _fields_ = (("low", ctypes.c_uint32), ("high", ctypes.c_int32), ("adapter", ctypes.c_uint32))


class _Address(ctypes.Structure):
    """D3DKMT_ADAPTERADDRESS."""

    _fields_ = (
        ("bus", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("function", ctypes.c_uint32),
    )


class _QueryAdapter(ctypes.Structure):
    """D3DKMT_QUERYADAPTERINFO."""

    _fields_ = (
        ("adapter", ctypes.c_uint32),
        ("type", ctypes.c_int32),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_uint32),
    )


_NOTHING = ctypes.c_void_p(None)


def _place(gdi: Any, luid: Luid) -> Place | None:
    """Where an adapter is on the PCI bus; None where the kernel does not tell (a software one)."""
    opened = _OpenAdapter(high=luid[0], low=luid[1])
    if gdi.D3DKMTOpenAdapterFromLuid(ctypes.byref(opened)):
        return None
    address = _Address()
    query = _QueryAdapter(
        adapter=opened.adapter,
        type=_ADAPTER_ADDRESS,
        data=ctypes.addressof(address),
        size=ctypes.sizeof(address),
    )
    refused = gdi.D3DKMTQueryAdapterInfo(ctypes.byref(query))
    handle = ctypes.c_uint32(opened.adapter)
    gdi.D3DKMTCloseAdapter(ctypes.byref(handle))
    return None if refused else (address.bus, address.device)


def _place_of(gpu: GpuSample) -> Place | None:
    """The same of a GPU, by NVML's "0000:01:00.0"."""
    parts = (gpu.pci_bus_id or "").split(":")
    return (int(parts[1], 16), int(parts[2].split(".")[0], 16)) if len(parts) == 3 else None


def _parsed(values: Iterable[tuple[str, int]]) -> Iterator[tuple[Luid, int, int]]:
    for name, count in values:
        match = _INSTANCE.match(name)
        if match and 0 <= count < _RUNAWAY_BYTES:
            yield (int(match[2], 16), int(match[3], 16)), int(match[1]), count


def _added(before: int | None, count: int) -> int:
    return (before or 0) + count


def _library(load: Callable[[str], Any], name: str) -> Any:
    try:
        return load(name)
    except OSError as error:
        raise WindowsError(f"{name}.dll cannot be loaded: {error}") from error


def _checked(call: str, status: int) -> None:
    if status:
        raise WindowsError(f"{call} answers 0x{status & 0xFFFFFFFF:08X}")
