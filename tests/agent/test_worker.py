"""A source's worker process, asked as the agent asks it."""

from __future__ import annotations

from tests.processes import eventually
from tierwatch_agent.source_process import SourceProcess

CARD = {"name": "RTX 4090", "vram_mib": 24564}


def test_a_source_that_has_no_details_is_read_as_ever_when_asked_for_them() -> None:
    process = SourceProcess("simulated", {"cards": [CARD]})
    try:
        for detailed in (False, True, False):
            answer = process.ask(detailed=detailed)
            assert (answer.outcome, answer.gpus[0].name) == ("read", "RTX 4090")
            assert answer.gpus[0].pcie_bytes_per_second is None
    finally:
        process.end()
        eventually(process.is_gone, bool, "the end of the process")
        process.release()
