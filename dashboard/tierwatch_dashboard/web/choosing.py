"""Which machines the fleet page lists, and in which order: search, filters, sorting, groups. Pure.

All of it stands in the address, so that a view can be shared: ``/?tier=mass&state=below``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from tierwatch_agent.tiers import Tier, ladder
from tierwatch_agent.words import say
from tierwatch_dashboard.servers import title
from tierwatch_dashboard.verdict import WORST_FIRST, State
from tierwatch_dashboard.web.facts import Facts

Sort = Literal["worst", "name", "headroom", "tier", "busy", "temperature"]

SORTS: dict[Sort, str] = {
    "worst": say("worst first"),
    "name": say("by name"),
    "headroom": say("least headroom first"),
    "tier": say("highest tier first"),
    "busy": say("busiest first"),
    "temperature": say("hottest first"),
}
"""Order to the words for it."""

BY_TAG = "tag"
"""Groups by each machine's first tag; ``tag:room`` by its tag that begins with ``room:``."""

_LONGEST = 200


class AskedError(ValueError):
    """An address that asks for what cannot be; the text says what it may ask for."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a view asks for; None and empty: no matter which."""

    q: str = ""
    """Words that a machine must have: in its name, tags, cards, models, servers, its headline."""
    tier: str | None = None
    state: State | None = None
    tag: str | None = None
    gpu: str | None = None
    """The name of a card."""
    server: str | None = None
    """A kind of generation server."""
    sort: Sort = "worst"
    group: str | None = None

    def parts(self, **changes: object) -> dict[str, str]:
        """What differs from the plain view, by name, with these parts changed."""
        parts = msgspec.structs.asdict(msgspec.structs.replace(self, **changes))
        return {name: value for name, value in parts.items() if value != _PLAIN[name]}

    def address(self, shown: int | None = None, **changes: object) -> str:
        """This view's address, with these parts changed; ``shown``: how many machines, at least."""
        parts: dict[str, object] = {**self.parts(**changes)}
        if shown is not None:
            parts["shown"] = shown
        found = urlencode(parts)
        return f"/?{found}" if found else "/"

    def cleared(self) -> Asked:
        """The same order and groups with every machine."""
        return Asked(sort=self.sort, group=self.group)

    @property
    def filters(self) -> bool:
        """Whether it may leave machines out."""
        return bool(
            self.q.strip() or self.tier or self.state or self.tag or self.gpu or self.server
        )


_PLAIN = msgspec.structs.asdict(Asked())


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to choose among, in the order in which it is offered."""

    tiers: tuple[str, ...]
    tags: tuple[str, ...]
    gpus: tuple[str, ...]
    servers: tuple[str, ...]
    groups: tuple[str, ...]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Machines that stand under one heading."""

    name: str | None
    """None: what no group takes."""
    machines: tuple[Facts, ...]


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What a view lists."""

    groups: tuple[Group, ...]
    """One without a name where nothing is grouped."""
    states: Mapping[State, int]
    """How many of each state there are, whichever state is asked for."""

    @property
    def count(self) -> int:
        """How many machines it lists."""
        return sum(len(group.machines) for group in self.groups)


def asked_in(arguments: Mapping[str, str]) -> Asked:
    """What an address asks for; AskedError in words where that cannot be.

    A tier, tag, card or server that there is none of is no error: links grow old, and the page
    says that nothing matches.
    """
    known = {name: arguments[name].strip() for name in Asked.__struct_fields__ if name in arguments}
    given: dict[str, Any] = {name: value for name, value in known.items() if value}
    for name, value in given.items():
        if len(value) > _LONGEST:
            raise AskedError(
                say(
                    "{name} may have {most} characters; it has {count}",
                    name=name,
                    most=_LONGEST,
                    count=len(value),
                )
            )
    if given.get("state", "ok") not in WORST_FIRST:
        raise AskedError(_one_of("state", WORST_FIRST, given["state"]))
    if given.get("sort", "worst") not in SORTS:
        raise AskedError(_one_of("sort", tuple(SORTS), given["sort"]))
    group = given.get("group", BY_TAG)
    if group != BY_TAG and not group.startswith(f"{BY_TAG}:"):
        raise AskedError(
            say(
                "group is {by_tag}, or {by_tag}:room for tags like room:north; it is {group}",
                by_tag=BY_TAG,
                group=group,
            )
        )
    return Asked(**given)


def _one_of(name: str, values: Sequence[str], given: str) -> str:
    return say(
        "{name} is one of {values}; it is {given}",
        name=name,
        values=", ".join(values),
        given=given,
    )


def choose(machines: Sequence[Facts], asked: Asked, spoken: Callable[[str], str] = str) -> Chosen:
    """The machines that a view asks for, of all of them worst first.

    ``spoken`` says a headline in the viewer's language, in which it is searched.
    """
    words = asked.q.casefold().split()
    found = [
        each
        for each in machines
        if (asked.tier is None or asked.tier in each.tiers)
        and (asked.tag is None or asked.tag in each.tags)
        and (asked.gpu is None or asked.gpu in each.gpus)
        and (asked.server is None or asked.server in each.servers)
        and (not words or _has(each, words, spoken))
    ]
    states = Counter(each.state for each in found)
    if asked.state is not None:
        found = [each for each in found if each.state == asked.state]
    if key := _KEYS[asked.sort]:
        found.sort(key=key)
    return Chosen(
        groups=tuple(_groups(found, asked.group)),
        states={state: states[state] for state in WORST_FIRST if states[state]},
    )


def options(machines: Iterable[Facts], tiers: Sequence[Tier]) -> Options:
    """What of this fleet a view may ask for."""
    tags: set[str] = set()
    gpus: set[str] = set()
    servers: set[str] = set()
    for each in machines:
        tags.update(each.tags)
        gpus |= each.gpus
        servers |= each.servers
    kinds = {tag.partition(":")[0] for tag in tags if ":" in tag}
    return Options(
        tiers=tuple(tier.name for tier in reversed(ladder(tiers))),
        tags=tuple(sorted(tags, key=natural)),
        gpus=tuple(sorted(gpus, key=natural)),
        servers=tuple(sorted(servers, key=lambda kind: title(kind).casefold())),
        groups=(*([BY_TAG] if tags else []), *(f"{BY_TAG}:{kind}" for kind in sorted(kinds))),
    )


def natural(name: str) -> list[tuple[int, str]]:
    """A name in the order people count: render-2 before render-10."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part.casefold())
        for part in re.split(r"(\d+)", name)
        if part
    ]


def _has(machine: Facts, words: Sequence[str], spoken: Callable[[str], str]) -> bool:
    missing = [word for word in words if word not in machine.text]
    if not missing:
        return True
    headline = spoken(machine.headline).casefold()
    return all(word in headline for word in missing)


def _groups(machines: Sequence[Facts], group: str | None) -> Iterable[Group]:
    """By name, and last what has none."""
    if group is None:
        return (Group(name=None, machines=tuple(machines)),)
    found: dict[str | None, list[Facts]] = {}
    for each in machines:
        found.setdefault(_group_of(each, group), []).append(each)
    names = sorted((name for name in found if name is not None), key=natural)
    rest = [None] if None in found else []
    return (Group(name=name, machines=tuple(found[name])) for name in (*names, *rest))


def _group_of(machine: Facts, group: str) -> str | None:
    if group == BY_TAG:
        return next(iter(machine.tags), None)
    prefix = f"{group.removeprefix(f'{BY_TAG}:')}:"
    return next((tag[len(prefix) :] for tag in machine.tags if tag.startswith(prefix)), None)


_KEYS: dict[Sort, Callable[[Facts], Any] | None] = {
    "worst": None,
    "name": lambda each: natural(each.id),
    "headroom": lambda each: (each.headroom is None, each.headroom or 0),
    "tier": lambda each: each.place,
    "busy": lambda each: 1 if each.busy is None else -each.busy,
    "temperature": lambda each: 1 if each.temperature is None else -each.temperature,
}
"""What each order sorts by; equals stay worst first. None: they come so."""
