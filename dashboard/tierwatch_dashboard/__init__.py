"""Tierwatch's dashboard: judges each machine of a studio against the tier it is assigned to."""

from tierwatch_agent import __version__

__all__ = ["__version__"]
