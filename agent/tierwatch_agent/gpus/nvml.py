"""NVIDIA GPUs, through the driver's library (NVML).

Cards are found by index and known by UUID. A card that sleeps (a laptop's) is left asleep: the
kernel tells that without waking it, and only then is the driver asked.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tierwatch_agent.gpus import SourceAbsent, pci
from tierwatch_agent.gpus.nvml_calls import Refused, asked, pynvml, told
from tierwatch_agent.gpus.nvml_card import Card, Identity
from tierwatch_agent.gpus.nvml_mig import Instance, MigDevice, instances, mig_devices
from tierwatch_agent.gpus.nvml_words import card_refused, concerns_driver, driver_refused
from tierwatch_agent.gpus.nvml_xids import XidWatch
from tierwatch_agent.gpus.windows_pdh import WindowsMemory
from tierwatch_agent.snapshot import GpuMemory, GpuSample
from tierwatch_agent.words import phrase

LOOK_SECONDS = 10.0
"""How often to look for cards and MIG instances that came or went."""
REST_SECONDS = 15.0
"""How long an unused card that may sleep is not asked: each question would keep it awake."""
RESTLESS_SECONDS = 600.0
"""For how long a card that did not fall asleep in such a rest is given no other."""


class _Place:
    """A place in the driver's order: the card in it, once found, and what is known of it."""

    def __init__(self, index: int, address: str | None, known: Identity | None) -> None:
        self.index = index
        self.address = address
        self.identity = known or Identity(
            index=str(index),
            uuid=f"PCI-{address}" if address else f"unknown-{index}",
            name="NVIDIA GPU",
            pci_bus_id=address,
        )
        self.handle: Any = None
        self.card: Card | None = None
        self.instances: list[Instance] = []
        self.mig_devices: tuple[MigDevice, ...] | None = None
        self.memory: GpuMemory | None = None
        self.rested: tuple[GpuSample, ...] = ()
        self.rests_until = 0.0
        self.next_rest_at = 0.0

    def find(self, driver_version: str) -> None:
        """Finds the card and what it is; Refused where the driver does not let it be found."""
        handle = asked(pynvml.nvmlDeviceGetHandleByIndex, self.index)
        where = told(pynvml.nvmlDeviceGetPciInfo, handle)
        split = mig_devices(handle)
        identity = Identity(
            index=str(self.index),
            uuid=asked(pynvml.nvmlDeviceGetUUID, handle),
            name=asked(pynvml.nvmlDeviceGetName, handle),
            driver_version=driver_version,
            pci_bus_id=where and f"{where.domain:04x}:{where.bus:02x}:{where.device:02x}.0",
            partitioned=split is not None,
        )
        self.instances = instances(handle, identity, split or ())
        self.handle, self.mig_devices = handle, split
        self.identity, self.address = identity, identity.pci_bus_id
        self.card = Card(handle, identity)

    def read(
        self, now: float, xids: dict[int, int] | None, *, detailed: bool
    ) -> tuple[GpuSample, ...]:
        """The card and its instances now; Refused where the driver does not answer for it."""
        if now < self.rests_until:
            return self.rested
        if self.card is None:
            return ()
        sample = self.card.read(now, xids, detailed=detailed)
        self.memory = sample.memory
        return (sample, *(instance.read(now) for instance in self.instances))

    def was_split_anew(self) -> bool:
        """Whether its MIG instances are others than those that are read."""
        try:
            return self.card is not None and mig_devices(self.handle) != self.mig_devices
        except Refused:
            return False

    def rest(self, now: float, samples: tuple[GpuSample, ...]) -> None:
        """Leaves a card alone for a while if it is not in use, so that it can fall asleep."""
        unused = all(s.processes == () and not s.utilization_ratio for s in samples)
        if unused and now >= self.next_rest_at:
            self.rested = samples
            self.rests_until = now + REST_SECONDS
            self.next_rest_at = now + RESTLESS_SECONDS

    def asleep(self) -> GpuSample:
        """The card while it sleeps, with its last memory: whoever takes or gives any wakes it."""
        self.rests_until = self.next_rest_at = 0.0
        why = phrase("it sleeps to save power, and is left asleep")
        return self.identity.sample(state="asleep", detail=why, memory=self.memory)

    def refused(self, code: int, xids: dict[int, int] | None) -> GpuSample:
        """The card while the driver does not answer for it."""
        return self.identity.sample(
            state="lost" if code == pynvml.NVML_ERROR_GPU_IS_LOST else "unreadable",
            detail=card_refused(code),
            xid_errors=xids,
            recovery_action="reset" if code == pynvml.NVML_ERROR_RESET_REQUIRED else None,
        )


class NvmlSource:
    """Every NVIDIA GPU of the machine, and the MIG instances of those that are split."""

    def __init__(
        self,
        sysfs_root: str | Path = "/sys",
        now: Callable[[], float] = time.monotonic,
        windows: WindowsMemory | None = None,
    ) -> None:
        if windows is None and sys.platform == "win32":
            windows = WindowsMemory()
        self._windows = windows
        self._sysfs = Path(sysfs_root)
        self._now = now
        self._initialized = False
        self._version = ""
        self._addresses: tuple[str, ...] = ()
        self._may_sleep: frozenset[str] = frozenset()
        self._places: list[_Place] = []
        self._xids = XidWatch()
        self._look_at = 0.0

    def open(self) -> None:
        """Opens the driver, unless all of its cards sleep. Raises SourceAbsent, SourceError."""
        self._addresses = pci.driven_gpus(self._sysfs)
        self._may_sleep = frozenset(a for a in self._addresses if pci.may_sleep(self._sysfs, a))
        self._look_at = self._now() + LOOK_SECONDS
        if self._addresses and all(map(self._is_asleep, self._addresses)):
            self._make_places(len(self._addresses))
        else:
            self._initialize()

    def read(self) -> tuple[GpuSample, ...]:
        """Every GPU now. SourceError where none answers."""
        return self._read_all(detailed=False)

    def read_detailed(self) -> tuple[GpuSample, ...]:
        """As ``read``, with the throughput of the cards' links: 40 ms a card."""
        return self._read_all(detailed=True)

    def _read_all(self, *, detailed: bool) -> tuple[GpuSample, ...]:
        now = self._now()
        if now >= self._look_at:
            self._look_around(now)
        if not self._initialized and not all(self._is_asleep(p.address) for p in self._places):
            self._initialize()
        self._xids.listen()
        samples: list[GpuSample] = []
        refusals: list[int] = []
        for place in self._places:
            if self._is_asleep(place.address):
                samples.append(place.asleep())
                continue
            try:
                samples += self._read(place, now, detailed=detailed)
            except Refused as refusal:
                if concerns_driver(refusal.code):
                    raise driver_refused(refusal.code) from refusal
                refusals.append(refusal.code)
                xids = self._xids.of(place.identity.uuid)
                samples.append(place.refused(refusal.code, xids))
        if len(refusals) == len(self._places):
            who = "the GPU cannot be read" if len(refusals) == 1 else "no GPU can be read"
            # What is said of them all: that they are lost only where each of them is.
            unlike = [code for code in refusals if code != pynvml.NVML_ERROR_GPU_IS_LOST]
            raise driver_refused((unlike or refusals)[0], who)
        return tuple(samples) if self._windows is None else self._windows.complete(samples)

    def close(self) -> None:
        """Lets go of the driver; what was known of its cards is kept for the next opening."""
        if not self._initialized:
            return
        self._initialized = False
        self._xids.close()
        # A driver that is gone leaves nothing to let go of.
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def _initialize(self) -> None:
        try:
            asked(pynvml.nvmlInit)
        except Refused as refusal:
            if absence := self._absence(refusal.code):
                raise SourceAbsent(absence) from refusal
            raise driver_refused(refusal.code) from refusal
        self._initialized = True
        try:
            self._version = asked(pynvml.nvmlSystemGetDriverVersion)
            cards = asked(pynvml.nvmlDeviceGetCount)
        except Refused as refusal:
            raise driver_refused(refusal.code) from refusal
        if not cards:
            raise SourceAbsent(phrase("the NVIDIA driver lists no GPU"))
        self._xids.open()
        self._make_places(cards)

    def _absence(self, code: int) -> str | None:
        """What is missing, if a failed initialisation says no more than that; None otherwise."""
        if code == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return phrase("no NVIDIA driver is installed")
        unloaded = code == pynvml.NVML_ERROR_DRIVER_NOT_LOADED and not self._places
        if unloaded and pci.has_nvidia_gpu(self._sysfs) is False:
            return phrase("the NVIDIA driver is not loaded, and no NVIDIA GPU is in this machine")
        return None

    def _make_places(self, cards: int) -> None:
        """A place for each card, with what was known before of the card that was in it."""
        # The driver counts its cards in the order of their addresses.
        ordered = self._addresses if cards == len(self._addresses) else ()
        before = {place.index: place for place in self._places}
        self._places = []
        for index in range(cards):
            address = ordered[index] if ordered else None
            old = before.get(index)
            known = old.identity if old and (not address or old.address == address) else None
            place = _Place(index, address, known)
            place.memory = old.memory if old and known else None
            self._places.append(place)

    def _read(self, place: _Place, now: float, *, detailed: bool) -> tuple[GpuSample, ...]:
        if place.card is None:
            place.find(self._version)
            if place.address not in self._may_sleep:
                # Being listened to could keep a card from falling asleep.
                self._xids.watch(place.handle, place.identity.uuid)
        samples = place.read(now, self._xids.of(place.identity.uuid), detailed=detailed)
        if place.address in self._may_sleep and now >= place.rests_until:
            place.rest(now, samples)
        return samples

    def _is_asleep(self, address: str | None) -> bool:
        return address in self._may_sleep and pci.is_asleep(self._sysfs, address)

    def _look_around(self, now: float) -> None:
        """Opens the driver again where cards or MIG instances came or went."""
        self._look_at = now + LOOK_SECONDS
        addresses = pci.driven_gpus(self._sysfs)
        self._may_sleep = frozenset(a for a in addresses if pci.may_sleep(self._sysfs, a))
        if addresses != self._addresses or (self._initialized and self._is_rearranged(now)):
            self.close()
            self.open()

    def _is_rearranged(self, now: float) -> bool:
        try:
            cards = asked(pynvml.nvmlDeviceGetCount)
        except Refused as refusal:
            raise driver_refused(refusal.code) from refusal
        return cards != len(self._places) or any(
            place.was_split_anew()
            for place in self._places
            if now >= place.rests_until and not self._is_asleep(place.address)
        )
