"""The contract's promise: older and newer documents are read, anything else is a clear error."""

from __future__ import annotations

import json

import pytest

from tests.agent.snapshots import RTX_4080_SUPER, machine
from tierwatch_agent.snapshot import SCHEMA, SnapshotError, decode, encode


def test_a_document_comes_back_as_it_was() -> None:
    snapshot = machine(RTX_4080_SUPER)
    assert decode(encode(snapshot)) == snapshot


def test_unknown_figures_are_absent_from_the_document() -> None:
    document = json.loads(encode(machine()))
    assert "gpus" not in document
    assert "null" not in encode(machine(RTX_4080_SUPER)).decode()


def test_a_newer_agent_is_read_and_its_new_fields_ignored() -> None:
    document = json.loads(encode(machine(RTX_4080_SUPER)))
    document["schema"] = SCHEMA + 7
    document["weather"] = {"wind": 3}
    document["gpus"][0]["colour"] = "blue"
    assert decode(json.dumps(document).encode()).gpus == (RTX_4080_SUPER,)


def test_an_older_agent_is_read_with_what_it_knew() -> None:
    document = json.loads(encode(machine(RTX_4080_SUPER)))
    del document["host"], document["sources"], document["gpus"][0]["attribution"]
    older = decode(json.dumps(document).encode())
    assert older.host is None
    assert older.gpus[0].attribution is None
    assert older.gpus[0].memory == RTX_4080_SUPER.memory


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"<html>", "not a machine snapshot"),
        (b"{}", "missing required field `schema`"),
        (b'{"schema": 0, "machine": "a"}', "missing required field"),
        (b"\xff\xfe", "not a machine snapshot"),
        (b"[1, 2", "not a machine snapshot"),
    ],
)
def test_anything_else_is_a_clear_error(document: bytes, words: str) -> None:
    with pytest.raises(SnapshotError, match=words):
        decode(document)


def test_a_wrong_type_is_named_by_its_place() -> None:
    document = json.loads(encode(machine(RTX_4080_SUPER)))
    document["gpus"][0]["memory"]["free_bytes"] = "plenty"
    with pytest.raises(SnapshotError, match=r"Expected `int`, got `str`.*gpus.*free_bytes"):
        decode(json.dumps(document).encode())


def test_a_schema_that_never_was_is_refused() -> None:
    document = json.loads(encode(machine()))
    document["schema"] = 0
    with pytest.raises(SnapshotError, match="schema 0 does not exist"):
        decode(json.dumps(document).encode())
