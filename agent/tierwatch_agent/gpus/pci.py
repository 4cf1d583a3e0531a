"""NVIDIA GPUs as the kernel lists them, and whether they sleep: asked without waking them."""

from __future__ import annotations

from pathlib import Path

_NVIDIA = "0x10de"
_DISPLAY = "0x03"
"""A PCI class: VGA and 3D controllers, not a card's sound or USB function."""


def has_nvidia_gpu(sysfs_root: Path) -> bool | None:
    """Whether there is one, driven or not; None where the kernel does not list devices."""
    devices = sysfs_root / "bus/pci/devices"
    if not devices.is_dir():
        return None
    return any(_is_nvidia_gpu(device) for device in devices.iterdir())


def driven_gpus(sysfs_root: Path) -> tuple[str, ...]:
    """Addresses ("0000:01:00.0") of the GPUs that NVIDIA's driver drives, in NVML's order."""
    bound = sysfs_root / "bus/pci/drivers/nvidia"
    if not bound.is_dir():
        return ()
    return tuple(sorted(d.name for d in bound.iterdir() if ":" in d.name and _is_nvidia_gpu(d)))


def may_sleep(sysfs_root: Path, address: str) -> bool:
    """Whether the kernel is allowed to put the device to sleep while it is not in use."""
    return _read(_power(sysfs_root, address) / "control") == "auto"


def is_asleep(sysfs_root: Path, address: str) -> bool:
    """Whether the device sleeps right now."""
    return _read(_power(sysfs_root, address) / "runtime_status") == "suspended"


def _power(sysfs_root: Path, address: str) -> Path:
    return sysfs_root / "bus/pci/devices" / address / "power"


def _is_nvidia_gpu(device: Path) -> bool:
    return _read(device / "vendor") == _NVIDIA and _read(device / "class").startswith(_DISPLAY)


def _read(file: Path) -> str:
    """An attribute; empty where the device has none such, or has just gone."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""
