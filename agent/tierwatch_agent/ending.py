"""Waiting for the signal to end, so that it is never missed and never a deadlock."""

from __future__ import annotations

import signal
import socket
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Ending:
    """From its making on, SIGTERM and SIGINT end the program by ``wait`` returning.

    A handler that sets a ``threading.Event`` can deadlock with the thread that waits for it, since
    both want the event's lock; Python's own wake-up socket wants none, on Windows too.
    """

    def __init__(self) -> None:
        self._wakes, self._woken_by = socket.socketpair()
        self._woken_by.setblocking(False)
        signal.set_wakeup_fd(self._woken_by.fileno())
        for number in SIGNALS:
            signal.signal(number, _leave_it_to_the_socket)

    def wait(self) -> None:
        """Returns once a signal has come; more of them change nothing. For the main thread."""
        self._wakes.recv(1)


def _leave_it_to_the_socket(_signal: int, _frame: FrameType | None) -> None:
    """Python calls a handler in the main thread, whatever that is doing: it must do nothing."""
