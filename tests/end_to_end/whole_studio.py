"""A real dashboard with something to be seen on every page: its agents are played on sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
from flask import Flask
from werkzeug.serving import make_server

from tests.dashboard.editing import HERE, table
from tests.dashboard.making import kept, running, server, stalled_machine, with_servers
from tests.dashboard.studio import NOW, machines
from tests.fakes.agents import Agents, says
from tests.processes import eventually, free_port
from tierwatch_agent.snapshot import JobRecord, MachineSnapshot, ServerSample, encode
from tierwatch_agent.wording import evidence_of, pace
from tierwatch_agent.words import commas, packed, say
from tierwatch_dashboard.config import Config
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.inventory import Machine
from tierwatch_dashboard.running import Dashboard

SETTINGS = """\
# A studio in a hurry.
[policy]
below_for = "1s"
clear_for = "1s"
stale_after = "2s"
down_after = "2s"

[alerts.rule]
MachineDown = { for = "0s" }
MachineBelowTier = { for = "0s" }
MachineAtRisk = { for = "1h" }
"""

EVIDENCE = evidence_of(
    [
        commas(
            [
                say("no {unit} for {time}", unit=say("step"), time=pace(140)),
                say("usually {time}", time=pace(0.9)),
            ]
        ),
        say("{free} free of {total}", free="180 MiB", total="11.9 GiB"),
    ]
)
"""Of what a stall is judged by, as an agent says it."""


class WholeStudio:
    """``with WholeStudio(folder) as studio``: its address is ``url``, its application ``app``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.url = ""

    def __enter__(self) -> WholeStudio:
        with self._stack:
            agents = self._stack.enter_context(Agents())
            self.app = self._started(agents)
            self.url = self._served()
            eventually(self._alerts, lambda fire: len(fire) >= 3, "alerts fire")
            eventually(self._recipes, bool, "what is made is known")
            self._do_what_people_do()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def addresses(self) -> list[str]:
        """Every address of a page that there is, without a filter: a new page is among them."""
        client = self.app.test_client()
        rules = [r for r in self.app.url_map.iter_rules() if "GET" in (r.methods or ())]
        found = [r.rule for r in rules if not r.arguments]
        found += [
            r.rule.replace("<machine_id>", machine)
            for r in rules
            if r.arguments == {"machine_id"}
            for machine in ("render-01", "render-03", "render-05", "render-07", "server-a100")
        ]
        return [path for path in found if client.get(path).text.startswith("<!doctype html>")]

    def _started(self, agents: Agents) -> Flask:
        tables = [table(_placed(view, agents)) for view in _views()]
        file = self._folder / "tierwatch.toml"
        file.write_text("\n".join([SETTINGS, *tables]), encoding="utf-8")
        database = f"sqlite:///{(self._folder / 'tierwatch.db').as_posix()}"
        dashboard = Dashboard(Config(file=file, database=database, poll_interval_seconds=0.5))
        dashboard.start()
        self._stack.callback(dashboard.stop)
        return dashboard.app

    def _served(self) -> str:
        server = make_server("127.0.0.1", 0, self.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self._stack.callback(server.server_close)
        self._stack.callback(thread.join)
        self._stack.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"

    def _alerts(self) -> list[dict[str, str]]:
        answer = self.app.test_client().get("/api/v1/alerts").get_json()
        return answer["firing"] if answer else []

    def _recipes(self) -> list[object]:
        answer = self.app.test_client().get("/api/v1/recipes").get_json()
        return answer["recipes"] if answer else []

    def _do_what_people_do(self) -> None:
        client = self.app.test_client()
        fingerprints = [alert["fingerprint"] for alert in self._alerts()]
        later = {"ends": "2099-01-01T10:00", "name": "Ren", "comment": "新しいドライバ"}
        forms = (
            (f"/alerts/{fingerprints[0]}/acknowledge", {"note": "見ています", "name": "結衣"}),
            (f"/alerts/{fingerprints[1]}/silence", {"until": "1h"}),
            ("/alerts/silences", {"matchers": 'machine="spare-01"', **later}),
            ("/alerts/silences/maintenance", {"machine": "spare-01", **later}),
            ("/machines/spare-01/assignment", {"tier": "light", "name": "結衣"}),
        )
        for path, form in forms:
            answer = client.post(path, data=form, headers=HERE)
            assert answer.status_code == 303, f"{path}: {answer.status}"


def _views() -> Iterator[MachineView]:
    for view in (*machines(), stalled_machine()):
        if view.machine.id == "render-01":
            yield with_servers(view, server(running(), queue_pending=3))
        elif view.machine.id == "render-05":
            idle = server(kind="a1111", port=7860)
            gone = server(state="down", reason="its process has ended", queue_pending=None)
            yield with_servers(view, server(running(step=None, progress_ratio=0.4)), idle, gone)
        else:
            yield view


def _placed(view: MachineView, agents: Agents) -> Machine:
    """The machine, with the address at which its agent is played; one that is down has none."""
    if view.verdict.state == "down":
        return msgspec.structs.replace(view.machine, url=f"http://127.0.0.1:{free_port()}")
    assert view.snapshot
    url = agents.play(says(lambda known=view.snapshot: encode(_as_of_now(known))))
    return msgspec.structs.replace(view.machine, url=url)


def _as_of_now(known: MachineSnapshot) -> MachineSnapshot:
    now = time.time()
    return msgspec.structs.replace(
        known,
        taken_at=now,
        started_at=known.started_at - NOW + now,
        servers=tuple(_server(each, now) for each in known.servers),
        jobs=_finished(now) if known.machine == "render-01" else (),
    )


def _server(known: ServerSample, now: float) -> ServerSample:
    stall = known.stall
    if stall is not None:
        stall = msgspec.structs.replace(
            stall,
            since=stall.since - NOW + now,
            evidence=str(EVIDENCE),
            said=packed(EVIDENCE),
        )
    jobs = tuple(
        msgspec.structs.replace(job, started_at=(job.started_at or NOW) - NOW + now)
        for job in known.jobs
    )
    return msgspec.structs.replace(known, stall=stall, jobs=jobs)


def _finished(now: float) -> tuple[JobRecord, ...]:
    minute = 60 * int(now / 60)
    outcomes = ("success", "oom", "error", "interrupted", "success")
    return tuple(
        kept(
            100 - number,
            outcome=outcome,
            error="OutOfMemoryError" if outcome == "oom" else None,
            ended_at=minute - 60.0 * number,
        ).job
        for number, outcome in enumerate(outcomes)
    )
