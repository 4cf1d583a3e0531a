"""What NVML's error codes mean to whoever has to act on them: clauses, without a full stop."""

from __future__ import annotations

from tierwatch_agent.gpus import SourceError
from tierwatch_agent.gpus.nvml_calls import pynvml
from tierwatch_agent.words import phrase

_OF_THE_DRIVER = {
    pynvml.NVML_ERROR_UNINITIALIZED: phrase(
        "the driver's library was closed under the agent, which opens it again"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: phrase(
        "the NVIDIA driver is not loaded: after an update of the driver or the system this "
        "needs a reboot, otherwise install the driver again"
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: phrase(
        "the NVIDIA driver was updated and its old parts are still in use: a reboot, or "
        "reloading the driver's modules, finishes the update"
    ),
}
_OF_A_CARD = {
    pynvml.NVML_ERROR_GPU_IS_LOST: phrase(
        "it no longer answers on its bus: as a rule only a reboot, or switching the machine "
        "off and on, brings it back"
    ),
    pynvml.NVML_ERROR_RESET_REQUIRED: phrase(
        "it needs a reset: a reboot, or nvidia-smi --gpu-reset once nothing uses it (end the "
        "agent as well)"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: phrase(
        "the agent's user may not use it: it needs access to /dev/nvidia*"
    ),
    pynvml.NVML_ERROR_OPERATING_SYSTEM: phrase(
        "the system blocks the access to it: see the device rules of the container or service "
        "that the agent runs in"
    ),
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: phrase("its power cables are not properly connected"),
    pynvml.NVML_ERROR_IRQ_ISSUE: phrase(
        "the kernel has trouble with its interrupts: see the kernel's log"
    ),
    pynvml.NVML_ERROR_TIMEOUT: phrase("the driver gave up waiting for it: see the kernel's log"),
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: phrase("its driver is too old for the agent: update it"),
    pynvml.NVML_ERROR_UNKNOWN: phrase(
        "the driver gives no reason (Unknown Error): in a container, its access to the GPUs "
        "was taken away and a restart gives it back, otherwise see the kernel's log"
    ),
}


def concerns_driver(code: int) -> bool:
    """Whether an error is of the driver as a whole, and not of one card."""
    return code in _OF_THE_DRIVER


def card_refused(code: int) -> str:
    """Why a card is not read."""
    return _OF_A_CARD.get(code) or f"the driver answers: {pynvml.NVMLError(code)}"


def driver_refused(code: int, who: str = "the NVIDIA driver cannot be used") -> SourceError:
    """Why nothing is read; ``who`` is said first where the code alone does not tell."""
    words = _OF_THE_DRIVER.get(code) or f"{who}: {card_refused(code)}"
    mapped_before_update = code == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    lost = code == pynvml.NVML_ERROR_GPU_IS_LOST
    return SourceError(words, replace_process=mapped_before_update, lost=lost)
