"""MIG: the instances that a card is split into, each a GPU of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from tierwatch_agent.gpus.nvml_calls import asked, pynvml, told
from tierwatch_agent.gpus.nvml_card import Identity, Memory, Processes
from tierwatch_agent.gpus.nvml_words import card_refused
from tierwatch_agent.snapshot import GpuSample


class MigDevice(msgspec.Struct, frozen=True):
    """A compute instance, as the driver lists it. Its GPU instance owns the memory."""

    position: int
    uuid: str
    gpu_instance: int


def mig_devices(card: Any) -> tuple[MigDevice, ...] | None:
    """How a card is split; None where it is whole."""
    mode = told(pynvml.nvmlDeviceGetMigMode, card)
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    found: list[MigDevice] = []
    for position in range(told(pynvml.nvmlDeviceGetMaxMigDeviceCount, card) or 0):
        handle = told(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, card, position)
        if handle is not None:
            uuid = asked(pynvml.nvmlDeviceGetUUID, handle)
            gpu_instance = asked(pynvml.nvmlDeviceGetGpuInstanceId, handle)
            found.append(MigDevice(position, uuid, gpu_instance))
    return tuple(found)


class Instance:
    """A GPU instance: one GPU, however many compute instances share its memory."""

    def __init__(self, card: Any, parent: Identity, devices: Sequence[MigDevice]) -> None:
        handles = [
            asked(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, card, device.position)
            for device in devices
        ]
        name: str = asked(pynvml.nvmlDeviceGetName, handles[0])
        # "NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb": the compute instance's share is not the memory's.
        profile = re.sub(r"^\d+c\.", "", name.rpartition(" MIG ")[2]) if " MIG " in name else None
        self._identity = Identity(
            index=f"{parent.index}:{devices[0].position}",
            uuid=devices[0].uuid,
            name=name,
            driver_version=parent.driver_version,
            pci_bus_id=parent.pci_bus_id,
            parent_uuid=parent.uuid,
            mig_profile=profile,
        )
        self._memory = Memory(handles[0])
        self._processes = Processes(*handles)

    def read(self, now: float) -> GpuSample:
        """The instance now. Refused where its card is lost."""
        memory = self._memory.read(now)
        if memory is None and self._memory.code != pynvml.NVML_ERROR_NO_PERMISSION:
            why = card_refused(self._memory.code)
            return self._identity.sample(state="unreadable", detail=why)
        return self._identity.sample(memory=memory, processes=self._processes.read(now))


def instances(card: Any, parent: Identity, devices: Sequence[MigDevice]) -> list[Instance]:
    """The GPU instances of a card, in the order of their first devices."""
    grouped: dict[int, list[MigDevice]] = {}
    for device in devices:
        grouped.setdefault(device.gpu_instance, []).append(device)
    return [Instance(card, parent, group) for group in grouped.values()]
