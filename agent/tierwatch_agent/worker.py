"""The process in which one GPU source runs, so that a hanging driver call harms nothing else.

Spoken over its pipes: the agent writes one byte for each reading that it wants (``DETAILED`` asks
for what takes the driver long as well), and the worker answers with a length (4 bytes, big endian)
and an ``Answer`` as msgpack. Its standard input closed, it ends.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import struct
import sys
import time
from typing import Any, BinaryIO, Literal, cast

import msgspec

from tierwatch_agent.gpus import SOURCES, DetailedSource, GpuSource, SourceAbsent, SourceError
from tierwatch_agent.snapshot import GpuSample

LENGTH = struct.Struct(">I")
USUAL, DETAILED = b"?", b"!"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one reading of a source gave."""

    outcome: Literal["read", "failed", "absent"]
    gpus: tuple[GpuSample, ...] = ()
    reason: str | None = None
    """Why it failed or is absent, in words."""
    replace_process: bool = False
    """Only a fresh process can cure it."""
    lost: bool = False
    """It failed since every GPU has fallen off its bus."""
    duration_seconds: float = 0.0


def load(name: str, options: dict[str, Any]) -> GpuSource:
    """The source registered as ``name``, with its options; a TypeError names a wrong one."""
    module, _, attribute = SOURCES[name].partition(":")
    return cast("GpuSource", getattr(importlib.import_module(module), attribute)(**options))


class _Reader:
    """Opens a source as needed, and turns what it gives or raises into an ``Answer``."""

    def __init__(self, source: GpuSource) -> None:
        self._source = source
        self._open = False

    def answer(self, wanted: bytes) -> Answer:
        started = time.perf_counter()
        try:
            if not self._open:
                self._source.open()
                self._open = True
            if wanted == DETAILED and isinstance(self._source, DetailedSource):
                gpus = self._source.read_detailed()
            else:
                gpus = self._source.read()
        except SourceAbsent as absence:
            return self._closed(Answer(outcome="absent", reason=str(absence)))
        except SourceError as error:
            return self._closed(
                Answer(
                    outcome="failed",
                    reason=str(error),
                    replace_process=error.replace_process,
                    lost=error.lost,
                )
            )
        # The one broad except of the agent: a source's surprise costs its figures, not the agent.
        except Exception as error:  # noqa: BLE001
            reason = f"unexpected {type(error).__name__}: {error}"
            return self._closed(Answer(outcome="failed", reason=reason))
        return Answer(outcome="read", gpus=gpus, duration_seconds=time.perf_counter() - started)

    def _closed(self, answer: Answer) -> Answer:
        self._source.close()
        self._open = False
        return answer


def serve(source: GpuSource, asked: BinaryIO, answers: BinaryIO) -> None:
    """Answers until ``asked`` ends."""
    reader = _Reader(source)
    encoder = msgspec.msgpack.Encoder()
    while wanted := asked.read(1):
        document = encoder.encode(reader.answer(wanted))
        answers.write(LENGTH.pack(len(document)) + document)
        answers.flush()


def main() -> None:
    """``python -m tierwatch_agent.worker NAME OPTIONS-AS-JSON``: started by the agent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A driver's library that prints must not write into the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(load(sys.argv[1], json.loads(sys.argv[2])), sys.stdin.buffer.raw, answers)  # type: ignore[attr-defined]  # BufferedReader has raw
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
