"""Where the fleet and its past come from, as the settings have it: the agents, or one engine."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

from sqlalchemy import Engine

from tierwatch_dashboard.config import Config, ConfigError
from tierwatch_dashboard.fleet import SOURCES, FleetSource, Reading, mapping
from tierwatch_dashboard.fleet.promql import Promql
from tierwatch_dashboard.history import STORES, History
from tierwatch_dashboard.history.prometheus_jobs import CountedJobs
from tierwatch_dashboard.inventory import Machine


class Sources(NamedTuple):
    """What a dashboard reads."""

    fleet: FleetSource
    history: History
    counted: CountedJobs | None
    """Who counts what was made, where the dashboard does not keep the fleet's past itself."""


def open_sources(
    config: Config,
    database: Engine,
    machines: Callable[[], Iterable[Machine]],
    deliver: Callable[[Reading], None],
) -> Sources:
    """Both, not yet started; ConfigError says why they cannot be."""
    source = _load(SOURCES[config.fleet_source])
    if config.engine is None:
        fleet = source(machines, deliver, interval=config.poll_interval_seconds)
        history = _load(STORES["database"])(database)
        return Sources(cast(FleetSource, fleet), cast(History, history), counted=None)
    try:
        engine = Promql(config.engine)
    except ValueError as error:
        raise ConfigError(f"{config.file}: dashboard: fleet: {error}") from error
    series = mapping.load(config.engine.mapping)
    fleet = source(machines, deliver, engine=engine, series=series)
    history = _load(STORES["prometheus"])(engine, series.past)
    return Sources(cast(FleetSource, fleet), cast(History, history), CountedJobs(engine))


def _load(place: str) -> Callable[..., object]:
    module, _, name = place.partition(":")
    return cast("Callable[..., object]", getattr(importlib.import_module(module), name))
