"""What is kept of alerts: a restart neither forgets nor repeats; silences, windows, history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text

from tests.dashboard.alerting import NOON, SETTINGS, down, finding
from tierwatch_dashboard.alerts import Alert, Finding, Matcher, Silence, Window
from tierwatch_dashboard.alerts.board import BoardError
from tierwatch_dashboard.alerts.documents import read
from tierwatch_dashboard.alerts.engine import Around, Step, step
from tierwatch_dashboard.alerts.messages import Message
from tierwatch_dashboard.alerts.store import AlertStore
from tierwatch_dashboard.alerts.tables import OUTBOX
from tierwatch_dashboard.alerts.windows import machines_in_maintenance
from tierwatch_dashboard.database import DatabaseError, open_database

HOUR = 3600.0
DAY = 24 * HOUR
THIS = (Matcher(name="machine", value="render-01"),)


@dataclass
class Kept:
    """A store with a clock, and the engine over it."""

    url: str
    now: float = NOON

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.engine: Engine = open_database(self.url)
        self.store = AlertStore(self.engine, lambda: self.now)

    def restart(self) -> None:
        self.engine.dispose()
        self.open()

    def pass_time(self, seconds: float, found: Iterable[Finding], every: float = 1.0) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += every
            self.store.advance(self._move(tuple(found)))

    def messages(self) -> list[str]:
        """What is in the outbox: kind and title."""
        with self.engine.connect() as connection:
            kept = connection.execute(select(OUTBOX.c.document).order_by(OUTBOX.c.key)).scalars()
            messages = [read(document, Message) for document in kept]
        return [f"{message.kind}: {message.title}" for message in messages]

    def past(self, **asked: Any) -> list[tuple[str, str]]:
        found = self.store.history(100, **asked)
        return [(each.alert.rule, each.alert.labels["machine"]) for each in found]

    def _move(
        self, found: Sequence[Finding]
    ) -> Callable[[Mapping[str, Alert], Sequence[Silence], Sequence[Window]], Step]:
        def move(
            alerts: Mapping[str, Alert], silences: Sequence[Silence], windows: Sequence[Window]
        ) -> Step:
            around = Around(
                silences=tuple(silences), maintenance=machines_in_maintenance(windows, self.now)
            )
            return step(alerts, found, around, SETTINGS, self.now)

        return move


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    kept = Kept(database_url)
    yield kept
    kept.engine.dispose()


def test_an_alert_is_kept_from_pending_to_its_end(kept: Kept) -> None:
    kept.pass_time(30, [finding(for_seconds=60)])
    (pending,) = kept.store.current()
    assert (pending.state, pending.since, pending.fired_at) == ("pending", NOON + 1, None)
    assert kept.past() == []
    kept.pass_time(60, [finding(for_seconds=60)])
    (firing,) = kept.store.current()
    assert (firing.state, firing.since, firing.fired_at) == ("firing", NOON + 1, NOON + 61)
    kept.pass_time(60, [])
    assert kept.store.current() == ()
    (over,) = kept.store.history(10)
    assert (over.alert.state, over.alert.resolved_at) == ("resolved", NOON + 91)


def test_a_for_goes_on_through_a_restart(kept: Kept) -> None:
    kept.pass_time(50, [finding(for_seconds=60)])
    kept.restart()
    kept.pass_time(15, [finding(for_seconds=60)])
    assert [alert.state for alert in kept.store.current()] == ["firing"]


def test_a_restart_neither_forgets_nor_repeats_a_message(kept: Kept) -> None:
    for _ in range(20):
        kept.pass_time(3, [finding(), down("render-02")])
        kept.restart()
    for _ in range(20):
        kept.pass_time(3, [])
        kept.restart()
    assert kept.messages() == [
        "firing: Critical: MachineDown: render-02",
        "firing: Warning: MachineBelowTier: render-01",
        "resolved: Over: MachineDown: render-02",
        "resolved: Over: MachineBelowTier: render-01",
    ]


def test_a_group_waits_through_a_restart_and_is_told_as_one(kept: Kept) -> None:
    kept.pass_time(2, [down("render-01"), down("render-02")])
    assert kept.messages() == []
    kept.restart()
    kept.pass_time(2, [down("render-01"), down("render-02")])
    assert kept.messages() == ["firing: Critical: MachineDown: 2 machines"]


def test_what_is_not_stored_is_not_told(kept: Kept) -> None:
    kept.pass_time(2, [finding()])
    with kept.engine.begin() as connection:
        connection.execute(text("ALTER TABLE outbox RENAME COLUMN made_at TO elsewhere"))
    for _ in range(3):
        with pytest.raises(DatabaseError, match="made_at"):
            kept.pass_time(1, [finding()])
    with kept.engine.begin() as connection:
        connection.execute(text("ALTER TABLE outbox RENAME COLUMN elsewhere TO made_at"))
    kept.pass_time(5, [finding()])
    assert kept.messages() == ["firing: Warning: MachineBelowTier: render-01"]


def test_an_acknowledgement_is_kept_and_the_engine_heeds_it(kept: Kept) -> None:
    kept.pass_time(10, [finding()])
    kept.store.acknowledge(finding().fingerprint, "mia", "the fan is on order")
    kept.restart()
    kept.pass_time(12 * HOUR, [finding()], every=300)
    (alert,) = kept.store.current()
    assert (alert.acknowledged_by, alert.note) == ("mia", "the fan is on order")
    assert alert.acknowledged_at == NOON + 10
    assert len(kept.messages()) == 1


def test_only_what_fires_can_be_acknowledged(kept: Kept) -> None:
    with pytest.raises(BoardError, match="over already"):
        kept.store.acknowledge(finding().fingerprint, "mia", "")
    kept.pass_time(1, [finding(for_seconds=60)])
    with pytest.raises(BoardError, match="over already"):
        kept.store.acknowledge(finding().fingerprint, "mia", "")


def test_a_silence_is_kept_until_it_ends_and_the_engine_heeds_it(kept: Kept) -> None:
    id_ = kept.store.add_silence(
        THIS, starts_at=NOON, ends_at=NOON + HOUR, created_by="mia", comment="new card"
    )
    kept.restart()
    (silence,) = kept.store.silences()
    assert (silence.id, silence.matchers, silence.ends_at) == (id_, THIS, NOON + HOUR)
    assert (silence.created_by, silence.comment) == ("mia", "new card")
    kept.pass_time(60, [finding()])
    assert kept.messages() == []
    kept.store.end_silence(id_)
    assert kept.store.silences() == ()
    kept.pass_time(10, [finding()])
    assert len(kept.messages()) == 1
    with pytest.raises(BoardError, match="over already"):
        kept.store.end_silence(id_)


@pytest.mark.parametrize(
    ("starts_in", "ends_in", "words"),
    [(HOUR, 0, "end before it begins"), (-2 * HOUR, -HOUR, "over already")],
)
def test_a_silence_that_makes_no_sense_is_refused(
    kept: Kept, starts_in: float, ends_in: float, words: str
) -> None:
    with pytest.raises(BoardError, match=words):
        kept.store.add_silence(
            THIS,
            starts_at=NOON + starts_in,
            ends_at=NOON + ends_in,
            created_by="mia",
            comment="",
        )
    assert kept.store.silences() == ()


def test_maintenance_is_kept_and_the_engine_heeds_it(kept: Kept) -> None:
    once = kept.store.add_window("render-01", starts_at=NOON, ends_at=NOON + HOUR)
    weekly = kept.store.add_window(
        "render-02", starts_at=NOON - 7 * DAY, ends_at=NOON - 7 * DAY + HOUR, weekly=True
    )
    kept.restart()
    assert {window.id for window in kept.store.windows()} == {once, weekly}
    kept.pass_time(HOUR - 10, [down("render-01"), down("render-02")], every=10)
    assert kept.messages() == []
    kept.pass_time(60, [down("render-01"), down("render-02")])
    assert kept.messages() == ["firing: Critical: MachineDown: 2 machines"]
    assert [window.id for window in kept.store.windows()] == [weekly]
    kept.store.end_window(weekly)
    assert kept.store.windows() == ()


@pytest.mark.parametrize(
    ("starts_in", "ends_in", "weekly", "words"),
    [
        (HOUR, 0, False, "end before it begins"),
        (-2 * HOUR, -HOUR, False, "over already"),
        (0, 8 * DAY, True, "shorter than a week"),
    ],
)
def test_maintenance_that_makes_no_sense_is_refused(
    kept: Kept, starts_in: float, ends_in: float, weekly: bool, words: str
) -> None:
    with pytest.raises(BoardError, match=words):
        kept.store.add_window(
            "render-01", starts_at=NOON + starts_in, ends_at=NOON + ends_in, weekly=weekly
        )


def test_the_history_is_told_the_latest_first_by_page_and_by_filter(kept: Kept) -> None:
    for number in range(4):
        kept.pass_time(5, [finding(machine=f"render-{number}"), down("other")][: number + 1])
        kept.pass_time(2 * HOUR, [], every=60)
    kept.pass_time(5, [finding("QueueStuck", "render-9", for_seconds=60)])
    first = kept.store.history(2)
    rest = kept.store.history(100, before=first[-1].key)
    told = [(each.alert.rule, each.alert.labels["machine"]) for each in (*first, *rest)]
    assert told == kept.past()
    assert len(told) == 7
    assert told[-1] == ("MachineBelowTier", "render-0")
    assert kept.past(machine="render-2") == [("MachineBelowTier", "render-2")]
    assert kept.past(rule="MachineDown") == [("MachineDown", "other")] * 3
    assert kept.past(severity="critical") == [("MachineDown", "other")] * 3


def test_each_life_of_an_alert_is_kept_for_itself(kept: Kept) -> None:
    for _ in range(3):
        kept.pass_time(30, [finding()])
        kept.pass_time(20 * 60, [], every=10)
    assert [each.alert.recurrences for each in kept.store.history(10)] == [2, 1, 0]


def test_what_another_process_wrote_is_seen_within_a_second(kept: Kept) -> None:
    kept.pass_time(10, [finding()])
    (alert,) = kept.store.current()
    other = AlertStore(kept.engine, lambda: kept.now)
    other.acknowledge(alert.fingerprint, "mia", "")
    kept.now += 1
    assert [each.acknowledged_by for each in kept.store.current()] == ["mia"]


def test_pages_share_one_look_and_see_their_own_changes_at_once(kept: Kept) -> None:
    kept.pass_time(10, [finding()])
    read: list[str] = []

    @event.listens_for(kept.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            read.append(statement)

    for _ in range(5):
        kept.store.current()
        kept.store.silences()
        kept.store.windows()
    assert len(read) == 3
    kept.store.acknowledge(kept.store.current()[0].fingerprint, "mia", "")
    assert kept.store.current()[0].acknowledged_by == "mia"


def test_words_alone_are_written_every_fifteen_seconds_and_a_calm_fleet_writes_nothing(
    kept: Kept,
) -> None:
    writes: list[str] = []
    kept.pass_time(30, [finding(says="has 0 GiB.")])

    @event.listens_for(kept.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith(("UPDATE", "INSERT", "DELETE")):
            writes.append(statement)

    kept.pass_time(60, [finding(says="has 0 GiB.")])
    assert writes == []
    for second in range(60):
        kept.pass_time(1, [finding(says=f"has {second} GiB.")])
    assert len(writes) == 4


def test_what_ended_three_months_ago_goes_and_what_fires_stays(kept: Kept) -> None:
    kept.pass_time(10, [finding(), down("render-02")])
    kept.pass_time(2 * HOUR, [finding()], every=60)
    kept.store.add_silence(
        THIS, starts_at=kept.now, ends_at=kept.now + HOUR, created_by="mia", comment=""
    )
    kept.now += 91 * DAY
    kept.store.prune(kept.now)
    assert kept.past() == [("MachineBelowTier", "render-01")]
    with kept.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM silences")).scalar_one() == 0
