"""The queues of what rules send: each target by itself, in order, with an end to all patience."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from waiting import eventually

from masthead.streams.actions import MOST_WAITING, WORKERS, Action, Outbox
from masthead.streams.readings import Reading

READING = Reading("air/b", b"{}", 0.0)
Send = Callable[[str, bytes], None]


class Post:
    """An outbox whose one sender notes what arrived and does what a test lets it do."""

    def __init__(self, *delays_s: float) -> None:
        self.outbox = Outbox(delays_s=delays_s)
        self.outbox.register("webhook", self._take)
        self.tried: list[str] = []
        self.arrived: list[bytes] = []
        self.does: Send = lambda url, payload: None
        self._sequence = 0

    def _take(self, action: Mapping[str, Any], payload: bytes, reading: Reading) -> None:
        self.tried.append(action["url"])
        self.does(action["url"], payload)
        self.arrived.append(payload)

    def put(self, url: str, payload: bytes = b"", rule: str = "") -> None:
        self._sequence += 1
        action = {"kind": "webhook", "url": url}
        self.outbox.put(Action(self._sequence, rule or url, action, payload, READING))


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post(0.0, 0.05, 0.1)
    yield made
    made.outbox.close()


def refuse(url: str, payload: bytes) -> None:
    raise OSError("nobody there")


def only(dead: str, then: Send) -> Send:
    return lambda url, payload: then(url, payload) if url.startswith(dead) else None


def test_a_target_that_hangs_holds_up_no_other(post: Post) -> None:
    go = threading.Event()
    post.does = only("dead", lambda url, payload: go.wait(20) and None)
    for _ in range(3):
        post.put("dead")
        post.put("good", b"good")
    eventually(lambda: len(post.arrived) == 3, 5)
    assert post.tried.count("dead") == 1
    assert post.outbox.owed_from() == 1
    go.set()
    assert post.outbox.wait_until_empty(5)
    assert post.outbox.owed_from() is None


def test_targets_that_wait_for_their_next_try_hold_up_no_other() -> None:
    post = Post(0.0, 60.0)
    post.does = only("dead", refuse)
    for place in range(3 * WORKERS):
        post.put(f"dead-{place}")
    post.put("good", b"good")
    eventually(lambda: post.arrived == [b"good"], 5)
    began = time.monotonic()
    post.outbox.close()
    assert time.monotonic() - began < 5


def test_one_target_gets_all_in_order_whatever_fails_between(post: Post) -> None:
    failing = {b"1": 2, b"3": 1}

    def falter(url: str, payload: bytes) -> None:
        if failing.get(payload, 0):
            failing[payload] -= 1
            raise OSError("not now")

    post.does = falter
    for number in range(6):
        post.put("slow", b"%d" % number)
    assert post.outbox.wait_until_empty(5)
    assert post.arrived == [b"%d" % number for number in range(6)]
    assert post.outbox.failures() == []


def test_a_payload_that_its_target_refuses_takes_no_other_with_it(post: Post) -> None:
    post.does = lambda url, payload: refuse(url, payload) if payload == b"bad" else None
    for payload in (b"bad", b"1", b"bad", b"2"):
        post.put("there", payload)
    assert post.outbox.wait_until_empty(5)
    assert post.arrived == [b"1", b"2"]
    assert [failure.action.payload for failure in post.outbox.failures()] == [b"bad", b"bad"]


def test_what_waits_for_a_dead_target_fails_with_it_and_a_target_that_is_back_gets_the_next(
    post: Post,
) -> None:
    def time_out(url: str, payload: bytes) -> None:
        time.sleep(0.1)
        refuse(url, payload)

    post.does = time_out
    for _ in range(500):
        post.put("dead")
    assert post.outbox.wait_until_empty(5)
    assert len(post.tried) <= 5
    found = post.outbox.failures()
    assert [failure.action.sequence for failure in found] == [*range(1, 501)]
    assert {failure.reason for failure in found} == {"OSError: nobody there"}
    post.does = lambda url, payload: None
    post.put("dead", b"back")
    assert post.outbox.wait_until_empty(5)
    assert post.arrived == [b"back"]


def test_a_full_queue_stops_the_reader_unless_its_target_fails() -> None:
    post, go = Post(0.0, 60.0), threading.Event()
    post.does = only("slow", lambda url, payload: go.wait(20) and None)
    for _ in range(MOST_WAITING):
        post.put("slow")
    assert not post.outbox.has_room()
    go.set()
    assert post.outbox.wait_until_empty(10)
    post.does = refuse
    post.put("dead")
    eventually(lambda: post.outbox.owed_from() and post.outbox.has_room() and post.tried[-1] == "dead", 5)
    for _ in range(MOST_WAITING):
        post.put("dead")
    assert post.outbox.has_room()
    (overflow,) = post.outbox.failures()
    assert overflow.reason == "OSError: nobody there; 5,000 wait for it already"
    post.outbox.close()


def test_what_a_deleted_rule_owes_is_forgotten_also_while_it_is_tried(post: Post) -> None:
    go = threading.Event()
    post.does = only("dead", lambda url, payload: go.wait(20) and None)
    for _ in range(3):
        post.put("dead", rule="gone")
    post.put("there", b"1", rule="kept")
    eventually(lambda: post.arrived == [b"1"] and "dead" in post.tried, 5)
    post.outbox.keep({"kept"})
    assert post.outbox.owed_from() is None
    post.does = refuse
    go.set()
    post.put("dead", rule="gone")  # one of that name, made anew, begins anew
    assert post.outbox.wait_until_empty(5)
    assert [failure.action.sequence for failure in post.outbox.failures()] == [5]
