"""The dashboard's own ``/metrics``: what the team decided, what it judged, and its own health.

Families are made afresh from what is known at each scrape, so what vanished vanishes. Their names,
types, labels and help stand in the catalogue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tierwatch_agent.catalogue import DASHBOARD
from tierwatch_agent.tiers import Tier
from tierwatch_dashboard import __version__
from tierwatch_dashboard.alerts.alerting import AlertingHealth
from tierwatch_dashboard.fleet import SourceHealth
from tierwatch_dashboard.fleet.state import FleetState, MachineView
from tierwatch_dashboard.inventory import Inventory
from tierwatch_dashboard.inventory_file import InventoryFile
from tierwatch_dashboard.recording import RecorderHealth
from tierwatch_dashboard.scheduler import JobHealth
from tierwatch_dashboard.verdict import WORST_FIRST

bp = Blueprint("metrics", __name__)

_EXTENSION = "tierwatch_metrics"


@dataclass(frozen=True)
class Observed:
    """What is exposed: the fleet and the inventory, and the health of each working part."""

    state: FleetState
    inventory_file: InventoryFile
    source: Callable[[], SourceHealth]
    recorder: Callable[[], RecorderHealth]
    jobs: Callable[[], Mapping[str, JobHealth]]
    alerting: Callable[[], AlertingHealth]
    works: Callable[[], bool] = lambda: True
    now: Callable[[], float] = time.time


class DashboardCollector(Collector):
    """A prometheus_client collector over the running dashboard."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterable[Family]:
        """Every family of the catalogue, as it stands now."""
        observed = self._observed
        views = observed.state.views()
        inventory = observed.inventory_file.current
        source = observed.source()
        yield _family("tierwatch_dashboard_info", [((__version__,), 1)])
        yield _family("tierwatch_dashboard_works", [((), observed.works())])
        yield from _verdicts(views, inventory)
        yield from _polls(views, source, observed.now())
        yield from _history(observed.recorder())
        yield from _jobs(observed.jobs())
        yield from _alerting(observed.alerting(), observed.now())
        valid = observed.inventory_file.error is None
        yield _family("tierwatch_dashboard_inventory_valid", [((), valid)])
        loaded_at = observed.inventory_file.loaded_at
        yield _family("tierwatch_dashboard_inventory_loaded_timestamp_seconds", [((), loaded_at)])


def expose(app: Flask, observed: Observed) -> None:
    """Adds ``/metrics`` to the application."""
    app.extensions[_EXTENSION] = DashboardCollector(observed)
    app.register_blueprint(bp)


@bp.get("/metrics")
def metrics() -> Response:
    """Prometheus' text format, or OpenMetrics where it is asked for."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(current_app.extensions[_EXTENSION]), content_type=content_type)


_Labelled = tuple[tuple[str, ...], float]


def _family(name: str, samples: Iterable[_Labelled]) -> Family:
    """A family of the catalogue with its samples: label values in the catalogue's order."""
    metric = DASHBOARD[name]
    suffix = {"counter": "_total", "info": "_info"}.get(metric.type, "")
    family = Family(name.removesuffix(suffix), metric.help, metric.type)
    for values, figure in samples:
        family.add_sample(name, dict(zip(metric.labels, values, strict=True)), float(figure))
    return family


def _verdicts(views: tuple[MachineView, ...], inventory: Inventory) -> Iterator[Family]:
    yield _family("tierwatch_machine_assignment_info", _assignments(views))
    yield _family(
        "tierwatch_machine_tag_info",
        (
            ((view.machine.id, tag), 1)
            for view in views
            for tag in dict.fromkeys(view.machine.tags or ("",))
        ),
    )
    asked = tuple(_asked(views, inventory))
    floors = ((labels, tier.floor_bytes) for labels, tier in asked)
    yield _family("tierwatch_assigned_tier_floor_bytes", floors)
    classes = ((labels, tier.class_bytes) for labels, tier in asked)
    yield _family("tierwatch_assigned_tier_class_bytes", classes)
    yield _family(
        "tierwatch_headroom_bytes",
        (
            ((view.machine.id, gpu.gpu, gpu.tier or ""), gpu.headroom_bytes)
            for view in views
            for gpu in view.verdict.gpus
            if gpu.headroom_bytes is not None
        ),
    )
    yield _family(
        "tierwatch_machine_state",
        (
            ((view.machine.id, state), state == view.verdict.state)
            for view in views
            for state in WORST_FIRST
        ),
    )
    yield _family(
        "tierwatch_machine_can_serve_info",
        (
            ((view.machine.id, view.verdict.can_serve or "", view.verdict.could_serve or ""), 1)
            for view in views
        ),
    )


def _assignments(views: tuple[MachineView, ...]) -> Iterator[_Labelled]:
    for machine in (view.machine for view in views):
        maintenance = "true" if machine.maintenance else "false"
        yield (machine.id, machine.duty or "", machine.gpus, maintenance), 1


def _asked(
    views: tuple[MachineView, ...], inventory: Inventory
) -> Iterator[tuple[tuple[str, ...], Tier]]:
    """What each tier is asked of: a GPU, or the machine where it has none."""
    tiers = {tier.name: tier for tier in inventory.tiers}
    for view in views:
        machine, gpus = view.machine, view.verdict.gpus
        if not gpus and machine.tier in tiers:
            yield (machine.id, "", machine.tier), tiers[machine.tier]
        for gpu in gpus:
            if gpu.tier in tiers:
                yield (machine.id, gpu.gpu, gpu.tier), tiers[gpu.tier]


def _polls(views: tuple[MachineView, ...], source: SourceHealth, now: float) -> Iterator[Family]:
    last = [source.last[view.machine.id] for view in views if view.machine.id in source.last]
    yield _family(
        "tierwatch_dashboard_poll_up",
        (((reading.machine,), reading.error is None) for reading in last),
    )
    yield _family(
        "tierwatch_dashboard_poll_duration_seconds",
        (((reading.machine,), reading.duration_seconds) for reading in last),
    )
    if last:
        waited = max(0.0, now - min(reading.at for reading in last))
        yield _family("tierwatch_dashboard_poll_age_seconds", [((), waited)])
    outcomes = [(("success",), source.succeeded), (("failure",), source.failed)]
    yield _family("tierwatch_dashboard_polls_total", outcomes)
    yield _family("tierwatch_dashboard_polls_skipped_total", [((), source.skipped)])


def _history(recorder: RecorderHealth) -> Iterator[Family]:
    for name, count in (
        ("tierwatch_dashboard_history_samples_total", recorder.written),
        ("tierwatch_dashboard_history_write_failures_total", recorder.failures),
        ("tierwatch_dashboard_history_samples_dropped_total", recorder.dropped),
    ):
        yield _family(name, [((), count)])


def _jobs(jobs: Mapping[str, JobHealth]) -> Iterator[Family]:
    yield _family(
        "tierwatch_dashboard_job_last_success_timestamp_seconds",
        (
            ((name,), health.last_success_at)
            for name, health in jobs.items()
            if health.last_success_at is not None
        ),
    )
    yield _family(
        "tierwatch_dashboard_job_failures_total",
        (((name,), health.failures) for name, health in jobs.items()),
    )


def _alerting(health: AlertingHealth, now: float) -> Iterator[Family]:
    outbox = health.outbox
    for name, samples in (
        ("tierwatch_dashboard_alerts", [((s,), count) for s, count in health.alerts.items()]),
        (
            "tierwatch_dashboard_outbox_messages",
            [((name,), count) for name, count in outbox.waiting.items()],
        ),
        (
            "tierwatch_dashboard_outbox_oldest_age_seconds",
            [((name,), now - made_at) for name, made_at in outbox.oldest_made_at.items()],
        ),
        ("tierwatch_dashboard_deliveries_total", list(outbox.deliveries.items())),
    ):
        yield _family(name, samples)
