"""Xid errors, as the driver reports them while the agent watches. It replays none of the past."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable
from typing import Any

from tierwatch_agent.gpus.nvml_calls import SUCCESS, pynvml, symbol

_AT_ONCE = 100
"""The most events taken in one go: a card that reports more is heard again the next time."""


class XidWatch:
    """Counts Xids by card and number, for as long as the process lives."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[int, int]] = {}
        self._uuids: dict[int | None, str] = {}
        self._events: Any = None
        self._wait: Callable[..., int] | None = None
        self._event: Any = None

    def open(self) -> None:
        """Gets ready to listen; where the driver has no events (Windows), nothing is ever heard."""
        self._uuids = {}
        try:
            self._events = pynvml.nvmlEventSetCreate()
        except pynvml.NVMLError:
            self._events = None
        self._wait = symbol("nvmlEventSetWait_v2")
        self._event = pynvml.c_nvmlEventData_t()

    def watch(self, handle: Any, uuid: str) -> None:
        """Listens to a card from now on; a card that has no events is left out."""
        if self._events is None:
            return
        try:
            pynvml.nvmlDeviceRegisterEvents(
                handle, pynvml.nvmlEventTypeXidCriticalError, self._events
            )
        except pynvml.NVMLError:
            return
        self._uuids[_address(handle)] = uuid

    def listen(self) -> None:
        """Takes what was reported since; never waits."""
        if not self._uuids or self._wait is None:
            return
        for _ in range(_AT_ONCE):
            if self._wait(self._events, ctypes.byref(self._event), 0) != SUCCESS:
                return
            uuid = self._uuids.get(_address(self._event.device))
            if uuid is not None:
                counts = self._counts.setdefault(uuid, {})
                xid = self._event.eventData
                counts[xid] = counts.get(xid, 0) + 1

    def of(self, uuid: str) -> dict[int, int] | None:
        """A card's Xids and how often each came; None where there were none."""
        counts = self._counts.get(uuid)
        return dict(counts) if counts else None

    def close(self) -> None:
        """Stops listening; what was counted stays."""
        if self._events is not None:
            # A driver that is gone has freed it already.
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlEventSetFree(self._events)
            self._events = None
        self._uuids = {}


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value
