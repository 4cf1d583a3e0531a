"""A GPU's past as a Plotly figure: VRAM against the tier's floor, utilisation, temperature.

Pure, and plain dicts: building the same through ``plotly.graph_objects`` takes longer than all the
rest of an answer, so the tests alone use it, to hold these figures valid. The three panes share one
time axis. Times are Unix milliseconds, which Plotly shows in the viewer's zone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from statistics import fmean, median

import msgspec

from tierwatch_agent.tiers import Tier
from tierwatch_agent.wording import GIBIBYTE, floor
from tierwatch_dashboard.history import Bucket, Series

Figure = dict[str, object]


class Span(msgspec.Struct, frozen=True):
    """What a chart may span."""

    words: str
    seconds: int


RANGES: dict[str, Span] = {
    "15min": Span("15 min", 15 * 60),
    "1h": Span("1 h", 3600),
    "6h": Span("6 h", 6 * 3600),
    "24h": Span("24 h", 86400),
    "7d": Span("7 days", 7 * 86400),
    "90d": Span("90 days", 90 * 86400),
}
DEFAULT_RANGE = "1h"

POINTS = 720
"""A chart shows at most about this many moments; closer ones are drawn together."""
REFRESH_SECONDS = 10
_GAP_STEPS = 3.5
"""A silence this many usual steps long is a gap in the line."""


class Theme(msgspec.Struct, frozen=True, kw_only=True):
    """The stylesheet's colours that a figure uses."""

    ink: str
    muted: str
    hairline: str
    paper: str
    accent: str
    held: str
    warm: str


THEMES: dict[str, Theme] = {
    "light": Theme(
        ink="#1c2024",
        muted="#5b636b",
        hairline="#dcdfe2",
        paper="#fcfcfb",
        accent="#1f6fb2",
        held="#9aa3ac",
        warm="#b4460f",
    ),
    "dark": Theme(
        ink="#e4e7ea",
        muted="#98a1aa",
        hairline="#2c3238",
        paper="#14171a",
        accent="#6cb2ee",
        held="#69737d",
        warm="#f29a63",
    ),
}


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn at one place of the time axis. GiB, percent, Celsius."""

    at: float
    total: float | None = None
    used: float | None = None
    available: float | None = None
    utilization: float | None = None
    temperature: float | None = None


def span_of(name: str, now: float) -> tuple[float, float, float]:
    """Start and end of a range, and how often it is worth asking again; all in seconds.

    The end lies on a grid, so that two answers within one step are the same.
    """
    seconds = RANGES[name].seconds
    refresh = max(REFRESH_SECONDS, seconds / POINTS)
    end = math.ceil(now / refresh) * refresh
    return end - seconds, end, refresh


def chart(series: Series, tier: Tier | None, start: float, end: float, theme: Theme) -> Figure:
    """The figure of one GPU, with the floor of the tier that it is assigned to."""
    moments = tuple(thinned(series, (end - start) / POINTS))
    total = max((moment.total or 0 for moment in moments), default=0)
    ceiling = max(total, (tier.floor_bytes / GIBIBYTE) if tier else 0) * 1.04 or 1
    return {
        "gpu": series.gpu,
        "empty": not moments,
        "data": _traces(moments, theme),
        "layout": _layout(start, end, ceiling, tier, theme),
    }


def thinned(series: Series, step: float) -> Iterator[Moment]:
    """The buckets drawn together by ``step`` seconds, with an empty moment within each silence.

    Each place keeps the worst of its moments: used and temperature their highest, available its
    lowest. Utilisation is the mean.
    """
    step = max(step, series.resolution_seconds, 1e-3)
    cells = [
        _together(list(cell))
        for _, cell in groupby(series.buckets, key=lambda bucket: bucket.at // step)
    ]
    usual = median(b.at - a.at for a, b in pairwise(cells)) if len(cells) > 1 else step
    before: Moment | None = None
    for cell in cells:
        if before and cell.at - before.at > _GAP_STEPS * max(step, usual):
            yield Moment(at=(before.at + cell.at) / 2)
        yield cell
        before = cell


def _together(cell: Sequence[Bucket]) -> Moment:
    used = _pick(max, [_first(b.used_max_bytes, b.used_bytes) for b in cell])
    available = _pick(min, [_first(b.available_min_bytes, b.available_bytes) for b in cell])
    busy = _pick(fmean, [b.utilization_ratio for b in cell])
    return Moment(
        at=cell[0].at,
        total=_gib(cell[-1].total_bytes),
        used=_gib(used),
        available=_gib(available),
        utilization=None if busy is None else round(100 * busy, 1),
        temperature=_pick(
            max, [_first(b.temperature_max_celsius, b.temperature_celsius) for b in cell]
        ),
    )


def _first(figure: float | None, otherwise: float | None) -> float | None:
    return otherwise if figure is None else figure


def _pick(choose: Callable[[list[float]], float], figures: Sequence[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return choose(known) if known else None


def _gib(size: float | None) -> float | None:
    return None if size is None else round(size / GIBIBYTE, 2)


def _traces(moments: Sequence[Moment], theme: Theme) -> list[Figure]:
    faint = {"fill": "tozeroy", "fillcolor": _faint(theme.held)}
    thin: Figure = {"color": theme.ink, "width": 1.2}
    return [
        _line(moments, "total", "y", "GiB", {"color": theme.muted, "width": 1}),
        # A filled line bridges its gaps, so each stretch is a line of its own.
        *(
            _line(stretch, "used", "y", "GiB", {"color": theme.held, "width": 1}, **faint)
            for stretch in _stretches(moments)
        ),
        _line(moments, "available", "y", "GiB", {"color": theme.accent, "width": 2}),
        _line(moments, "utilization", "y2", "%", thin),
        _line(moments, "temperature", "y3", "°C", thin),
    ]


def _line(
    moments: Sequence[Moment], figure: str, axis: str, unit: str, line: Figure, **fill: object
) -> Figure:
    values: list[float | None] = [getattr(moment, figure) for moment in moments]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": _NAMES.get(figure, figure),
        "x": [round(moment.at * 1000) for moment in moments],
        "y": values,
        "yaxis": axis,
        "line": line,
        "hovertemplate": f"%{{y}} {unit}",
        **fill,
    }


def _stretches(moments: Sequence[Moment]) -> list[list[Moment]]:
    runs = groupby(moments, key=lambda moment: moment.used is not None)
    return [list(run) for known, run in runs if known]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.22)"


_NAMES = {"utilization": "utilisation"}
_PANES = {"yaxis": (0.5, 0.95), "yaxis2": (0.25, 0.41), "yaxis3": (0.0, 0.16)}
_TITLES = ("VRAM, GiB", "Utilisation, %", "Temperature, °C")


def _layout(start: float, end: float, ceiling: float, tier: Tier | None, theme: Theme) -> Figure:
    bounds = {"yaxis": [0, ceiling], "yaxis2": [0, 104], "yaxis3": [20, 104]}
    layout: Figure = {
        "autosize": True,
        "height": 480,
        "margin": {"l": 36, "r": 8, "t": 4, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": theme.muted, "size": 12},
        "showlegend": False,
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "hoverlabel": {"bgcolor": theme.paper, "font": {"color": theme.ink}},
        "dragmode": "zoom",
        "xaxis": {
            "type": "date",
            "range": [round(start * 1000), round(end * 1000)],
            "anchor": "y3",
            "gridcolor": theme.hairline,
            "zeroline": False,
            "hoverformat": "%d %b %H:%M:%S",
        },
        "shapes": _floor_line(tier, theme) if tier and tier.floor_bytes else [],
        "annotations": [
            *(
                _text(title, 0, place[1], "left", theme.ink)
                for title, place in zip(_TITLES, _PANES.values(), strict=True)
            ),
            *(_floor_name(tier, theme) if tier and tier.floor_bytes else []),
        ],
    }
    for axis, place in _PANES.items():
        layout[axis] = {
            "domain": list(place),
            "range": bounds[axis],
            "fixedrange": True,
            "gridcolor": theme.hairline,
            "zeroline": False,
            "nticks": 5 if axis == "yaxis" else 3,
        }
    return layout


def _floor_line(tier: Tier, theme: Theme) -> list[Figure]:
    height = tier.floor_bytes / GIBIBYTE
    return [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": height,
            "y1": height,
            "line": {"color": theme.warm, "width": 1.5, "dash": "4px,3px"},
        }
    ]


def _floor_name(tier: Tier, theme: Theme) -> list[Figure]:
    words = _text(floor(tier), 0, tier.floor_bytes / GIBIBYTE, "left", theme.warm)
    return [words | {"yref": "y", "yanchor": "top"}]


def _text(words: str, x: float, y: float, side: str, colour: str) -> Figure:
    return {
        "text": words,
        "x": x,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": side,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": colour, "size": 12},
    }
