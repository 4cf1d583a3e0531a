"""Which GPUs a generation server was told to use: by its options, or by its environment.

Pure. An index says which card is meant only where CUDA counts as the driver does: CUDA's own order
is "fastest first" (CUDA_DEVICE_ORDER), so that on unlike cards an index alone says nothing.
https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from tierwatch_agent.snapshot import GpuSample

VISIBLE_OPTIONS = ("--cuda-device", "--gpu-device-id")
"""ComfyUI's and Forge's: they set CUDA_VISIBLE_DEVICES themselves."""
POSITION_OPTIONS = ("--device-id",)
"""A1111's and SD.Next's: a position among the visible ones."""
NO_GPU_OPTIONS = frozenset({"--cpu", "--always-cpu"})
CUDA_VARIABLES = ("CUDA_VISIBLE_DEVICES",)
AMD_VARIABLES = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


def told_gpus(
    command_line: Sequence[str], environment: Mapping[str, str] | None, gpus: Sequence[GpuSample]
) -> tuple[str, ...]:
    """UUIDs of the GPUs that a server may use; empty where it cannot be told.

    Args:
        command_line: The server's arguments, its program first.
        environment: What it was started with; None where the system does not tell.
        gpus: The machine's, in their driver's order.
    """
    if not NO_GPU_OPTIONS.isdisjoint(command_line):
        return ()
    cards = [gpu for gpu in gpus if gpu.parent_uuid is None]
    nvidia = [card for card in cards if card.vendor == "nvidia"]
    cards = nvidia or cards
    variables = CUDA_VARIABLES if nvidia else AMD_VARIABLES
    known = environment or {}
    asked = _option(command_line, VISIBLE_OPTIONS)
    if asked is None:
        asked = next((known[name] for name in variables if name in known), None)
    in_order = known.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    position = _option(command_line, POSITION_OPTIONS)
    if asked is None:
        # Without a look at the environment, a position counts among what nobody knows.
        if position is None or environment is None:
            return _only(cards)
        return _named(position, cards, gpus, in_order=in_order)
    visible = _named(asked, cards, gpus, in_order=in_order)
    if position is None:
        return visible
    place = int(position) if position.isdecimal() else len(visible)
    return visible[place : place + 1]


def _only(cards: Sequence[GpuSample]) -> tuple[str, ...]:
    """The machine's card, where it has just one that is not split into instances."""
    return (cards[0].uuid,) if len(cards) == 1 and not cards[0].partitioned else ()


def _named(
    asked: str, cards: Sequence[GpuSample], gpus: Sequence[GpuSample], *, in_order: bool
) -> tuple[str, ...]:
    """The GPUs of a list such as "0,1" or "GPU-8932f937"; CUDA stops at the first that is none."""
    alike = len({(card.name, card.memory and card.memory.total_bytes) for card in cards}) <= 1
    uuids: list[str] = []
    for entry in (part.strip() for part in asked.split(",")):
        if entry.isdecimal():
            if not (in_order or alike):
                return ()
            found = cards[int(entry)].uuid if int(entry) < len(cards) else None
        else:
            found = next((gpu.uuid for gpu in gpus if entry and gpu.uuid.startswith(entry)), None)
        if found is None:
            break
        uuids.append(found)
    return tuple(dict.fromkeys(uuids))


def _option(command_line: Sequence[str], names: Sequence[str]) -> str | None:
    """The value of an option: ``--cuda-device 1`` or ``--cuda-device=1``."""
    words = [word for argument in command_line for word in argument.split("=", 1)]
    return next((value for word, value in itertools.pairwise(words) if word in names), None)
