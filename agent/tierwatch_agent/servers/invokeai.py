"""InvokeAI: its queue's status each time, and each item once when it starts and once when it ends.

It tells: up, version, queue, whether the processor is paused, the running job's model, size and
number of steps, finished jobs with outcome, class of error and exact moments. It does not tell: the
step (only to socket.io listeners, with a preview image each time), VRAM, a count of out-of-memory
errors. Its counts of finished items fall when the queue is pruned, so they only say that something
happened. Items have rising numbers: each is looked at in its turn, so that a job too short to be
seen running is found all the same. Versions before 6.6 do not list the numbers; with them counting
begins at the first job that is seen running, and a gap is passed only once a later one runs.
Sources: api/routers/session_queue.py and app_info.py, services/session_queue/ of InvokeAI 8e71a8a.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from tierwatch_agent.servers import NotThisServer, ServerError, ServerReading, fields
from tierwatch_agent.servers.http import TIMEOUT_SECONDS, Client, NoSuchPage, TooLarge
from tierwatch_agent.servers.invokeai_items import (
    ENDED,
    UNREADABLE,
    Item,
    item_of,
    record,
    removed,
    running_job,
)
from tierwatch_agent.snapshot import JobRecord, RunningJob

QUEUE = "/api/v1/queue/default"
AT_ONCE = 4
"""Items that one reading looks at, at most; each comes with its graph."""
IDS_BYTES = 2**20
LOOK_BACK_ITEMS = 16
LOOK_BACK_SECONDS = 3600.0
"""So many items that ended before the agent came are told: a fresh agent may have missed some."""
KEPT = 100


class InvokeAI:
    """One InvokeAI and its default queue."""

    def __init__(
        self,
        server_id: str,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._id = server_id
        self._client = Client(url, timeout_seconds)
        self._clock = clock
        self._since = clock() - LOOK_BACK_SECONDS
        self._closed = threading.Event()
        self._running: dict[int, RunningJob] = {}
        self._next: int | None = None
        self._counts_from_here = False
        self._tells_numbers = True
        self._ended: int | None = None
        self._backlog = False
        self._finished: deque[JobRecord] = deque(maxlen=KEPT)

    def identify(self) -> str | None:
        """Proves that it is an InvokeAI; its version."""
        try:
            version = fields.text(self._client.get("/api/v1/app/version"), "version")
        except NoSuchPage as missing:
            raise NotThisServer("it has no version page of InvokeAI's") from missing
        if version is None:
            raise NotThisServer("its version page tells none")
        return version

    def read(self) -> ServerReading:
        """Its queue now; few items at a time, the rest at the next reading."""
        status = self._client.get(f"{QUEUE}/status")
        queue = fields.table(status, "queue")
        if not queue:
            raise ServerError("its status has no queue")
        counts = [fields.count(queue, name) for name in ("completed", "failed", "canceled")]
        ended = sum(count for count in counts if count is not None)
        current = fields.count(queue, "item_id")
        in_progress = fields.count(queue, "in_progress")
        pending = fields.count(queue, "pending")
        if not self._counts_from_here:
            self._find_first((pending or 0) + (in_progress or 0))
        moved = ended != self._ended or (bool(self._running) and current not in self._running)
        self._ended = ended
        if current is not None and current not in self._running:
            self._start(current)
        if moved:
            self._end_running(current)
        if moved or self._backlog:
            self._look_further(current)
        return ServerReading(
            queue_pending=pending,
            queue_running=in_progress,
            paused=fields.flag(status, "processor", "is_started") is False,
            jobs=tuple(self._running.values()),
            finished=tuple(self._finished),
        )

    def wait(self, seconds: float) -> None:
        """Waits so long; the agent is no listener of the server's events."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Lets go of the connection and of whoever waits."""
        self._closed.set()
        self._client.close()

    def _find_first(self, unfinished: int) -> None:
        """Where counting begins: some items before those that have not ended yet."""
        numbers = self._numbers()
        self._counts_from_here = True
        if numbers is None:
            return
        self._next = next(iter(numbers[-(unfinished + LOOK_BACK_ITEMS) :]), 1)

    def _numbers(self) -> list[int] | None:
        """The numbers of all items there are; None: it does not tell, or they are too many."""
        if not self._tells_numbers:
            return None
        try:
            answer = self._client.get(f"{QUEUE}/item_ids?order_dir=DESC", IDS_BYTES)
        except (NoSuchPage, TooLarge):
            # Before 6.6, or with a history of 100,000.
            self._tells_numbers = False
            return None
        return sorted(n for n in fields.rows(answer, "item_ids") if type(n) is int)

    def _start(self, number: int) -> None:
        item = self._item(number)
        if item is not None and item.status not in ENDED:
            self._running[number] = running_job(item)
            self._next = number if self._next is None else self._next

    def _end_running(self, current: int | None) -> None:
        """Looks at what was seen running and is not the current item any more."""
        for number, job in list(self._running.items()):
            if number == current:
                continue
            item = self._item(number)
            if item is not None and item.status == "in_progress":
                continue  # with several GPUs, several run at once
            del self._running[number]
            self._keep(removed(job, self._id, self._clock()) if item is None else self._made(item))
            self._next = number + 1 if self._next == number else self._next

    def _look_further(self, current: int | None) -> None:
        """Goes on through the items in their order, up to the first that has not ended."""
        self._backlog = False
        numbers = self._numbers()
        for _ in range(AT_ONCE):
            if self._next is None or self._next in self._running:
                return
            if numbers is not None:
                later = [n for n in numbers if n >= self._next]
                if not later:
                    return
                self._next = later[0]
            item = self._item(self._next)
            if item is None:
                # Not there yet; or taken out of the queue, if a later one runs.
                if current is None or current == self._next:
                    return
                self._next = current
            elif item.status in ENDED:
                self._keep(self._made(item))
                self._next += 1
            else:
                return
        self._backlog = True

    def _item(self, number: int) -> Item | None:
        try:
            answer = self._client.get(f"{QUEUE}/i/{number}")
        except NoSuchPage:
            return None
        except TooLarge:
            return UNREADABLE
        item = item_of(answer)
        if item is None:
            raise ServerError(f"item {number} of its queue has no session or status")
        return item

    def _made(self, item: Item) -> JobRecord | None:
        return record(item, self._id, self._clock())

    def _keep(self, made: JobRecord | None) -> None:
        if made is None or made.ended_at < self._since:
            return
        if all(made.id != known.id for known in self._finished):
            self._finished.append(made)
