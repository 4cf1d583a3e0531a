"""What a source's runner adds to what its source reads: Xids since the agent started."""

from __future__ import annotations

import msgspec

from tests.agent.snapshots import RTX_4080_SUPER
from tierwatch_agent.runner import XidCounts
from tierwatch_agent.snapshot import GpuSample


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
