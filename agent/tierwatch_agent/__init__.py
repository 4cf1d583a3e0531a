"""Tierwatch's agent: one machine's GPUs, as snapshots and Prometheus metrics."""

__version__ = "0.1.0"
