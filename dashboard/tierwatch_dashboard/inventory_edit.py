"""Edits of ``tierwatch.toml``: its content and a change to its new content. Pure.

The file is its author's: comments, order and layout stay, and no line changes that need not.
"""

# tomlkit's containers bear no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Item, Table, Whitespace

from tierwatch_agent.tiers import DEFAULT_ALLOWANCE_GB, DEFAULT_TIERS, Tier
from tierwatch_agent.words import say
from tierwatch_dashboard.inventory_change import (
    AddTier,
    Assign,
    Change,
    EditError,
    Maintain,
    RemoveTier,
    SetTags,
    SetTier,
)

_BOM = "\ufeff"
_ADDRESS = re.compile(r"://[^\s\"']+")


def edited(content: bytes, change: Change) -> bytes:
    """The content with a change that fits it; EditError where its layout does not allow it."""
    written = content.decode()
    mark = _BOM if written.startswith(_BOM) else ""
    text = written.removeprefix(_BOM)
    end = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    if isinstance(change, SetTier | AddTier | RemoveTier):
        text = _with_ladder(text)
    document = _parsed(text)
    _make(document, change)
    return (mark + tomlkit.dumps(document).replace("\n", end)).encode()


def without(content: bytes, key: str) -> bytes:
    """The content without one of its tables, where it has it; EditError as ``edited``."""
    written = content.decode()
    document = _parsed(written.removeprefix(_BOM).replace("\r\n", "\n"))
    if key not in document:
        return content
    del document[key]
    return tomlkit.dumps(document).lstrip("\n").encode()


def lines(content: bytes, changed: bytes) -> tuple[str, ...]:
    """What a person would change by hand: "line 34: - tier = …", "line 34: + tier = …"."""
    before, after = (each.decode().splitlines() for each in (content, changed))
    found: list[str] = []
    for tag, start, stop, begin, end in difflib.SequenceMatcher(
        a=before, b=after, autojunk=False
    ).get_opcodes():
        if tag != "equal":
            found += [f"{n}: - {_shown(before[n - 1])}" for n in range(start + 1, stop + 1)]
            found += [f"{n}: + {_shown(after[n - 1])}" for n in range(begin + 1, end + 1)]
    return tuple(found)


def _shown(line: str) -> str:
    # A receiver's address holds a secret.
    return _ADDRESS.sub("://…", line).rstrip()


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        document = tomlkit.parse(text if text.endswith("\n") or not text else f"{text}\n")
        sound = tomlkit.dumps(document).rstrip("\n") == text.rstrip("\n")
    except TOMLKitError:
        sound = False
        document = tomlkit.document()
    if not sound:
        raise EditError(
            say(
                "The file is laid out so that a page cannot edit it and leave the rest as it is: "
                "keep all {machine} together, and all {tier}, or edit it by hand.",
                machine="[[machine]]",
                tier="[[tier]]",
            )
        )
    return document


def _with_ladder(text: str) -> str:
    """The text with the default ladder written out, where it defines no tiers."""
    if "tier" in _parsed(text):
        return text
    tables = [
        f"[[tier]]\n{tomlkit.dumps(dict(_fields(tier, written_out=True)))}"
        for tier in DEFAULT_TIERS
    ]
    before = f"{text.rstrip()}\n\n" if text.strip() else ""
    return f"{before}# The tiers, from the lowest to the highest.\n{chr(10).join(tables)}"


def _make(document: tomlkit.TOMLDocument, change: Change) -> None:
    match change:
        case Assign(tier=tier, gpu_tiers=gpu_tiers, gpus=gpus):
            table = _named(document, "machine", "id", change.machine)
            _put(table, "tier", tier)
            _put(table, "gpu_tiers", dict(sorted(gpu_tiers.items())) or None)
            _put(table, "gpus", gpus if gpus == "any" or "gpus" in table else None)
        case Maintain(on=on):
            table = _named(document, "machine", "id", change.machine)
            _put(table, "maintenance", on if on or "maintenance" in table else None)
        case SetTags(tags=tags):
            table = _named(document, "machine", "id", change.machine)
            _put(table, "tags", list(tags) or None)
        case SetTier(name=name, tier=tier):
            table = _named(document, "tier", "name", name)
            for key, value in _fields(tier, written_out="allowance_gb" in table):
                _put(table, key, value)
            if not tier.purpose and "purpose" in table:
                _put(table, "purpose", None)
            if tier.name != name:
                _rename(document, name, tier.name)
        case AddTier(tier=tier):
            _append(document, tier)
        case RemoveTier(name=name):
            _remove(document, name)


def _fields(tier: Tier, *, written_out: bool) -> Iterator[tuple[str, object]]:
    yield "name", tier.name
    yield "vram_gb", _number(tier.vram_gb)
    if tier.purpose:
        yield "purpose", tier.purpose
    if written_out or tier.allowance_gb != DEFAULT_ALLOWANCE_GB:
        yield "allowance_gb", float(tier.allowance_gb)


def _number(value: float) -> float:
    return int(value) if value == int(value) else value


def _tables(document: Any, key: str) -> list[Any]:
    return list(document.get(key, ()))


def _named(document: tomlkit.TOMLDocument, key: str, named_by: str, name: str) -> Any:
    for table in _tables(document, key):
        if str(table.get(named_by, "")).strip() == name:
            return table
    raise EditError(say("The file has no {name} of its own to edit.", name=name))


def _put(table: Any, key: str, value: object) -> None:
    """Sets a key where it stands, a new one after the last of its table; None removes it."""
    known = table.get(key)
    if value is None:
        # One that is empty says what its absence says.
        if known:
            del table[key]
        return
    if known is not None:
        if tomlkit.item(known).unwrap() != value:
            table[key] = _item(value)
        return
    tail = _cut_tail(table) if isinstance(table, Table) else []
    table.append(key, _item(value))
    _add_tail(table, tail)


def _item(value: object) -> Item:
    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update(value)
        return inline
    return tomlkit.item(value)


def _cut_tail(table: Table) -> list[Item]:
    """Takes off what stands below the first blank line after a table's keys: it leads to the next.

    A comment right below the keys is the table's own.
    """
    body = table.value.body
    last = max((place for place, (key, _) in enumerate(body) if key is not None), default=-1)
    for place in range(last + 1, len(body)):
        if isinstance(body[place][1], Whitespace):
            tail = [item for _, item in body[place:]]
            del body[place:]
            return tail
    return []


def _add_tail(table: Any, tail: list[Item]) -> None:
    for item in tail:
        table.add(item)


def _append(document: tomlkit.TOMLDocument, tier: Tier) -> None:
    tiers: Any = document["tier"]
    fields = dict(_fields(tier, written_out=False))
    if not isinstance(tiers, AoT):
        tiers.append(_item(fields))
        return
    last = tiers[-1]
    tail = _cut_tail(last)
    last.add(tomlkit.nl())
    table = tomlkit.table()
    table.update(fields)
    _add_tail(table, tail)
    tiers.append(table)


def _remove(document: tomlkit.TOMLDocument, name: str) -> None:
    tiers: Any = document["tier"]
    place = _tables(document, "tier").index(_named(document, "tier", "name", name))
    if isinstance(tiers, AoT):
        tail = _cut_tail(tiers[place])
        if place + 1 < len(tiers):
            # A header's indent is whatever stands before it.
            following = tiers[place + 1]
            leading = "".join(item.as_string() for item in tail).lstrip("\n")
            following.trivia.indent = leading + following.trivia.indent
        elif place:
            _cut_blank(tiers[place - 1])
            _add_tail(tiers[place - 1], tail)
    del tiers[place]


def _cut_blank(table: Table) -> None:
    body = table.value.body
    while body and isinstance(body[-1][1], Whitespace):
        body.pop()


def _rename(document: tomlkit.TOMLDocument, name: str, new: str) -> None:
    """Has all that names a tier follow it: assignments, and what alerts say of it."""
    for machine in _tables(document, "machine"):
        if machine.get("tier") == name:
            machine["tier"] = new
        gpu_tiers = machine.get("gpu_tiers", {})
        for index in [index for index, own in gpu_tiers.items() if own == name]:
            gpu_tiers[index] = new
    alerts: Any = document.get("alerts", {})
    for route in _tables(alerts, "route"):
        tiers = route.get("tiers", [])
        for place, own in enumerate(list(tiers)):
            if own == name:
                tiers[place] = new
    for rule in alerts.get("rule", {}).values():
        own = rule.get("tier", {})
        if name in own:
            settings = own[name]
            del own[name]
            own[new] = settings
