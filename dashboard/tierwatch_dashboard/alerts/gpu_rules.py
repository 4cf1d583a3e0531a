"""The rules about GPUs themselves: lost, in error, hot, held back."""

from __future__ import annotations

from collections.abc import Iterator

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.words import known, paragraph, phrase, say, semicolons
from tierwatch_dashboard.alerts.rule import FLOOR, Look, Match, Rule, Scope, select
from tierwatch_dashboard.reasons import because, sentence

HARDWARE_XIDS = {
    48: phrase("an ECC error of two bits"),
    62: phrase("its internal controller halted"),
    64: phrase("a faulty part of its memory could not be taken out of use"),
    74: phrase("an error of NVLink"),
    79: phrase("it fell off the bus"),
    94: phrase("an ECC error, contained to one program"),
    95: phrase("an ECC error that was not contained"),
    119: phrase("its system processor does not answer"),
    120: phrase("its system processor failed"),
}
"""Xid to what it means. Not 13, 31, 43 and 45, which are a program's own faults, and not 63 and 92,
which are for the record."""

_HARD_BRAKES = ("hw_thermal_slowdown", "hw_power_brake_slowdown")
_LONG_BRAKE = "sw_thermal_slowdown"


def _lost(look: Look) -> Iterator[Match]:
    snapshot, machine = look.snapshot, look.view.machine
    if snapshot is None:
        return
    for gpu in snapshot.gpus:
        if gpu.state in ("lost", "unreadable"):
            why = paragraph(_with(gpu.detail)) or None
            yield Match(labels=look.labels(gpu=gpu.index), todo=why)
    for place in look.view.verdict.gpus:
        if not place.uuid and place.floor_bytes:
            why = paragraph(_with(*place.reasons[:1])) or None
            yield Match(labels=look.labels(gpu=place.gpu), todo=why)
    tier = look.inventory.tier(machine.tier) if machine.tier else None
    if not snapshot.gpus and not look.view.verdict.gpus and tier and tier.floor_bytes:
        why = paragraph(_with(*look.view.verdict.reasons[:1])) or None
        yield Match(labels=look.labels(), todo=why)


def _lost_expression(scope: Scope) -> str:
    heard = "and on (machine) tierwatch_snapshot_timestamp_seconds"
    one, whole = select(FLOOR, 'gpu!=""'), select(FLOOR, 'gpu=""')
    return scope.of_machine(
        "min by (machine, gpu) (tierwatch_gpu_up) == 0\n"
        f"or\n(max by (machine, gpu) ({one} > 0)\n"
        f"unless on (machine, gpu) tierwatch_gpu_info {heard})\n"
        f"or\n(max by (machine, gpu) ({whole} > 0)\n"
        f"unless on (machine) tierwatch_gpu_info {heard})"
    )


def _in_error(look: Look) -> Iterator[Match]:
    for gpu in _gpus(look):
        oldest = (look.snapshot.taken_at if look.snapshot else 0.0) - look.terms.window_seconds
        recent = [
            xid
            for xid, at in sorted((gpu.xid_last_at or {}).items())
            if xid in HARDWARE_XIDS and at > oldest
        ]
        if recent:
            told = semicolons([because(f"Xid {xid}", say(HARDWARE_XIDS[xid])) for xid in recent])
            remedy = gpu.recovery_action
            asks = say("Its driver asks for: {remedy}", remedy=remedy) if remedy else None
            todo = paragraph((*_with(told, asks), say(_INSPECT)))
            yield Match(labels=look.labels(gpu=gpu.index), todo=todo)


def _in_error_expression(scope: Scope) -> str:
    numbers = "|".join(str(xid) for xid in HARDWARE_XIDS)
    last = select("tierwatch_gpu_xid_last_timestamp_seconds", f'xid=~"{numbers}"')
    return scope.of_machine(
        f"max by (machine, gpu) ({last})\n"
        "> on (machine) group_left ()\n"
        f"(max by (machine) (tierwatch_snapshot_timestamp_seconds)"
        f" - {scope.terms.window_seconds:g})"
    )


def _hot(look: Look) -> Iterator[Match]:
    for gpu in _gpus(look):
        core, limit = gpu.temperature_celsius, gpu.slowdown_celsius
        slowed = _LONG_BRAKE in (gpu.throttle_reasons or ())
        if core is not None and (slowed or (limit is not None and core >= limit)):
            yield Match(labels=look.labels(gpu=gpu.index), value=core)


def _hot_expression(scope: Scope) -> str:
    core = 'max by (machine, gpu) (tierwatch_gpu_temperature_celsius{sensor="core"})'
    slowed = select("tierwatch_gpu_throttled", f'reason="{_LONG_BRAKE}"')
    limit = "max by (machine, gpu) (tierwatch_gpu_temperature_slowdown_celsius)"
    return scope.of_machine(f"({core} and on (machine, gpu) {slowed} == 1)\nor\n{core} >= {limit}")


def _held_back(look: Look) -> Iterator[Match]:
    for gpu in _gpus(look):
        brakes = [reason for reason in gpu.throttle_reasons or () if reason in _HARD_BRAKES]
        if brakes:
            told = say("Its driver says: {reasons}", reasons=", ".join(brakes))
            todo = paragraph((*_with(told), say(_COOL)))
            yield Match(labels=look.labels(gpu=gpu.index), todo=todo)


def _held_back_expression(scope: Scope) -> str:
    held = select("tierwatch_gpu_throttled", f'reason=~"{"|".join(_HARD_BRAKES)}"')
    return scope.of_machine(f"max by (machine, gpu) ({held}) == 1")


def _gpus(look: Look) -> tuple[GpuSample, ...]:
    return look.snapshot.gpus if look.snapshot else ()


def _with(*told: str | None) -> tuple[str, ...]:
    """What is known, in sentences."""
    return tuple(sentence(known(words)) for words in told if words)


_INSPECT = phrase(
    "Stop giving it jobs; restart the machine, and where it comes back, have the card seen to."
)
_COOL = phrase("Look at its fans, its filters, the room, and its power connectors.")

GPU_RULES = (
    Rule(
        name="GpuLost",
        severity="critical",
        summary=phrase("{machine}{of_tier} is without {a_gpu}: it does not answer or is not there"),
        todo=phrase(
            "Restart the machine; where that does not help, look at the card's seat and power."
        ),
        holds=_lost,
        expression=_lost_expression,
        for_seconds=30.0,
    ),
    Rule(
        name="GpuHardwareError",
        severity="critical",
        summary=phrase("GPU {gpu} of {machine}{of_tier} reported an error of its hardware (Xid)"),
        todo=_INSPECT,
        holds=_in_error,
        expression=_in_error_expression,
        window_seconds=600.0,
    ),
    Rule(
        name="GpuOverheating",
        severity="warning",
        summary=phrase("GPU {gpu} of {machine}{of_tier} is slowed down by heat, at {value} °C"),
        todo=_COOL,
        holds=_hot,
        expression=_hot_expression,
        for_seconds=300.0,
    ),
    Rule(
        name="GpuThrottled",
        severity="warning",
        summary=phrase(
            "GPU {gpu} of {machine}{of_tier} is held back by its hardware: heat or power"
        ),
        todo=_COOL,
        holds=_held_back,
        expression=_held_back_expression,
        for_seconds=30.0,
    ),
)
