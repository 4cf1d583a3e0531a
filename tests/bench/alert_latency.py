"""How long after a breach the studio's webhook is told of it, and where the time goes.

    python -m tests.bench.alert_latency [--rounds 3]

A fake driver, a process that plays ComfyUI, real agents, a real dashboard with default settings.
In each round one machine's job stops on a full card, and another machine's card is taken by others.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.end_to_end.running_dashboard import RunningDashboard
from tests.end_to_end.troubled_machines import CrowdedMachine, StallingMachine, receiver
from tests.fakes.webhook import Webhook
from tests.processes import eventually
from tierwatch_agent.pace import LEAST_SECONDS
from tierwatch_agent.snapshot import MachineSnapshot
from tierwatch_dashboard.inventory import Policy

STALLED, BELOW = "GenerationJobStalledOnVram", "MachineBelowTier"
FOR_SECONDS = {STALLED: 0.0, BELOW: Policy().below_for_seconds}
BOUND_SECONDS = {STALLED: LEAST_SECONDS, BELOW: 0.0}
POLL_SECONDS = 5.0
LONGEST_SECONDS = 120.0
LOOK_SECONDS = 0.2
PARTS = {
    "sample": "until the agent's snapshot shows it, beyond the stall's own bound",
    "poll": "until the dashboard has such a snapshot",
    "for": "how long it must last to count, by the policy and the rule",
    "evaluate": "beyond that, until the alert fires",
    "group": "until its message is in the outbox: others may join it meanwhile",
    "send": "until the webhook has it",
}

Parts = dict[str, float]


@dataclass
class Watched:
    """One machine in trouble, and when each stage was first seen reached (Unix seconds)."""

    rule: str
    machine: StallingMachine | CrowdedMachine
    shows: Callable[[MachineSnapshot], bool]
    known_as: str
    """The state of its verdict by which the dashboard knows."""
    breach: float = 0.0
    shown: float | None = None
    known: float | None = None

    def look(self, dashboard: RunningDashboard) -> None:
        """Notes what has been reached."""
        if self.shown is None:
            snapshot = self.machine.agent.snapshot()
            self.shown = snapshot.taken_at if self.shows(snapshot) else None
        elif self.known is None:
            verdict = dashboard.machine(self.machine.id)["verdict"]
            self.known = verdict["since"] if verdict["state"] == self.known_as else None

    def parts(self, fired: float, made: float, came: float) -> Parts:
        """What each stage took, in seconds; and all of it beyond its bound and ``for``."""
        if self.shown is None or self.known is None:
            raise AssertionError(f"{self.rule}: {self.shown=} {self.known=}")
        bound, must_last = BOUND_SECONDS[self.rule], FOR_SECONDS[self.rule]
        return {
            "sample": self.shown - self.breach - bound,
            "poll": self.known - self.shown,
            "for": must_last,
            "evaluate": fired - self.known - must_last,
            "group": made - fired,
            "send": came - made,
            "beyond": came - self.breach - bound - must_last,
        }


def is_stalled(snapshot: MachineSnapshot) -> bool:
    return snapshot.servers[0].stall is not None


def is_crowded(snapshot: MachineSnapshot) -> bool:
    attribution = snapshot.gpus[0].attribution
    return attribution is not None and attribution.available_bytes < 12 * 10**9


def play(offset: float) -> dict[str, Parts]:
    """One round; ``offset``: how much later than usual the breach comes, between two polls."""
    with tempfile.TemporaryDirectory() as name, Webhook() as webhook:
        root = Path(name)
        folders = [root / id_ for id_ in ("render-01", "render-02")]
        for folder in folders:
            folder.mkdir()
        with (
            StallingMachine(folders[0], "render-01") as stalling,
            CrowdedMachine(folders[1], "render-02") as crowded,
        ):
            settings = receiver(webhook) + stalling.table + crowded.table
            (root / "tierwatch.toml").write_text(settings, encoding="utf-8")
            with RunningDashboard(root) as dashboard:
                watched = (
                    Watched(STALLED, stalling, is_stalled, "stalled"),
                    Watched(BELOW, crowded, is_crowded, "at_risk"),
                )
                breach(dashboard, stalling, crowded, watched, offset)
                follow(dashboard, webhook, watched)
                return {each.rule: each.parts(*told(each.rule, root, webhook)) for each in watched}


def breach(
    dashboard: RunningDashboard,
    stalling: StallingMachine,
    crowded: CrowdedMachine,
    watched: tuple[Watched, ...],
    offset: float,
) -> None:
    """All is well for a while; then the trouble begins."""
    stalling.begin()
    stalling.work(steps=20)
    for machine in (stalling, crowded):
        eventually(
            lambda id_=machine.id: dashboard.machine(id_)["verdict"]["state"],
            lambda state: state == "ok",
            f"{machine.id} well",
        )
    time.sleep(offset)
    stalling.step()
    watched[0].breach = time.time()
    stalling.fill()
    crowded.crowd()
    watched[1].breach = time.time()


def follow(dashboard: RunningDashboard, webhook: Webhook, watched: tuple[Watched, ...]) -> None:
    """Looks on until the webhook was told of all of it."""
    until = time.monotonic() + LONGEST_SECONDS
    while not all(any(each.rule in title for title in webhook.titles) for each in watched):
        if time.monotonic() > until:
            raise AssertionError(f"the webhook was told of {webhook.titles} only")
        for each in watched:
            each.look(dashboard)
        time.sleep(LOOK_SECONDS)


def told(rule: str, folder: Path, webhook: Webhook) -> tuple[float, float, float]:
    """When the alert fired, its message was in the outbox, and the webhook had it."""
    database = folder / "tierwatch.db"
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10)
    try:
        ((alert,),) = connection.execute("SELECT document FROM alerts WHERE rule = ?", (rule,))
        messages = connection.execute("SELECT document, made_at FROM outbox").fetchall()
    finally:
        connection.close()
    fired: dict[str, Any] = json.loads(alert)
    (made,) = (at / 1000 for document, at in messages if rule in json.loads(document)["title"])
    (came,) = (
        at for title, at in zip(webhook.titles, webhook.arrived_at, strict=True) if rule in title
    )
    return fired["fired_at"], made, came


def show(rule: str, what: str, parts: Parts) -> None:
    """Prints a row."""
    columns = "".join(f"{parts[part]:10.2f}" for part in (*PARTS, "beyond"))
    print(f"{rule:28}{what:8}{columns}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for part, meaning in PARTS.items():
        print(f"{part:10}{meaning}")
    print(f"{'beyond':10}all of it, without the stall's bound ({LEAST_SECONDS:g} s) and for\n")
    print(f"{'seconds':36}{''.join(f'{part:>10}' for part in (*PARTS, 'beyond'))}")
    taken: dict[str, list[Parts]] = {STALLED: [], BELOW: []}
    for number in range(rounds):
        for rule, parts in play(POLL_SECONDS * number / rounds).items():
            taken[rule].append(parts)
            show(rule, f"round {number + 1}", parts)
    for rule, each in taken.items():
        middle = {part: statistics.median(parts[part] for parts in each) for part in each[0]}
        show(rule, "median", middle)


if __name__ == "__main__":
    main()
