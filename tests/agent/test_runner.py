"""What a source's runner adds to what its source reads: Xids, and cards that cannot be read."""

from __future__ import annotations

from typing import ClassVar

import msgspec
import pytest

from tests.agent.snapshots import RTX_4080_SUPER
from tierwatch_agent.runner import SourceRunner, XidCounts
from tierwatch_agent.snapshot import GpuSample
from tierwatch_agent.worker import Answer


def card(**xids: int) -> GpuSample:
    errors = {int(name.removeprefix("xid")): count for name, count in xids.items()}
    return msgspec.structs.replace(RTX_4080_SUPER, xid_errors=errors or None, xid_last_at=None)


def test_xids_are_counted_and_dated_over_a_replaced_process() -> None:
    xids = XidCounts()
    (gpu,) = xids.counted((card(xid31=1),), now=100.0)
    assert (gpu.xid_errors, gpu.xid_last_at) == ({31: 1}, {31: 100.0})
    (gpu,) = xids.counted((card(xid31=1, xid79=1),), now=110.0)
    assert gpu.xid_last_at == {31: 100.0, 79: 110.0}
    xids.process_replaced()
    (gpu,) = xids.counted((card(),), now=120.0)
    assert (gpu.xid_errors, gpu.xid_last_at) == ({31: 1, 79: 1}, {31: 100.0, 79: 110.0})
    (gpu,) = xids.counted((card(xid31=1),), now=130.0)
    assert (gpu.xid_errors, gpu.xid_last_at) == ({31: 2, 79: 1}, {31: 130.0, 79: 110.0})


class Answering:
    """In a source's process's place: answers what a test has laid out."""

    answers: ClassVar[list[Answer]] = []

    def __init__(self, *_: object) -> None:
        pass

    def ask(self, *, detailed: bool) -> Answer:
        assert not detailed
        return self.answers.pop(0)

    def end(self) -> None:
        pass


@pytest.mark.parametrize(("lost", "state"), [(True, "lost"), (False, "unreadable")])
def test_of_a_source_that_failed_the_cards_are_lost_where_it_says_so(
    monkeypatch: pytest.MonkeyPatch, lost: bool, state: str
) -> None:
    monkeypatch.setattr("tierwatch_agent.runner.SourceProcess", Answering)
    failed = Answer(outcome="failed", reason="it fell off its bus", lost=lost)
    monkeypatch.setattr(Answering, "answers", [Answer(outcome="read", gpus=(card(),)), failed])
    runner = SourceRunner("nvml", {})
    runner.start()
    seen: list[str] = []
    for _ in range(2):
        runner.ask()
        runner.wait(10)
        seen += [gpu.state for gpu in runner.gpus()]
    runner.stop()
    assert seen == ["ok", state]
