"""The rules about generation servers and their jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tierwatch_agent.snapshot import ServerSample, StallCause
from tierwatch_agent.words import known, paragraph, phrase, say
from tierwatch_dashboard.alerts.rule import Look, Match, Rule, Scope, select, span
from tierwatch_dashboard.reasons import sentence

_BY = "by (machine, server)"
_SMALLER = phrase(
    "Lower the resolution or the batch, or take a smaller model; see who else holds VRAM."
)
_RESTART = phrase("Interrupt the job; where that does nothing, restart the server.")


def _stalls(*causes: StallCause) -> Callable[[Look], Iterator[Match]]:
    def holds(look: Look) -> Iterator[Match]:
        for server in _servers(look):
            if server.stall is not None and server.stall.cause in causes:
                remedy = say(_REMEDIES[causes[0]])
                yield Match(
                    labels=look.labels(server=server.id),
                    todo=paragraph((sentence(server.stall.evidence), remedy)),
                )

    return holds


def _stalls_expression(*causes: StallCause) -> Callable[[Scope], str]:
    stalled = select("tierwatch_job_stalled", f'cause=~"{"|".join(causes)}"')

    def expression(scope: Scope) -> str:
        return scope.of_machine(f"max {_BY} ({stalled}) == 1")

    return expression


def _out_of_memory(look: Look) -> Iterator[Match]:
    for server in _servers(look):
        times = _finished(look, "oom", server.id)
        if times >= look.terms.threshold:
            yield Match(labels=look.labels(server=server.id), value=times)


def _out_of_memory_expression(scope: Scope) -> str:
    jobs = 'tierwatch_jobs_finished_total{outcome="oom"}'
    times = f"round(sum {_BY} (increase({jobs}[{span(scope.terms.window_seconds)}])))"
    return scope.of_machine(f"{times} >= {scope.terms.threshold:g}")


def _down(look: Look) -> Iterator[Match]:
    if look.view.machine.duty is None:
        return
    for server in _servers(look):
        silent = server.stall is not None and server.stall.cause == "unresponsive"
        if server.state == "down" or silent:
            why = server.stall.evidence if server.stall else server.reason
            todo = paragraph((sentence(known(why)), say(_START))) if why else None
            yield Match(labels=look.labels(server=server.id), todo=todo)


def _down_expression(scope: Scope) -> str:
    return scope.of_machine(
        f"max {_BY} (tierwatch_server_up) == 0\n"
        f'or\nmax {_BY} (tierwatch_job_stalled{{cause="unresponsive"}}) == 1',
        'tier!=""',
    )


def _stuck(look: Look) -> Iterator[Match]:
    for server in _servers(look):
        waiting = _waiting(server)
        if waiting and server.queue_running == 0:
            yield Match(labels=look.labels(server=server.id), value=waiting)


def _stuck_expression(scope: Scope) -> str:
    return scope.of_machine(
        f"max {_BY} ({_WAITING}) > 0\n"
        f"and on (machine, server) max {_BY} (tierwatch_server_queue_running) == 0"
    )


def _no_throughput(look: Look) -> Iterator[Match]:
    waiting = sum(map(_waiting, _servers(look)))
    if waiting and not _finished(look, "success"):
        yield Match(labels=look.labels(), value=waiting)


def _no_throughput_expression(scope: Scope) -> str:
    jobs = 'tierwatch_jobs_finished_total{outcome="success"}'
    window = span(scope.terms.window_seconds)
    return scope.of_machine(
        f"sum by (machine) ({_WAITING}) > 0\n"
        f"and on (machine) sum by (machine) (increase({jobs}[{window}])) == 0"
    )


_WAITING = (
    "tierwatch_server_queue_pending "
    "unless on (machine, server) (tierwatch_server_queue_paused == 1)"
)


def _waiting(server: ServerSample) -> int:
    """The jobs that wait, of a server whose queue nobody holds back."""
    return 0 if server.paused else server.queue_pending or 0


def _finished(look: Look, outcome: str, server: str | None = None) -> int:
    """The jobs that ended so within the rule's window."""
    snapshot = look.snapshot
    if snapshot is None:
        return 0
    oldest = snapshot.taken_at - look.terms.window_seconds
    return sum(
        job.outcome == outcome and job.ended_at > oldest and server in (None, job.server)
        for job in snapshot.jobs
    )


def _servers(look: Look) -> tuple[ServerSample, ...]:
    return look.snapshot.servers if look.snapshot else ()


_START = phrase("Start it again, or close what hangs of it; its own log says why it ended.")
_REMEDIES: dict[StallCause, str] = {"vram": _SMALLER, "spill": _SMALLER, "hang": _RESTART}

JOB_RULES = (
    Rule(
        name="GenerationJobStalledOnVram",
        severity="critical",
        summary=phrase("A job on {machine}{of_tier} does not move: no VRAM is left for {server}"),
        todo=_SMALLER,
        holds=_stalls("vram"),
        expression=_stalls_expression("vram"),
    ),
    Rule(
        name="GenerationJobOutOfMemory",
        severity="warning",
        summary=phrase("{server} on {machine}{of_tier} ran out of VRAM {value} times in {window}"),
        todo=_SMALLER,
        holds=_out_of_memory,
        of_finished_jobs=True,
        expression=_out_of_memory_expression,
        threshold=3.0,
        window_seconds=900.0,
    ),
    Rule(
        name="GenerationSpilledToSystemMemory",
        severity="warning",
        summary=phrase(
            "A job on {machine}{of_tier} crawls: {server} overflows into the system's RAM"
        ),
        todo=_SMALLER,
        holds=_stalls("spill"),
        expression=_stalls_expression("spill"),
        for_seconds=30.0,
    ),
    Rule(
        name="GenerationJobHung",
        severity="critical",
        summary=phrase(
            "A job on {machine}{of_tier} does not move, and {server} is not short of VRAM"
        ),
        todo=_RESTART,
        holds=_stalls("hang", "gpu"),
        expression=_stalls_expression("hang", "gpu"),
    ),
    Rule(
        name="GenerationServerDown",
        severity="warning",
        summary=phrase("{server} on {machine}{of_tier} does not answer"),
        todo=_START,
        holds=_down,
        expression=_down_expression,
        for_seconds=60.0,
    ),
    Rule(
        name="QueueStuck",
        severity="warning",
        summary=phrase("{server} on {machine}{of_tier} runs no job while jobs wait ({value})"),
        todo=phrase("Look at the server's own page: is its queue stopped? Restart it if not."),
        holds=_stuck,
        expression=_stuck_expression,
        for_seconds=120.0,
    ),
    Rule(
        name="NoThroughput",
        severity="warning",
        summary=phrase("{machine}{of_tier} finished no job in {window} while jobs wait ({value})"),
        todo=phrase("See on the machine's page what runs: a job far too large, or one that fails."),
        holds=_no_throughput,
        of_finished_jobs=True,
        expression=_no_throughput_expression,
        for_seconds=600.0,
        window_seconds=600.0,
        tiers=("mass",),
    ),
)
