"""Tierwatch's agent: one machine's GPUs, as snapshots and Prometheus metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tierwatch_agent.jobs import job

__version__ = "0.1.0"
__all__ = ["__version__", "job"]


def __getattr__(name: str) -> Any:
    """``job`` is imported by the first who asks for it: scripts do, the agent does not."""
    if name != "job":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tierwatch_agent.jobs import job

    return job
