"""Alerts and messages as documents: the English, and beside it the words that it is made of. Pure.

So a document can be read by itself, and be said in another language when it is read.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tierwatch_agent.words import Packed, Words, english, pack, unpack

_Part = TypeVar("_Part", bound=msgspec.Struct)

_BESIDE = "words"

_encoder = msgspec.json.Encoder(enc_hook=english)


class _Beside(msgspec.Struct):
    words: dict[str, Packed] = {}


_beside = msgspec.json.Decoder(_Beside)


def written(part: msgspec.Struct) -> bytes:
    """A part as a document."""
    fields = msgspec.structs.asdict(part)
    words = {name: pack(value) for name, value in fields.items() if isinstance(value, Words)}
    return _encoder.encode({**fields, _BESIDE: words} if words else part)


def read(document: bytes, type_: type[_Part]) -> _Part:
    """What ``written`` made, or what was written before there were words beside it."""
    part = msgspec.json.decode(document, type=type_)
    fields: dict[str, str] = {}
    for name, packed in _beside.decode(document).words.items():
        try:
            words = unpack(packed)
        except ValueError:
            continue
        if words == getattr(part, name, None):
            fields[name] = words
    return msgspec.structs.replace(part, **fields) if fields else part
