"""The inventory's machines as Prometheus' targets: for HTTP and file service discovery. Pure.

``machine`` is a label of every series of a target, since rules and pages join on it. Tier, tags and
maintenance are labels of the target alone (``__meta_…``, which Prometheus drops once it has
relabelled): as labels of the series, each reassignment would begin every series of a machine anew,
and cut its past in two. Who wants them on series joins with ``tierwatch_machine_assignment_info``
and ``tierwatch_machine_tag_info``; who wants to pick targets by them has them at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from tierwatch_dashboard.inventory import Machine

_PORTS = {"http": 80, "https": 443}
_META = "__meta_tierwatch_"


class TargetGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Targets with the labels that they share, as Prometheus reads them in JSON."""

    targets: tuple[str, ...]
    """HOST:PORT."""
    labels: dict[str, str]


def groups(machines: Iterable[Machine]) -> tuple[TargetGroup, ...]:
    """A group for each machine, in the inventory's order."""
    return tuple(_group(machine) for machine in machines)


def document(machines: Iterable[Machine]) -> bytes:
    """The groups as JSON, a line each."""
    lines = (msgspec.json.encode(group).decode() for group in groups(machines))
    return ("[\n" + ",\n".join(lines) + "\n]\n").encode()


def _group(machine: Machine) -> TargetGroup:
    url = urlsplit(machine.url)
    host = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    labels = {
        "machine": machine.id,
        f"{_META}tier": machine.duty or "",
        # With a comma at both ends, so that one tag is found by ".*,floor-2,.*".
        f"{_META}tags": f",{','.join(machine.tags)}," if machine.tags else "",
        f"{_META}maintenance": "true" if machine.maintenance else "false",
    }
    if url.scheme == "https":
        labels["__scheme__"] = "https"
    if path := url.path.rstrip("/"):
        labels["__metrics_path__"] = f"{path}/metrics"
    return TargetGroup(targets=(f"{host}:{url.port or _PORTS.get(url.scheme, 80)}",), labels=labels)
