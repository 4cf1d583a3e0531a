"""The outbox: each receiver has its messages once and in order, whatever fails meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Engine, text

from tests.fakes.webhook import Webhook
from tierwatch_dashboard.alerts import receivers as apprise
from tierwatch_dashboard.alerts.messages import Message
from tierwatch_dashboard.alerts.outbox import DeliveryError, Outbox, enqueue, pause_seconds
from tierwatch_dashboard.alerts.settings import Receiver
from tierwatch_dashboard.database import DatabaseError, writing

NOON = 1_795_521_600.0
HOUR = 3600.0
DAY = 24 * HOUR
OPS = Receiver(name="ops", url="json://127.0.0.1/ops")
ARTISTS = Receiver(name="artists", url="json://127.0.0.1/artists")


def message(title: str, receiver: str = "ops") -> Message:
    return Message(
        receiver=receiver, kind="firing", severity="warning", title=title, body=f"{title}."
    )


@dataclass
class Post:
    """An outbox with a clock and a way to the receivers of the test's own."""

    engine: Engine
    receivers: tuple[Receiver, ...] = (OPS, ARTISTS)
    now: float = NOON
    sent: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    bodies: list[str] = field(default_factory=list[str])
    broken: dict[str, str] = field(default_factory=dict[str, str])
    on_sent: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.outbox = self.open()

    def open(self) -> Outbox:
        return Outbox(self.engine, lambda: self.receivers, self.send, lambda: self.now)

    def put(self, *messages: Message) -> None:
        with writing(self.engine) as connection:
            enqueue(connection, messages, self.now)

    def deliver(self) -> None:
        self.outbox.send_due()
        self.outbox.wait()

    def pass_time(self, seconds: float, every: float = 1.0) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += every
            self.deliver()

    def to(self, receiver: str) -> list[str]:
        return [title for name, title in self.sent if name == receiver]

    def send(self, receiver: Receiver, message: Message) -> None:
        if receiver.name in self.broken:
            raise DeliveryError(self.broken[receiver.name])
        self.sent.append((receiver.name, message.title))
        self.bodies.append(message.body)
        self.on_sent()


@pytest.fixture
def post(engine: Engine) -> Iterator[Post]:
    post = Post(engine)
    yield post
    post.outbox.stop()


def test_messages_arrive_in_order_and_once(post: Post) -> None:
    post.put(*(message(str(number)) for number in range(5)))
    post.pass_time(10)
    assert post.to("ops") == ["0", "1", "2", "3", "4"]
    assert post.outbox.health().waiting == {}


def test_a_receiver_that_is_away_for_an_hour_gets_its_messages_in_order_and_once(
    post: Post,
) -> None:
    post.broken["ops"] = "connection refused"
    for number in range(6):
        post.put(message(str(number)))
        post.pass_time(HOUR / 6, every=5)
    assert post.to("ops") == []
    del post.broken["ops"]
    post.pass_time(5 * 60, every=5)
    assert post.to("ops") == ["0", "1", "2", "3", "4", "5"]
    assert "Delivered late: this is from 20" in post.bodies[0]


def test_a_receiver_that_is_away_keeps_no_other_waiting(post: Post) -> None:
    post.broken["ops"] = "connection refused"
    post.put(message("a"), message("b", "artists"), message("c"), message("d", "artists"))
    post.pass_time(3)
    assert post.sent == [("artists", "b"), ("artists", "d")]


def test_a_receiver_that_hangs_keeps_no_other_waiting(post: Post) -> None:
    hangs, reached = threading.Event(), threading.Event()

    def hang(receiver: Receiver, message: Message) -> None:
        if receiver.name == "ops":
            reached.set()
            hangs.wait(60)
        post.send(receiver, message)

    outbox = Outbox(post.engine, lambda: post.receivers, hang, lambda: post.now)
    post.put(message("a"), message("b", "artists"))
    outbox.send_due()
    assert reached.wait(60)
    while post.to("artists") != ["b"]:
        outbox.send_due()
    assert post.to("ops") == []
    hangs.set()
    outbox.wait()
    assert post.to("ops") == ["a"]
    outbox.stop()


def test_the_pauses_grow_to_five_minutes_and_no_further(post: Post) -> None:
    assert [pause_seconds(n) for n in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]
    post.broken["ops"] = "connection refused"
    post.put(message("a"))
    post.pass_time(HOUR)
    assert 15 <= post.outbox.health().deliveries["ops", "failed"] <= 19


def test_a_receiver_whose_settings_were_mended_is_asked_at_once(post: Post) -> None:
    post.broken["ops"] = "no such host"
    post.put(message("a"))
    post.pass_time(HOUR, every=5)
    del post.broken["ops"]
    post.receivers = (Receiver(name="ops", url="json://127.0.0.1/mended"),)
    post.pass_time(1)
    assert post.to("ops") == ["a"]


def test_a_message_that_no_process_stored_as_delivered_is_sent_again_after_a_restart(
    post: Post,
) -> None:
    class Killed(BaseException):
        """As kill -9 is to a program: it comes between the answer and the store."""

    def die() -> None:
        raise Killed

    post.put(message("a"), message("b"))
    post.on_sent = die
    post.deliver()
    post.on_sent = lambda: None
    post.outbox.stop()
    post.outbox = post.open()
    post.pass_time(2)
    assert post.to("ops") == ["a", "a", "b"]


def test_a_delivery_that_could_not_be_stored_is_stored_later_and_not_sent_again(
    post: Post,
) -> None:
    def refuse_writes() -> None:
        with post.engine.begin() as connection:
            connection.execute(text("ALTER TABLE outbox RENAME COLUMN ended_at TO elsewhere"))

    post.put(message("a"), message("b"))
    post.on_sent = refuse_writes
    post.deliver()
    post.on_sent = lambda: None
    for _ in range(2):
        with pytest.raises(DatabaseError, match="ended_at"):
            post.outbox.send_due()
        post.outbox.wait()
    with post.engine.begin() as connection:
        connection.execute(text("ALTER TABLE outbox RENAME COLUMN elsewhere TO ended_at"))
    with pytest.raises(DatabaseError, match="ended_at"):
        post.outbox.send_due()
    post.outbox.wait()
    assert post.to("ops") == ["a", "b"]


def test_messages_to_a_receiver_that_is_no_more_are_given_up(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.put(message("a"), message("b", "artists"))
    post.receivers = (ARTISTS,)
    with caplog.at_level(logging.ERROR):
        post.pass_time(2)
    assert post.sent == [("artists", "b")]
    assert post.outbox.health().deliveries["ops", "given_up"] == 1
    assert 'a message to receiver "ops" is given up' in caplog.text


def test_after_three_days_a_message_is_given_up_and_the_next_has_its_turn(post: Post) -> None:
    post.broken["ops"] = "connection refused"
    post.put(message("old"))
    post.pass_time(2 * DAY, every=HOUR)
    post.put(message("new"))
    post.pass_time(1.5 * DAY, every=HOUR)
    assert post.outbox.health().deliveries["ops", "given_up"] == 1
    del post.broken["ops"]
    post.pass_time(HOUR, every=60)
    assert post.to("ops") == ["new"]


def test_what_waits_and_since_when_is_known(post: Post) -> None:
    post.broken["ops"] = "connection refused"
    post.put(message("a"))
    post.pass_time(60)
    post.put(message("b"))
    post.pass_time(60)
    health = post.outbox.health()
    assert health.waiting == {"ops": 2}
    assert health.oldest_made_at == {"ops": NOON}


def test_that_a_receiver_fails_is_said_once_and_that_it_is_back_once(
    post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    post.broken["ops"] = "connection refused"
    post.put(message("a"))
    with caplog.at_level(logging.INFO):
        post.pass_time(10 * 60)
        del post.broken["ops"]
        post.pass_time(10 * 60)
    assert [record.getMessage() for record in caplog.records] == [
        'receiver "ops" did not take a message, which waits: connection refused',
        'receiver "ops" takes messages again',
    ]


def test_what_is_done_goes_after_a_week_and_what_waits_stays(post: Post, engine: Engine) -> None:
    post.put(message("a"))
    post.pass_time(2)
    post.broken["ops"] = "connection refused"
    post.put(message("b"))
    post.outbox.prune(NOON + 6 * DAY)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 2
    post.outbox.prune(NOON + 8 * DAY)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM outbox")).scalar_one() == 1


def test_apprise_brings_a_message_to_a_webhook() -> None:
    with Webhook() as hook:
        apprise.send(Receiver(name="ops", url=hook.url), message("render-01 is down"))
        assert [(m["title"], m["message"], m["type"]) for m in hook.told] == [
            ("render-01 is down", "render-01 is down.", "warning")
        ]


@pytest.mark.parametrize("trouble", ["refuses", "is away"])
def test_why_a_receiver_took_nothing_is_said_without_its_secret(
    trouble: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with Webhook() as hook, caplog.at_level(logging.DEBUG):
        hook.refuse = trouble == "refuses"
        url = hook.url.replace("127", "bob:pa55word@127")
        if trouble == "is away":
            hook.down()
        with pytest.raises(DeliveryError) as caught:
            apprise.send(Receiver(name="ops", url=url), message("a"))
    assert ("503" in str(caught.value)) == (trouble == "refuses")
    written = capfd.readouterr()
    everything = f"{caught.value}{caplog.text}{written.out}{written.err}"
    assert "s3cr3t" not in everything
    assert "pa55word" not in everything


@pytest.mark.parametrize("url", ["nowhere://s3cr3t", "s3cr3t", "slack://s3cr3t"])
def test_a_url_that_apprise_does_not_know_is_refused_without_being_repeated(url: str) -> None:
    wrong = apprise.wrong_with(url)
    assert wrong is not None
    assert "none that Apprise knows" in wrong
    assert "s3cr3t" not in wrong
    assert apprise.wrong_with("json://127.0.0.1/hook") is None
