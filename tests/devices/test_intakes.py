"""Messages of a subject: answered once each, in the order answer, tell, acknowledge, whatever breaks in between."""

import json
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from external_nats import Publisher
from waiting import eventually

from masthead.base.errors import LimitReached
from masthead.devices.host import DeviceHost
from masthead.streams.works import Intake, Outcome

CARDS = Intake("cards", "pay.*.in", "pay.decided", "pay.decided.refused")
PLACE = "pay.shop.in"


def answered(intake: Intake, payloads: Sequence[bytes]) -> list[Outcome]:
    """Return of each message its number, doubled; one without a number is refused."""
    found = []
    for one in payloads:
        given = json.loads(one)
        if "n" not in given:
            found.append(Outcome("n: missing"))
        else:
            told = json.dumps({"n": given["n"], "twice": 2 * given["n"]}).encode()
            found.append(Outcome(subject=intake.answers, payload=told, key=str(given["n"])))
    return found


@pytest.fixture
def plain(product: Any, host: DeviceHost) -> Publisher:
    """A plain client inside, with a consumer at work; only the service's own user has a password there."""
    product.worker = answered
    product.subjects = (CARDS,)
    assert host._own is not None
    server = host._own.server
    url = server.url.replace("://", f"://masthead:{server.options.password}@")
    eventually(lambda: host.state()["intakes"] == {"cards": ""})
    found = Publisher(url)
    eventually(lambda: consumers(found))
    return found


def consumers(plain: Publisher) -> list[str]:
    async def work(js: Any) -> list[str]:
        try:
            return [one.name for one in await js.consumers_info("masthead-cards-in")]
        except Exception:
            return []

    found: list[str] = plain.do(work)
    return found


def told(plain: Publisher) -> list[int]:
    return [one["n"] for one in plain.stored("pay.decided")]


def test_each_message_is_answered_and_then_gone(plain: Publisher) -> None:
    plain.publish(PLACE, [{"n": n} for n in range(150)])
    eventually(lambda: plain.waiting(PLACE) == 0)
    assert sorted(told(plain)) == list(range(150))
    assert plain.stored("pay.decided")[0].keys() == {"n", "twice"}


def test_what_was_answered_before_is_not_told_again(plain: Publisher) -> None:
    for _ in range(3):
        plain.publish(PLACE, [{"n": 1}, {"n": 2}, {"n": 1}])
        eventually(lambda: plain.waiting(PLACE) == 0)
    assert sorted(told(plain)) == [1, 2]


def test_what_is_refused_is_kept_with_its_reason_and_holds_up_nothing(plain: Publisher) -> None:
    plain.publish(PLACE, [{"m": 1}, {"n": 5}])
    eventually(lambda: plain.waiting(PLACE) == 0)
    assert told(plain) == [5]
    (refused,) = plain.stored("pay.decided.refused")
    assert refused == {"error": "n: missing", "subject": PLACE, "sequence": 1, "payload": {"m": 1}}


def test_a_message_waits_for_as_long_as_there_is_no_room(plain: Publisher, product: Any) -> None:
    full, tried = threading.Event(), threading.Event()

    def work(intake: Intake, payloads: Sequence[bytes]) -> list[Outcome]:
        tried.set()
        if not full.is_set():
            raise LimitReached("transactions: the disk is full")
        return answered(intake, payloads)

    product.worker = work
    plain.publish(PLACE, [{"n": 1}, {"n": 2}])
    assert tried.wait(10)
    assert plain.waiting(PLACE) == 2
    full.set()
    eventually(lambda: plain.waiting(PLACE) == 0)
    assert sorted(told(plain)) == [1, 2]


def test_one_that_breaks_the_room_does_not_take_the_others_with_it(
    plain: Publisher, product: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masthead.streams.works._FIRST_DELAY_S", 0.01)

    def work(intake: Intake, payloads: Sequence[bytes]) -> list[Outcome]:
        if any(b"13" in one for one in payloads):
            raise ZeroDivisionError("a defect")
        return answered(intake, payloads)

    product.worker = work
    plain.publish(PLACE, [{"n": n} for n in (12, 13, 14)])
    eventually(lambda: plain.waiting(PLACE) == 0)
    assert sorted(told(plain)) == [12, 14]
    assert plain.stored("pay.decided.refused")[0]["error"] == "ZeroDivisionError: a defect"


def test_what_was_told_and_not_acknowledged_is_not_told_again_however_late(
    plain: Publisher, product: Any, host: DeviceHost
) -> None:
    """As after kill -9 between both: with the place of the consumer gone every message comes again, to a consumer that
    remembers nothing, on streams of their owner, which know a repeat for a tenth of a second only."""

    async def make(js: Any) -> None:
        await js.add_stream(name="theirs", subjects=["mine.in"])
        await js.add_stream(name="decided", subjects=["mine.decided.>", "mine.decided"], duplicate_window=0.1)

    async def forget(js: Any) -> None:
        await js.delete_consumer("theirs", "masthead-mine-consumer")

    asked: list[bytes] = []

    def work(intake: Intake, payloads: Sequence[bytes]) -> list[Outcome]:
        asked.extend(payloads)
        return answered(intake, payloads)

    plain.do(make)
    product.worker = work
    mine = Intake("mine", "mine.in", "mine.decided", "mine.decided.refused")
    plain.publish("mine.in", [{"n": n} for n in range(20)] + [{"m": 1}])
    product.subjects = (mine,)
    eventually(lambda: len(plain.stored("mine.decided")) == 20)
    product.subjects = ()
    eventually(lambda: host.state()["intakes"] == {})
    plain.do(forget)
    product.subjects = (mine,)
    eventually(lambda: len(asked) == 42)
    plain.publish("mine.in", [{"n": 20}])
    eventually(lambda: len(asked) == 43)
    eventually(lambda: len(plain.stored("mine.decided")) == 21)
    assert sorted(one["n"] for one in plain.stored("mine.decided")) == list(range(21))
    assert len(plain.stored("mine.decided.refused")) == 1


def test_intakes_come_and_go_while_the_server_runs(plain: Publisher, product: Any, host: DeviceHost) -> None:
    product.subjects = ()
    eventually(lambda: host.state()["intakes"] == {})
    plain.publish(PLACE, [{"n": 1}])  # kept for when somebody takes it again
    other = Intake("cards", "pay.*.in", "elsewhere.decided", "elsewhere.decided.refused")
    product.subjects = (other,)
    eventually(lambda: plain.waiting(PLACE) == 0)
    assert [one["n"] for one in plain.stored("elsewhere.decided")] == [1]


def test_a_subject_that_cannot_be_had_is_told_and_tried_again(
    plain: Publisher, product: Any, host: DeviceHost
) -> None:
    clash = Intake("other", "pay.>", "other.decided", "other.decided.refused")
    product.subjects = (CARDS, clash)
    eventually(lambda: host.state()["intakes"].get("other"))
    plain.publish(PLACE, [{"n": 3}])
    eventually(lambda: told(plain) == [3])


def test_the_end_does_not_wait_for_a_room_without_room(
    plain: Publisher, product: Any, host: DeviceHost
) -> None:
    tried = threading.Event()

    def work(intake: Intake, payloads: Sequence[bytes]) -> list[Outcome]:
        tried.set()
        raise LimitReached("transactions: the disk is full")

    product.worker = work
    plain.publish(PLACE, [{"n": 1}])
    assert tried.wait(10)
    started = time.monotonic()
    host.stop()
    assert time.monotonic() - started < 8
