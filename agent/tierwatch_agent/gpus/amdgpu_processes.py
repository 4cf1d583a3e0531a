"""Which processes hold memory on AMD GPUs, as Linux tells it, in two ways that complete each other.

- ``/proc/PID/fdinfo``: every user of a card, but only of processes that this user may look at. A
  look at all open files costs too much for every second: it is taken every ten, so that a new
  process is seen that much later, and only the files that are known are read in between.
- ``/sys/class/kfd``: compute (ROCm) alone, but everybody's and readable to everybody.

Formats: Documentation/gpu/drm-usage-stats.rst and drivers/gpu/drm/amd of the Linux kernel.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

SCAN_SECONDS = 10.0
KIBIBYTE = 1024
_UNITS = {"": 1, "KiB": KIBIBYTE, "kB": KIBIBYTE, "MiB": KIBIBYTE**2}
# They open cards on behalf of others, to whom the memory belongs.
_DOORKEEPERS = frozenset({"elogind-daemon", "seatd", "systemd", "systemd-logind"})


class Held(msgspec.Struct):
    """What one process holds on one card. Bytes."""

    vram_bytes: int = 0
    gtt_bytes: int = 0
    """System memory that the card has mapped."""
    compute_bytes: int = 0
    """What ROCm has allocated for it; part of the above wherever those can be read."""

    def total(self, *, unified: bool) -> int:
        """VRAM, and of a unified pool the system's memory as well."""
        return max(self.vram_bytes + (self.gtt_bytes if unified else 0), self.compute_bytes)


class AmdProcesses:
    """Memory by card (its PCI address, "0000:03:00.0") and by process."""

    def __init__(
        self,
        sysfs_root: Path,
        proc_root: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kfd = sysfs_root / "class/kfd/kfd"
        self._proc = proc_root
        self._monotonic = monotonic
        self._scan_due = float("-inf")
        self._open_cards: dict[int, list[Path]] = {}
        self._cards_by_kfd_id: dict[str, str] = {}

    def read(self) -> dict[str, dict[int, Held]]:
        """Who holds what now. What cannot be read is left out: other users' processes, mostly."""
        if self._monotonic() >= self._scan_due:
            self._scan_due = self._monotonic() + SCAN_SECONDS
            self._open_cards = dict(_open_cards(self._proc))
            self._cards_by_kfd_id = dict(_cards_by_kfd_id(self._kfd))
        held: dict[str, dict[int, Held]] = {}
        self._add_graphics(held)
        self._add_compute(held)
        return held

    def _add_graphics(self, held: dict[str, dict[int, Held]]) -> None:
        # One client may be open many times, in several processes: it counts once, for the first.
        counted: set[tuple[str, str]] = set()
        for pid, files in sorted(self._open_cards.items()):
            for file in files:
                facts = _facts(_text(file))
                card = facts.get("drm-pdev") or facts.get("pdev")
                if card is None or facts.get("drm-driver", "amdgpu") != "amdgpu":
                    continue
                # Linux before 5.19 tells no client, but the address space, which is as good.
                client = facts.get("drm-client-id") or facts.get("pasid") or str(file)
                if (card, client) in counted:
                    continue
                counted.add((card, client))
                share = held.setdefault(card, {}).setdefault(pid, Held())
                share.vram_bytes += _memory(facts, "vram")
                share.gtt_bytes += _memory(facts, "gtt")

    def _add_compute(self, held: dict[str, dict[int, Held]]) -> None:
        for process in _entries(self._kfd / "proc"):
            for kfd_id, card in self._cards_by_kfd_id.items():
                size = _text(process / f"vram_{kfd_id}").strip()
                if process.name.isdecimal() and size.isdecimal():
                    share = held.setdefault(card, {}).setdefault(int(process.name), Held())
                    share.compute_bytes = int(size)


def _open_cards(proc: Path) -> Iterator[tuple[int, list[Path]]]:
    """Every process that has a card open, with the files that tell what it holds there."""
    for process in _entries(proc):
        if not process.name.isdecimal():
            continue
        files = [
            process / "fdinfo" / descriptor.name
            for descriptor in _entries(process / "fd")
            if _link(descriptor).startswith("/dev/dri/")
        ]
        if files and _text(process / "comm").strip() not in _DOORKEEPERS:
            yield int(process.name), files


def _cards_by_kfd_id(kfd: Path) -> Iterator[tuple[str, str]]:
    """The number that ROCm's driver gives a card, and the card's PCI address."""
    for node in _entries(kfd / "topology/nodes"):
        kfd_id = _text(node / "gpu_id").strip()
        words = [line.split() for line in _text(node / "properties").splitlines()]
        properties = {pair[0]: int(pair[1]) for pair in words if pair[1:] and pair[1].isdecimal()}
        location = properties.get("location_id", 0)
        if kfd_id.strip("0") and location:
            domain = properties.get("domain", 0)
            bus, device, function = location >> 8, location >> 3 & 0x1F, location & 0x7
            yield kfd_id, f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


def _facts(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory(facts: dict[str, str], region: str) -> int:
    """Bytes resident in a region ("vram", "gtt"), under the name that the kernel has for it."""
    for key in (f"drm-memory-{region}", f"drm-resident-{region}", f"{region} mem"):
        amount, _, unit = facts.get(key, "").partition(" ")
        if amount.isdecimal() and unit in _UNITS:
            return int(amount) * _UNITS[unit]
    return 0


def _entries(folder: Path) -> list[Path]:
    """What a folder holds; nothing where it is gone or closed to this user."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text(file: Path) -> str:
    """A file's text; empty where it is gone or closed to this user."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _link(link: Path) -> str:
    """Where a link leads; empty where it is gone or closed to this user."""
    try:
        return str(link.readlink())
    except OSError:
        return ""
