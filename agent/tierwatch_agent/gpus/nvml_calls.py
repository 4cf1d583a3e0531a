"""NVML's calls on one device: bound once, and asked as often as what they tell can change.

nvidia-ml-py loads and initialises the library and declares its structs. Its wrappers raise for what
a card does not support, which costs more than the call; here that is an answer, and remembered.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from typing import Any

pynvml: Any = importlib.import_module("pynvml")
"""Without type stubs, hence ``Any``."""

SUCCESS = 0
UNTOLD_SECONDS = 600.0
"""For how long a call that a device does not support, or does not permit, is not made again."""

_NOT_AVAILABLE = 2**64 - 1
_ROOM = 32
"""How many processes a list has room for until one needs more."""
UNTOLD = frozenset(
    {
        pynvml.NVML_ERROR_INVALID_ARGUMENT,
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
        pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
    }
)
"""Codes that say that a device does not have what was asked for, or not for us."""
_SERIOUS = frozenset(
    {
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
    }
)


class Refused(Exception):
    """The driver refuses a device, or everything; ``code`` is NVML's."""

    def __init__(self, code: int) -> None:
        super().__init__(f"NVML error {code}")
        self.code = code


def asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """What one of nvidia-ml-py's functions returns; Refused where it raises."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        raise Refused(error.value) from error


def told(function: Callable[..., Any], *arguments: Any) -> Any:
    """As ``asked``, with None where the device does not have what was asked for."""
    try:
        return asked(function, *arguments)
    except Refused as refusal:
        if refusal.code in UNTOLD or refusal.code == pynvml.NVML_ERROR_NOT_FOUND:
            return None
        raise


def symbol(name: str) -> Callable[..., int] | None:
    """A function of the loaded library; None where the driver is too old to have it."""
    try:
        # By index and not by attribute: those are cached, and shared with nvidia-ml-py's wrappers.
        return pynvml.nvmlLib[name]
    except AttributeError:
        return None


class Call:
    """One call on one device; what it tells lies in ``target``.

    It is made again after ``every`` seconds, or after a while where the device cannot tell.
    """

    __slots__ = ("_arguments", "_due", "_every", "_function", "code", "target")

    def __init__(
        self,
        function: Callable[..., int] | None,
        *arguments: Any,
        target: Any,
        every: float = 0.0,
    ) -> None:
        self._function = function or _missing
        self._arguments = arguments
        self._every = every
        self._due = 0.0
        self.target = target
        self.code: int = SUCCESS

    def answered(self, now: float) -> bool:
        """Whether ``target`` tells; ``code`` says why not. Refused where the device is lost."""
        if now < self._due:
            return self.code == SUCCESS
        code = self.code = self._function(*self._arguments)
        if code == SUCCESS:
            self._due = now + self._every
            return True
        if code in _SERIOUS:
            raise Refused(code)
        if code in UNTOLD:
            self._due = now + UNTOLD_SECONDS
        return False

    def number(self, now: float) -> int | None:
        """What it tells, where that is a single number."""
        return self.target.value if self.answered(now) else None


def number(
    name: str,
    handle: Any,
    *arguments: Any,
    kind: type[ctypes.c_uint | ctypes.c_ulonglong] = ctypes.c_uint,
    every: float = 0.0,
) -> Call:
    """A call that tells a single number."""
    target = kind()
    return Call(symbol(name), handle, *arguments, ctypes.byref(target), target=target, every=every)


def field(field_id: int, handle: Any, every: float = 0.0) -> Call:
    """A figure that NVML numbers instead of giving it a function."""
    get = symbol("nvmlDeviceGetFieldValues") or _missing
    values = (pynvml.c_nvmlFieldValue_t * 1)()
    value = values[0]
    value.fieldId = field_id
    target = ctypes.c_uint()

    def ask() -> int:
        code = get(handle, 1, values)
        if code == SUCCESS:
            code = value.nvmlReturn
            target.value = value.value.uiVal
        return code

    return Call(ask, target=target, every=every)


class _OldProcess(ctypes.Structure):
    """A process as drivers before 450 list it."""

    _fields_ = (("pid", ctypes.c_uint), ("usedGpuMemory", ctypes.c_ulonglong))


class ProcessList:
    """One of the lists of processes of a device, filled anew each time it is called."""

    def __init__(self, name: str, handle: Any) -> None:
        process = pynvml.c_nvmlProcessInfo_v2_t
        layouts = [("_v3", process), ("_v2", process), ("", _OldProcess)]
        if symbol("nvmlDeviceGetConfComputeMemSizeInfo") and not symbol(
            "nvmlDeviceGetRunningProcessDetailList"
        ):
            # Some drivers of 535 have wider entries in _v3: read as the usual ones, every second
            # process would have a nonsensical pid.
            layouts = layouts[1:]
        found = [(symbol(name + suffix), layout) for suffix, layout in layouts]
        self._versions = [(function, layout) for function, layout in found if function]
        self._handle = handle
        self._count = ctypes.c_uint()
        self._entries: Any = ()
        self._make_room(_ROOM)

    def __call__(self) -> int:
        """Asks for it; NVML's return code."""
        while self._versions:
            self._count.value = room = len(self._entries)
            code = self._versions[0][0](self._handle, ctypes.byref(self._count), self._entries)
            if code == pynvml.NVML_ERROR_INSUFFICIENT_SIZE and self._count.value > room:
                self._make_room(2 * self._count.value)
            elif code == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                del self._versions[0]
                self._make_room(room)
            else:
                return code
        return pynvml.NVML_ERROR_FUNCTION_NOT_FOUND

    def held(self) -> Iterator[tuple[int, int | None]]:
        """Each process's pid and the bytes it holds; None where the driver does not tell."""
        for position in range(self._count.value):
            entry = self._entries[position]
            told = entry.usedGpuMemory
            yield entry.pid, None if told == _NOT_AVAILABLE else told

    def _make_room(self, count: int) -> None:
        if self._versions:
            self._entries = (self._versions[0][1] * count)()


def _missing(*_: object) -> int:
    return pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
