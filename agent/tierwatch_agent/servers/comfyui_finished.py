"""What a ComfyUI has finished lately, read by bounded pages that leave no finished job out."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from typing import Any
from urllib.parse import quote

from tierwatch_agent.servers.comfyui_jobs import Listed, detailed, history, listed, total
from tierwatch_agent.servers.fields import table
from tierwatch_agent.servers.http import Client, NoSuchPage, NotUnderstood, TooLarge
from tierwatch_agent.snapshot import JobRecord

TOLD = 256
"""Finished jobs told with each reading."""
KNOWN = 4096
"""Ids known to have been told, so that none is read twice."""
JOBS_PAGES = (20, 100, 500)
HISTORY_PAGES = (4, 16, 64)
"""Sizes of pages: the next larger one is asked for where a smaller one may leave a job out."""
FIRST_PAGE = 100
DETAILS_AT_ONCE = 20
STATUSES = "completed,failed,cancelled"
STATUSES_AT_FIRST = "completed,failed"
"""What the first versions of the jobs API understand."""


class Finished:
    """One server's finished jobs."""

    def __init__(self, server: str, client: Client) -> None:
        self._server = server
        self._client = client
        self._statuses = STATUSES
        self._records: dict[str, JobRecord] = {}
        self._known: dict[str, None] = {}
        self._waiting: dict[str, Listed] = {}
        self._total: int | None = None

    @cached_property
    def has_jobs_api(self) -> bool:
        """Whether it is new enough for ``/api/jobs``."""
        try:
            self._client.get("/api/jobs?status=in_progress&limit=1")
        except NoSuchPage:
            return False
        return True

    @property
    def records(self) -> tuple[JobRecord, ...]:
        """Those known, the last one read at the end."""
        return tuple(self._records.values())

    @property
    def wants_more(self) -> bool:
        """Whether jobs are known by their list alone, so that another look would describe them."""
        return bool(self._waiting)

    @property
    def latest_end(self) -> float | None:
        """When the last of them ended."""
        return max(
            (job.ended_at for job in (*self._records.values(), *self._waiting.values())),
            default=None,
        )

    def look(self, gone: Collection[str]) -> None:
        """Reads what is new. ``gone``: prompts that ran when last seen and do so no longer."""
        if self.has_jobs_api:
            self._look_at_jobs(gone)
        else:
            self._look_at_history()
        while len(self._records) > TOLD:
            del self._records[next(iter(self._records))]
        while len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]

    def _look_at_jobs(self, gone: Collection[str]) -> None:
        fresh = {job.id: job for job in self._read_jobs()}
        # The list is in the order of queueing: one that had waited for long may be far down.
        for prompt_id in gone:
            if prompt_id not in fresh and prompt_id not in self._known:
                found = listed({"jobs": [self._detail(prompt_id)]})
                fresh.update((job.id, job) for job in found)
        for job in sorted(fresh.values(), key=lambda job: job.ended_at):
            self._known[job.id] = None
            self._waiting[job.id] = job
        for job in list(self._waiting.values())[:DETAILS_AT_ONCE]:
            self._records[job.id] = detailed(job, self._detail(job.id), self._server)
            del self._waiting[job.id]

    def _read_jobs(self) -> list[Listed]:
        """The finished jobs that are not known yet."""
        fresh: list[Listed] = []
        before, count = self._total, None
        for size in (FIRST_PAGE,) if before is None else JOBS_PAGES:
            page = self._jobs_page(size)
            if page is None:
                break
            fresh = [job for job in listed(page) if job.id not in self._known]
            count = total(page) or 0
            if len(fresh) < size and count - (before or 0) <= len(fresh):
                break
        self._total = count
        return fresh

    def _jobs_page(self, size: int) -> Any:
        """One page of the list; None where it is too large to be read."""
        try:
            return self._client.get(f"/api/jobs?status={self._statuses}&limit={size}")
        except TooLarge:
            return None
        except NotUnderstood:
            if self._statuses == STATUSES_AT_FIRST:
                raise
            self._statuses = STATUSES_AT_FIRST
            return self._jobs_page(size)

    def _detail(self, prompt_id: str) -> Any:
        """All of one job; None where it is gone from the history, or full of embedded images."""
        try:
            return self._client.get(f"/api/jobs/{quote(prompt_id, safe='')}")
        except (NoSuchPage, TooLarge):
            return None

    def _look_at_history(self) -> None:
        found: dict[str, JobRecord] = {}
        for size in HISTORY_PAGES:
            page = self._history_page(size)
            if page is None:
                break
            found = history(page, self._server)
            if len(table(page)) < size or not self._known.keys().isdisjoint(found):
                break
        for prompt_id, record in found.items():
            if prompt_id not in self._known:
                self._known[prompt_id] = None
                self._records[prompt_id] = record

    def _history_page(self, size: int) -> Any:
        """The newest of the history; None where even one of them is too large to be read."""
        while size:
            try:
                return self._client.get(f"/history?max_items={size}")
            except TooLarge:
                size //= 2
        return None
