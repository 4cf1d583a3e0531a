"""One GPU's past as a figure: memory by holder, utilisation, temperature, power, clock. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import msgspec

from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import GIBIBYTE, floor, gib
from tierwatch_agent.words import say
from tierwatch_dashboard.charts.account import Account, account
from tierwatch_dashboard.charts.drawing import (
    Figure,
    Look,
    Pane,
    Sign,
    beside,
    dashes,
    layout,
    level,
    line,
)
from tierwatch_dashboard.charts.drawing import milliseconds as ms
from tierwatch_dashboard.charts.memory import REST, UNKNOWN, Memory, memory, name_of
from tierwatch_dashboard.charts.moments import celsius, moments, step_of
from tierwatch_dashboard.charts.spans import Span
from tierwatch_dashboard.charts.theme import Theme, faint
from tierwatch_dashboard.history import Bucket, Series
from tierwatch_dashboard.history.holdings import Holding

HOT_RATIO, CAPPED_RATIO = 0.05, 0.5
"""From which share of its points on a moment is shaded: any heat counts, while a card at work is at
its power limit as a rule."""

_OWN = say("production's own")
_RESERVED = say("reserved by the driver")
_AVAILABLE = say("available")
_PATTERNS = ("/", "\\", "x")
_CELSIUS_BOUNDS = (20.0, 104.0)


class GpuChart(msgspec.Struct, frozen=True, kw_only=True):
    """A Plotly figure with what is said beside it."""

    gpu: str
    empty: bool
    data: list[Figure]
    layout: Figure
    legend: list[Sign]
    account: Account


def gpu_chart(
    series: Series,
    holdings: Sequence[Holding],
    tier: Tier | None,
    slowdown_celsius: float | None,
    span: Span,
    look: Look,
) -> GpuChart:
    """The figure of one GPU, with the floor of the tier that it is assigned to."""
    found = moments(series)
    held = memory(found, holdings, series.resolution_seconds)
    at = [ms(bucket.at) for bucket in found]
    floor_gib = tier.floor_bytes / GIBIBYTE if tier and tier.floor_bytes else None
    lines = _figures(found)
    panes = _panes(held, lines, floor_gib)
    data = _memory_lines(at, held, floor_gib, look)
    made = layout(panes, span, look)
    titles = dict(zip(panes, cast("list[Figure]", made["annotations"]), strict=True))
    levels = (
        [level(floor_gib, "y", look.spoken(floor(tier)), look.theme)] if tier and floor_gib else []
    )
    for (figure, values), axis in zip(lines.items(), [*panes][1:], strict=True):
        if shading := _shading(figure, at, found, panes[axis], axis, look.theme):
            data.append(shading)
        thin = {"color": look.theme.ink, "width": 1.2}
        data.append(line(at, values, look.spoken(figure.name), figure.unit, axis, line=thin))
        if figure is _TEMPERATURE and slowdown_celsius:
            words = say("slows down at {celsius} °C", celsius=f"{slowdown_celsius:.0f}")
            name = beside(titles[axis], look.spoken(words), look.theme)
            levels.append((dashes(slowdown_celsius, axis, look.theme), name))
    made |= {
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "shapes": [shape for shape, _ in levels],
        "annotations": [*titles.values(), *(name for _, name in levels)],
    }
    return GpuChart(
        gpu=series.gpu,
        empty=not found,
        data=data,
        layout=made,
        legend=_legend(held, found, look),
        account=account(series, found, held, tier, step_of(series), look),
    )


class _Line(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A figure that has a pane of its own."""

    title: str
    name: str
    unit: str
    of: Callable[[Bucket], float | None]
    bounds: tuple[float, float] | None = None
    """None: from 0 to a little over its highest."""
    share: Callable[[Bucket], float | None] | None = None
    """What is shaded behind it."""
    shaded_from: float = 1.0


def _percent(bucket: Bucket) -> float | None:
    ratio = bucket.utilization_ratio
    return None if ratio is None else round(100 * ratio, 1)


def _watts(bucket: Bucket) -> float | None:
    return None if bucket.power_watts is None else round(bucket.power_watts, 1)


def _megahertz(bucket: Bucket) -> float | None:
    return None if bucket.clock_hertz is None else round(bucket.clock_hertz / 1e6)


_TEMPERATURE = _Line(
    title=say("Temperature, °C"),
    name=say("temperature"),
    unit="°C",
    of=celsius,
    bounds=_CELSIUS_BOUNDS,
    share=lambda bucket: bucket.heat_ratio,
    shaded_from=HOT_RATIO,
)
_LINES = (
    _Line(
        title=say("Utilisation, %"),
        name=say("utilisation"),
        unit="%",
        of=_percent,
        bounds=(0.0, 104.0),
    ),
    _TEMPERATURE,
    _Line(
        title=say("Power, W"),
        name=say("power"),
        unit="W",
        of=_watts,
        share=lambda bucket: bucket.capped_ratio,
        shaded_from=CAPPED_RATIO,
    ),
    _Line(title=say("Core clock, MHz"), name=say("core clock"), unit="MHz", of=_megahertz),
)


def _figures(found: Iterable[Bucket]) -> dict[_Line, list[float | None]]:
    """Those of which anything is known."""
    found = list(found)
    figures = {each: [each.of(bucket) for bucket in found] for each in _LINES}
    return {each: values for each, values in figures.items() if any(v is not None for v in values)}


def _panes(
    held: Memory, lines: dict[_Line, list[float | None]], floor_gib: float | None
) -> dict[str, Pane]:
    total = max((size for size in held.total if size is not None), default=0) / GIBIBYTE
    ceiling = max(total, floor_gib or 0) * 1.02 or 1
    panes = {"y": Pane(title=say("VRAM, GiB"), pixels=200, bounds=(0, ceiling), ticks=6)}
    for number, (each, values) in enumerate(lines.items(), 2):
        highest = max((v for v in values if v is not None), default=0)
        bounds = each.bounds or (0, highest * 1.12 or 1)
        panes[f"y{number}"] = Pane(title=each.title, pixels=58, bounds=bounds)
    return panes


def _memory_lines(at: list[int], held: Memory, floor_gib: float | None, look: Look) -> list[Figure]:
    theme, spoken = look.theme, look.spoken

    def layer(
        values: Sequence[float | None], words: str, colour: str, shape: str = "", **more: object
    ) -> Figure:
        pattern: Figure = {
            "shape": shape,
            "fgcolor": theme.paper,
            "fillmode": "overlay",
            "size": 7,
            "solidity": 0.12,
        }
        return line(
            at,
            _in_gib(values),
            words,
            "",
            "y",
            stackgroup="holders",
            fillcolor=colour,
            fillpattern=pattern if shape else {"shape": ""},
            line={"width": 0, "shape": "hv"},
            **{"hovertemplate": "%{y:.1f} GiB", **more},
        )

    available = _in_gib(held.available)
    colours = (theme.holder_1, theme.holder_2, theme.holder_3)
    drawn = [
        layer(held.own, spoken(_OWN), faint(theme.accent, 0.55)),
        layer(
            held.free, spoken(say("free")), "rgba(0,0,0,0)", hoverinfo="skip", hovertemplate=None
        ),
        *(
            layer(values, spoken(name_of(holder)), faint(colour, 0.8), pattern)
            for (holder, values), colour, pattern in zip(
                held.named.items(), colours, _PATTERNS, strict=False
            )
        ),
        layer(held.rest, spoken(REST), theme.held),
        layer(held.unknown, spoken(UNKNOWN), theme.held, "."),
        layer(held.reserved, spoken(_RESERVED), theme.reserved),
        line(
            at,
            available,
            spoken(_AVAILABLE),
            "",
            "y",
            line={"color": theme.accent, "width": 2, "shape": "hv"},
            hovertemplate="%{y:.1f} GiB",
        ),
        line(
            at,
            _lacking(available, floor_gib),
            spoken(say("below the floor")),
            "",
            "y",
            line={"color": theme.warm, "width": 3.5, "shape": "hv"},
            hoverinfo="skip",
            hovertemplate=None,
        ),
    ]
    # What is nowhere would be told as 0.0 GiB everywhere.
    return [each for each in drawn if any(cast("list[float | None]", each["y"]))]


def _lacking(available: Sequence[float | None], floor_gib: float | None) -> list[float | None]:
    """What is available where that is below the floor, each stretch up to where it ends."""
    found: list[float | None] = []
    before: float | None = None
    for size in available:
        below = size if floor_gib is not None and size is not None and size < floor_gib else None
        found.append(before if below is None else below)
        before = below
    return found


def _shading(
    figure: _Line, at: list[int], found: Sequence[Bucket], pane: Pane, axis: str, theme: Theme
) -> Figure | None:
    if figure.share is None:
        return None
    shares = [figure.share(bucket) for bucket in found]
    on = [share is not None and share >= figure.shaded_from for share in shares]
    if not any(on):
        return None
    colour = theme.warm if figure is _TEMPERATURE else theme.at_risk
    return line(
        at,
        [pane.bounds[1] if each else 0 for each in on],
        "",
        "",
        axis,
        fill="tozeroy",
        fillcolor=faint(colour, 0.28),
        line={"width": 0, "shape": "hv"},
        hoverinfo="skip",
        hovertemplate=None,
    )


def _legend(held: Memory, found: Sequence[Bucket], look: Look) -> list[Sign]:
    signs: list[tuple[str, str]] = [("available", _AVAILABLE)]
    if any(held.own):
        signs.append(("own", say("held by production's own, and so available")))
    for number, (holder, values) in enumerate(held.named.items(), 1):
        most = gib(max(size or 0 for size in values))
        signs.append(
            (f"holder-{number}", say("{name}, up to {size}", name=name_of(holder), size=most))
        )
    for swatch, words, values in (
        ("rest", REST, held.rest),
        ("unknown", UNKNOWN, held.unknown),
        ("reserved", _RESERVED, held.reserved),
    ):
        if any(values):
            signs.append((swatch, words))
    if any((bucket.heat_ratio or 0) >= HOT_RATIO for bucket in found):
        signs.append(("hot", say("heat holds the clock back")))
    if any((bucket.capped_ratio or 0) >= CAPPED_RATIO for bucket in found):
        signs.append(("capped", say("the power limit holds the clock back")))
    return [Sign(words=look.spoken(words), swatch=swatch) for swatch, words in signs]


def _in_gib(sizes: Iterable[float | None]) -> list[float | None]:
    return [None if size is None else round(size / GIBIBYTE, 2) for size in sizes]
