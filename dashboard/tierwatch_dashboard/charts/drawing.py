"""What figures are made of: Plotly's dicts, as plain as they come.

Building them through ``plotly.graph_objects`` takes longer than all the rest of an answer, so the
tests alone use it, to hold these figures valid. Times are Unix milliseconds, which Plotly shows in
the viewer's zone. Every figure of a page has the same margins, so that their axes lie one below the
other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from tierwatch_dashboard.charts.spans import Span
from tierwatch_dashboard.charts.theme import Theme, faint

Figure = dict[str, object]

Spoken = Callable[[str], str]
"""Words in the viewer's language."""

TITLE_PIXELS = 26
"""Above each pane, for its title."""
TOP_PIXELS, BOTTOM_PIXELS = 6, 40


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How figures are to look to one viewer."""

    theme: Theme
    spoken: Spoken


class Sign(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a legend."""

    words: str
    swatch: str
    """A class of the stylesheet: what is drawn beside the words."""
    sign: str = ""
    """The same as a character, where a mark has a shape."""


class Pane(msgspec.Struct, frozen=True, kw_only=True):
    """One of the plots that stand one below the other in a figure."""

    title: str
    pixels: int
    bounds: tuple[float, float]
    ticks: int = 3


def milliseconds(at: float) -> int:
    """A moment as Plotly takes it."""
    return round(at * 1000)


def layout(panes: Mapping[str, Pane], span: Span, look: Look) -> Figure:
    """The layout of panes from the top down, by the names of their y axes ("y", "y2")."""
    theme = look.theme
    height = sum(pane.pixels + TITLE_PIXELS for pane in panes.values())
    places: dict[str, tuple[float, float]] = {}
    top = float(height)
    for axis, pane in panes.items():
        top -= TITLE_PIXELS
        places[axis] = (max(0.0, (top - pane.pixels) / height), top / height)
        top -= pane.pixels
    made: Figure = {
        "autosize": True,
        "height": height + TOP_PIXELS + BOTTOM_PIXELS,
        "margin": {"l": 40, "r": 10, "t": TOP_PIXELS, "b": BOTTOM_PIXELS},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": theme.muted, "size": 12},
        "showlegend": False,
        "hoverlabel": {"bgcolor": theme.paper, "font": {"color": theme.ink}, "align": "left"},
        "dragmode": "zoom",
        "xaxis": {
            "type": "date",
            "range": [milliseconds(span.start), milliseconds(span.end)],
            "anchor": [*panes][-1],
            "gridcolor": theme.hairline,
            "zeroline": False,
            "hoverformat": "%-d %b %H:%M:%S",
        },
        "annotations": [
            text(look.spoken(pane.title), places[axis][1], look.theme.ink)
            for axis, pane in panes.items()
        ],
    }
    for axis, pane in panes.items():
        made[axis.replace("y", "yaxis")] = {
            "domain": list(places[axis]),
            "range": list(pane.bounds),
            "fixedrange": True,
            "gridcolor": theme.hairline,
            "zeroline": False,
            "nticks": pane.ticks,
        }
    return made


def line(
    at: Sequence[int],
    figures: Sequence[float | None],
    name: str,
    unit: str,
    axis: str,
    **more: object,
) -> Figure:
    """A line; ``None`` is a gap in it."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": at,
        "y": figures,
        "yaxis": axis,
        "hovertemplate": f"%{{y}} {unit}".rstrip(),
        **more,
    }


def level(height: float, axis: str, words: str, theme: Theme) -> tuple[Figure, Figure]:
    """A dashed line across a pane, and its name, which stands right below it."""
    # On paper of its own, since it stands over whatever is drawn there.
    name = {"yref": axis, "yanchor": "top", "yshift": -2, "bgcolor": faint(theme.paper, 0.85)}
    return dashes(height, axis, theme), text(words, height, theme.warm) | name


def beside(title: Figure, words: str, theme: Theme) -> Figure:
    """Words at the right end of the line of a pane's title, where the pane has no room for them."""
    return title | {
        "text": words,
        "x": 1,
        "xanchor": "right",
        "font": {"color": theme.warm, "size": 12},
    }


def dashes(height: float, axis: str, theme: Theme) -> Figure:
    """A dashed line across a pane."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "yref": axis,
        "y0": height,
        "y1": height,
        "line": {"color": theme.warm, "width": 1.5, "dash": "4px,3px"},
    }


def text(words: str, y: float, colour: str) -> Figure:
    """Words at the left edge of a figure."""
    return {
        "text": words,
        "x": 0,
        "y": y,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": colour, "size": 12},
    }
