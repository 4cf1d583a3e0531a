"""Tierwatch's dashboard: judges each machine of a studio against the tier it is assigned to."""
