"""What is remembered over a restart is a cache: with it, without it and with a damaged one every score is the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_fraud
from card_records import flat

from masthead.app import Masthead
from masthead.base.settings import Settings
from masthead.fraud.scoring.stream import Stream
from masthead.fraud.store.records import LIVE

DAY = 86_400_000_000
FIRST, THEN = range(120), range(120, 170)


def opened(data: Path) -> Masthead:
    found = Masthead.open(Settings(data=data))
    found.fraud.start()
    return found


def scores(house: Masthead, places: range) -> list[float]:
    found = [house.fraud.score(flat(place)) for place in places]
    return [one["pred_prob"] for one in found]


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Path]:
    """A folder whose server has ended with labels that lie in the future, and its snapshot."""
    data = tmp_path / "data"
    with opened(data) as house:
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        scores(house, FIRST)
        for place in range(0, 60, 5):
            house.fraud.label(id_of(place), place % 2, "analyst", arrived_at=arrival(place))
        house.fraud.label("not-there-yet", 1, "analyst")
    return data, data / "cache" / "fraud" / f"{LIVE}.npz"


def id_of(place: int) -> str:
    return str(flat(place)["TransactionID"])


def arrival(place: int) -> int:
    return small_fraud.events().event(place).ts + DAY // 4


def in_memory() -> list[float]:
    memory = Stream(small_fraud.model())
    for place in FIRST:
        memory.score(flat(place))
    for place in range(0, 60, 5):
        memory.label(id_of(place), place % 2, arrival(place) / 1e6 - 1_512_086_400)
    return [memory.score(flat(place)).pred_prob for place in THEN]


def delete(path: Path) -> None:
    path.unlink()


def damage(path: Path) -> None:
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 0xFF
    path.write_bytes(found)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [None, delete, damage, cut])
def test_scores_after_a_restart_are_the_same_whatever_became_of_the_snapshot(
    kept: tuple[Path, Path], harm: Callable[[Path], None] | None
) -> None:
    data, path = kept
    if harm is not None:
        harm(path)
    with opened(data) as house:
        assert (_book(house).kept > 0) == (harm is None)
        assert scores(house, THEN) == in_memory()


def test_only_what_came_behind_the_snapshot_is_read_again(kept: tuple[Path, Path]) -> None:
    data, path = kept
    old = path.read_bytes()
    with opened(data) as house:
        before = scores(house, range(120, 140))
    path.write_bytes(old)
    with opened(data) as house:
        assert _book(house).kept == 120 + 12 + 1
        assert _book(house).last == 120 + 12 + 1 + 20
        assert before + scores(house, range(140, 170)) == in_memory()


def test_a_snapshot_of_another_log_is_not_taken(kept: tuple[Path, Path], tmp_path: Path) -> None:
    _, path = kept
    other = tmp_path / "other"
    with opened(other) as house:
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        scores(house, range(50, 190))
    (other / "cache" / "fraud" / path.name).write_bytes(path.read_bytes())
    with opened(other) as house:
        assert _book(house).kept == 0
        assert _book(house).last == 140


def test_who_is_erased_does_not_live_on_in_a_snapshot(kept: tuple[Path, Path]) -> None:
    data, path = kept
    relation = small_fraud.model().schema.relations[0]
    value = str(flat(0)[relation.columns[0]])
    with opened(data) as house:
        book = _book(house)
        assert value in book.eids[0]
        house.fraud.erase(relation.name, value)
        assert not path.exists()
    assert not path.exists()  # what lay in memory had not heard of it
    with opened(data) as house:
        assert value not in _book(house).eids[0]


def test_a_snapshot_is_written_while_transactions_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masthead.fraud.live.ledger.SNAPSHOT_EVERY", 40)
    with opened(tmp_path / "data") as house:
        house.fraud.deploy("cards", small_fraud.folder() / "model")
        scores(house, range(50))
        book = _book(house)
        assert book.kept == 40
        house.fraud._ledger.rest()  # type: ignore[union-attr]
        assert (tmp_path / "data" / "cache" / "fraud" / f"{LIVE}.npz").exists()


def _book(house: Masthead) -> Any:
    ledger = house.fraud._ledger
    assert ledger is not None
    return ledger.books[LIVE]
