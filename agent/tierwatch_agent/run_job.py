"""``tierwatch-agent run-job -- CMD``: any command as a job, which it neither changes nor delays.

Its input is its own; its output is read on its way through, for the steps of a tqdm bar and for
what an error is called. Two things differ from running it bare: its error output is a pipe even
where ours is a terminal (so no colours there; the terminal's width is told by ``COLUMNS``), and
its output and its errors may arrive a moment apart. Output to a terminal is left alone, unread.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import IO

from tierwatch_agent.jobs import OUT_OF_MEMORY, URL_VARIABLE, Job, Outcome

CHUNK_BYTES = 2**16
LONGEST_LINE = 4096
"""Of a longer line, so much of its end is looked at."""
LEFT_OPEN_SECONDS = 1.0
"""How long is waited for output after the end, where the command left a process behind."""
NOT_EXECUTABLE = 126
NOT_FOUND = 127
BY_SIGNAL = 128

_BAR = re.compile(rb"([^\r\n|]*)\d+%\|[^\r\n|]*\|\s*(\d{1,7})/(\d{1,7}) \[")
_LOADING = re.compile(rb"loading|fetching|downloading", re.IGNORECASE)
_TRACEBACK = re.compile(rb"Traceback \(most recent call last\):$")
_CHAINED = re.compile(rb"^(The above exception was|During handling of the above exception)")
_RAISED = re.compile(rb"^([A-Za-z_][\w.]{0,198})(?:: |:?$)")
_OUT_OF_MEMORY = re.compile(OUT_OF_MEMORY.pattern.encode(), re.IGNORECASE)
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGBREAK")


class Output:
    """What one stream of a command tells, line by line, redraws by carriage return included."""

    def __init__(self, job: Job, steps: int | None) -> None:
        self.out_of_memory = False
        self.raised: str | None = None
        """Class of the last error that a traceback ended with."""
        self.raised_for_memory = False
        self._job = job
        self._steps = steps
        self._rest = b""
        self._in_traceback = False
        self._chained = False

    def take(self, chunk: bytes) -> None:
        """Takes in the next piece, of any size, cut anywhere."""
        text = self._rest + chunk
        *lines, self._rest = re.split(rb"[\r\n]", text)
        self._rest = self._rest[-LONGEST_LINE:]
        for line in lines:
            self._take_line(line[-LONGEST_LINE:])
        # A bar's line has no end until it is drawn again: what is there of it counts.
        self._take_bar((*lines, self._rest))

    def end(self) -> None:
        """There is no more: an unfinished line is one too."""
        self._take_line(self._rest)

    def _take_line(self, line: bytes) -> None:
        out_of_memory = bool(_OUT_OF_MEMORY.search(line))
        self.out_of_memory = self.out_of_memory or out_of_memory
        if _TRACEBACK.search(line):
            self._in_traceback = True
        elif _CHAINED.match(line):
            self._chained = True
        elif self._in_traceback and (raised := _RAISED.match(line)):
            self.raised = raised[1].decode().rpartition(".")[2]
            self.raised_for_memory = out_of_memory or (self._chained and self.raised_for_memory)
            self._in_traceback = self._chained = False

    def _take_bar(self, lines: Sequence[bytes]) -> None:
        for line in reversed(lines):
            bar = _BAR.search(line) if b"%|" in line else None
            if bar is None or _LOADING.search(bar[1]):
                continue
            step, steps = int(bar[2]), int(bar[3])
            if steps and self._steps in (None, steps):
                self._job.step(step, steps)
                return


def run_job(command: Sequence[str], job: Job, steps: int | None = None) -> int:
    """Runs a command as a job; its exit code, as a shell would tell it.

    Args:
        command: Program and arguments.
        job: What is known of it, not yet started.
        steps: How many it takes; bars of another length are then no steps.
    """
    outputs = (Output(job, steps), Output(job, steps))
    with _forwarding() as forward:
        try:
            process = subprocess.Popen(  # noqa: S603 - it is the user's own command
                command,
                bufsize=0,
                stdout=None if _is_terminal(1) else subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment(),
            )
        except OSError as error:
            sys.stderr.write(f"tierwatch-agent: {command[0]}: {error.strerror}\n")
            return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        job.start()
        forward.to(process)
        pumps = [
            _Pump(source, sink, output)
            for source, sink, output in zip(
                (process.stdout, process.stderr), (1, 2), outputs, strict=True
            )
            if source is not None
        ]
        code = process.wait()
        for pump in pumps:
            pump.wait_for_the_rest()
    job.finish(*_outcome(code, outputs, interrupted=forward.asked_to_end))
    return code if code >= 0 else BY_SIGNAL - code


class _Pump:
    """The thread that passes one stream on, each piece at once, before anything looks at it."""

    def __init__(self, source: IO[bytes], sink: int, output: Output) -> None:
        self._source, self._sink, self._output = source, sink, output
        self._reading_since: float | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait_for_the_rest(self) -> None:
        """Returns at the stream's end, or once nothing comes of a process that was left behind."""
        while self._thread.is_alive():
            since = self._reading_since
            if since is not None and time.monotonic() - since > LEFT_OPEN_SECONDS:
                return
            self._thread.join(0.05)

    def _run(self) -> None:
        with self._source:
            while chunk := self._read():
                try:
                    _write_all(self._sink, chunk)
                except OSError:
                    # Nobody reads ours any more: the command is to notice by its own, closed now.
                    break
                self._output.take(chunk)
        self._output.end()

    def _read(self) -> bytes:
        self._reading_since = time.monotonic()
        try:
            return self._source.read(CHUNK_BYTES)
        finally:
            self._reading_since = None


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            time.sleep(0.01)


class _Forward:
    """Signals on their way to the command; those that come before it runs are kept for it."""

    def __init__(self) -> None:
        self.asked_to_end = False
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []

    def to(self, process: subprocess.Popen[bytes]) -> None:
        """The command runs now."""
        self._process = process
        for number in self._early:
            process.send_signal(number)

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGINT, signal.SIGTERM):
            self.asked_to_end = True
        if number == signal.SIGINT and _came_by_the_terminal():
            return
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)


@contextmanager
def _forwarding() -> Generator[_Forward]:
    forward = _Forward()
    before = {
        number: signal.signal(number, forward)
        for number in (getattr(signal, name) for name in _FORWARDED if hasattr(signal, name))
        if signal.getsignal(number) != signal.SIG_IGN  # nohup stays in force
    }
    try:
        yield forward
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _came_by_the_terminal() -> bool:
    """Whether Ctrl-C reached the command already, as it does everything in the foreground."""
    if sys.platform == "win32":
        return True
    terminal = next((descriptor for descriptor in (0, 1, 2) if _is_terminal(descriptor)), None)
    return terminal is not None and os.tcgetpgrp(terminal) == os.getpgrp()


def _environment() -> dict[str, str]:
    """The command's: it is one job, whatever it would report of itself."""
    environment = {**os.environ, URL_VARIABLE: ""}
    if _is_terminal(2):
        size = shutil.get_terminal_size()
        environment.setdefault("COLUMNS", str(size.columns))
        environment.setdefault("LINES", str(size.lines))
    return environment


def _is_terminal(descriptor: int) -> bool:
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def _outcome(
    code: int, outputs: Sequence[Output], *, interrupted: bool
) -> tuple[Outcome, str | None]:
    if code == 0:
        return "success", None
    by_signal = -code if code < 0 else code - BY_SIGNAL
    if interrupted or by_signal in (signal.SIGINT, signal.SIGTERM):
        return "interrupted", "KeyboardInterrupt" if by_signal == signal.SIGINT else None
    told = next((output for output in reversed(outputs) if output.raised), None)
    if told.raised_for_memory if told else any(output.out_of_memory for output in outputs):
        return "oom", told.raised if told else "OutOfMemoryError"
    if code < 0:
        return "error", f"ended by {_signal_name(-code)}"
    return "error", told.raised if told else f"ended with exit code {code}"


def _signal_name(number: int) -> str:
    return next((known.name for known in signal.Signals if known == number), f"signal {number}")
