"""An open fleet page as a browser holds it, and a studio whose machines change under it."""

from __future__ import annotations

import html
import json
import re

import msgspec
from flask.testing import FlaskClient

from tests.dashboard.doubles import Studio
from tests.dashboard.studio import machines
from tierwatch_dashboard.fleet.state import MachineView
from tierwatch_dashboard.verdict import State

_ENTRY = re.compile(
    r'<li class="(?:machine|group)[^"]*" id="([^"]+)">.*?'
    r'(?=<li class="(?:machine|group)|</ol>|</hx-partial>)',
    re.S,
)


class OpenPage:
    """A page as a browser holds it: its entries in order, kept up by what it is sent."""

    def __init__(self, client: FlaskClient, address: str = "/") -> None:
        self.client = client
        text = client.get(address).text
        self.entries = entries_in(text)
        self.has = has_in(text)

    @property
    def ids(self) -> list[str]:
        return list(self.entries)

    def ask(self, **more: object) -> str:
        """Asks for what changed, and takes it in; what it was sent."""
        answer = self.client.get("/fleet/changes", query_string={**self.has, **more})
        if answer.status_code == 204:
            return ""
        text = answer.text
        self.has = has_in(text)
        sent = entries_in(text)
        if '<hx-partial hx-target="#machines" hx-swap="innerMorph">' in text:
            self.entries = sent
            return text
        added = text.partition('hx-swap="beforeend"')[2]
        for id_, entry in sent.items():
            assert (id_ in self.entries) != (f'id="{id_}"' in added), f"{id_} went astray"
            self.entries[id_] = entry
        order = re.search(r'id="order" value="([^"]+)"', text)
        if order:
            ids = json.loads(html.unescape(order[1]))
            self.entries = {id_: self.entries[id_] for id_ in ids}
        return text

    def is_as_new(self, address: str = "/") -> bool:
        """Whether it shows what a page loaded now would."""
        return list(self.entries.items()) == list(entries_in(self.client.get(address).text).items())


def entries_in(text: str) -> dict[str, str]:
    """The list's entries by id, in the order in which they stand."""
    return {found[1]: found[0].strip() for found in _ENTRY.finditer(text)}


def has_in(text: str) -> dict[str, str]:
    fields = re.search(r'<fieldset id="has".*?</fieldset>', text, re.S)
    assert fields
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', fields[0])
    }


def names(text: str) -> list[str]:
    return [id_.removeprefix("m-") for id_ in entries_in(text) if id_.startswith("m-")]


def rooms() -> list[MachineView]:
    tags = {"render-03": ("room:north",), "render-01": ("room:north",), "demo-02": ("room:south",)}
    return [
        msgspec.structs.replace(
            each, machine=msgspec.structs.replace(each.machine, tags=tags.get(each.machine.id, ()))
        )
        for each in machines()
    ]


def in_state(known: MachineView, state: State) -> MachineView:
    return msgspec.structs.replace(
        known, verdict=msgspec.structs.replace(known.verdict, state=state)
    )


def known(studio: Studio, machine: str) -> MachineView:
    found = studio.fleet.view(machine)
    assert found
    return found


def warm(studio: Studio, machine: str, celsius: float) -> None:
    found = known(studio, machine)
    assert found.snapshot
    cards = tuple(
        msgspec.structs.replace(card, temperature_celsius=celsius) for card in found.snapshot.gpus
    )
    snapshot = msgspec.structs.replace(found.snapshot, gpus=cards)
    studio.fleet.change(msgspec.structs.replace(found, snapshot=snapshot))
