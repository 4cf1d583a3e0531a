"""The answer of ``/sdapi/v1/memory``, as modules/api/api.py of A1111 and Forge make it."""

from __future__ import annotations


def memory_answer(reserved: int, oom: int) -> dict[str, object]:
    """Figures of a 12 GB card of which torch has reserved so many bytes."""
    total = 12 * 2**30
    figure = {"current": reserved, "peak": reserved}
    return {
        "ram": {"free": 2**34, "used": 2**32, "total": 2**34 + 2**32},
        "cuda": {
            "system": {"free": total - reserved, "used": reserved, "total": total},
            "active": figure,
            "allocated": figure,
            "reserved": figure,
            "inactive": {"current": 0, "peak": 0},
            "events": {"retries": oom, "oom": oom},
        },
    }
