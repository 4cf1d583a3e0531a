"""Which GPUs a server was told to use, by its options and its environment."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tierwatch_agent.servers.gpu_choice import told_gpus
from tierwatch_agent.snapshot import GpuMemory, GpuSample


def gpu(number: int, name: str = "NVIDIA L40S", vendor: str = "nvidia") -> GpuSample:
    return GpuSample(
        index=str(number),
        uuid=f"GPU-{number}aaa",
        name=name,
        vendor=vendor,
        source="nvml",
        memory=GpuMemory(total_bytes=48 * 10**9, free_bytes=48 * 10**9, used_bytes=0),
    )


ALIKE = (gpu(0), gpu(1), gpu(2))
UNLIKE = (gpu(0), gpu(1, name="NVIDIA GeForce RTX 4090"))
COMFYUI = ("python", "main.py")


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ((), {}, ()),
        ((), None, ()),
        ((), {"CUDA_VISIBLE_DEVICES": "1"}, (1,)),
        ((), {"CUDA_VISIBLE_DEVICES": "2,0"}, (2, 0)),
        ((), {"CUDA_VISIBLE_DEVICES": "GPU-1aaa"}, (1,)),
        ((), {"CUDA_VISIBLE_DEVICES": "GPU-1a"}, (1,)),
        ((), {"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        ((), {"CUDA_VISIBLE_DEVICES": ""}, ()),
        ((), {"CUDA_VISIBLE_DEVICES": "0,7,1"}, (0,)),
        (("--cuda-device", "2"), {"CUDA_VISIBLE_DEVICES": "1"}, (2,)),
        (("--cuda-device=1",), {}, (1,)),
        (("--cuda-device",), {}, ()),
        (("--device-id", "1"), {}, (1,)),
        (("--device-id", "1"), {"CUDA_VISIBLE_DEVICES": "2,0"}, (0,)),
        (("--device-id", "1"), None, ()),
        (("--cpu",), {"CUDA_VISIBLE_DEVICES": "1"}, ()),
    ],
)
def test_of_cards_alike(
    arguments: tuple[str, ...], environment: Mapping[str, str] | None, told: tuple[int, ...]
) -> None:
    expected = tuple(ALIKE[number].uuid for number in told)
    assert told_gpus((*COMFYUI, *arguments), environment, ALIKE) == expected


def test_an_index_says_nothing_of_unlike_cards_unless_the_order_is_the_driver_s() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "1"}
    assert told_gpus(COMFYUI, environment, UNLIKE) == ()
    ordered = {**environment, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert told_gpus(COMFYUI, ordered, UNLIKE) == ("GPU-1aaa",)
    assert told_gpus(COMFYUI, {"CUDA_VISIBLE_DEVICES": "GPU-0aaa"}, UNLIKE) == ("GPU-0aaa",)


def test_of_a_single_card_it_is_that_one() -> None:
    assert told_gpus(COMFYUI, {}, ALIKE[:1]) == ("GPU-0aaa",)
    assert told_gpus((*COMFYUI, "--cpu"), {}, ALIKE[:1]) == ()
    assert told_gpus(COMFYUI, {}, ()) == ()


def test_a_card_that_is_split_is_not_taken_for_the_one() -> None:
    parent = GpuSample(
        index="0", uuid="GPU-0", name="A100", vendor="nvidia", source="nvml", partitioned=True
    )
    instance = GpuSample(
        index="0:0",
        uuid="MIG-1",
        name="A100 MIG",
        vendor="nvidia",
        source="nvml",
        parent_uuid="GPU-0",
    )
    assert told_gpus(COMFYUI, {}, (parent, instance)) == ()
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-1"}
    assert told_gpus(COMFYUI, environment, (parent, instance)) == ("MIG-1",)


def test_of_amd_cards_their_own_variable_tells() -> None:
    cards = (gpu(0, "RX 7900 XTX", "amd"), gpu(1, "RX 7900 XTX", "amd"))
    assert told_gpus(COMFYUI, {"HIP_VISIBLE_DEVICES": "1"}, cards) == ("GPU-1aaa",)
