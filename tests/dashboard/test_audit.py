"""The log of changes: whoever makes them, on a page or in the file, and over a restart."""

from __future__ import annotations

import msgspec
import pytest
from sqlalchemy import Engine

from tests.dashboard.doubles import Clock
from tierwatch_agent.tiers import DEFAULT_TIERS, Tier
from tierwatch_dashboard.alerts.settings import AlertSettings, Receiver
from tierwatch_dashboard.audit import AuditLog
from tierwatch_dashboard.inventory import Inventory, Machine, Policy
from tierwatch_dashboard.inventory_change import AddTier, Assign, Change, SetTier, applied

STUDIO = Inventory(
    machines=(
        Machine(id="render-01", url="http://render-01:9838", tier="mass"),
        Machine(id="render-02", url="http://render-02:9838", gpu_tiers={"1": "mass"}),
    )
)
TO_LIGHT = Assign(machine="render-01", tier="light")


@pytest.fixture
def log(engine: Engine) -> AuditLog:
    log = AuditLog(engine, Clock())
    log.take(STUDIO)
    return log


def _told(log: AuditLog) -> list[tuple[str | None, ...]]:
    """The latest first."""
    return [(e.by, e.way, e.what, e.subject, e.before, e.after) for e in log.recent(50)]


def _with(inventory: Inventory, *changes: Change) -> Inventory:
    for change in changes:
        inventory = applied(inventory, change)
    return inventory


def _machine(**fields: object) -> Inventory:
    first, *rest = STUDIO.machines
    changed = msgspec.structs.replace(first, **fields)
    return msgspec.structs.replace(STUDIO, machines=(changed, *rest))


def test_the_inventory_that_a_dashboard_starts_with_is_no_change(log: AuditLog) -> None:
    assert log.recent(50) == ()


def test_a_page_s_change_is_told_with_who_made_it_and_when(log: AuditLog) -> None:
    log.take(_with(STUDIO, TO_LIGHT), "Yuki", TO_LIGHT)
    assert _told(log) == [("Yuki", "page", "machine.tier", "render-01", "mass", "light")]
    assert log.recent(1)[0].at == Clock().at


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (_machine(tier=None), ("machine.tier", "render-01", "mass", None)),
        (_machine(gpu_tiers={"0": "light"}), ("machine.gpu_tiers", "render-01", None, "0: light")),
        (_machine(gpus="any"), ("machine.gpus", "render-01", "all", "any")),
        (_machine(tags=("a", "b")), ("machine.tags", "render-01", None, "a, b")),
        (_machine(maintenance=True), ("machine.maintenance", "render-01", "off", "on")),
        (
            _machine(url="http://r:1"),
            ("machine.url", "render-01", "http://render-01:9838", "http://r:1"),
        ),
        (
            msgspec.structs.replace(STUDIO, machines=STUDIO.machines[1:]),
            ("machine.removed", "render-01", "mass", None),
        ),
        (
            msgspec.structs.replace(STUDIO, policy=Policy(below_for_seconds=90)),
            ("policy", "below_for_seconds", "60", "90"),
        ),
        (
            _with(STUDIO, AddTier(tier=Tier(name="film", vram_gb=24, purpose=""))),
            ("tier.added", "film", None, "24"),
        ),
        (
            msgspec.structs.replace(STUDIO, tiers=DEFAULT_TIERS[1:]),
            ("tier.removed", "draft", "0", None),
        ),
    ],
)
def test_a_change_in_the_file_is_told_as_such(
    log: AuditLog, after: Inventory, told: tuple[str | None, ...]
) -> None:
    log.take(after)
    assert _told(log) == [(None, "file", *told)]


def test_who_was_assigned_to_a_tier_that_is_renamed_was_not_reassigned(log: AuditLog) -> None:
    renamed = SetTier(name="mass", tier=Tier(name="huge", vram_gb=20, purpose="high"))
    log.take(_with(STUDIO, renamed), "Yuki", renamed)
    assert [(what, before, after) for _, _, what, _, before, after in _told(log)] == [
        ("tier.purpose", "high resolution, mass generation, stability", "high"),
        ("tier.vram_gb", "16", "20"),
        ("tier.name", "mass", "huge"),
    ]


def test_that_the_settings_of_alerts_changed_is_told_without_their_secrets(
    log: AuditLog, engine: Engine
) -> None:
    receiver = Receiver(name="studio", url="slack://s3cret/")
    log.take(msgspec.structs.replace(STUDIO, alerts=AlertSettings(receivers=(receiver,))))
    assert _told(log) == [(None, "file", "alerts", "alerts", None, None)]
    with engine.connect() as connection:
        known = connection.exec_driver_sql("SELECT document FROM audit_known").scalar_one()
    assert b"s3cret" not in known


def test_what_was_changed_while_no_dashboard_ran_is_told_at_its_start(
    log: AuditLog, engine: Engine
) -> None:
    again = AuditLog(engine)
    again.take(STUDIO)
    assert again.recent(50) == ()
    again.take(_with(STUDIO, TO_LIGHT))
    assert _told(again) == [(None, "file", "machine.tier", "render-01", "mass", "light")]


def test_a_machine_s_own_changes_and_older_ones_can_be_asked_for(log: AuditLog) -> None:
    inventory = STUDIO
    for number in range(10):
        change = Assign(
            machine=f"render-0{number % 2 + 1}", tier=("light", "mass")[number // 2 % 2]
        )
        inventory = _with(inventory, change)
        log.take(inventory, f"person {number}", change)
    own = log.recent(50, machine="render-02")
    assert {entry.subject for entry in own} == {"render-02"}
    assert [entry.by for entry in own][:2] == ["person 9", "person 7"]
    latest = log.recent(3)
    older = log.recent(3, before=latest[-1].key)
    assert [entry.key for entry in (*latest, *older)] == sorted(
        (entry.key for entry in (*latest, *older)), reverse=True
    )
    assert len({entry.key for entry in (*latest, *older)}) == 6
