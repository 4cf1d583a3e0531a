"""The agent's end of a source's worker process: started, asked, ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from tierwatch_agent.worker import DETAILED, LENGTH, USUAL, Answer

_decoder = msgspec.msgpack.Decoder(Answer)


class WorkerEnded(Exception):
    """The worker process is gone; the text says how it went."""


class SourceProcess:
    """One worker process. ``ask`` blocks for as long as the driver does; ``end`` never blocks."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "tierwatch_agent.worker", name, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def ask(self, *, detailed: bool = False) -> Answer:
        """One reading; WorkerEnded when the process is gone."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise WorkerEnded("its process was started without pipes")
        try:
            stdin.write(DETAILED if detailed else USUAL)
            stdin.flush()
            head = stdout.read(LENGTH.size)
            body = stdout.read(*LENGTH.unpack(head)) if len(head) == LENGTH.size else b""
            return _decoder.decode(body)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise WorkerEnded(self._how_it_ended()) from error

    def end(self) -> None:
        """Asks the process to go and kills it: a call stuck in the kernel may outlive both."""
        self._process.kill()

    def is_gone(self) -> bool:
        """Whether it has ended (and is reaped)."""
        return self._process.poll() is not None

    def release(self) -> None:
        """Closes the pipes of a process that is gone."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "its process closed its answers without ending"
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}; the lines above in the log say why"
