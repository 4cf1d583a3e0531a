"""The selects of the fleet page's filter: what each offers and what of it is chosen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from tierwatch_agent.words import say
from tierwatch_dashboard.servers import title
from tierwatch_dashboard.web.choosing import BY_TAG, SORTS, Asked, Options


class Select(msgspec.Struct, frozen=True, kw_only=True):
    """One select."""

    name: str
    label: str
    choices: tuple[tuple[str, str], ...]
    """Value and words; an empty value filters nothing."""
    chosen: str


def selects(asked: Asked, options: Options) -> Iterator[Select]:
    """Those with something to choose; what is asked for is among the choices even if it is gone."""
    tags = ((tag, tag) for tag in options.tags)
    servers = ((kind, title(kind)) for kind in options.servers)
    filters = (
        ("tier", say("Tier"), ((tier, tier) for tier in options.tiers), asked.tier),
        ("tag", say("Tag"), tags, asked.tag),
        ("gpu", say("Card"), ((gpu, gpu) for gpu in options.gpus), asked.gpu),
        ("server", say("Server"), servers, asked.server),
    )
    for name, label, choices, chosen in filters:
        yield from _select(name, label, say("all"), choices, chosen)
    yield Select(name="sort", label=say("Order"), choices=tuple(SORTS.items()), chosen=asked.sort)
    groups = ((group, _by(group)) for group in options.groups)
    yield from _select("group", say("Group"), say("none"), groups, asked.group)


def _select(
    name: str, label: str, none: str, choices: Iterable[tuple[str, str]], chosen: str | None
) -> Iterator[Select]:
    offered = tuple(choices)
    if chosen is not None and chosen not in dict(offered):
        offered = (*offered, (chosen, chosen))
    if offered:
        yield Select(name=name, label=label, choices=(("", none), *offered), chosen=chosen or "")


def _by(group: str) -> str:
    if group == BY_TAG:
        return say("by first tag")
    return say("by {kind}", kind=group.removeprefix(f"{BY_TAG}:"))
