"""One scenario, two ways to the same alerts: the dashboard's own, Prometheus with Alertmanager.

Both watch the same machines at the same time and tell webhooks. ``pytest -s`` prints the table.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.end_to_end.alert_scenario import (
    SETTINGS,
    STORIES,
    Change,
    Story,
    Told,
    healthy,
    inventory,
    well,
)
from tests.end_to_end.prometheus_stack import PrometheusStack, checked
from tests.end_to_end.running_dashboard import RunningDashboard
from tests.fakes.agents import Agents, http
from tests.fakes.webhook import Webhook
from tests.processes import PATIENCE_SECONDS, eventually
from tierwatch_agent import exposition, snapshot
from tierwatch_dashboard.alerts import Alert
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.database import open_database

pytestmark = pytest.mark.slow

WARM_SCRAPES = 6
"""How often Prometheus has asked each before anything happens: it sees a counter rise only from a
value that it knows."""

EXPECTED = frozenset(told for story in STORIES for told in story.told)

ENDS_UNTOLD_BY_ALERTMANAGER = frozenset(
    told for told in EXPECTED if "hung-then-away" in told.labels and told.rule != "MachineDown"
)
"""Prometheus takes a job that nobody can see any more for one that moves, so its alert ends while
the machine is away. Alertmanager keeps that end to itself, since the machine's being down inhibits
it, and has forgotten the alert when the machine is back. The dashboard keeps the alert as it was,
and tells its end once the machine shows that the job moves."""


class Machine:
    """One story's machine: an agent that is played, now well, now not, now away."""

    def __init__(self, story: Story, agents: Agents) -> None:
        self._story = story
        self._agents = agents
        self._change: Change | None = well
        self._since = 0.0
        self.url = agents.play(self._answer)

    def show(self, change: Change | None, now: float) -> None:
        """From now on it shows this; None: nothing answers."""
        if change is None:
            self._agents.end(self.url)
        elif self._change is None:
            self._agents.play(self._answer, port=urlsplit(self.url).port or 0)
        self._change, self._since = change, now

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        change = self._change or well
        shown = change(healthy(self._story, time.time()), self._since)
        if head.startswith("GET /metrics"):
            type_ = exposition.TEXT_TYPE
            body = exposition.render(shown)
        else:
            type_ = "application/json"
            body = snapshot.encode(shown)
        writer.write(http(body, headers=f"Content-Type: {type_}\r\n"))


class Way(msgspec.Struct):
    """What one way told: each alert that began, each that ended, with who was told."""

    fired: Counter[tuple[str, Told]]
    over: Counter[tuple[str, Told]]


class EmbeddedHooks:
    """The dashboard's receivers. Its messages are prose, so its database says the labels."""

    def __init__(self, hooks: dict[str, Webhook]) -> None:
        self._hooks = hooks

    def ends(self) -> int:
        """How many ends were told so far."""
        return sum(1 for _ in self._lines("Over"))

    def told(self, alerts: Iterable[Alert]) -> Way:
        """What was told, given every alert that fired."""
        known = [(alert, _of(alert)) for alert in alerts]
        way = Way(Counter(), Counter())
        for receiver, rule, line in self._lines(""):
            found = [told for _, told in known if (told.rule, told.summary) == (rule, line)]
            assert len(found) == 1, (receiver, rule, line)
            way.fired[receiver, found[0]] += 1
        ended: Counter[tuple[str, str, str]] = Counter()
        for receiver, rule, line in self._lines("Over"):
            ended[receiver, rule, line.partition(": over since ")[0]] += 1
        for alert, told in known:
            # An end is told of its machine; of two GPUs' ends there are two lines.
            key = told.receiver, told.rule, alert.labels["machine"]
            if ended[key] > 0:
                ended[key] -= 1
                way.over[told.receiver, told] += 1
        assert not +ended
        return way

    def _lines(self, kind: str) -> Iterator[tuple[str, str, str]]:
        """Receiver, rule and one alert's line, of the messages that begin or end alerts."""
        for receiver, hook in self._hooks.items():
            for message in tuple(hook.told):
                first, rule, _machines = message["title"].split(": ", 2)
                lines = message["message"].partition("\n\n")[0].splitlines()
                if (first == "Over") == (kind == "Over"):
                    yield from ((receiver, rule, line) for line in lines)


class AlertmanagerHooks:
    """Alertmanager's receivers. It tells a whole group anew when one of it changes."""

    def __init__(self, hooks: dict[str, Webhook]) -> None:
        self._hooks = hooks

    def ends(self) -> int:
        """How many ends were told so far."""
        return len(self._seen("resolved"))

    def told(self) -> Way:
        """What was told: each life of an alert once."""
        return Way(self._counted("firing"), self._counted("resolved"))

    def _counted(self, status: str) -> Counter[tuple[str, Told]]:
        return Counter((receiver, told) for receiver, _life, told in self._seen(status))

    def _seen(self, status: str) -> set[tuple[str, str, Told]]:
        return {
            (receiver, f"{alert['fingerprint']} {alert['startsAt']}", _shown(alert))
            for receiver, hook in self._hooks.items()
            for message in tuple(hook.told)
            for alert in message["alerts"]
            if alert["status"] == status
        }


def test_the_same_alerts_fire_and_end_with_the_same_labels_and_summaries(tmp_path: Path) -> None:
    with ExitStack() as stack:
        hooks = [stack.enter_context(Webhook()) for _ in range(4)]
        ours = {"studio": hooks[0], "archive": hooks[1]}
        theirs = {"studio": hooks[2], "archive": hooks[3]}
        agents = stack.enter_context(Agents())
        machines = {story.machine: Machine(story, agents) for story in STORIES}
        config = tmp_path / "tierwatch.toml"
        config.write_text(_config(machines, ours), encoding="utf-8")
        dashboard = stack.enter_context(RunningDashboard(tmp_path))
        prometheus = stack.enter_context(
            PrometheusStack(
                tmp_path / "prometheus",
                config,
                urlsplit(dashboard.url).netloc,
                {
                    "studio": f"http://127.0.0.1:{theirs['studio'].port}/",
                    "nobody": f"http://127.0.0.1:{theirs['archive'].port}/",
                },
            )
        )
        assert "SUCCESS" in checked(prometheus.rules)
        eventually(dashboard.is_ready, bool, "a dashboard that has heard of every machine")
        eventually(
            lambda: prometheus.values(f"count(sum_over_time(up[1m]) >= {WARM_SCRAPES})"),
            lambda counts: counts == [len(machines) + 1],
            "scrapes of all",
        )
        _play(machines)
        embedded, alertmanager = EmbeddedHooks(ours), AlertmanagerHooks(theirs)
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until and (
            embedded.ends() < len(EXPECTED)
            or alertmanager.ends() < len(EXPECTED - ENDS_UNTOLD_BY_ALERTMANAGER)
        ):
            time.sleep(0.2)
        assert dashboard.end() == 0
        told = alertmanager.told()
        own = embedded.told(_fired(dashboard.database))
    print(f"\n{_table(own, told)}")
    assert own.fired == _once(EXPECTED)
    assert told.fired == _once(EXPECTED)
    assert own.over == _once(EXPECTED)
    assert told.over == _once(EXPECTED - ENDS_UNTOLD_BY_ALERTMANAGER)


def _config(machines: dict[str, Machine], hooks: dict[str, Webhook]) -> str:
    receivers = "".join(
        f'[[alerts.receiver]]\nname = "{name}"\nurl = "{hook.url}"\n'
        for name, hook in hooks.items()
    )
    routes = (
        '[[alerts.route]]\nreceivers = ["studio"]\n'
        '[[alerts.route]]\nreceivers = ["archive"]\nseverities = ["info"]\n'
    )
    own = '[dashboard]\npoll_interval = "1s"\n'
    its = "".join(inventory(story, machines[story.machine].url) for story in STORIES)
    return f"{own}{SETTINGS}{receivers}{routes}{its}"


def _play(machines: dict[str, Machine]) -> None:
    """Lets the scenario happen."""
    steps = sorted(
        ((second, story.machine, change) for story in STORIES for second, change in story.steps),
        key=lambda step: step[0],
    )
    began = time.time()
    for second, machine, change in steps:
        time.sleep(max(0.0, began + second - time.time()))
        machines[machine].show(change, time.time())


def _fired(database: Path) -> list[Alert]:
    engine = open_database(f"sqlite:///{database.as_posix()}")
    try:
        return [past.alert for past in AlertStore(engine).history(1000)]
    finally:
        engine.dispose()


def _of(alert: Alert) -> Told:
    return Told(alert.rule, alert.severity, _written(alert.labels), alert.summary)


def _shown(alert: dict[str, Any]) -> Told:
    labels = dict(alert["labels"])
    rule, severity = labels.pop("alertname"), labels.pop("severity")
    return Told(rule, severity, _written(labels), alert["annotations"]["summary"])


def _written(labels: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _once(alerts: Collection[Told]) -> Counter[tuple[str, Told]]:
    return Counter((told.receiver, told) for told in alerts)


def _table(own: Way, told: Way) -> str:
    """What each way told of each alert: how often it began, how often it ended."""
    rows: list[tuple[str, ...]] = [("alert", "labels", "to", "embedded", "Alertmanager")]
    for key in sorted({*own.fired, *own.over, *told.fired, *told.over, *_once(EXPECTED)}):
        receiver, alert = key
        counts = (f"{way.fired[key]} fired {way.over[key]} over" for way in (own, told))
        rows.append((alert.rule, alert.labels, receiver, *counts))
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n" + "\n".join(lines)
