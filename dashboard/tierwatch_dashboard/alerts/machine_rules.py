"""The rules about what a machine can serve: whether it is there, and has the VRAM for its tier."""

from __future__ import annotations

from collections.abc import Iterator

from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.wording import GIBIBYTE
from tierwatch_agent.words import paragraph, phrase
from tierwatch_dashboard.alerts.rule import (
    ASSIGNMENT,
    FLOOR,
    HEADROOM,
    SHORTFALL,
    Look,
    Match,
    Rule,
    Scope,
    select,
    span,
)
from tierwatch_dashboard.gpu_verdict import GpuVerdict
from tierwatch_dashboard.inventory import Policy

SHORTEST_RANGE_SECONDS = 5.0
"""A range that is no longer than this holds one recorded sample, which is as good as none."""

_LOWER_BOUND = "max by (machine, gpu) (tierwatch_gpu_memory_available_lower_bound) == 1"
_FREE_SOME = phrase(
    "See who holds its VRAM on the machine's page, and end that or unload its models; or assign "
    "the machine to a lower tier."
)
_FREE_SOME_UNTOLD = phrase(
    "The system does not tell who holds VRAM. See who holds its VRAM on the machine's page, and "
    "end that or unload its models; or assign the machine to a lower tier."
)
_TENTHS = ".1f"


def _down(look: Look) -> Iterator[Match]:
    if look.view.verdict.state == "down" and look.view.machine.duty:
        yield Match(labels=look.labels(), todo=paragraph(look.view.verdict.reasons))


def _down_expression(scope: Scope) -> str:
    assigned = scope.on_duty('tier!=""')
    machines = f"max by (machine, tier) ({assigned})"
    still = span(scope.policy.down_after_seconds)
    return (
        f"({machines}\nunless on (machine) tierwatch_snapshot_timestamp_seconds)\n"
        f"or\n({machines}\n"
        f"and on (machine) (changes(tierwatch_snapshot_timestamp_seconds[{still}]) == 0)\n"
        f"and on (machine) tierwatch_snapshot_timestamp_seconds offset {still})"
    )


def shortfall(gpu: GpuVerdict, look: Look) -> float | None:
    """What a GPU lacks for its tier, now or for ever, in bytes; negative: what it has to spare."""
    card = _card(gpu, look)
    if card is None or card.memory is None or gpu.tier is None:
        return None
    lacks = [float(look.inventory.tier(gpu.tier).class_bytes - card.memory.total_bytes)]
    if gpu.headroom_bytes is not None and not gpu.lower_bound:
        lacks.append(float(-gpu.headroom_bytes))
    return max(lacks)


def _below(look: Look) -> Iterator[Match]:
    gpus = look.view.verdict.gpus
    for gpu in gpus:
        lacks = shortfall(gpu, look) if gpu.state == "below" else None
        if lacks is None or lacks <= 0:
            continue
        if look.view.machine.gpus == "any":
            peers = [shortfall(other, look) for other in gpus if other.tier == gpu.tier]
            if any(peer is not None and peer <= 0 for peer in peers):
                continue
        yield _of_gpu(gpu, lacks, look)


def _relief(policy: Policy) -> float:
    """How long Prometheus sees a trouble on when it has gone: a relief may be as long, not more."""
    relief = policy.clear_for_seconds
    return relief if relief > SHORTEST_RANGE_SECONDS else 0.0


def _below_expression(scope: Scope) -> str:
    relief = _relief(scope.policy)
    lacks = select(SHORTFALL, scope.tiers)
    worst = f"max_over_time({lacks}[{span(relief)}])" if relief else lacks
    one_suffices = select(ASSIGNMENT, 'gpus="any"')
    return scope.of_gpu(
        f"({worst} / {GIBIBYTE} > 0)\n"
        f"unless on (machine, tier)\n({lacks} <= 0 and on (machine) {one_suffices})"
    )


def _at_risk(look: Look) -> Iterator[Match]:
    margin = look.inventory.policy.margin_bytes
    for gpu in look.view.verdict.gpus:
        headroom = gpu.headroom_bytes
        if headroom is None or not gpu.floor_bytes or not 0 <= headroom < margin:
            continue
        lacks = shortfall(gpu, look)
        if lacks is not None and lacks <= 0:
            yield _of_gpu(gpu, headroom, look)


def _at_risk_expression(scope: Scope) -> str:
    room = select(HEADROOM, scope.tiers)
    return scope.of_gpu(
        f"({room} < {scope.policy.margin_bytes} and {room} >= 0\n"
        f"and {FLOOR} > 0 and {SHORTFALL} <= 0) / {GIBIBYTE}"
    )


def _may_be_below(look: Look) -> Iterator[Match]:
    for gpu in look.view.verdict.gpus:
        headroom = gpu.headroom_bytes
        if not gpu.lower_bound or headroom is None or headroom >= 0:
            continue
        if (shortfall(gpu, look) or 0) <= 0:
            yield _of_gpu(gpu, -headroom, look)


def _may_be_below_expression(scope: Scope) -> str:
    room = select(HEADROOM, scope.tiers)
    return scope.of_gpu(
        f"-({room} < 0 and on (machine, gpu) ({_LOWER_BOUND})\nand {SHORTFALL} <= 0) / {GIBIBYTE}"
    )


def _of_gpu(gpu: GpuVerdict, count: float, look: Look) -> Match:
    return Match(
        labels=look.labels(gpu=gpu.gpu, tier=gpu.tier or ""),
        value=count / GIBIBYTE,
        todo=paragraph(gpu.reasons) or None,
    )


def _card(gpu: GpuVerdict, look: Look) -> GpuSample | None:
    cards = look.snapshot.gpus if look.snapshot else ()
    return next((card for card in cards if card.uuid == gpu.uuid), None)


MACHINE_RULES = (
    Rule(
        name="MachineDown",
        severity="critical",
        summary=phrase("{machine}{of_tier} does not answer"),
        todo=phrase(
            "Is the machine on, does tierwatch-agent run there, and does the network reach it?"
        ),
        holds=_down,
        expression=_down_expression,
        waited=lambda policy: policy.down_after_seconds,
    ),
    Rule(
        name="MachineBelowTier",
        severity="warning",
        summary=phrase("{machine} cannot serve {tier}: GPU {gpu} lacks {value} GiB"),
        todo=_FREE_SOME,
        figure=_TENTHS,
        holds=_below,
        expression=_below_expression,
        # Or a trouble of less than below_for would fire by what is seen of it once it has gone.
        waited=lambda policy: policy.below_for_seconds + _relief(policy),
    ),
    Rule(
        name="MachineMayBeBelowTier",
        severity="info",
        summary=phrase(
            "{machine} may be unable to serve {tier}: GPU {gpu} lacks up to {value} GiB"
        ),
        todo=_FREE_SOME_UNTOLD,
        figure=_TENTHS,
        holds=_may_be_below,
        expression=_may_be_below_expression,
        for_seconds=60.0,
    ),
    Rule(
        name="MachineAtRisk",
        severity="info",
        summary=phrase("{machine} only just serves {tier}: GPU {gpu} has {value} GiB to spare"),
        todo=_FREE_SOME,
        figure=_TENTHS,
        holds=_at_risk,
        expression=_at_risk_expression,
        for_seconds=60.0,
    ),
)
