"""Which board is in force: the dashboard's own, or that of the Alertmanager in the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tierwatch_dashboard.alerts.alertmanager import Alertmanager
from tierwatch_dashboard.alerts.alertmanager_board import AlertmanagerBoard
from tierwatch_dashboard.alerts.board import AlertBoard
from tierwatch_dashboard.inventory import Inventory


class Boards:
    """Follows the settings, so that an edit of them needs no restart. For several threads."""

    def __init__(
        self, own: AlertBoard, inventory: Callable[[], Inventory], now: Callable[[], float]
    ) -> None:
        self._own = own
        self._inventory = inventory
        self._now = now
        self._lock = threading.Lock()
        self._url: str | None = None
        self._alertmanager: AlertmanagerBoard | None = None

    @property
    def board(self) -> AlertBoard:
        """The one in force now."""
        return self._in_force() or self._own

    @property
    def is_own(self) -> bool:
        """Whether the dashboard itself looks after alerts now."""
        return self._in_force() is None

    def refresh(self) -> None:
        """Asks the Alertmanager anew, where there is one; for the background."""
        alertmanager = self._in_force()
        if alertmanager is not None:
            alertmanager.refresh()

    def _in_force(self) -> AlertmanagerBoard | None:
        url = self._inventory().alerts.alertmanager
        with self._lock:
            if url != self._url:
                self._url = url
                self._alertmanager = (
                    AlertmanagerBoard(Alertmanager(url), self._now) if url else None
                )
            return self._alertmanager
