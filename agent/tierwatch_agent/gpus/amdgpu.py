"""AMD GPUs on Linux, from the amdgpu driver's files in sysfs (no ROCm, no libraries, no root).

What each file means: Documentation/gpu/amdgpu and drivers/gpu/drm/amd of the Linux kernel. A file
that is not there costs its own figure. Reading a sensor wakes a sleeping card: its power state is
looked at first, which does not, and neither does reading its memory figures.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from tierwatch_agent.gpus import SourceAbsent
from tierwatch_agent.gpus.amdgpu_processes import AmdProcesses, Held
from tierwatch_agent.snapshot import GpuMemory, GpuSample, GpuState, Process
from tierwatch_agent.words import phrase

AMD = "0x1002"
IDS_FILES = ("/usr/share/libdrm/amdgpu.ids", "/opt/amdgpu/share/libdrm/amdgpu.ids")
"""Where libdrm, a part of every graphics driver, lists the names that cards are sold by."""
SYSFS_BYTES = 4096
"""No file of sysfs that is text is longer."""
_CARD = re.compile(r"card[0-9]+")


class _Card(msgspec.Struct, frozen=True):
    """What does not change of a card."""

    device: Path
    pci_bus_id: str
    uuid: str
    name: str
    apu: bool
    """A processor with a GPU in it, whose memory is the system's."""
    hwmon: Path | None
    sensors: dict[str, str]
    """What a temperature sensor measures ("edge", "junction", "mem") to its files' beginning."""


class _Memory(msgspec.Struct, frozen=True):
    memory: GpuMemory | None
    state: GpuState = "ok"
    detail: str | None = None


class AmdgpuSource:
    """Every card that the amdgpu driver runs."""

    def __init__(
        self,
        sysfs_root: str | Path = "/sys",
        proc_root: str | Path = "/proc",
        ids_files: Iterable[str | Path] = IDS_FILES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sysfs = Path(sysfs_root)
        self._proc = Path(proc_root)
        self._ids_files = [Path(file) for file in ids_files]
        self._processes = AmdProcesses(self._sysfs, self._proc, monotonic)
        self._cards: dict[str, _Card] = {}
        self._driver_version: str | None = None

    def open(self) -> None:
        """Looks for cards; raises SourceAbsent where there is none."""
        self._find_cards()
        if not self._cards:
            raise SourceAbsent(phrase("no AMD GPU with the amdgpu driver on this machine"))
        self._driver_version = (
            _text(self._sysfs / "module/amdgpu/version")
            or _text(self._proc / "sys/kernel/osrelease")
            or None
        )

    def read(self) -> tuple[GpuSample, ...]:
        """Every card now. One that was there and is gone is told as lost."""
        present = self._find_cards()
        held = self._processes.read()
        return tuple(
            self._sample(str(index), card, present, held.get(card.pci_bus_id, {}))
            for index, card in enumerate(self._cards.values())
        )

    def close(self) -> None:
        """Forgets the cards: whatever is there at the next ``open`` is what there is."""
        self._cards = {}

    def _find_cards(self) -> set[str]:
        """The PCI addresses that are there now; a card that is new is remembered."""
        drm = self._sysfs / "class/drm"
        names = [name for name in _listed(drm) if _CARD.fullmatch(name)]
        present: set[str] = set()
        for name in sorted(names, key=lambda name: int(name[4:])):
            device = drm / name / "device"
            if _text(device / "vendor") != AMD:
                continue
            facts = dict(
                line.split("=", 1) for line in _text(device / "uevent").split("\n") if line
            )
            address = facts.get("PCI_SLOT_NAME")
            if facts.get("DRIVER") != "amdgpu" or address is None:
                continue
            present.add(address)
            known = self._cards.get(address)
            # Its number may be another after it was gone.
            if known is None or known.device != device:
                self._cards[address] = self._identify(device, address)
        return present

    def _identify(self, device: Path, address: str) -> _Card:
        hwmon = next((device / "hwmon" / name for name in _listed(device / "hwmon")), None)
        labels = _listed(hwmon) if hwmon else []
        return _Card(
            device=device,
            pci_bus_id=address,
            uuid=_text(device / "unique_id") or address,
            name=_text(device / "product_name") or _marketed_name(device, self._ids_files),
            # The driver shows this voltage for APUs alone (hwmon_attributes_visible in
            # amdgpu_pm.c, "only APUs have vddnb"), and has no plainer sign in sysfs.
            apu=hwmon is not None and _text(hwmon / "in1_label") == "vddnb",
            hwmon=hwmon,
            sensors={
                _text(hwmon / label): label.removesuffix("_label")
                for label in labels
                if hwmon and label.startswith("temp") and label.endswith("_label")
            },
        )

    def _sample(
        self, index: str, card: _Card, present: set[str], held: Mapping[int, Held]
    ) -> GpuSample:
        gpu = GpuSample(
            index=index,
            uuid=card.uuid,
            name=card.name,
            vendor="amd",
            source="amdgpu",
            driver_version=self._driver_version,
            pci_bus_id=card.pci_bus_id,
        )
        if card.pci_bus_id not in present:
            return msgspec.structs.replace(
                gpu, state="lost", detail=phrase("no longer on the PCI bus")
            )
        read = _read_memory(card)
        unified = read.memory is not None and read.memory.unified
        shares = {pid: share.total(unified=unified) for pid, share in sorted(held.items())}
        gpu = msgspec.structs.replace(
            gpu,
            state=read.state,
            detail=read.detail,
            memory=read.memory,
            processes=tuple(
                Process(pid=pid, name="", vram_bytes=size) for pid, size in shares.items() if size
            ),
        )
        return gpu if gpu.state != "ok" else _with_sensors(gpu, card)


def _read_memory(card: _Card) -> _Memory:
    """Its memory, and whether its sensors may be asked."""
    files = _Files()
    total = files.number(card.device / "mem_info_vram_total")
    used = files.number(card.device / "mem_info_vram_used")
    gtt_total = files.number(card.device / "mem_info_gtt_total")
    gtt_used = files.number(card.device / "mem_info_gtt_used")
    if files.failure:
        return _Memory(None, *_trouble(files.failure))
    memory = None
    if total is not None and used is not None:
        memory = _pool(total, used)
        # The driver itself takes an APU's memory from the system where that is the larger part
        # (apu_prefer_gtt in amdgpu_ttm.c); a carve-out beyond that is used as a card's VRAM is.
        if card.apu and gtt_total is not None and gtt_used is not None and gtt_total > total:
            memory = _pool(total + gtt_total, used + gtt_used, unified=True)
    if _text(card.device / "power/runtime_status") in ("suspended", "suspending"):
        return _Memory(memory, "asleep", "powered down while nobody uses it, and left so")
    return _Memory(memory)


def _pool(total: int, used: int, *, unified: bool = False) -> GpuMemory:
    free = max(0, total - used)
    return GpuMemory(total_bytes=total, used_bytes=used, free_bytes=free, unified=unified)


def _with_sensors(gpu: GpuSample, card: _Card) -> GpuSample:
    files = _Files()
    hwmon = card.hwmon

    def sensor(name: str, divisor: float = 1.0) -> float | None:
        return files.scaled(hwmon / name, divisor) if hwmon else None

    # Before Linux 5.2 the only sensor bears no name.
    core = card.sensors.get("edge") or card.sensors.get("junction") or "temp1"
    memory = card.sensors.get("mem")
    utilization = files.scaled(card.device / "gpu_busy_percent", 100)
    temperature = sensor(f"{core}_input", 1000)
    power = sensor("power1_average", 1e6)
    if power is None:
        power = sensor("power1_input", 1e6)
    if files.failure and (utilization, temperature, power) == (None, None, None):
        state, detail = _trouble(files.failure)
        return msgspec.structs.replace(gpu, state=state, detail=detail, memory=None)
    fan, fan_full = sensor("fan1_input"), sensor("fan1_max")
    return msgspec.structs.replace(
        gpu,
        utilization_ratio=utilization,
        memory_busy_ratio=files.scaled(card.device / "mem_busy_percent", 100),
        temperature_celsius=temperature,
        memory_temperature_celsius=sensor(f"{memory}_input", 1000) if memory else None,
        slowdown_celsius=sensor(f"{core}_crit", 1000),
        power_watts=power,
        power_limit_watts=sensor("power1_cap", 1e6),
        graphics_clock_hertz=sensor("freq1_input"),
        memory_clock_hertz=sensor("freq2_input"),
        fan_ratio=min(1.0, fan / fan_full) if fan is not None and fan_full else None,
    )


class _Files:
    """Numbers in files, and the failure of the last one that was there and did not answer."""

    def __init__(self) -> None:
        self.failure: OSError | None = None

    def number(self, file: Path) -> int | None:
        """None where the file is not there, does not answer or tells no number."""
        try:
            return int(_read(file))
        except FileNotFoundError:
            return None
        except OSError as failure:
            # Some chips have the file and not the sensor.
            if failure.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                self.failure = failure
            return None
        except ValueError:
            return None

    def scaled(self, file: Path, divisor: float) -> float | None:
        """The number by the divisor that makes a base unit of the file's."""
        number = self.number(file)
        return None if number is None else number / divisor


def _trouble(failure: OSError) -> tuple[GpuState, str]:
    """State and words for a card that is there and does not answer."""
    said = os.strerror(failure.errno or errno.EIO)
    if failure.errno in (errno.ENODEV, errno.ENXIO):
        return "lost", f"its driver has lost it ({said})"
    if isinstance(failure, PermissionError) and failure.errno == errno.EACCES:
        return "unreadable", f"this agent may not read its files ({said})"
    return "unreadable", f"its driver does not answer ({said}): it may be resetting, or hang"


def _marketed_name(device: Path, ids_files: Iterable[Path]) -> str:
    """The name that a card is sold by, or else its number."""
    number = _text(device / "device")
    wanted = [number.removeprefix("0x"), _text(device / "revision").removeprefix("0x")]
    for file in ids_files:
        try:
            lines = file.read_text(errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            *key, name = [field.strip() for field in line.split(",", 2)]
            if [part.lower() for part in key] == wanted:
                return name
    return f"AMD GPU {number}".strip()


def _read(file: Path) -> str:
    # A third of what an open() through Python's layers of buffers costs, many times a second.
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return os.read(descriptor, SYSFS_BYTES).decode(errors="replace").strip()
    finally:
        os.close(descriptor)


def _text(file: Path) -> str:
    """A file's text; empty where it is not there or does not answer."""
    try:
        return _read(file)
    except OSError:
        return ""


def _listed(folder: Path) -> list[str]:
    """The names in a folder; none where it is not there."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []
