"""What ``tierwatch.toml`` says, as an inventory; what is wrong with it, in words. Pure.

The file's ``[dashboard]`` table is the dashboard's own settings, which ``config`` reads. Where the
file defines tiers, they take the place of the default ladder as a whole: what holds stands there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Literal, cast
from urllib.parse import urlsplit

from tierwatch_agent.tiers import DEFAULT_ALLOWANCE_GB, DEFAULT_TIERS, Tier
from tierwatch_dashboard.alerts.settings_file import settings_of
from tierwatch_dashboard.inventory import Inventory, InventoryError, Machine, Policy
from tierwatch_dashboard.toml_table import Table, did_you_mean

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ID = re.compile(r"\w[\w.-]*")
_ADDRESS = re.compile(r"://[^\s\"']+")
_LINE = re.compile(r"\(at line (\d+), column \d+\)")


def parse(content: bytes, name: str) -> Inventory:
    """The inventory in a file's content; ``name`` is the file's, for errors."""
    top = Table(_document(content, name), name, InventoryError)
    top.only(("policy", "tier", "machine", "alerts", "dashboard"))
    tiers = _tiers(top)
    machines = _machines(top, tiers)
    return Inventory(
        machines=machines,
        tiers=tiers,
        policy=_policy(top),
        alerts=settings_of(
            top.table("alerts"),
            [tier.name for tier in tiers],
            {machine.id: machine.tags for machine in machines if machine.tags},
        ),
    )


def _document(content: bytes, name: str) -> dict[str, object]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InventoryError(f"{name}: line {line} is not UTF-8; save the file as UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = _LINE.search(str(error))
        lines = text.splitlines()
        number = int(where[1]) if where else len(lines)
        line = lines[number - 1].strip() if number <= len(lines) else ""
        # A receiver's address holds a secret.
        line = _ADDRESS.sub("://…", line)
        what = _LINE.sub("", str(error)).strip()
        raise InventoryError(
            f"{name}: line {number} is not TOML ({what}): {line!r}. Text stands in quotes, as in "
            'tier = "mass"; numbers, true and false do not'
        ) from error


def _policy(top: Table) -> Policy:
    table, default = top.table("policy"), Policy()
    table.only(("below_for", "clear_for", "stale_after", "down_after", "margin_gb"))

    def seconds(key: str, otherwise: float) -> float:
        value = table.seconds(key, f"{otherwise:g}s")
        return otherwise if value is None else value

    margin = table.number("margin_gb", "0.5")
    policy = Policy(
        below_for_seconds=seconds("below_for", default.below_for_seconds),
        clear_for_seconds=seconds("clear_for", default.clear_for_seconds),
        stale_after_seconds=seconds("stale_after", default.stale_after_seconds),
        down_after_seconds=seconds("down_after", default.down_after_seconds),
        margin_gb=default.margin_gb if margin is None else margin,
    )
    if not 0 < policy.stale_after_seconds <= policy.down_after_seconds:
        raise table.wrong(
            f"stale_after is {policy.stale_after_seconds:g} s and down_after "
            f"{policy.down_after_seconds:g} s; stale_after must be more than 0 and no longer than "
            "down_after"
        )
    return policy


def _tiers(top: Table) -> tuple[Tier, ...]:
    tiers: dict[str, Tier] = {}
    for table in top.tables("tier", "name"):
        table.only(("name", "vram_gb", "purpose", "allowance_gb"))
        name = table.required("name", "mass")
        if name in tiers:
            raise table.wrong("name: there is a tier of this name already; give it another")
        vram = table.number("vram_gb", "16")
        if vram is None:
            raise table.wrong("vram_gb is missing; add the class of card, such as vram_gb = 16")
        allowance = table.number("allowance_gb", "1.0")
        tiers[name] = Tier(
            name=name,
            vram_gb=vram,
            purpose=table.text("purpose", "high resolution, mass generation") or "",
            allowance_gb=DEFAULT_ALLOWANCE_GB if allowance is None else allowance,
        )
    return tuple(tiers.values()) or DEFAULT_TIERS


def _machines(top: Table, tiers: Sequence[Tier]) -> tuple[Machine, ...]:
    machines: list[Machine] = []
    places: dict[str, str] = {}
    for table in top.tables("machine", "id"):
        machine = _machine(table, [tier.name for tier in tiers])
        for key, value in (("id", machine.id), ("url", machine.url)):
            if value in places:
                raise table.wrong(f'{key} "{value}" is taken by {places[value]}; give it its own')
            places[value] = table.place.partition(": ")[2]
        machines.append(machine)
    return tuple(machines)


def _machine(table: Table, tiers: Sequence[str]) -> Machine:
    table.only(("id", "url", "tier", "gpu_tiers", "gpus", "tags", "maintenance"))
    machine_id = table.required("id", "render-01")
    if not _ID.fullmatch(machine_id):
        raise table.wrong(
            f'id is "{machine_id}"; it may have letters, digits, ".", "-" and "_", such as '
            'id = "render-01"'
        )
    gpu_tiers = table.mapping("gpu_tiers", '{ "0" = "mass" }')
    for index, tier in gpu_tiers.items():
        _check_tier(table, f'gpu_tiers: "{index}" =', tier, tiers)
    tier = table.text("tier", "mass")
    if tier is not None:
        _check_tier(table, "tier", tier, tiers)
    return Machine(
        id=machine_id,
        url=_url(table, machine_id),
        tier=tier,
        gpu_tiers=gpu_tiers,
        gpus=cast('Literal["all", "any"]', table.choice("gpus", ("all", "any")) or "all"),
        tags=table.texts("tags", "floor-2"),
        maintenance=table.flag("maintenance"),
    )


def _check_tier(table: Table, key: str, tier: str, tiers: Sequence[str]) -> None:
    if tier not in tiers:
        raise table.wrong(
            f'{key} "{tier}" is not defined; tiers are {", ".join(tiers)}'
            f"{did_you_mean(tier, tiers)}"
        )


def _url(table: Table, machine_id: str) -> str:
    example = f"http://{machine_id}:9838"
    url = table.required("url", example)
    if not _is_address(url):
        raise table.wrong(
            f'url is "{url}", which is no address of an agent; write it as url = "{example}"'
        )
    return url.rstrip("/")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or re.search(r"\s", url))
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and plain
