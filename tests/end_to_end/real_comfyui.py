"""A real agent beside a real ComfyUI: every job counted once, and what that costs its jobs.

ComfyUI is on no package registry, so that no test suite can install it: this is run by hand.

    python -m tests.end_to_end.real_comfyui --comfyui ~/ComfyUI --python ~/ComfyUI/venv/bin/python
    python -m tests.end_to_end.real_comfyui --url http://127.0.0.1:8188

With a folder it starts ComfyUI itself (on the CPU, without models), restarts it under the agent and
compares its job times. With an address, that ComfyUI must have comfyui_probe.py in its
custom_nodes, and its history is cleared; it is not restarted, and nothing is compared.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.end_to_end.comfyui_process import RealComfyUI, StartedComfyUI, described, graph
from tests.processes import RunningAgent, eventually, free_port
from tierwatch_agent.servers.comfyui_jobs import job_id
from tierwatch_agent.snapshot import JobRecord, MachineSnapshot, ServerSample

CONFIG = "sources = []\n"
TIMED_JOBS = 6
"""At a time."""
FEWEST_STEPS = 3
"""Of a job of six seconds that is looked at each second."""
PERSON_SECONDS = 1.0
"""Between a job's end and somebody's click on something."""


class Expected(NamedTuple):
    """A job as it should be counted."""

    what: str
    outcome: str
    size: int | None
    images: int | None = 1
    error: str | None = None


class Check:
    """One run: submits jobs, remembers what must come of them, and says what came."""

    def __init__(self, comfyui: RealComfyUI, folder: Path, port: int) -> None:
        self.comfyui = comfyui
        self._folder = folder
        self._port = port
        self.expected: dict[str, Expected] = {}
        self.steps_seen: dict[str, set[int]] = {}
        self.failures: list[str] = []
        self._color = int(time.time()) % 10**6 * 10

    def agent(self) -> RunningAgent:
        return RunningAgent(self._folder, config=CONFIG, port=self._port)

    def new_color(self) -> int:
        self._color += 1
        return self._color

    def images(self, count: int) -> None:
        for number in range(count):
            size, batch = 64 * (number % 4 + 1), number % 3 + 1
            self._add(
                graph(self.new_color(), size=size, batch=batch),
                Expected(f"{batch} of {2 * size} px", "success", 2 * size, batch),
            )

    def cached(self) -> None:
        again = graph(self.new_color())
        self._add(again, Expected("an image", "success", 512))
        self._add(again, Expected("the same again", "success", 512, 0))

    def failing(self, kind: str, outcome: str, error: str) -> None:
        self._add(
            graph(self.new_color(), failure=kind),
            Expected(f"fails: {kind}", outcome, 512, 0, error),
        )

    def slow(self, told_in: str, agent: RunningAgent) -> None:
        """A slow job, whose steps are watched as the agent tells them."""
        job = graph(self.new_color(), steps=20, delay=0.3, told_in=told_in)
        prompt = self._add(job, Expected(f"20 steps, in the {told_in}", "success", 512))
        seen = self.steps_seen.setdefault(told_in, set())
        while self.comfyui.get("/prompt")["exec_info"]["queue_remaining"]:
            for running in server(agent.snapshot(), self.comfyui).jobs:
                if running.id == prompt and running.step:
                    seen.add(running.step)
            time.sleep(0.1)

    def interrupted(self) -> None:
        prompt = self._add(
            graph(self.new_color(), steps=100, delay=0.2),
            Expected("interrupted", "interrupted", 512, 0),
        )
        self._until_it_runs(prompt)
        self.comfyui.post("/interrupt", {})
        self.comfyui.drain()

    def lost(self) -> str:
        """A job that is left running, for a restart."""
        prompt = self._add(
            graph(self.new_color(), steps=300, delay=0.2),
            Expected("its server ends", "error", 512, None, "its server ended while it ran"),
        )
        self._until_it_runs(prompt)
        return prompt

    def _add(self, job: dict[str, object], expected: Expected) -> str:
        prompt = job_id(self.comfyui.submit(job))
        self.expected[prompt] = expected
        return prompt

    def _until_it_runs(self, prompt: str) -> None:
        name = prompt.removeprefix(job_id(""))
        eventually(lambda: self.comfyui.runs(name), bool, "a running job")

    def settle(self, agent: RunningAgent, count: int) -> MachineSnapshot:
        return agent.until(
            lambda s: sum(server(s, self.comfyui).totals.finished.values()) >= count,
            f"{count} finished jobs",
        )

    def report(self, snapshot: MachineSnapshot) -> None:
        """The table of all jobs: what was expected of each, and what the agent counted."""
        told = [job for job in snapshot.jobs if job.server == self.comfyui.id]
        print(f"\n{'job':<22} {'expected':<42} {'counted':<42}")
        for prompt, expected in self.expected.items():
            counted = [job for job in told if job.id == prompt]
            wanted = words(expected.outcome, expected.size, expected.images, expected.error)
            seen = " and ".join(words(j.outcome, j.width, j.images, j.error) for j in counted)
            right = seen == wanted and all(j.width == j.height for j in counted)
            print(
                f"{expected.what:<22} {wanted:<42} {seen or 'not at all':<42}{'' if right else '✗'}"
            )
            if not right:
                self.failures.append(f"{expected.what}: {seen or 'not counted'}")
        totals = server(snapshot, self.comfyui).totals
        outcomes = [job.outcome for job in self.expected.values()]
        wanted_totals = {outcome: outcomes.count(outcome) for outcome in set(outcomes)}
        images = sum(job.images or 0 for job in self.expected.values())
        print(f"\ntotals: {dict(sorted(totals.finished.items()))}, {totals.images} images")
        if (dict(totals.finished), totals.images) != (wanted_totals, images):
            self.failures.append(f"the totals should be {wanted_totals}, {images} images")
        if len(told) != len(self.expected):
            self.failures.append(f"{len(told)} jobs told, {len(self.expected)} submitted")
        self._check_durations(told)

    def _check_durations(self, told: list[JobRecord]) -> None:
        """The durations of slow jobs are those that their steps take."""
        slow = [j for j in told if self.expected[j.id].what.startswith("20 steps")]
        for job in slow:
            if job.duration_seconds is None or not 6.0 <= job.duration_seconds < 10:
                self.failures.append(f"a job of 6 s took {job.duration_seconds} s")


def words(outcome: str, width: int | None, images: int | None, error: str | None) -> str:
    made = "" if images is None else f", {images} image{'' if images == 1 else 's'}"
    return f"{outcome}, {width} px{made}{f', {error}' if error else ''}"


def server(snapshot: MachineSnapshot, comfyui: RealComfyUI) -> ServerSample:
    """The agent's view of it; an empty one until it is found."""
    unknown = ServerSample(id=comfyui.id, kind="comfyui", state="down", reason="not found")
    return next((s for s in snapshot.servers if s.id == comfyui.id), unknown)


def count_jobs(check: Check, started: StartedComfyUI | None) -> None:
    """20 jobs and more, through restarts of both and a cleared history."""
    comfyui = check.comfyui
    comfyui.post("/history", {"clear": True})
    with check.agent() as agent:
        found = agent.until(lambda s: server(s, comfyui).state == "up", "ComfyUI found")
        seen = server(found, comfyui)
        print(f"found without configuration: {seen.id}, version {seen.version}, pid {seen.pid}")
        check.images(6)
        check.cached()
        check.failing("cuda", "oom", "OutOfMemoryError")
        check.failing("memory", "oom", "RuntimeError")
        comfyui.drain()
        check.slow("log", agent)
        check.slow("bar", agent)
        check.images(2)
    # The agent is away: what was queued goes on, and more comes.
    check.failing("other", "error", "ValueError")
    check.images(2)
    comfyui.drain()
    with check.agent() as agent:
        check.settle(agent, len(check.expected))
        check.interrupted()
        check.failing("accelerator", "oom", "AcceleratorError")
        comfyui.drain()
        time.sleep(PERSON_SECONDS)
        comfyui.post("/history", {"clear": True})
        check.images(3)
        comfyui.drain()
        check.settle(agent, len(check.expected))
        if started is not None:
            lost = check.lost()
            agent.until(
                lambda s: lost in {job.id for job in server(s, comfyui).jobs}, "the job seen"
            )
            started.end()
            started.start(extension=True)
            check.settle(agent, len(check.expected))
            agent.until(lambda s: server(s, comfyui).state == "up", "ComfyUI found again")
            check.images(2)
            comfyui.drain()
        check.report(check.settle(agent, len(check.expected)))
    for told_in, steps in check.steps_seen.items():
        print(f"steps seen of a job that tells them in the {told_in}: {sorted(steps)}")
    if len(check.steps_seen["log"]) < FEWEST_STEPS:
        check.failures.append("the steps in the log were not seen")
    if started is not None and len(check.steps_seen["bar"]) < FEWEST_STEPS:
        check.failures.append("the extension's steps were not seen")


def compare_times(comfyui: StartedComfyUI, check: Check) -> None:
    """ComfyUI's own job times with and without agent and extension, taken in turns."""
    times: dict[tuple[bool, bool], list[float]] = {}
    for extension in (False, True) * 2:
        comfyui.start(extension=extension)
        comfyui.timed([graph(check.new_color(), size=512)])
        for with_agent in (False, True) * 2:
            jobs = [
                graph(check.new_color(), size=512, steps=40, delay=0.01) for _ in range(TIMED_JOBS)
            ]
            taken = times.setdefault((extension, with_agent), [])
            if with_agent:
                with check.agent() as agent:
                    agent.until(lambda s: server(s, comfyui).state == "up", "ComfyUI found")
                    taken += comfyui.timed(jobs)
            else:
                taken += comfyui.timed(jobs)
        comfyui.end()
    print("\nComfyUI's own time of a job of 40 steps (10 ms each) and a 1024 px image:")
    for (extension, with_agent), taken in sorted(times.items()):
        label = f"{'with' if extension else 'no'} extension, {'with' if with_agent else 'no'} agent"
        print(f"  {label:<28} {described(taken)}")


def main() -> int:
    """Runs the check; 0: all is well, or there is no ComfyUI to check it with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--comfyui", type=Path, metavar="FOLDER", help="ComfyUI to start")
    parser.add_argument("--python", default=sys.executable, help="the Python to start it with")
    parser.add_argument("--url", help="address of a ComfyUI that runs already")
    asked = parser.parse_args()
    if asked.comfyui is None and asked.url is None:
        print("SKIPPED, NOTHING WAS CHECKED: name a ComfyUI with --comfyui FOLDER or --url URL")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder, port = Path(scratch), free_port()
        if asked.comfyui is None:
            check = Check(RealComfyUI(asked.url), folder, port)
            count_jobs(check, None)
        else:
            agent_url = f"http://127.0.0.1:{port}"
            comfyui = StartedComfyUI(asked.comfyui, asked.python, folder, agent_url)
            try:
                check = Check(comfyui, folder, port)
                comfyui.start(extension=True)
                count_jobs(check, comfyui)
                comfyui.end()
                compare_times(comfyui, check)
            finally:
                comfyui.close()
    for failure in check.failures:
        print(f"✗ {failure}")
    print("\nall is well" if not check.failures else f"\n{len(check.failures)} failures")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
