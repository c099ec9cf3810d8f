"""The registry of served models: what a caller is answered, and what deleting, replacing and hanging models mean."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from waiting import eventually

from masthead.base.clock import ManualClock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.log import Journal
from masthead.base.telemetry import exposition
from masthead.learn import endpoints as room
from masthead.learn import records
from masthead.learn.endpoints import Endpoints, check_endpoint_name
from masthead.learn.models import Answer, ModelFailure
from masthead.store.engine import Database
from masthead.store.migrate import migrate

Work = Callable[[bytes], bytes]


class Model:
    """A model that does what its maker says."""

    def __init__(self, name: str, work: Work, closed: list[str]) -> None:
        self.name, self.work, self.closed = name, work, closed
        self.asked: list[tuple[str, str, bool]] = []

    def describe(self) -> Mapping[str, Any]:
        return {"model": self.name, "version": "1"}

    def invoke(self, body: bytes, *, content_type: str, accept: str, explain: bool) -> Answer:
        self.asked.append((content_type, accept, explain))
        return Answer(self.work(body), "application/json")

    def close(self) -> None:
        self.closed.append(self.name)


@dataclass
class House:
    database: Database
    endpoints: Endpoints
    journal: Journal
    works: dict[str, Work] = field(default_factory=lambda: {"echo": lambda body: body})
    loads: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    alive: list[weakref.ref[Model]] = field(default_factory=list)

    def load(self, source: Mapping[str, Any]) -> Model:
        name = source["work"]
        if name not in self.works:
            raise NotFound("model: its files are gone")
        self.loads.append(name)
        made = Model(name, self.works[name], self.closed)
        self.alive.append(weakref.ref(made))
        return made

    def another(self) -> Endpoints:
        """Return the registry of another process over the same database."""
        return _registered(self, Endpoints(self.database, ManualClock(), self.journal))


def _registered(house: House, made: Endpoints) -> Endpoints:
    made.register("trial", house.load, lambda source: house.removed.append(source["work"]))
    return made


@pytest.fixture
def house(database: Database, journal: Journal, clock: ManualClock) -> Iterator[House]:
    found = House(database, Endpoints(database, clock, journal, timeout_s=5.0), journal)
    _registered(found, found.endpoints)
    yield found
    found.endpoints.close()


def failure(call: Callable[[], Any]) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        call()
    return caught.value


def total(endpoints: Endpoints, name: str) -> tuple[int, int]:
    found = endpoints.get(name).total
    return found.calls, found.errors


# --- calls ---------------------------------------------------------------------------------------------


def test_a_call_reaches_the_model_with_all_that_the_caller_said(house: House) -> None:
    asked: list[Any] = []
    house.works["echo"] = lambda body: asked.append(body) or b"[1]"
    made = house.endpoints.create("fraud-1", "trial", {"work": "echo"})
    assert (made.kind, made.about["model"], made.to_json()["model"]) == ("trial", "echo", "echo")
    found = house.endpoints.invoke("fraud-1", b"{}", content_type="text/csv", accept="*/*", explain=True)
    assert found == Answer(b"[1]", "application/json", "AllTraffic")
    assert asked == [b"{}"]
    model = house.alive[-1]()
    assert model is not None
    assert model.asked == [("text/csv", "*/*", True)]


def test_a_model_is_loaded_once_however_many_call_at_once(house: House) -> None:
    def slow(source: Mapping[str, Any]) -> Model:
        time.sleep(0.1)
        return house.load(source)

    house.endpoints.register("trial", slow)
    house.endpoints.create("one", "trial", {"work": "echo"})
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda: answers.append(house.endpoints.invoke("one", b"1"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert house.loads == ["echo", "echo"]  # once to see that it can be, once to serve


def test_an_unknown_endpoint_is_not_found(house: House) -> None:
    with pytest.raises(NotFound, match="endpoint: there is none named 'none'"):
        house.endpoints.invoke("none", b"{}")


def test_a_body_over_the_bound_never_reaches_the_model(house: House) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    with pytest.raises(InvalidInput, match="6,291,456"):
        house.endpoints.invoke("one", bytes(room.MOST_BODY + 1))
    assert total(house.endpoints, "one") == (0, 0)


def _raise(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelFailure(415, "content-type: expected JSON"), 415),
        (InvalidInput("amount: expected a number"), 400),
        (ValueError("secret payload 4711"), 500),
        (RecursionError(), 500),
    ],
)
def test_what_a_model_raises_is_the_models_failure(house: House, error: Exception, status: int) -> None:
    house.works["bad"] = lambda body: _raise(error)
    house.endpoints.create("bad", "trial", {"work": "bad"})
    told = failure(lambda: house.endpoints.invoke("bad", b"secret payload 4711"))
    assert told.status == status
    assert total(house.endpoints, "bad") == (1, 1)
    logged = str(house.journal.read("endpoint", "bad"))
    assert "4711" not in told.message + logged
    if status == 500:
        assert type(error).__name__ in told.reason
        assert type(error).__name__ in logged


def test_a_model_that_takes_too_long_is_told_so_and_one_that_hangs_is_soon_busy(
    database: Database, journal: Journal, house: House
) -> None:
    hanging = threading.Event()
    house.works["slow"] = lambda body: str(hanging.wait(30)).encode()
    endpoints = _registered(house, Endpoints(database, ManualClock(), journal, timeout_s=0.05))
    endpoints.create("slow", "trial", {"work": "slow"})
    endpoints.create("quick", "trial", {"work": "echo"})
    for _ in range(room.MOST_IN_FLIGHT):
        assert failure(lambda: endpoints.invoke("slow", b"{}")).status == 504
    with pytest.raises(LimitReached, match="come again"):
        endpoints.invoke("slow", b"{}")
    assert endpoints.invoke("quick", b"1").body == b"1"
    hanging.set()
    eventually(lambda: not endpoints._in_flight)
    assert endpoints.invoke("slow", b"{}").body == b"True"
    assert total(endpoints, "slow") == (room.MOST_IN_FLIGHT + 2, room.MOST_IN_FLIGHT + 1)
    endpoints.close()


def test_a_model_may_say_itself_that_too_many_wait(house: House) -> None:
    house.works["full"] = lambda body: _raise(LimitReached("queue: 1,024 calls wait"))
    house.endpoints.create("full", "trial", {"work": "full"})
    with pytest.raises(LimitReached, match="1,024"):
        house.endpoints.invoke("full", b"{}")


# --- life ----------------------------------------------------------------------------------------------


def test_a_deleted_endpoint_is_not_found_and_its_memory_is_free(house: House) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    house.endpoints.invoke("one", b"{}")
    model = house.alive[-1]
    assert house.endpoints.loaded() == ["one"]
    house.endpoints.delete("one")
    gc.collect()
    assert (model(), house.endpoints.loaded(), house.removed) == (None, [], ["echo"])
    with pytest.raises(NotFound):
        house.endpoints.invoke("one", b"{}")
    with pytest.raises(NotFound):
        house.endpoints.delete("one")
    assert 'endpoint="one"' not in exposition().decode()


def test_what_another_process_deletes_is_not_found_at_once_and_leaves_the_memory(house: House) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    house.endpoints.invoke("one", b"{}")
    model = house.alive[-1]
    house.another().delete("one")
    with pytest.raises(NotFound):
        house.endpoints.invoke("one", b"{}")
    gc.collect()
    assert model() is None


def test_a_server_that_follows_frees_the_memory_without_any_call(house: House) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    house.endpoints.invoke("one", b"{}")
    house.another().delete("one")
    house.endpoints.refresh()
    assert house.endpoints.loaded() == []


def test_a_call_under_way_ends_with_the_model_that_was_deleted(house: House) -> None:
    begun, go_on = threading.Event(), threading.Event()
    house.works["slow"] = lambda body: (begun.set(), go_on.wait(10), body)[2]  # type: ignore[func-returns-value]
    house.endpoints.create("slow", "trial", {"work": "slow"})
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: found.append(house.endpoints.invoke("slow", b"1")))
    thread.start()
    assert begun.wait(10)
    house.closed.clear()
    house.endpoints.delete("slow")
    assert house.closed == []
    go_on.set()
    thread.join()
    assert found[0].body == b"1"
    eventually(lambda: house.closed == ["slow"])


def test_a_new_model_answers_under_the_old_name_and_the_counts_go_on(house: House) -> None:
    house.works["new"] = lambda body: b"new"
    first = house.endpoints.create("one", "trial", {"work": "echo"})
    house.endpoints.invoke("one", b"1")
    second = house.another().create("one", "trial", {"work": "new"})
    assert (second.created, house.removed) == (first.created, ["echo"])
    assert house.endpoints.invoke("one", b"1").body == b"new"
    assert total(house.endpoints, "one") == (2, 0)


def test_a_model_that_cannot_be_loaded_replaces_nothing(house: House) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    with pytest.raises(NotFound):
        house.endpoints.create("one", "trial", {"work": "gone"})
    assert house.endpoints.invoke("one", b"1").body == b"1"


def test_a_name_is_not_given_to_a_model_of_another_kind(house: House) -> None:
    house.endpoints.register("other", house.load)
    house.endpoints.create("one", "trial", {"work": "echo"})
    with pytest.raises(Conflict, match="kind trial"):
        house.endpoints.create("one", "other", {"work": "echo"})
    with pytest.raises(InvalidInput, match="kind: expected one of other, trial"):
        house.endpoints.create("two", "unheard-of", {})


def test_the_number_of_endpoints_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ENDPOINTS", 2)
    for name in ("a", "b", "a"):
        house.endpoints.create(name, "trial", {"work": "echo"})
    with pytest.raises(LimitReached, match="at most 2"):
        house.endpoints.create("c", "trial", {"work": "echo"})


def test_a_process_without_the_kind_says_so(house: House, database: Database, journal: Journal) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    bare = Endpoints(database, ManualClock(), journal)
    with pytest.raises(Conflict, match="no model of the kind trial"):
        bare.invoke("one", b"{}")


@pytest.mark.parametrize("name", ["a", "a-b", "A9", "a--b", "a" * 63])
def test_names_that_sagemaker_takes_are_taken(name: str) -> None:
    assert check_endpoint_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a_b", "a.b", "a" * 64, "ä", "a\n", 1])
def test_names_that_sagemaker_refuses_are_refused(name: object) -> None:
    with pytest.raises(InvalidInput, match="endpoint: expected"):
        check_endpoint_name(name)


# --- what is counted -----------------------------------------------------------------------------------


def test_calls_are_counted_per_key_and_survive_the_process(house: House) -> None:
    house.works["bad"] = lambda body: _raise(ModelFailure(400, "no")) if body == b"bad" else body
    house.endpoints.create("one", "trial", {"work": "bad"})
    for key, body in (("A", b"1"), ("A", b"bad"), ("B", b"1"), ("A", b"1")):
        if body == b"bad":
            failure(lambda key=key, body=body: house.endpoints.invoke("one", body, key=key))  # type: ignore[misc]
        else:
            house.endpoints.invoke("one", body, key=key)
    assert [(one.key, one.calls, one.errors) for one in house.endpoints.get("one").usage] == [
        ("A", 3, 1),
        ("B", 1, 0),
    ]
    assert house.another().get("one").usage == ()  # not written down yet
    house.endpoints.close()
    told = house.another().get("one").to_json()
    assert (told["calls"], told["errors"], [one["key"] for one in told["keys"]]) == (4, 1, ["A", "B"])
    assert 0 < told["p50_ms"] <= told["p99_ms"] < 5_000
    assert told["last_called"] == "2023-11-14T22:13:20+00:00"


def test_counts_of_several_processes_add_up(house: House) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    other = house.another()
    for endpoints in (house.endpoints, other, house.endpoints):
        endpoints.invoke("one", b"1", key="A")
    house.endpoints.close()
    other.close()
    assert total(house.another(), "one") == (3, 0)


def test_an_endpoint_made_anew_under_an_old_name_inherits_no_counts(house: House, clock: ManualClock) -> None:
    house.endpoints.create("one", "trial", {"work": "echo"})
    house.endpoints.invoke("one", b"1")
    house.another().delete("one")
    clock.advance(1)
    house.endpoints.create("one", "trial", {"work": "echo"})
    house.endpoints.close()
    assert total(house.endpoints, "one") == (0, 0)


def test_prometheus_hears_each_outcome(house: House) -> None:
    house.works["bad"] = lambda body: _raise(ModelFailure(400, "no"))
    house.endpoints.create("counted", "trial", {"work": "echo"})
    house.endpoints.create("refusing", "trial", {"work": "bad"})
    house.endpoints.invoke("counted", b"1")
    failure(lambda: house.endpoints.invoke("refusing", b"1"))
    text = exposition().decode()
    assert 'masthead_endpoint_calls_total{endpoint="counted",outcome="answered"} 1.0' in text
    assert 'masthead_endpoint_calls_total{endpoint="refusing",outcome="refused"} 1.0' in text
    assert 'masthead_endpoint_latency_seconds_count{endpoint="counted"} 1.0' in text


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_both_engines_keep_endpoints_alike(
    engine: str, request: pytest.FixtureRequest, house: House, journal: Journal
) -> None:
    if engine == "sqlite":
        endpoints = house.endpoints
    else:
        database = Database.open(request.getfixturevalue("postgres_url"))
        request.addfinalizer(database.close)
        migrate(database)
        endpoints = _registered(house, Endpoints(database, ManualClock(), journal))
    endpoints.create("one", "trial", {"work": "echo"})
    for _ in range(2):
        endpoints.invoke("one", b"1", key="A")
        endpoints.close()
    assert total(endpoints, "one") == (2, 0)
    endpoints.delete("one")
    with pytest.raises(NotFound):
        endpoints.invoke("one", b"1")
    assert records.Usage("A").to_json()["p99_ms"] is None
