"""What every dashboard is built of: variables, queries, panels in one manner, links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

WHOLE = 24
"""Width of a dashboard, in Grafana's columns."""

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

STATES: tuple[tuple[str, int, str], ...] = (
    ("down", 6, "dark-red"),
    ("stalled", 5, "purple"),
    ("below", 4, "dark-orange"),
    ("at_risk", 3, "yellow"),
    ("ok", 2, "green"),
    ("unassigned", 1, "text"),
    ("maintenance", 0, "blue"),
)
"""A verdict's states with a figure that orders them, and a colour."""

CHOSEN = 'machine=~"$machine"'
"""The machines that the viewer picked; the list itself follows tier and tag."""

ON_GPU = f'{CHOSEN},gpu=~"$gpu"'

_PICKED = (
    "query_result(tierwatch_machine_assignment_info{{{tier}}} * on (machine) group_left () "
    "(max by (machine) (tierwatch_machine_tag_info{{{tag}}})))"
)


def board(uid: str, title: str, description: str, span: str = "now-6h") -> dashboard.Dashboard:
    """An empty dashboard with what all of them share; ``span``: how far it looks back at first."""
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["tierwatch"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time(span, "now")
        .refresh("10s" if span == "now-6h" else "5m")
        .timezone("browser")
        .annotation(_alerts())
        .link(
            dashboard.DashboardLink("Tierwatch's dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["tierwatch"])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .link(
            dashboard.DashboardLink("Tierwatch")
            .type(DashboardLinkType.LINK)
            .url("${tierwatch}/")
            .tooltip("The verdicts, with who holds the memory and what to do")
            .target_blank(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Source").type("prometheus")
        )
        .with_variable(
            dashboard.TextBoxVariable("tierwatch")
            .label("Tierwatch at")
            .default_value("http://127.0.0.1:8090")
        )
        .with_variable(
            _choice("tier", "Tier", "label_values(tierwatch_machine_assignment_info, tier)")
        )
        .with_variable(_choice("tag", "Tag", "label_values(tierwatch_machine_tag_info, tag)"))
    )


def machines(*, several: bool = True) -> dashboard.QueryVariable:
    """The variable ``machine``: those of the chosen tiers and tags."""
    query = _PICKED.format(tier='tier=~"$tier"', tag='tag=~"$tag"')
    found = _choice("machine", "Machine", query).regex('/machine="([^"]+)"/')
    if several:
        return found
    # One machine to a page: its panels would lie over each other.
    return found.multi(False).include_all(False).all_value("").current(VariableOption())


def gpus() -> dashboard.QueryVariable:
    """The variable ``gpu``: the GPUs of the chosen machine."""
    return _choice("gpu", "GPU", f"label_values(tierwatch_gpu_memory_total_bytes{{{CHOSEN}}}, gpu)")


def query(expr: str, legend: str = "", *, instant: bool = False) -> prometheus.Dataquery:
    """A query; ``instant``: its value now, as a row of a table."""
    asked = prometheus.Dataquery().expr(expr).legend_format(legend).datasource(SOURCE)
    return asked.instant().format(PromQueryFormat.TABLE) if instant else asked.range()


def lines(title: str, says: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .height(8)
        .span(WHOLE // 2)
        .line_width(1.5)
        .show_points(VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    for each in queries:
        panel = panel.with_target(each)
    return panel


def stacked(title: str, says: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    """Areas over time, one upon the other."""
    return (
        lines(title, says, unit, *queries)
        .fill_opacity(40)
        .stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    )


def bars(title: str, says: str, unit: str, *queries: prometheus.Dataquery) -> timeseries.Panel:
    """Columns over time, one upon the other."""
    return stacked(title, says, unit, *queries).draw_style(GraphDrawStyle.BARS).line_width(0)


def figure(title: str, says: str, unit: str, asked: prometheus.Dataquery) -> stat.Panel:
    """One figure, or one for each series."""
    return (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(WHOLE // 4)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
        .with_target(asked)
    )


def rows(
    title: str,
    says: str,
    key: str,
    columns: Sequence[tuple[str | None, str]],
    labels: Mapping[str, str] | None = None,
) -> table.Panel:
    """A table with a row for each value of the label ``key``.

    Args:
        title: What it is of.
        says: What there is to know of it.
        key: The label.
        columns: Heading and query; no heading: the query brings labels alone.
        labels: Further labels that are shown, with their headings.
    """
    panel = table.Panel().title(title).description(says).datasource(SOURCE).height(8).span(WHOLE)
    headings = {key: key.capitalize() if key != "gpu" else "GPU", **(labels or {})}
    for letter, (heading, expr) in zip(ascii_uppercase, columns, strict=False):
        panel = panel.with_target(query(expr, instant=True).ref_id(letter))
        if heading is not None:
            headings[f"Value #{letter}"] = heading
    steps: tuple[tuple[str, dict[str, object]], ...] = (
        ("joinByField", {"byField": key, "mode": "outer"}),
        ("filterFieldsByName", {"include": {"names": list(headings)}}),
        (
            "organize",
            {
                "renameByName": headings,
                "indexByName": {name: place for place, name in enumerate(headings)},
            },
        ),
    )
    for step, options in steps:
        panel = panel.with_transformation(DataTransformerConfig(id_val=step, options=options))
    return panel


def states(title: str, says: str) -> statetimeline.Panel:
    """The verdict of each machine over time."""
    ranked = "\n  or ".join(
        f'{rank} * (tierwatch_machine_state{{{CHOSEN},state="{name}"}} == 1)'
        for name, rank, _ in STATES
    )
    mapped = ValueMap(
        options={
            str(rank): ValueMappingResult(text=name.replace("_", " "), color=colour, index=place)
            for place, (name, rank, colour) in enumerate(STATES)
        }
    )
    return (
        statetimeline.Panel()
        .title(title)
        .description(says)
        .datasource(SOURCE)
        .height(9)
        .span(WHOLE)
        .mappings([mapped])
        .row_height(0.85)
        .show_value(VisibilityMode.NEVER)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds((None, "text")))
        .with_target(query(f"max by (machine) (\n  {ranked}\n)", "{{machine}}"))
    )


def link_to_machine(named: str = "${__field.labels.machine}") -> dashboard.DashboardLink:
    """From a machine's figure to its page, which says what to do."""
    return (
        dashboard.DashboardLink("What Tierwatch says of it")
        .type(DashboardLinkType.LINK)
        .url(f"${{tierwatch}}/machines/{named}")
        .target_blank(True)
    )


def below_zero() -> dashboard.ThresholdsConfig:
    """Red under zero."""
    return _thresholds((None, "dark-orange"), (0, "green"))


def _thresholds(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def _choice(name: str, label: str, asked: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(asked)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _alerts() -> dashboard.AnnotationQuery:
    """Tierwatch's alerts as marks, where Prometheus evaluates the rules."""
    return (
        dashboard.AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("dark-orange")
        .expr('ALERTS{alertstate="firing",alertname!="",machine=~"$machine"}')
    )
