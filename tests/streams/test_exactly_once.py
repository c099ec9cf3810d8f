"""Every record in exactly one place, whatever breaks between two steps, however often the log is read again."""

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from masthead.streams import actions
from masthead.streams.readings import Reading

from .conftest import AIR, EVENT_TIME, RULE, START, House


class Crash(BaseException):
    """The process dies here. No `except Exception` catches it, as none catches kill -9."""


class Fuse:
    """Lets `steps` durable steps happen and dies before or after the next one; None never dies."""

    def __init__(self) -> None:
        self.steps: int | None = None
        self.after = False

    def around(self, function: Any) -> Any:
        def step(*args: Any, **options: Any) -> Any:
            if self.steps == 0 and not self.after:
                raise Crash
            result = function(*args, **options)
            if self.steps is not None:
                self.steps -= 1
                if self.steps < 0:
                    raise Crash
            return result

        return step


class Fused:
    """An object whose named methods burn the fuse."""

    def __init__(self, inner: Any, fuse: Fuse, names: set[str]) -> None:
        self._inner, self._fuse, self._names = inner, fuse, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._fuse.around(found) if name in self._names else found


class FusedHouse(House):
    """A house that burns down between any two durable steps."""

    def __post_init__(self) -> None:
        self.fuse = Fuse()
        super().__post_init__()
        self.objects = Fused(self.objects, self.fuse, {"put"})

    def service(self) -> Any:
        service = super().service()
        names = {"plan", "done", "set_positions", "apply", "forget"}
        if hasattr(self, "fuse"):
            service._records = Fused(service._records, self.fuse, names)  # type: ignore[assignment]
        return service

    def survive(self, act: Any) -> None:
        """Do something; if the process dies in it, start again, which may die as well."""
        try:
            act()
        except Crash:
            event("crashed")
            for _ in range(3):
                try:
                    self.crash()
                except Crash:
                    continue
                return
            self.fuse.steps = None
            self.crash()


payloads = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 40)).map(
        lambda drawn: orjson.dumps({"T": START + 100 * drawn[0] + 250, "v": drawn[1]})
    )
    | st.sampled_from([b"garbage", b'{"v": 1}', b'{"T": 99999999999}']),
    max_size=5,
)
steps = st.lists(
    st.tuples(st.just("send"), payloads)
    | st.tuples(st.just("wait"), st.sampled_from([1, 31, 61]))
    | st.tuples(st.just("die at"), st.tuples(st.integers(0, 6), st.booleans()))
    | st.tuples(st.just("kill"), st.none())
    | st.tuples(st.just("send"), payloads)
    | st.tuples(st.just("change"), st.sampled_from(["air/!{timestamp:HHmm}/", "b/!{timestamp:yyyy}/"])),
    min_size=3,
    max_size=30,
)


@pytest.mark.parametrize("lives", [25, pytest.param(500, marks=pytest.mark.big)])
def test_every_record_is_in_exactly_one_object_whatever_breaks(lives: int) -> None:
    broken = st.sampled_from(["none", "gzip"]), st.sampled_from([0, 60]), st.sampled_from(["b-101", None])
    sized = settings(max_examples=lives, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    sized(given(steps, *broken)(_one_life))()


def _one_life(plan: list[tuple[str, Any]], compression: str, buffer_s: int, thing: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        house = FusedHouse(Path(folder))
        house.streams.create_stream({**AIR, "compression": compression, "buffer_s": buffer_s})
        house.streams.create_rule(RULE)
        house.streams.tick()
        for verb, value in plan:
            if verb == "send":
                batch = house.send(*value, thing=thing, take=False)
                house.survive(lambda batch=batch: house.streams.take(batch))  # type: ignore[misc]
            elif verb == "wait":
                house.clock.advance(value)
                house.survive(house.streams.tick)
            elif verb == "die at":
                house.fuse.steps, house.fuse.after = value
            elif verb == "kill":
                house.survive(house.crash)
            else:
                changed = {**AIR, "compression": compression, "buffer_s": buffer_s, "prefix": value}
                house.survive(lambda changed=changed: house.streams.update_stream(changed))  # type: ignore[misc]
        house.fuse.steps = None
        house.crash()
        assert house.streams.flush()
        _check(house, dedupe=thing is not None)
        house.streams.close()
        house.database.close()


def _check(house: House, *, dedupe: bool) -> None:
    """Compare what was sent with what lies in objects and error place."""
    import gzip

    good: Counter[bytes] = Counter()
    bad: Counter[str] = Counter()
    for key, data in house.content().items():
        for line in (gzip.decompress(data) if key.endswith(".gz") else data).splitlines():
            if key.startswith("bad/"):
                bad[orjson.loads(line)["raw"]] += 1
            else:
                good[line] += 1
    sent = [reading.payload for batch in house.log for reading in batch.readings]
    useless = (b"garbage", b'{"v": 1}', b'{"T": 99999999999}')
    useful = [payload for payload in sent if payload not in useless]
    assert good == Counter(set(useful) if dedupe else useful)
    assert bad == Counter(payload.decode() for payload in sent if payload in useless)
    assert house.streams.position() == len(house.log) + 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(8))
def test_a_crash_at_each_step_of_two_objects_gives_the_objects_of_an_undisturbed_run(
    tmp_path: Path, step: int, after: bool
) -> None:
    contents = []
    for name in ("undisturbed", "crashed"):
        house = FusedHouse(tmp_path / name)
        house.streams.create_stream(AIR)
        house.streams.create_rule(RULE)
        house.streams.tick()
        house.send({"T": START, "v": 1}, {"T": START + 300, "v": 2})
        if name == "crashed":
            house.fuse.steps, house.fuse.after = step, after
        batch = house.send({"T": START + 301, "v": 3}, {"T": START + 600, "v": 4}, take=False)
        house.survive(lambda house=house, batch=batch: house.streams.take(batch))  # type: ignore[misc]
        house.fuse.steps = None
        house.crash()
        house.clock.advance(61)
        house.streams.tick()
        contents.append(house.content())
        house.streams.close()
        house.database.close()
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3


def test_a_reading_sent_again_after_a_crash_is_known(air: House) -> None:
    air.send({"T": START, "v": 1})
    air.send({"T": START + 300, "v": 2})  # seals and puts the first
    air.crash()
    air.send({"T": START, "v": 1}, {"T": START + 300, "v": 2})
    air.streams.flush()
    air.crash()
    air.send({"T": START, "v": 1}, {"T": START + 300, "v": 2})
    air.streams.flush()
    assert air.folders() == {
        "air/20220324/2330": [{"T": START, "v": 1}],
        "air/20220324/2335": [{"T": START + 300, "v": 2}],
    }


def test_a_torn_object_under_a_planned_key_is_mended(air: House) -> None:
    air.send({"T": START, "v": 1})
    air.streams.flush()
    ((key, whole),) = air.content().items()
    with (
        air.database.write() as connection
    ):  # as if power had failed after the put and before its bytes were safe
        connection.exec_driver_sql("UPDATE stream_objects SET done = 0")
        connection.exec_driver_sql("UPDATE stream_positions SET position = 1")
    air.objects.put(f"s3://readings/{key}", whole[:5])
    air.crash()
    assert air.content() == {key: whole}
    assert "torn object mended" in air.events("stream", "air")


def test_a_rule_that_changed_while_the_server_was_down_holds_for_new_readings_only(air: House) -> None:
    air.send({"T": START, "v": 1}, {"T": START + 300, "v": 2})  # the first is put, the second waits
    air.send({"T": START + 300, "v": 3})
    down = air.service()
    down.update_rule({**RULE, "sql": "SELECT T + 300 AS T, v FROM '#'"})
    down.update_stream({**AIR, "event_time": {**EVENT_TIME, "interval": "1h"}})
    air.crash()
    air.streams.flush()
    assert air.folders() == {
        "air/20220324/2330": [{"T": START, "v": 1}],
        "air/20220324/2335": [{"T": START + 300, "v": 2}],
        "air/20220324/2300": [{"T": START + 600, "v": 3}],
    }


def test_actions_are_sent_at_least_once_across_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    sent: list[bytes] = []

    def register() -> None:
        def send(action: Any, payload: bytes, reading: Reading) -> None:
            sent.append(payload)

        house.streams.register_action("subject", send)

    house.streams.create_rule({**RULE, "actions": [{"kind": "subject", "name": "out"}]})
    house.send({"v": 1})  # nobody can send yet: the process dies with it
    house.streams._outbox.close()
    house.streams = house.service()
    register()
    position = house.streams.position()
    for batch in house.log[position - 1 :]:
        house.streams.take(batch)
    assert house.streams._outbox.wait_until_empty(5)
    house.send({"v": 2})
    assert house.streams._outbox.wait_until_empty(5)
    assert sent[-1] == b'{"v":2}'
    assert b'{"v":1}' in sent
    assert len(actions.TRY_DELAYS_S) > 1
    house.streams.close()
    house.database.close()
