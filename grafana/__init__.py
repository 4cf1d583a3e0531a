"""Tierwatch's dashboards for Grafana, as code: ``make grafana`` writes ``dashboards/*.json``."""
