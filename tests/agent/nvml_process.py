"""The NVIDIA source in a process of its own, with a clock that the test sets.

    python -m tests.agent.nvml_process CLOCK SYSFS

Spoken to as the agent does (``tierwatch_agent.worker.serve``). CLOCK is a file with a number of
seconds, SYSFS a folder in place of /sys.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.fakes.nvml import FakeNvml
from tierwatch_agent.worker import DETAILED, LENGTH, USUAL, Answer, serve

ROOT = Path(__file__).parent.parent.parent
_decoder = msgspec.msgpack.Decoder(Answer)


class NvmlProcess:
    """The process, asked and answering; ``sysfs`` begins as a system that lists no devices."""

    def __init__(self, folder: Path, fake: FakeNvml) -> None:
        self.sysfs = folder / "sys"
        self._clock = folder / "clock"
        self._seconds = 0.0
        self._fake = fake
        self._clock.write_text("0")
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, *, detailed: bool = False) -> Answer:
        """One reading."""
        self.begin(detailed=detailed)
        return self.finish()

    def begin(self, *, detailed: bool = False) -> None:
        """Asks for a reading, without waiting for it."""
        process = self._started()
        assert process.stdin is not None
        process.stdin.write(DETAILED if detailed else USUAL)
        process.stdin.flush()

    def finish(self) -> Answer:
        """The reading asked for."""
        stdout = self._started().stdout
        assert stdout is not None
        (length,) = LENGTH.unpack(stdout.read(LENGTH.size))
        return _decoder.decode(stdout.read(length))

    def has_answered(self) -> bool:
        """Whether the reading asked for is there."""
        stdout = self._started().stdout
        assert stdout is not None
        return bool(select.select([stdout], [], [], 0)[0])

    def pass_time(self, seconds: float) -> None:
        """Lets its clock go on."""
        self._seconds += seconds
        self._clock.write_text(str(self._seconds))

    def end(self) -> None:
        """Ends it, if it runs; the next question is for a fresh process."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process = None

    def put_card(
        self,
        address: str = "0000:01:00.0",
        *,
        driver: str | None = "nvidia",
        control: str = "on",
        status: str = "active",
    ) -> None:
        """Puts an NVIDIA card among the system's devices, or changes the one that is there."""
        device = self.sysfs / "bus/pci/devices" / address
        (device / "power").mkdir(parents=True, exist_ok=True)
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text("0x030000\n")
        (device / "power/control").write_text(f"{control}\n")
        (device / "power/runtime_status").write_text(f"{status}\n")
        if driver is not None:
            bound = self.sysfs / "bus/pci/drivers" / driver
            bound.mkdir(parents=True, exist_ok=True)
            if not (bound / address).exists():
                (bound / address).symlink_to(device)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._clock), str(self.sysfs)],
                env={**os.environ, **self._fake.env},
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        return self._process


def _main(clock: Path, sysfs: str) -> None:
    from tierwatch_agent.gpus.nvml import NvmlSource  # needs the driver's library in the process

    source = NvmlSource(sysfs, now=lambda: float(clock.read_text()))
    serve(source, sys.stdin.buffer.raw, sys.stdout.buffer)  # type: ignore[attr-defined]  # BufferedReader has raw


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
