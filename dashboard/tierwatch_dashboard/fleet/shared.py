"""What one dashboard hears, told to the others that share its database.

One dashboard asks the agents and puts each machine's last reading here; those that stand by take
from here what is new, and judge it as if they had asked themselves. Documents are msgpack, packed:
they are written as often as machines are asked, and read by our own version alone.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    LargeBinary,
    Table,
    Text,
    delete,
    func,
    select,
)

from tierwatch_agent.words import Packed, english, packed, unpack
from tierwatch_dashboard.database import reading, upsert, writing
from tierwatch_dashboard.fleet import Reading
from tierwatch_dashboard.fleet.understood import understood
from tierwatch_dashboard.history.tables import METADATA

SHARED_EVERY_SECONDS = 1.0

SHARED_READINGS = Table(
    "shared_readings",
    METADATA,
    Column("machine", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("shared_readings_by_number", "number"),
)
"""``number`` rises with every reading that is written, whoever writes it."""

_log = logging.getLogger(__name__)
_encoder = msgspec.msgpack.Encoder(enc_hook=english)


class _Told(msgspec.Struct):
    reading: Reading
    error: Packed | None = None
    """The reading's error as words, so that it can be said in another language there too."""


_decoder = msgspec.msgpack.Decoder(_Told)


class SharedReadings:
    """Both ends. ``take`` from any thread; ``write`` and ``read`` each from one alone."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._waiting: dict[str, Reading] = {}
        self._seen = 0

    def take(self, taken: Reading) -> None:
        """Keeps a reading for the others; a machine's next takes its place."""
        with self._lock:
            self._waiting[taken.machine] = taken

    def write(self, machines: Sequence[str]) -> None:
        """Tells the others what came since; ``machines``: those that there are, others go.

        Raises:
            DatabaseError: They could not be told; what is newer by then is told the next time.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        with writing(self._engine) as connection:
            connection.execute(
                delete(SHARED_READINGS).where(SHARED_READINGS.c.machine.not_in(machines))
            )
            if not waiting:
                return
            last = connection.execute(select(func.max(SHARED_READINGS.c.number))).scalar() or 0
            # Where the table was emptied, numbers go on rising nevertheless.
            last = max(last, time.time_ns() // 1_000_000)
            statement = upsert(connection, SHARED_READINGS)
            changed = {name: statement.excluded[name] for name in ("number", "document")}
            connection.execute(
                statement.on_conflict_do_update(index_elements=["machine"], set_=changed),
                [
                    {"machine": machine, "number": number, "document": _packed(each)}
                    for number, (machine, each) in enumerate(waiting.items(), last + 1)
                ],
            )

    def read(self, deliver: Callable[[Reading], None]) -> None:
        """Delivers what the others wrote since the last time."""
        c = SHARED_READINGS.c
        fresh = select(c.number, c.document).where(c.number > self._seen).order_by(c.number)
        with reading(self._engine) as connection:
            found = connection.execute(fresh).all()
        for row in found:
            self._seen = row.number
            try:
                told = _unpacked(row.document)
            except (msgspec.DecodeError, zlib.error, ValueError):
                _log.exception("a reading that another dashboard shares is not understood")
            else:
                deliver(told)


def _packed(told: Reading) -> bytes:
    error = None if told.error is None else packed(told.error)
    return zlib.compress(_encoder.encode(_Told(told, error)), 1)


def _unpacked(document: bytes) -> Reading:
    told = _decoder.decode(zlib.decompress(document))
    found = told.reading
    snapshot = None if found.snapshot is None else understood(found.snapshot)
    error = found.error if told.error is None else unpack(told.error)
    return msgspec.structs.replace(found, snapshot=snapshot, error=error)
