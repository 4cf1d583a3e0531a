"""The engine of alerts over simulated time: what is told to whom, when, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest

from tests.dashboard.alerting import (
    ARTISTS,
    NOON,
    OPS,
    SETTINGS,
    World,
    down,
    finding,
    kinds,
)
from tierwatch_dashboard.alerts import Finding, Matcher, Silence, Window
from tierwatch_dashboard.alerts.settings import Receiver, Route
from tierwatch_dashboard.alerts.windows import is_open

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR


def silence(value: str, seconds: float, name: str = "machine") -> Silence:
    return Silence(
        id="1",
        matchers=(Matcher(name=name, value=value, operator="=~"),),
        starts_at=NOON,
        ends_at=NOON + seconds,
        created_by="mia",
        comment="",
    )


def test_what_holds_for_less_than_its_for_is_told_to_nobody() -> None:
    world = World()
    assert world.pass_time(59, [finding(for_seconds=60)]) == []
    assert world.states() == {"MachineBelowTier render-01": "pending"}
    assert world.pass_time(HOUR, []) == []
    assert world.states() == {}


def test_an_alert_is_told_once_and_its_end_once() -> None:
    world = World()
    (told,) = world.pass_time(10 * MINUTE, [finding(for_seconds=60)])
    assert (told.receiver, told.kind, told.severity) == ("ops", "firing", "warning")
    assert told.title == "Warning: MachineBelowTier: render-01"
    assert told.body == "render-01 cannot do what it is assigned to.\n\nLook at it."
    (over,) = world.pass_time(10 * MINUTE, [])
    assert (over.receiver, over.kind) == ("ops", "resolved")
    assert over.title == "Over: MachineBelowTier: render-01"
    assert "after 10 min" in over.body


def test_an_alert_fires_two_seconds_after_its_for_and_not_before() -> None:
    world = World()
    assert world.pass_time(62, [finding(for_seconds=60)]) == []
    assert kinds(world.pass_time(1, [finding(for_seconds=60)])) == ["firing"]


def test_three_hundred_machines_that_die_within_seconds_are_one_message_and_their_return_one() -> (
    None
):
    world = World()
    machines = [f"render-{number:03}" for number in range(300)]

    def dying(second: float) -> list[Finding]:
        return [down(machine) for machine in machines[: int(second * 40)]]

    (told,) = world.pass_time(MINUTE, dying)
    assert told.title == "Critical: MachineDown: 300 machines"
    assert told.body.count("is down.") == 8
    assert "And 292 more: render-008, render-009," in told.body
    assert len(told.body) < 1800

    def returning(second: float) -> list[Finding]:
        return [down(machine) for machine in machines[int((second - 60) * 40) :]]

    (over,) = world.pass_time(2 * MINUTE, returning)
    assert over.title == "Over: MachineDown: 300 machines"


def test_a_group_that_never_stops_growing_is_told_nevertheless() -> None:
    world = World()
    told = world.pass_time(MINUTE, lambda second: [down(f"render-{n}") for n in range(int(second))])
    assert len(told) == 2


def test_each_rule_is_a_message_of_its_own_the_worst_first() -> None:
    world = World()
    told = world.pass_time(MINUTE, [finding(), down("render-02"), finding(machine="render-03")])
    assert [message.title for message in told] == [
        "Critical: MachineDown: render-02",
        "Warning: MachineBelowTier: 2 machines",
    ]


def test_a_step_that_comes_a_moment_early_makes_no_message_wait_for_another() -> None:
    assert kinds(World().pass_time(2.9, [finding()], every=0.999)) == ["firing"]


def test_what_goes_on_is_told_again_every_four_hours_with_all_that_goes_on() -> None:
    world = World()
    both = [finding(), finding(machine="render-02")]
    assert kinds(world.pass_time(HOUR, both[:1])) == ["firing"]
    assert kinds(world.pass_time(HOUR, both)) == ["firing"]
    (again,) = world.pass_time(3 * HOUR, both, every=60)
    assert again.kind == "repeat"
    assert again.title == "Still warning: MachineBelowTier: 2 machines"
    assert kinds(world.pass_time(12 * HOUR, both, every=60)) == ["repeat"] * 3


def test_the_numbers_of_a_repeat_are_those_of_its_moment() -> None:
    world = World()
    world.pass_time(HOUR, [finding(says="has 2 GiB.")])
    (again,) = world.pass_time(4 * HOUR, [finding(says="has 1 GiB.")], every=60)
    assert again.body.startswith("render-01 has 1 GiB.")


def test_a_machine_that_is_down_is_told_as_that_and_nothing_else() -> None:
    world = World()
    stalled = finding("GenerationJobStalledOnVram", severity="critical", says="stands still.")
    told = world.pass_time(HOUR, [stalled, finding(), down("render-01")])
    assert [message.title for message in told] == ["Critical: MachineDown: render-01"]


def test_a_machine_down_keeps_no_other_machine_quiet() -> None:
    world = World()
    told = world.pass_time(HOUR, [finding(machine="render-02"), down("render-01")])
    assert len(told) == 2


def test_a_server_that_is_down_keeps_its_own_jobs_quiet_and_no_other_servers() -> None:
    world = World()
    gone = finding("GenerationServerDown", server="comfyui-8188")
    stalls = [
        finding("GenerationJobStalledOnVram", severity="critical", says=f"{server}.", server=server)
        for server in ("comfyui-8188", "comfyui-8189")
    ]
    starved = finding("NoThroughput")
    told = world.pass_time(HOUR, [gone, *stalls, starved])
    assert [(message.title, message.body.partition("\n")[0]) for message in told] == [
        ("Critical: GenerationJobStalledOnVram: render-01", "render-01 comfyui-8189."),
        ("Warning: GenerationServerDown: render-01", "render-01 cannot do what it is assigned to."),
    ]


def test_a_stall_is_not_over_since_its_machine_went_down() -> None:
    world = World()
    stalled = finding("GenerationJobStalledOnVram", severity="critical", says="stands still.")
    assert kinds(world.pass_time(MINUTE, [stalled])) == ["firing"]
    told = world.pass_time(10 * MINUTE, [down("render-01")])
    assert [message.title for message in told] == ["Critical: MachineDown: render-01"]
    assert world.states()["GenerationJobStalledOnVram render-01"] == "firing"
    told = world.pass_time(10 * MINUTE, [stalled])
    assert [message.title for message in told] == ["Over: MachineDown: render-01"]
    told = world.pass_time(10 * MINUTE, [])
    assert [message.title for message in told] == ["Over: GenerationJobStalledOnVram: render-01"]


def test_what_was_kept_quiet_is_told_once_the_worse_is_over_and_it_still_holds() -> None:
    world = World()
    world.pass_time(MINUTE, [finding(), down("render-01")])
    told = world.pass_time(2 * MINUTE, [finding()])
    assert sorted(kinds(told)) == ["firing", "resolved"]


def test_an_acknowledgement_stops_repeats_and_not_the_end() -> None:
    world = World()
    world.pass_time(MINUTE, [finding()])
    world.acknowledge()
    assert world.pass_time(DAY, [finding()], every=60) == []
    assert kinds(world.pass_time(HOUR, [])) == ["resolved"]


def test_an_acknowledged_alert_that_gets_worse_is_told_anew() -> None:
    world = World()
    world.pass_time(MINUTE, [finding()])
    world.acknowledge()
    (told,) = world.pass_time(HOUR, [finding(severity="critical")])
    assert told.title == "Critical: MachineBelowTier: render-01"
    (alert,) = world.alerts.values()
    assert alert.acknowledged_by is None


def test_an_acknowledgement_ends_with_its_alert() -> None:
    world = World()
    world.pass_time(MINUTE, [finding()])
    world.acknowledge()
    world.pass_time(HOUR, [])
    assert kinds(world.pass_time(HOUR, [finding()])) == ["firing"]


def test_a_silence_mutes_what_it_matches_until_it_ends() -> None:
    world = World()
    world.silence(silence("render-0.", HOUR))
    both = [finding(), finding(machine="other-01")]
    told = world.pass_time(HOUR - 1, both)
    assert [message.title for message in told] == ["Warning: MachineBelowTier: other-01"]
    told = world.pass_time(MINUTE, both)
    assert [message.title for message in told] == ["Warning: MachineBelowTier: render-01"]


def test_a_silence_can_be_of_a_rule() -> None:
    world = World()
    world.silence(silence("MachineBelow.*", HOUR, name="alertname"))
    told = world.pass_time(MINUTE, [finding(), down("render-02")])
    assert [message.title for message in told] == ["Critical: MachineDown: render-02"]


def test_what_begins_and_ends_within_a_silence_is_told_to_nobody() -> None:
    world = World()
    world.silence(silence(".*", HOUR))
    assert world.pass_time(HOUR / 2, [finding()]) == []
    assert world.pass_time(2 * HOUR, []) == []


def test_an_end_within_a_silence_is_told_to_nobody_even_later() -> None:
    world = World()
    world.pass_time(MINUTE, [finding()])
    world.silence(silence(".*", HOUR))
    assert world.pass_time(2 * HOUR, []) == []


def test_a_machine_in_maintenance_makes_no_messages_and_one_after_it_if_it_is_not_well() -> None:
    world = World()
    world.around = msgspec.structs.replace(world.around, maintenance=frozenset({"render-01"}))
    assert world.pass_time(HOUR, [down("render-01")]) == []
    world.around = msgspec.structs.replace(world.around, maintenance=frozenset())
    assert kinds(world.pass_time(HOUR, [down("render-01")])) == ["firing"]


def test_after_a_start_an_alert_is_not_over_because_its_machine_was_not_asked_yet() -> None:
    world = World()
    world.pass_time(MINUTE, [finding(), finding("QueueStuck", for_seconds=HOUR)])
    world.around = msgspec.structs.replace(world.around, unheard=frozenset({"render-01"}))
    assert world.pass_time(10 * MINUTE, []) == []
    assert world.states() == {
        "MachineBelowTier render-01": "firing",
        "QueueStuck render-01": "pending",
    }


def flapping(bad: float, good: float) -> list[str]:
    """What an hour of it makes, and the half hour of peace after it."""
    world = World()

    def found(second: float) -> Iterable[Finding]:
        return [finding()] if second <= HOUR and second % (bad + good) < bad else []

    return kinds(world.pass_time(1.5 * HOUR, found))


@pytest.mark.parametrize(
    ("bad", "good", "messages"),
    [
        # It never was quiet for the 30 s that end an alert: one alert that lasts.
        (10, 10, 2),
        (60, 25, 2),
        # Each relapse doubles the quiet that ends it, 30 s, 1 min, 2 min, until it is longer than
        # the pauses are: from there on it is one alert that lasts.
        (60, 60, 4),
        (120, 120, 6),
        (60, 300, 10),
    ],
)
def test_an_hour_of_flapping_is_a_few_messages(bad: float, good: float, messages: int) -> None:
    told = flapping(bad, good)
    assert len(told) == messages
    assert told == ["firing", "resolved"] * (messages // 2)


def test_a_message_says_that_it_came_back() -> None:
    world = World()
    world.pass_time(MINUTE, [finding()])
    world.pass_time(5 * MINUTE, [])
    (told,) = world.pass_time(MINUTE, [finding()])
    assert "It came back soon after it was over." in told.body


def test_what_comes_back_after_an_hour_is_no_relapse() -> None:
    world = World()
    for _ in range(3):
        (told,) = world.pass_time(MINUTE, [finding()])
        assert "came back" not in told.body
        assert kinds(world.pass_time(2 * HOUR, [])) == ["resolved"]


def test_each_receiver_hears_what_its_routes_name_and_of_two_routes_once() -> None:
    settings = msgspec.structs.replace(
        SETTINGS,
        receivers=(OPS, ARTISTS),
        routes=(
            Route(receivers=("ops",)),
            Route(receivers=("artists", "ops"), severities=("critical",), tags=("floor-2",)),
        ),
        machine_tags={"render-02": ("floor-2",)},
    )
    world = World(settings)
    told = world.pass_time(MINUTE, [down("render-01"), down("render-02")])
    assert {message.receiver: message.title for message in told} == {
        "artists": "Critical: MachineDown: render-02",
        "ops": "Critical: MachineDown: 2 machines",
    }
    assert len(world.pass_time(HOUR, [])) == 2


def test_a_receiver_that_wants_no_ends_hears_none() -> None:
    quiet = Receiver(name="ops", url="json://127.0.0.1/ops", resolved=False)
    world = World(msgspec.structs.replace(SETTINGS, receivers=(quiet,)))
    assert kinds(world.pass_time(MINUTE, [finding()])) == ["firing"]
    assert world.pass_time(HOUR, []) == []


def test_a_receiver_that_is_added_hears_what_still_fires() -> None:
    world = World()
    world.pass_time(MINUTE, [finding()])
    world.settings = msgspec.structs.replace(
        SETTINGS, receivers=(OPS, ARTISTS), routes=(Route(receivers=("ops", "artists")),)
    )
    assert [m.receiver for m in world.pass_time(HOUR, [finding()])] == ["artists"]


def test_without_receivers_alerts_live_and_nobody_is_told() -> None:
    world = World(msgspec.structs.replace(SETTINGS, receivers=(), routes=()))
    assert world.pass_time(MINUTE, [finding()]) == []
    assert world.states() == {"MachineBelowTier render-01": "firing"}


def test_a_weekly_window_is_open_at_the_same_time_each_week() -> None:
    window = Window(
        id="1", machine="render-01", starts_at=NOON, ends_at=NOON + 2 * HOUR, weekly=True
    )
    for weeks in (0, 1, 52):
        start = NOON + weeks * 7 * DAY
        assert not is_open(window, start - 1, timezone.utc)
        assert is_open(window, start, timezone.utc)
        assert is_open(window, start + 2 * HOUR - 1, timezone.utc)
        assert not is_open(window, start + 2 * HOUR, timezone.utc)
        assert not is_open(window, start + DAY, timezone.utc)


def test_a_weekly_window_goes_by_the_clock_on_the_wall_through_summer_time() -> None:
    berlin = ZoneInfo("Europe/Berlin")

    def at(month: int, day: int, hour: int) -> float:
        return datetime(2026, month, day, hour, tzinfo=berlin).timestamp()

    window = Window(id="1", machine="a", starts_at=at(1, 5, 6), ends_at=at(1, 5, 8), weekly=True)
    assert is_open(window, at(7, 6, 6), berlin)
    assert not is_open(window, at(7, 6, 5), berlin)
    assert not is_open(window, at(7, 6, 8), berlin)
