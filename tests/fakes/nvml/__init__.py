"""A fake NVIDIA driver: the real nvidia-ml-py loads it, a test says what it answers, and when.

    fake = FakeNvml(tmp_path)
    fake.write(Driver(cards=(Card(total_mib=16376, procs=(Proc(4711, 6144),)),)))
    subprocess.Popen([...], env={**os.environ, **fake.env})
    fake.write(Driver(cards=(Card(total_mib=16376),)))      # the game has ended

A world once written holds for every process that has the library loaded, from its next call on.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.compiled import compiled

UNINITIALIZED = 1
NOT_SUPPORTED = 3
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
OPERATING_SYSTEM = 17
LIB_RM_VERSION_MISMATCH = 18
UNKNOWN = 999

ANY = "*"
"""Every call, in ``errors`` and ``hang``."""

SOURCE = Path(__file__).parent / "libnvidia-ml.c"
WORLD = SOURCE.with_name("world.h")
LIBRARY = "libnvidia-ml.so.1"

_MEBIBYTE = 2**20
_NOT_AVAILABLE = 2**64 - 1
_KINDS = {"compute": 0, "graphics": 1, "mps": 2}
_MODELS = {"wddm": 0, "tcc": 1, "mcdm": 2}


@dataclass(frozen=True)
class Proc:
    """A process on a card; ``mib`` is None where the driver does not tell (WDDM, WSL2)."""

    pid: int
    mib: int | None
    kind: Literal["compute", "graphics", "mps"] = "compute"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A MIG device: a compute instance of a GPU instance, which owns the memory."""

    uuid: str
    profile: str = "3g.20gb"
    gpu_instance: int = 1
    compute_instance: int = 0
    total_mib: int = 20096
    reserved_mib: int = 0
    used_mib: int | None = None
    procs: tuple[Proc, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card as its driver tells of it. None: NOT_SUPPORTED. ``total_mib`` None: unified memory."""

    name: str = "NVIDIA GeForce RTX 4080"
    uuid: str | None = None
    """By default made of its place: "GPU-00000000-…"."""
    pci_bus_id: str | None = None
    """By default made of its place: "00000000:01:00.0"; "": NOT_SUPPORTED."""
    total_mib: int | None = 16376
    reserved_mib: int = 300
    used_mib: int | None = None
    """By default what its processes hold; say it where they do not tell."""
    procs: tuple[Proc, ...] = ()
    utilization: int | None = 0
    memory_busy: int | None = 0
    celsius: int | None = 35
    memory_celsius: int | None = None
    slowdown_celsius: int | None = 90
    shutdown_celsius: int | None = 95
    watts: float | None = 20.0
    limit_watts: float | None = 320.0
    joules: float | None = 1000.0
    graphics_mhz: int | None = 210
    memory_mhz: int | None = 405
    fans: tuple[int, ...] | None = (30,)
    """Percent of each."""
    pstate: int | None = 8
    pcie_kilobytes: tuple[int, int] | None = (0, 0)
    """Per second over its link: sent, received."""
    throttle: int | None = 0
    """Bits, as nvmlClocksEventReason… has them."""
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    driver_model: Literal["wddm", "tcc", "mcdm"] | None = None
    mig: bool | None = None
    instances: tuple[Instance, ...] = ()
    xids: tuple[int, ...] = ()
    """All so far, oldest first: a longer list is news."""
    events: int | None = 0x1F
    """Kinds of events that can be waited for; None as on Windows."""
    recovery: int | None = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """What a call on this card answers, by the call's full name or ``ANY``."""


@dataclass(frozen=True, kw_only=True)
class Driver:
    """The whole driver. Symbols and fields that its version lacks answer as there."""

    cards: tuple[Card, ...] = ()
    version: str = "570.124.06"
    """Of the kernel's module."""
    library: str | None = None
    """Of the library on disk, which a process maps as it loads it; by default the module's. Where
    the mapped one is not the module's, every call answers LIB_RM_VERSION_MISMATCH."""
    init_error: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    hang: tuple[str, ...] = ()
    """Calls that do not return until a world without them is written; ``ANY`` for all."""
    latency_us: int = 0
    """How long each call takes."""


class FakeNvml:
    """A fake driver of its own, in a folder. ``env`` makes a process load it.

    ``wide_processes``: as in some drivers of 535, whose third list of processes has wider entries.
    """

    def __init__(self, folder: Path, *, wide_processes: bool = False) -> None:
        self._world = folder / "fake-nvml"
        self._link = self._world / "lib" / LIBRARY
        self._link.parent.mkdir(parents=True)
        variant = ["-DWIDE_PROCESSES"] if wide_processes else []
        self._library = compiled(SOURCE, "-shared", "-fPIC", *variant)
        self._names = call_names()
        control = self._world / "control"
        control.write_bytes(bytes(8 * (1 + len(self._names))))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 0)
        search = [str(self._link.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        self.env: dict[str, str] = {
            "TIERWATCH_FAKE_NVML": str(self._world),
            "LD_LIBRARY_PATH": os.pathsep.join(search),
        }
        self.restore()
        self.write(Driver())

    def write(self, driver: Driver) -> None:
        """Makes this the world: in force, whole, from the next call of any process on."""
        fresh = self._world / "scenario.new"
        fresh.write_text("".join(f"{line}\n" for line in _lines(driver)), encoding="utf-8")
        fresh.rename(self._world / "scenario")
        (generation,) = struct.unpack_from("=Q", self._control)
        struct.pack_into("=Q", self._control, 0, generation + 1)

    def remove(self) -> None:
        """Takes the library away, as removing the driver's package does."""
        self._link.unlink()

    def restore(self) -> None:
        """Puts the library back."""
        self._link.symlink_to(self._library)

    def calls(self) -> dict[str, int]:
        """How often each call was made so far, by all processes; those never made are left out."""
        counts = struct.unpack_from(f"={len(self._names)}Q", self._control, 8)
        return {name: count for name, count in zip(self._names, counts, strict=True) if count}


def call_names() -> list[str]:
    """The library's own list of calls, in the order of its counters."""
    listed = re.search(r"#define ALL_CALLS\(X\)(.*?)\n\n", WORLD.read_text("utf-8"), re.DOTALL)
    if listed is None:
        raise AssertionError(f"{WORLD} no longer lists the calls")
    return re.findall(r"X\((\w+)\)", listed[1])


def _lines(driver: Driver) -> Iterator[str]:
    yield f"version {driver.version}"
    yield f"library {driver.library or driver.version}"
    yield f"init_error {driver.init_error}"
    yield f"latency_us {driver.latency_us}"
    yield from _error_lines(driver.errors)
    yield from (f"hang {call}" for call in driver.hang)
    for place, card in enumerate(driver.cards):
        yield from _card_lines(place, card)


def _card_lines(place: int, card: Card) -> Iterator[str]:
    yield f"card {card.uuid or f'GPU-{place:08d}-0000-4000-8000-000000000000'}"
    yield f"name {card.name}"
    pci = f"00000000:{place + 1:02X}:00.0" if card.pci_bus_id is None else card.pci_bus_id
    if pci:
        yield f"pci {pci}"
    yield from _memory_lines(card)
    if card.fans is not None:
        yield f"set fans {len(card.fans)}"
        yield from (f"set fan{number} {percent}" for number, percent in enumerate(card.fans))
    figures = {
        "gpu_percent": card.utilization,
        "memory_percent": card.memory_busy,
        "celsius": card.celsius,
        "memory_celsius": card.memory_celsius,
        "slowdown_celsius": card.slowdown_celsius,
        "shutdown_celsius": card.shutdown_celsius,
        "milliwatts": _thousandths(card.watts),
        "limit_milliwatts": _thousandths(card.limit_watts),
        "millijoules": _thousandths(card.joules),
        "graphics_mhz": card.graphics_mhz,
        "memory_mhz": card.memory_mhz,
        "pstate": card.pstate,
        "throttle": card.throttle,
        "ecc_corrected": card.ecc_corrected,
        "ecc_uncorrected": card.ecc_uncorrected,
        "driver_model": None if card.driver_model is None else _MODELS[card.driver_model],
        "mig_mode": None if card.mig is None else int(card.mig),
        "recovery": card.recovery,
        "events": card.events,
        "pcie_sent": card.pcie_kilobytes and card.pcie_kilobytes[0],
        "pcie_received": card.pcie_kilobytes and card.pcie_kilobytes[1],
    }
    yield from (f"set {name} {value}" for name, value in figures.items() if value is not None)
    yield from (f"xid {xid}" for xid in card.xids)
    yield from _error_lines(card.errors)
    for instance in card.instances:
        yield f"instance {instance.uuid} {instance.gpu_instance} {instance.compute_instance}"
        yield f"name {card.name} MIG {instance.profile}"
        yield from _memory_lines(instance)
        yield from _error_lines(instance.errors)


def _memory_lines(device: Card | Instance) -> Iterator[str]:
    if device.total_mib is not None:
        held = device.used_mib
        if held is None:
            held = sum(process.mib or 0 for process in device.procs)
        yield f"set total {device.total_mib * _MEBIBYTE}"
        yield f"set reserved {device.reserved_mib * _MEBIBYTE}"
        yield f"set used {held * _MEBIBYTE}"
    for process in device.procs:
        told = _NOT_AVAILABLE if process.mib is None else process.mib * _MEBIBYTE
        yield f"process {_KINDS[process.kind]} {process.pid} {told}"


def _error_lines(errors: Mapping[str, int]) -> Iterator[str]:
    return (f"error {call} {code}" for call, code in errors.items())


def _thousandths(value: float | None) -> int | None:
    return None if value is None else round(value * 1000)
